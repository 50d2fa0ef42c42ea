"""What one run of the benchmark does."""

from __future__ import annotations

from dataclasses import dataclass

from vp3d_bench.turns import Turns


@dataclass(frozen=True)
class Settings:
    """people: how many share a call, the first one being 1. frames: of the long clip.

    peers_ms: peers, which compute a window per person, are timed with several people as long as
        a call may be expected to take less than this.
    energy_s: how long each contender runs when its energy is measured, seconds.
    openings: fresh processes per contender; the best of them counts. open_all: open every
        contender in them, or only the first of each family and form. pushes: of LiveStream.push.
    without: contenders that take part only if they are asked for by name.
    beside: percent of one core that another program takes meanwhile, or None.
    """

    people: tuple[int, ...]
    frames: int
    latency: Turns
    crowd: Turns
    throughput: Turns
    peers_ms: float
    energy_s: float
    openings: int
    open_all: bool
    pushes: int
    without: tuple[str, ...] = ()
    beside: float | None = None


FULL = Settings(
    people=(1, 2, 4, 8, 16, 32, 64),
    frames=10_000,
    latency=Turns(rounds=20, calls=30),
    crowd=Turns(rounds=8, calls=20, settle=2),
    throughput=Turns(rounds=3, calls=1, settle=0, fewest=1),
    peers_ms=450.0,
    energy_s=5.0,
    openings=2,
    open_all=True,
    pushes=2000,
)

QUICK = Settings(
    people=(1, 8),
    frames=1_000,
    latency=Turns(rounds=4, calls=8, settle=3, budget_s=0.1, rest_s=0.01),
    crowd=Turns(rounds=3, calls=4, settle=1, budget_s=0.1, rest_s=0.01),
    throughput=Turns(rounds=2, calls=1, settle=0, fewest=1, rest_s=0.01),
    peers_ms=100.0,
    energy_s=2.0,
    openings=1,
    open_all=False,
    pushes=100,
    # Compiling takes longer than all the rest.
    without=("pytorch-compiled", "torchcuda-compiled-half"),
)
