"""Contenders whose answers are known: what is said of them, and of those that cannot run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

from vp3d_deploy.evaluation.clips import EvaluationClip
from vp3d_deploy.evaluation.contenders import Contender
from vp3d_deploy.evaluation.measure import Task, measure_all
from vp3d_deploy.skeleton import H36M_17, Skeleton, SkeletonError

SIDELESS = Skeleton("sideless", tuple("abcdefghijklmnopq"), (-1, *[0] * 16), (), ())
Advance = Callable[[int], None]


class Shifted:
    """Says the truth, shifted by some millimetres along x; live, by one more per missing frame.

    The truth is hidden in the keypoints: every joint lies at (x, y, 0) of its 2D.
    """

    def __init__(self, shift_mm: float) -> None:
        self.shift_mm = shift_mm
        self.closed = False

    def recorded(self, clips: Sequence[np.ndarray], advance: Advance) -> list[np.ndarray]:
        return self._say(clips, self.shift_mm, advance)

    def live(self, clips: Sequence[np.ndarray], lag: int, advance: Advance) -> list[np.ndarray]:
        return self._say(clips, self.shift_mm + 4 - lag, advance)

    def form_at(self, lag: int | None) -> str:
        return "recorded" if lag is None else "live"

    def close(self) -> None:
        self.closed = True

    def _say(
        self, clips: Sequence[np.ndarray], shift_mm: float, advance: Advance
    ) -> list[np.ndarray]:
        poses = []
        for clip in clips:
            pose = np.concatenate([clip, np.zeros_like(clip[..., :1])], -1)
            pose[..., 0] += shift_mm / 1000
            poses.append(pose)
            advance(len(clip))
        return poses


def contender(label: str, predictor: object, required: bool = False) -> Contender:
    def opened() -> Shifted:
        if isinstance(predictor, Exception):
            raise predictor
        assert isinstance(predictor, Shifted)
        return predictor

    return Contender(label, "engine", "fp32", opened, required)


def task(flip: bool = False, lags: tuple[int, ...] = ()) -> Task:
    rng = np.random.default_rng(0)
    clips = []
    for action, n_frames in (("Walking", 6), ("Sitting", 3), ("Walking", 2)):
        points = rng.normal(0, 0.3, (n_frames, 17, 2)).astype(np.float32)
        pose = np.concatenate([points, np.zeros_like(points[..., :1])], -1)
        clips.append(EvaluationClip(f"{action} {n_frames}", points, pose, action))
    return Task(clips, H36M_17, H36M_17, flip, lags)


class Log:
    """Collects what is told while contenders are measured."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def __call__(self, label: str) -> Iterator[Callable[[int, int], None]]:
        told = self.told[label] = []
        yield lambda done, total: told.append((done, total))


def test_contenders_are_compared_with_the_first() -> None:
    predictors = [Shifted(10), Shifted(13)]
    named = [contender(f"by {p.shift_mm}", p) for p in predictors]
    log = Log()
    (first, second), missing = measure_all(named, task(lags=(0, 4)), log)
    assert missing == []
    assert first.difference is None
    assert first.report.frames.mpjpe_mm == pytest.approx(10, abs=1e-4)
    assert first.report.frames.p_mpjpe_mm == pytest.approx(0, abs=1e-3)
    assert first.report.n_frames == 11
    assert second.difference is not None
    assert second.difference.mpjpe_change_mm == pytest.approx(3, abs=1e-4)
    assert second.difference.mean_distance_mm == pytest.approx(3, abs=1e-4)
    assert second.difference.max_distance_mm == pytest.approx(3, abs=1e-3)
    assert [(p.lag, p.form) for p in second.lags] == [(0, "live"), (4, "live")]
    live_mm = [point.frames.mpjpe_mm for point in second.lags]
    assert live_mm == pytest.approx([17, 13], abs=1e-4)
    assert all(p.closed for p in predictors)
    assert log.told["by 13"][-1] == (33, 33)
    values = second.values()
    assert values["difference"]["mean_distance_mm"] == second.difference.mean_distance_mm
    assert values["lags"][1]["actions"]["mpjpe_mm"] == second.lags[1].actions.mpjpe_mm


def test_flipping_cancels_a_shift_to_one_side() -> None:
    log = Log()
    (result,), _ = measure_all([contender("x", Shifted(10))], task(flip=True, lags=(1,)), log)
    assert result.report.frames.mpjpe_mm == pytest.approx(0, abs=1e-4)
    assert result.lags[0].frames.mpjpe_mm == pytest.approx(0, abs=1e-4)
    assert log.told["x"][-1] == (44, 44)


def test_what_cannot_run_here_is_listed_unless_asked_for() -> None:
    broken = ImportError("No module named 'fastlib'\nand much more")
    named = [contender("fast", broken), contender("slow", Shifted(1)), contender("new", OSError())]
    results, missing = measure_all(named, task(), Log())
    assert [result.label for result in results] == ["slow"]
    assert [(m.label, m.reason) for m in missing] == [
        ("fast", "No module named 'fastlib'"),
        ("new", "OSError"),
    ]
    with pytest.raises(ValueError, match="fast cannot be run here: No module named 'fastlib'$"):
        measure_all([contender("fast", broken, required=True)], task(), Log())
    with pytest.raises(ValueError, match="nothing here can run this network: fast: No module"):
        measure_all([contender("fast", broken)], task(), Log())


def test_answers_that_are_not_finite_are_an_error() -> None:
    with pytest.raises(ValueError, match="bad: the answers for clip 'Walking 6' are not finite"):
        measure_all([contender("bad", Shifted(np.nan))], task(), Log())


def test_tasks_that_cannot_be_done() -> None:
    clip = EvaluationClip("wild", np.zeros((3, 17, 2), np.float32), None)
    with pytest.raises(ValueError, match="clip 'wild' has no 3D ground truth"):
        Task([clip], H36M_17, H36M_17)
    with pytest.raises(SkeletonError, match="'sideless' does not say"):
        Task([], SIDELESS, H36M_17, flip=True)
