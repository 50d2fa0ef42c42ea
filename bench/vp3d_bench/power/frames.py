"""Millijoules per frame: each contender alone, as fast as it can, beside a machine at rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vp3d_bench.power.meter import Energy, PowerMeter
from vp3d_bench.power.sources import open_source

_SETTLE_SHARE = 0.2


@dataclass(frozen=True)
class FrameEnergy:
    """What `frames` frames used. idle_mw: what the machine uses while it does nothing."""

    frames: int
    energy: Energy
    idle_mw: float

    @property
    def per_frame_mj(self) -> float:
        return self.energy.per_frame_mj(self.frames)

    @property
    def above_idle_mj(self) -> float:
        """Per frame, what the work adds to a machine that is switched on anyway."""
        return self.per_frame_mj - self.idle_mw * self.energy.seconds / self.frames

    def to_dict(self) -> dict[str, Any]:
        return {
            "frames": self.frames,
            "per_frame_mj": self.per_frame_mj,
            "above_idle_mj": self.above_idle_mj,
            **self.energy.to_dict(),
        }


@dataclass
class PowerResult:
    """source: what was read, of what, in which power mode. frames: by contender's name."""

    source: Mapping[str, Any]
    idle: Energy
    frames: dict[str, FrameEnergy] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        return {
            "source": dict(self.source),
            "idle": self.idle.to_dict(),
            "frames": {name: found.to_dict() for name, found in self.frames.items()},
        }


@contextmanager
def meter_if(wanted: bool, gpu: int | None) -> Iterator[PowerMeter | None]:
    """A running meter, or None if none is wanted; raises PowerError where there can be none.

    gpu: as `open_source` takes it.
    """
    if not wanted:
        yield None
        return
    with PowerMeter(open_source(gpu)) as meter:
        yield meter


def measure_idle(meter: PowerMeter, seconds: float) -> PowerResult:
    """With what the machine uses at rest, and nothing else yet."""
    source = {"name": meter.source.name, "covers": meter.source.covers}
    return PowerResult({**source, **meter.source.describe()}, meter.rest(seconds))


def energy_of_steps(
    steps: Mapping[str, Callable[[], Any]],
    meter: PowerMeter,
    seconds: float,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> PowerResult:
    """Each step, which is one frame, again and again for so many seconds, one after the other."""
    result = measure_idle(meter, seconds)
    for done, (name, step) in enumerate(steps.items()):
        progress(done, len(steps))
        _run(step, meter, _SETTLE_SHARE * seconds)
        with meter.window() as window:
            frames = _run(step, meter, seconds)
        result.frames[name] = FrameEnergy(frames, window.energy, result.idle.mean_mw)
    progress(len(steps), len(steps))
    return result


def _run(step: Callable[[], Any], meter: PowerMeter, seconds: float) -> int:
    """How many times in so many seconds, once at least."""
    end = meter.clock() + seconds
    count = 0
    while True:
        step()
        count += 1
        if meter.clock() >= end:
            return count
