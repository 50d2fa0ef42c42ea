"""Samples a source in the background, and says what a stretch of time has used."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any

from vp3d_bench.power.reading import PowerError, Reading, Source

# A window with fewer is too short for what its sensors can tell.
FEWEST_READINGS = 5
_FIRST_READING_S = 5.0


@dataclass(frozen=True)
class Energy:
    """What a window used. millijoules: of what the source covers; rails_mj: of its parts.

    readings: how many the figures rest on. temperatures_c: the highest of each sensor. clocks_mhz:
    means. counted: by the hardware itself, not from samples of power.
    """

    seconds: float
    millijoules: float
    rails_mj: Mapping[str, float]
    temperatures_c: Mapping[str, float]
    clocks_mhz: Mapping[str, float]
    readings: int
    counted: bool

    @property
    def mean_mw(self) -> float:
        return self.millijoules / self.seconds

    def per_frame_mj(self, frames: int) -> float:
        """Millijoules per frame, of `frames` frames that the window's time was spent on."""
        if frames < 1:
            raise ValueError(f"expected the energy of at least one frame, not of {frames}")
        return self.millijoules / frames

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "mean_mw": self.mean_mw}


@dataclass
class Window:
    """A stretch of time; its energy is there when it is over."""

    _energy: Energy | None = field(default=None, repr=False)

    @property
    def energy(self) -> Energy:
        if self._energy is None:
            raise ValueError("the window is still open; its energy is known after its block")
        return self._energy


class PowerMeter:
    """Reads a source in a thread of its own until closed.

    clock, sleep: seconds; for tests.
    Raises PowerError, at once or at the end of a window, if the source has nothing (more) to say.
    """

    def __init__(
        self,
        source: Source,
        *,
        clock: Callable[[], float] = time.perf_counter,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.source = source
        self.clock, self._sleep = clock, sleep
        self._times: list[float] = []
        self._readings: list[Reading] = []
        self._lock = threading.Lock()
        self._failure: PowerError | None = None
        self._began = threading.Event()
        self._closed = False
        self._thread = threading.Thread(target=self._listen, name="power", daemon=True)

    def __enter__(self) -> PowerMeter:
        self._thread.start()
        if not self._began.wait(_FIRST_READING_S) or self._failure is not None:
            failure = self._failure or PowerError(
                f"{self.source.name} said nothing within {_FIRST_READING_S:g} s"
            )
            self.__exit__(None, None, None)
            raise failure
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._closed = True
        self.source.close()
        self._thread.join(_FIRST_READING_S)

    @contextmanager
    def window(self) -> Iterator[Window]:
        """Measures what its block uses. Raises PowerError if the block is too short."""
        found = Window()
        begin = self.clock()
        yield found
        found._energy = self._energy_between(begin, self.clock())

    def rest(self, seconds: float) -> Energy:
        """What the machine uses while this program does nothing."""
        with self.window() as window:
            self._sleep(seconds)
        return window.energy

    def _listen(self) -> None:
        try:
            while not self._closed:
                reading = self.source.read()
                with self._lock:
                    self._times.append(self.clock())
                    self._readings.append(reading)
                self._began.set()
        except PowerError as error:
            if not self._closed:
                self._failure = error
            self._began.set()

    def _energy_between(self, begin: float, end: float) -> Energy:
        if self._failure is not None:
            raise self._failure
        with self._lock:
            times, readings = list(self._times), list(self._readings)
        first, last = bisect_left(times, begin), bisect_right(times, end)
        if last - first < FEWEST_READINGS:
            raise PowerError(
                f"{end - begin:.2g} s are too short to measure their energy: {self.source.name} "
                f"was read {max(0, last - first)} times; take at least {FEWEST_READINGS} readings"
            )
        inside = readings[first:last]
        rails = {
            name: _integral(times, [r.rails_mw.get(name, 0.0) for r in readings], begin, end)
            for name in inside[0].rails_mw
        }
        counted = all(reading.counter_mj is not None for reading in readings)
        if counted:
            counter = [reading.counter_mj or 0.0 for reading in readings]
            used = _at(times, counter, end) - _at(times, counter, begin)
        else:
            used = _integral(times, [r.total_mw for r in readings], begin, end)
        return Energy(
            seconds=end - begin,
            millijoules=used,
            rails_mj=rails,
            temperatures_c=_over(inside, "temperatures_c", max),
            clocks_mhz=_over(inside, "clocks_mhz", _mean),
            readings=len(inside),
            counted=counted,
        )


def _at(times: Sequence[float], values: Sequence[float], when: float) -> float:
    """Between two readings on the line through them, before and after all of them level."""
    after = bisect_left(times, when)
    if after == 0:
        return values[0]
    if after == len(times):
        return values[-1]
    span = times[after] - times[after - 1]
    share = (when - times[after - 1]) / span if span > 0 else 1.0
    return values[after - 1] + share * (values[after] - values[after - 1])


def _integral(times: Sequence[float], values: Sequence[float], begin: float, end: float) -> float:
    """Value times seconds, by trapezoids between the readings and the window's two ends."""
    first, last = bisect_right(times, begin), bisect_left(times, end)
    at = [begin, *times[first:last], end]
    of = [_at(times, values, begin), *values[first:last], _at(times, values, end)]
    return sum(
        (later - earlier) * (a + b) / 2
        for earlier, later, a, b in zip(at, at[1:], of, of[1:], strict=False)
    )


def _over(
    readings: Sequence[Reading], name: str, summary: Callable[[list[float]], float]
) -> dict[str, float]:
    """Of each entry of a mapping, over the readings that have it."""
    collected: dict[str, list[float]] = {}
    for reading in readings:
        for key, value in getattr(reading, name).items():
            collected.setdefault(key, []).append(value)
    return {key: summary(values) for key, values in collected.items()}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
