"""The definition that contenders are held to, and that a wrong one is not timed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from reference import dilated_network

from vp3d_bench.accuracy import Expected, check, frames_to_compare
from vp3d_bench.clips import keypoints
from vp3d_bench.contenders import ours
from vp3d_bench.contenders.base import Contender, UnavailableError
from vp3d_bench.stage import Stage, steps
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 12)


def made(folder: Path, spec: ModelSpec = SPEC, **options: Any) -> Subject:
    lags = (0, spec.lookahead) if spec.lookahead else (0,)
    bundle = random_bundle(folder / "net.vp3d", spec, lags=lags, **options).bundle
    return Subject(bundle, 1, folder)


def clip_of(subject: Subject, people: int = 1) -> np.ndarray:
    return keypoints(subject.bundle, people, 30)


@pytest.mark.parametrize("causal", [False, True])
def test_the_definition_is_the_dilated_network(causal: bool, tmp_path: Path) -> None:
    spec = ModelSpec((3, 5, 3), 8, causal=causal)
    made_bundle = random_bundle(tmp_path / "net.vp3d", spec)
    subject = Subject(made_bundle.bundle, 1, tmp_path)
    clips = keypoints(subject.bundle, 2, 70)
    padding = ((0, 0), (spec.pad_left, spec.pad_right), (0, 0), (0, 0))
    padded = np.pad(clips, padding, mode="edge")
    parameters = made_bundle.parameters["pose"]
    expected = np.stack([dilated_network(spec, parameters, clip) for clip in padded])
    definition = subject.definitions["pose"]
    for frame in (0, 33, 69):
        found = definition.recorded(clips, frame)
        # The folded weights are those of the network but for their rounding to float32.
        np.testing.assert_allclose(found, expected[:, frame], rtol=0, atol=2e-6)


@pytest.mark.parametrize("lag", [0, 1, 4])
def test_a_live_answer_knows_no_frame_after_its_lag(lag: int, tmp_path: Path) -> None:
    subject = made(tmp_path)
    clips = clip_of(subject)
    definition = subject.definitions["pose"]
    changed = clips.copy()
    changed[:, 10 + lag + 1 :] += 1.0
    same = definition.live(clips, 10, lag) - definition.live(changed, 10, lag)
    assert np.abs(same).max() == 0
    changed[:, 10 + lag] += 1.0
    assert np.abs(definition.live(clips, 10, lag) - definition.live(changed, 10, lag)).max() > 1e-3


@pytest.mark.parametrize("trajectory", [False, True])
def test_all_of_our_forms_pass(trajectory: bool, tmp_path: Path) -> None:
    subject = made(tmp_path, trajectory=trajectory, precisions=("fp32", "fp16"))
    expected = Expected(subject.definitions, clip_of(subject, 3), [0, 12, 29], [0, 2])
    for precision in ("fp32", "fp16"):
        contenders = [ours.form("onnx", form, precision) for form in ("window", "sequence")]
        contenders += [ours.stream("onnx", precision, lag) for lag in (0, 4)]
        for contender in contenders:
            runner = contender.open(subject, 3, 30)
            found = check(contender, runner, expected)
            assert found.problem is None, contender.name
            assert found.answers == 3 * 2 * 17
            assert 0 < found.mean_mm <= found.max_mm
            assert (found.trajectory_mean_mm is not None) == trajectory


class Wrong:
    """A contender whose answers are `change` of the true ones."""

    def __init__(self, subject: Subject, change: Any) -> None:
        self._right = ours.form("onnx", "window", "fp32").open(subject)
        self._change = change
        self.closed = False

    def prepare(self, frames: np.ndarray) -> Any:
        return self._right.prepare(frames)

    def run(self, prepared: Any) -> Any:
        return self._right.run(prepared)

    def answer(self, result: Any) -> Output:
        output = self._right.answer(result)
        return Output(self._change(output.pose), output.trajectory)

    def close(self) -> None:
        self.closed = True


def not_a_number(pose: np.ndarray) -> np.ndarray:
    pose[0, 3, 1] = np.nan
    return pose


def fails(pose: np.ndarray) -> np.ndarray:
    raise RuntimeError("out of order\nat line 7")


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda pose: pose + 2e-5, "mm from the definition on average; fp32 may be 0.01 mm off"),
        (not_a_number, "inf mm from the definition"),
        (lambda pose: pose[:, :5], "answers have shape"),
        (fails, "fails for 1 person: out of order"),
    ],
)
def test_a_wrong_one_is_told_and_not_timed(change: Any, reason: str, tmp_path: Path) -> None:
    subject = made(tmp_path)
    right = ours.form("onnx", "window", "fp32")
    runner = Wrong(subject, change)
    wrong = replace(right, name="wrong", opener=lambda *_: runner)
    expected = Expected(subject.definitions, clip_of(subject), [0, 12])
    stage = Stage(subject)
    ready = stage.ready([right, wrong], expected)
    assert list(steps(ready, expected)) == [right.name]
    assert reason in stage.refused["wrong"]
    assert "\n" not in stage.refused["wrong"]
    assert runner.closed


def test_what_is_off_less_than_its_precision_may_be_is_timed(tmp_path: Path) -> None:
    subject = made(tmp_path)
    close = replace(
        ours.form("onnx", "window", "fp32"),
        precision="fp16",
        opener=lambda *_: Wrong(subject, lambda pose: pose + 2e-5),
    )
    stage = Stage(subject)
    expected = Expected(subject.definitions, clip_of(subject), [0, 12])
    assert close.name in stage.ready([close], expected)
    assert stage.accuracy[close.name].mean_mm == pytest.approx(1e3 * 2e-5 * 3**0.5, rel=0.05)


def test_one_that_is_not_there_is_a_reason(tmp_path: Path) -> None:
    def missing(*_: Any) -> Any:
        raise ModuleNotFoundError("No module named 'fastlib'", name="fastlib")

    contender = Contender("fastlib", "fastlib", "fastlib", "window", "fp32", missing)
    subject = made(tmp_path)
    with pytest.raises(UnavailableError, match="fastlib is not installed"):
        contender.open(subject)
    stage = Stage(subject)
    assert not stage.ready([contender], Expected(subject.definitions, clip_of(subject), [0]))
    assert stage.refused == {"fastlib": "fastlib is not installed"}


def test_frames_that_are_compared_include_both_ends() -> None:
    assert frames_to_compare(SPEC, 30, 4) == [0, 9, 19, 29]
    assert frames_to_compare(SPEC, 2, 12) == [0, 1]
