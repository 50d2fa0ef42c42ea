"""Very many frames through one live stream: does memory grow, do answers drift?

Whatever a stream has seen, its answers depend on the last frames alone. So after N frames they must
equal those of a fresh stream that was shown the last of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from vp3d_bench.fresh import resident_mb

# Memory is compared with what it was after so much of the frames, when everything has been used.
WARM_SHARE = 0.02
LOOKS = 200
ANSWERS = 10


@dataclass(frozen=True)
class Soak:
    """difference_mm: the largest distance between the last answers and the fresh stream's.

    warm_mb, end_mb, most_mb: resident memory; None where the system does not tell it.
    """

    frames: int
    seconds: float
    warm_mb: float | None
    end_mb: float | None
    most_mb: float | None
    answers_compared: int
    difference_mm: float

    def in_words(self) -> str:
        memory = "memory is not told here"
        if self.warm_mb is not None and self.end_mb is not None and self.most_mb is not None:
            memory = (
                f"memory grew by {self.end_mb - self.warm_mb:.2f} MB to {self.end_mb:.1f} MB "
                f"(most: {self.most_mb:.1f})"
            )
        same = "equal" if self.difference_mm == 0 else f"differ by {self.difference_mm:.3g} mm from"
        return (
            f"{self.frames:,} frames in {self.seconds:.0f} s; {memory}; the last "
            f"{self.answers_compared} answers {same} a fresh stream's"
        )


def soak(
    open_stream: Callable[[], Any],
    frame: Callable[[int], np.ndarray],
    count: int,
    needed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    memory_mb: Callable[[], float | None] = resident_mb,
) -> Soak:
    """Push `frame(0)` .. `frame(count - 1)`.

    needed: the last frames that an answer depends on, R + lag. Raises ValueError for a `count`
    that does not reach beyond them.
    """
    if count < needed + 2 * ANSWERS:
        raise ValueError(
            f"--soak {count}: a stream's answer depends on {needed} frames; expected at least "
            f"{needed + 2 * ANSWERS} frames"
        )
    # At first the fresh stream has too few frames for an answer that counts.
    compared = range(count - ANSWERS, count)
    begin = time.perf_counter()
    with open_stream() as stream:
        last, memory = _pushed(stream, frame, range(count), compared, progress, memory_mb)
    seconds = time.perf_counter() - begin
    with open_stream() as stream:
        fresh, _ = _pushed(stream, frame, range(compared.start - needed + 1, count), compared)
    difference = max(
        float(1e3 * np.linalg.norm(last[at] - fresh[at], axis=-1).max()) for at in compared
    )
    known = [value for value in memory if value is not None]
    return Soak(
        count,
        round(seconds, 3),
        known[0] if known else None,
        known[-1] if known else None,
        max(known) if known else None,
        len(compared),
        difference,
    )


def _pushed(
    stream: Any,
    frame: Callable[[int], np.ndarray],
    numbers: range,
    kept: range,
    progress: Callable[[int, int], None] = lambda done, total: None,
    memory_mb: Callable[[], float | None] | None = None,
) -> tuple[dict[int, np.ndarray], list[float | None]]:
    """Answers to the pushes of `kept`, and the memory now and then, once it is warm."""
    answers: dict[int, np.ndarray] = {}
    memory: list[float | None] = []
    warm = numbers.start + int(WARM_SHARE * len(numbers))
    every = max(1, len(numbers) // LOOKS)
    for at in numbers:
        poses = stream.push(frame(at))
        if at in kept:
            answers[at] = poses.joints_m
        if memory_mb is not None and at >= warm and at % every == 0:
            memory.append(memory_mb())
            progress(at - numbers.start, len(numbers))
    if memory_mb is not None:
        memory.append(memory_mb())
    return answers, memory
