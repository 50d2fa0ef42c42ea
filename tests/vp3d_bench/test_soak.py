"""Many frames through a stream that forgets nothing, or grows, or forgets."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle

from vp3d_bench.cli import main
from vp3d_bench.soak import soak
from vp3d_deploy.spec import ModelSpec

NEEDED = 6


class Averaging:
    """Answers the mean of the last NEEDED frames; `drift` adds what it has seen in all."""

    def __init__(self, drift: float = 0.0, nan_at: int | None = None) -> None:
        self.frames: list[np.ndarray] = []
        self.drift, self.nan_at, self.count = drift, nan_at, 0

    def __enter__(self) -> Averaging:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def push(self, frame: np.ndarray) -> Any:
        self.count += 1
        self.frames = [*self.frames, frame][-NEEDED:]
        mean = np.mean(self.frames, axis=0) + self.drift * self.count
        if self.nan_at is not None and self.count >= self.nan_at:
            mean = np.full_like(mean, np.nan)
        return SimpleNamespace(joints_m=mean[None])


def frame(at: int) -> np.ndarray:
    return np.random.default_rng(at % 13).normal(0, 1, (17, 3))


def test_frames_are_prepared_for_where_that_is_asked():
    class Preparing(Averaging):
        prepared = 0

        def prepare(self) -> None:
            Preparing.prepared += 1

    assert soak(Preparing, frame, 500, NEEDED, prepared=True).faults() == []
    # Those of the fresh stream too.
    assert Preparing.prepared > 500
    Preparing.prepared = 0
    soak(Preparing, frame, 500, NEEDED)
    assert Preparing.prepared == 0


def test_a_stream_that_keeps_nothing_else_equals_a_fresh_one() -> None:
    memory = iter([100.0, *[100.9] * 10_000])
    found = soak(Averaging, frame, 500, NEEDED, memory_mb=lambda: next(memory))
    assert found.difference_mm == 0
    assert (found.frames, found.answers_compared) == (500, 10)
    assert (found.warm_mb, found.end_mb, found.most_mb) == (100.0, 100.9, 100.9)
    assert "grew by 0.90 MB" in found.in_words()
    assert "equal a fresh stream's" in found.in_words()
    assert found.faults() == []


@pytest.mark.parametrize("nan_at", [300, 500])
def test_a_stream_that_turns_to_not_a_number_is_at_fault(nan_at: int) -> None:
    found = soak(lambda: Averaging(nan_at=nan_at), frame, 500, NEEDED)
    assert found.non_finite == 501 - nan_at
    assert found.answers_equal == (0 if nan_at == 300 else 9)
    assert found.difference_mm is None
    assert len(found.faults()) == 2
    assert "answers are not finite" in found.in_words()


def test_answers_that_are_never_numbers_are_at_fault() -> None:
    assert soak(lambda: Averaging(nan_at=0), frame, 500, NEEDED).non_finite == 500


def test_a_stream_that_grows_is_at_fault() -> None:
    memory = iter(100.0 + 0.02 * look for look in range(10_000))
    found = soak(Averaging, frame, 500, NEEDED, memory_mb=lambda: next(memory))
    assert found.grown_mb == pytest.approx(0.02 * 125)
    assert found.faults() == ["memory grew by more than 1 MB"]


def test_a_fault_is_the_exit_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = soak(lambda: Averaging(nan_at=300), frame, 500, NEEDED)
    monkeypatch.setattr("vp3d_bench.live.soak", lambda *_, **__: broken)
    bundle = random_bundle(tmp_path / "net.vp3d", ModelSpec((3, 3), 4), lags=(0,)).bundle
    output = tmp_path / "soak.json"
    arguments = ["--soak", "500", "--contenders", "onnx-stream-fp32@0", "-o", str(output)]
    assert main([str(bundle.path), *arguments]) == 1
    (found,) = json.loads(output.read_text())["streams"].values()
    assert found["difference_mm"] is None
    assert found["faults"]


def test_a_fresh_stream_that_is_shown_too_little_differs() -> None:
    assert soak(Averaging, frame, 500, NEEDED - 1).difference_mm > 1


def test_drift_is_found() -> None:
    found = soak(lambda: Averaging(drift=1e-9), frame, 500, NEEDED)
    assert found.difference_mm == pytest.approx(1e3 * 1e-9 * 484 * 3**0.5, rel=0.02)
    assert "differ by" in found.in_words()


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 26 frames"):
        soak(Averaging, frame, 25, NEEDED)
