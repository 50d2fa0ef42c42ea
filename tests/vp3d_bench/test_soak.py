"""Many frames through a stream that forgets nothing, or grows, or forgets."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from vp3d_bench.soak import soak

NEEDED = 6


class Averaging:
    """Answers the mean of the last NEEDED frames; `drift` adds what it has seen in all."""

    def __init__(self, drift: float = 0.0) -> None:
        self.frames: list[np.ndarray] = []
        self.drift, self.count = drift, 0

    def __enter__(self) -> Averaging:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def push(self, frame: np.ndarray) -> Any:
        self.count += 1
        self.frames = [*self.frames, frame][-NEEDED:]
        mean = np.mean(self.frames, axis=0) + self.drift * self.count
        return SimpleNamespace(joints_m=mean[None])


def frame(at: int) -> np.ndarray:
    return np.random.default_rng(at % 13).normal(0, 1, (17, 3))


def test_a_stream_that_keeps_nothing_else_equals_a_fresh_one() -> None:
    memory = iter([100.0, *[101.5] * 10_000])
    found = soak(Averaging, frame, 500, NEEDED, memory_mb=lambda: next(memory))
    assert found.difference_mm == 0
    assert (found.frames, found.answers_compared) == (500, 10)
    assert (found.warm_mb, found.end_mb, found.most_mb) == (100.0, 101.5, 101.5)
    assert "grew by 1.50 MB" in found.in_words()
    assert "equal a fresh stream's" in found.in_words()


def test_a_fresh_stream_that_is_shown_too_little_differs() -> None:
    assert soak(Averaging, frame, 500, NEEDED - 1).difference_mm > 1


def test_drift_is_found() -> None:
    found = soak(lambda: Averaging(drift=1e-9), frame, 500, NEEDED)
    assert found.difference_mm == pytest.approx(1e3 * 1e-9 * 484 * 3**0.5, rel=0.02)
    assert "differ by" in found.in_words()


def test_too_few_frames_are_refused() -> None:
    with pytest.raises(ValueError, match="expected at least 26 frames"):
        soak(Averaging, frame, 25, NEEDED)
