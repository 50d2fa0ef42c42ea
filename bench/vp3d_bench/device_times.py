"""How long the GPU itself takes for a call, by CUDA events: apart from the host-to-host times,
which events would make longer."""

from __future__ import annotations

import warnings
from collections.abc import Iterable

from vp3d_bench.accuracy import Expected
from vp3d_bench.contenders.base import Contender, TimedRunner
from vp3d_bench.stage import one_line, step_of
from vp3d_bench.statistics import Spread, spread
from vp3d_bench.subject import Subject


def device_times(
    subject: Subject, contenders: Iterable[Contender], expected: Expected, calls: int, settle: int
) -> dict[str, Spread]:
    """Milliseconds of `calls` calls of each that can say it, after `settle` that do not count.

    Clips of `expected`: as for the host-to-host times. Who fails when opened a second time, for
    want of memory for example, is left out with a warning.
    """
    people, frames = expected.clips.shape[:2]
    found: dict[str, Spread] = {}
    for contender in contenders:
        if contender.timed_opener is None:
            continue
        try:
            runner = contender.open_timed(subject, people, frames)
            try:
                times = _times(contender, runner, expected, calls, settle)
            finally:
                runner.close()
        except Exception as error:  # a library's own: the others can be measured
            reason = one_line(error)
            warnings.warn(f"no GPU time of {contender.name}: {reason}", stacklevel=2)
            continue
        if times:
            found[contender.name] = spread([times])
    return found


def _times(
    contender: Contender, runner: TimedRunner, expected: Expected, calls: int, settle: int
) -> list[float]:
    step = step_of(contender, runner, expected)
    for _ in range(settle):
        step()
    times = []
    for _ in range(calls):
        step()
        if runner.gpu_ms is not None:
            times.append(runner.gpu_ms)
    return times
