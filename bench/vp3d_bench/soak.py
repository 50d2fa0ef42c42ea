"""Very many frames through one live stream: does memory grow, do answers drift?

Whatever a stream has seen, its answers depend on the last frames alone. So after N frames they must
equal those of a fresh stream that was shown the last of these.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vp3d_bench.fresh import resident_mb

# Memory is compared with what it was after so much of the frames, when everything has been used;
# in short runs after so many, or half of them.
WARM_SHARE, WARM_FRAMES = 0.02, 1000
# It may grow by so much from there on: allocators and the progress bar are not quite still.
GROWTH_LIMIT_MB = 1.0
LOOKS = 200
ANSWERS = 10


@dataclass(frozen=True)
class Soak:
    """non_finite: answers, of all, that hold something else than finite numbers.
    answers_equal: of the last `answers_compared`, those that equal the fresh stream's to the bit.
    difference_mm: the largest distance between these and the fresh stream's; None where that is
    no number.
    warm_mb, end_mb, most_mb: resident memory; None where the system does not tell it.
    """

    frames: int
    seconds: float
    warm_mb: float | None
    end_mb: float | None
    most_mb: float | None
    non_finite: int
    answers_compared: int
    answers_equal: int
    difference_mm: float | None

    @property
    def grown_mb(self) -> float | None:
        """By how much memory grew since it was warm."""
        if self.warm_mb is None or self.end_mb is None:
            return None
        return self.end_mb - self.warm_mb

    def faults(self) -> list[str]:
        """What a stream must not do, in words; none of a good one."""
        found = []
        if self.non_finite:
            found.append(f"{self.non_finite:,} answers are not finite")
        if self.answers_equal < self.answers_compared:
            different = self.answers_compared - self.answers_equal
            found.append(f"{different} of the last answers differ from a fresh stream's")
        if self.grown_mb is not None and self.grown_mb > GROWTH_LIMIT_MB:
            found.append(f"memory grew by more than {GROWTH_LIMIT_MB:g} MB")
        return found

    def in_words(self) -> str:
        memory = "memory is not told here"
        if self.grown_mb is not None:
            memory = (
                f"memory grew by {self.grown_mb:.2f} MB to {self.end_mb:.1f} MB "
                f"(most: {self.most_mb:.1f})"
            )
        same = "equal"
        if self.answers_equal < self.answers_compared:
            by = "" if self.difference_mm is None else f" by {self.difference_mm:.3g} mm"
            same = f"differ{by} from"
        faults = self.faults()
        return (
            f"{self.frames:,} frames in {self.seconds:.0f} s; {memory}; the last "
            f"{self.answers_compared} answers {same} a fresh stream's"
            f"{'; fault: ' if faults else ''}{'; fault: '.join(faults)}"
        )


def soak(
    open_stream: Callable[[], Any],
    frame: Callable[[int], np.ndarray],
    count: int,
    needed: int,
    progress: Callable[[int, int], None] = lambda done, total: None,
    memory_mb: Callable[[], float | None] = resident_mb,
    prepared: bool = False,
) -> Soak:
    """Push `frame(0)` .. `frame(count - 1)`.

    needed: the last frames that an answer depends on, R + lag. prepared: with `stream.prepare()`
    after each. Raises ValueError for a `count`
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
        last, memory, broken = _pushed(
            _push_of(stream, prepared), frame, range(count), compared, progress, memory_mb
        )
    seconds = time.perf_counter() - begin
    with open_stream() as stream:
        fresh, _, _ = _pushed(
            _push_of(stream, prepared), frame, range(compared.start - needed + 1, count), compared
        )
    known = [value for value in memory if value is not None]
    return Soak(
        count,
        round(seconds, 3),
        known[0] if known else None,
        known[-1] if known else None,
        max(known) if known else None,
        broken,
        len(compared),
        sum(last[at].size > 0 and np.array_equal(last[at], fresh[at]) for at in compared),
        _difference_mm([(last[at], fresh[at]) for at in compared]),
    )


def _push_of(stream: Any, prepared: bool) -> Callable[[np.ndarray], Any]:
    def prepared_push(keypoints: np.ndarray) -> Any:
        poses = stream.push(keypoints)
        stream.prepare()
        return poses

    return prepared_push if prepared else stream.push


def _pushed(
    push: Callable[[np.ndarray], Any],
    frame: Callable[[int], np.ndarray],
    numbers: range,
    kept: range,
    progress: Callable[[int, int], None] = lambda done, total: None,
    memory_mb: Callable[[], float | None] | None = None,
) -> tuple[dict[int, np.ndarray], list[float | None], int]:
    """Answers to the pushes of `kept`, the memory now and then, once it is warm, and the number of
    answers that are not finite."""
    answers: dict[int, np.ndarray] = {}
    memory: list[float | None] = []
    broken = 0
    settled = max(int(WARM_SHARE * len(numbers)), min(WARM_FRAMES, len(numbers) // 2))
    warm = numbers.start + settled
    every = max(1, len(numbers) // LOOKS)
    for at in numbers:
        poses = push(frame(at))
        if poses is not None:  # the first frames of a stream with a lag have no answer yet
            broken += not np.isfinite(poses.joints_m).all()
            if at in kept:
                answers[at] = poses.joints_m
        if memory_mb is not None and at >= warm and at % every == 0:
            memory.append(memory_mb())
            progress(at - numbers.start, len(numbers))
    if memory_mb is not None:
        memory.append(memory_mb())
    return answers, memory, broken


def _difference_mm(pairs: Sequence[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """The largest distance of joints, (people, joints, 3) in metres; None where it is no number."""
    if any(one.shape != other.shape or not one.size for one, other in pairs):
        return None
    distances = [np.linalg.norm(one - other, axis=-1).max() for one, other in pairs]
    largest = 1e3 * float(np.max(distances))  # NaN if any of them is
    return largest if np.isfinite(largest) else None
