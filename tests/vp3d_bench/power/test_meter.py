"""Energy of windows over readings whose times are chosen."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from vp3d_bench.power import Energy, PowerError, PowerMeter, Reading


class Played:
    """Readings at chosen times, then silence."""

    name, covers = "played", "everything"

    def __init__(self, *readings: tuple[float, Reading]) -> None:
        self._left = list(readings)
        self.now = 0.0
        self.exhausted, self._closed = threading.Event(), threading.Event()

    def read(self) -> Reading:
        if not self._left:
            self.exhausted.set()
            self._closed.wait()
            raise PowerError("closed")
        self.now, reading = self._left.pop(0)
        return reading

    def describe(self) -> dict[str, Any]:
        return {}

    def close(self) -> None:
        self._closed.set()


def measured(begin: float, end: float, *readings: tuple[float, Reading]) -> Energy:
    source = Played(*readings)
    times = iter((begin, end))

    def clock() -> float:
        if threading.current_thread().name == "power":
            return source.now
        source.exhausted.wait(5)
        return next(times)

    with PowerMeter(source, clock=clock) as meter:
        with meter.window() as window:
            pass
        return window.energy


def every(step: float, count: int, total_mw: Any) -> list[tuple[float, Reading]]:
    return [(i * step, Reading(float(total_mw(i * step)))) for i in range(count)]


def test_constant_power() -> None:
    energy = measured(0.25, 0.85, *every(0.1, 12, lambda t: 5000))
    assert energy.millijoules == pytest.approx(0.6 * 5000)
    assert energy.mean_mw == pytest.approx(5000)
    assert energy.per_frame_mj(30) == pytest.approx(100)
    assert energy.readings == 6


def test_rising_power_is_integrated_to_the_windows_ends() -> None:
    """1000 mW per second: the integral between two moments is that of the line."""
    energy = measured(0.25, 0.85, *every(0.1, 12, lambda t: 1000 * t))
    assert energy.millijoules == pytest.approx(500 * (0.85**2 - 0.25**2))


def test_before_the_first_and_after_the_last_reading_power_is_level() -> None:
    readings = [(0.5 + t, r) for t, r in every(0.1, 6, lambda t: 1000 + 1000 * t)]
    energy = measured(0.3, 1.2, *readings)
    between = 1000 * 0.5 + 500 * 0.5**2
    assert energy.millijoules == pytest.approx(0.2 * 1000 + between + 0.2 * 1500)


def test_a_counter_counts_more_than_samples() -> None:
    """Two counts per second between samples of a power that is never seen."""
    readings = [(0.1 * i, Reading(1.0, counter_mj=1e9 + 700.0 * i)) for i in range(12)]
    energy = measured(0.25, 0.85, *readings)
    assert energy.counted
    assert energy.millijoules == pytest.approx(0.6 * 7000, rel=1e-6)


def test_rails_clocks_and_temperatures_of_the_window_alone() -> None:
    readings = [
        (
            0.1 * i,
            Reading(30.0, {"A": 10.0, "B": 20.0}, None, {"gpu": 40.0 + i}, {"gpu": 100.0 * i}),
        )
        for i in range(12)
    ]
    energy = measured(0.25, 0.75, *readings)
    assert energy.rails_mj == pytest.approx({"A": 5.0, "B": 10.0})
    assert energy.temperatures_c == {"gpu": 47.0}
    assert energy.clocks_mhz == pytest.approx({"gpu": 500.0})


def test_too_short_a_window_is_refused() -> None:
    with pytest.raises(PowerError, match="too short to measure .* read 4 times"):
        measured(0.25, 0.65, *every(0.1, 12, lambda t: 5000))


def test_a_source_that_fails_at_once() -> None:
    class Broken(Played):
        def read(self) -> Reading:
            raise PowerError("the sensors are gone")

    with pytest.raises(PowerError, match="the sensors are gone"), PowerMeter(Broken()):
        pass


def test_an_open_window_has_no_energy() -> None:
    with PowerMeter(Played(*every(0.1, 3, lambda t: 1))) as meter:  # noqa: SIM117
        with pytest.raises(PowerError, match="too short"), meter.window() as window:
            with pytest.raises(ValueError, match="still open"):
                _ = window.energy


def test_no_frames_have_no_energy_each() -> None:
    energy = measured(0.25, 0.85, *every(0.1, 12, lambda t: 5000))
    with pytest.raises(ValueError, match="at least one frame"):
        energy.per_frame_mj(0)
