"""Another program beside the measured one, as a camera's decoding would be: it takes a share of
one core, a tenth of a millisecond at a time.

Threads that split a frame evenly then wait for the one on that core.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_BUSY_S = 1e-4


@contextmanager
def busy_beside(percent: float | None) -> Iterator[None]:
    """A process that is busy for `percent` of the time, above 0 and below 100, on the last core
    that this one may use; none for None. Raises ChildProcessError if it ended meanwhile."""
    if percent is None:
        yield
        return
    command = [sys.executable, "-m", __name__, str(percent), str(os.getpid())]
    process = subprocess.Popen(command)
    try:
        yield
        if process.poll() is not None:
            raise ChildProcessError(
                f"the program of --beside {percent:g} ended with code {process.returncode} while "
                "others were measured; measure again"
            )
    finally:
        process.terminate()
        process.wait()


def be_busy(
    percent: float,
    wanted: Callable[[], bool],
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """As long as `wanted`. clock, sleep: seconds; for tests."""
    idle = _BUSY_S * (100 / percent - 1)
    while wanted():
        until = clock() + _BUSY_S
        while clock() < until:
            pass
        sleep(idle)


if __name__ == "__main__":
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    be_busy(float(sys.argv[1]), lambda: os.getppid() == int(sys.argv[2]))
