"""Frames as a camera brings them: does each answer arrive before the next frame?"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vp3d_bench.statistics import Spread, spread


@dataclass(frozen=True)
class Camera:
    """frames: how many it brings, one every 1 / hertz seconds whether one is ready or not."""

    hertz: float
    frames: int


@dataclass(frozen=True)
class Paced:
    """Milliseconds. answer: from when a frame was due until its answer was there.

    push: of that, the push alone. woken: how late the program was woken for a frame, of the frames
    that it waited for; None if it never had to wait. missed: answers that came after the next
    frame was due. behind: the most frames that had come and were not begun.
    """

    answer: Spread
    push: Spread
    woken: Spread | None
    missed: int
    behind: int

    def to_dict(self) -> dict[str, Any]:
        values = {name: getattr(self, name) for name in ("answer", "push", "woken")}
        shown = {name: None if one is None else one.to_dict() for name, one in values.items()}
        return {**shown, "missed": self.missed, "behind": self.behind}


def pace(
    push: Callable[[int], Any],
    camera: Camera,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    between: Callable[[], Any] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Paced:
    """Call `push(number)` for each frame when it is due. A camera does not wait: after a late
    answer the next frames are pushed as soon as may be, until none is behind.

    clock, sleep: seconds; for tests. between: called after each answer, while the camera has
    nothing new; a frame that comes meanwhile waits for it.
    """
    period = 1 / camera.hertz
    answers, pushes, woken = [], [], []
    missed = behind = 0
    push(0)  # the first one finds caches cold and memory to be allocated, and is not counted
    if between is not None:
        between()
    start = clock() + period
    for number in range(camera.frames):
        due = start + number * period
        wait = due - clock()
        if wait > 0:
            sleep(wait)
        begin = clock()
        if wait > 0:
            woken.append(1e3 * (begin - due))
        push(number + 1)
        end = clock()
        answers.append(1e3 * (end - due))
        pushes.append(1e3 * (end - begin))
        missed += end - due > period
        behind = max(behind, int((begin - due) / period))
        if between is not None:
            between()
        progress(number + 1, camera.frames)
    late = spread([woken]) if woken else None
    return Paced(spread([answers]), spread([pushes]), late, missed, behind)
