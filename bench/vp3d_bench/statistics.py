"""What is said about repeated timings: shortest, middle and tail; and about two of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

FIGURES = ("min", "p50", "p95", "p99", "worst")


@dataclass(frozen=True)
class Spread:
    """Milliseconds of `calls` calls. Percentiles are interpolated between neighbours.

    On a machine that others use too, `min` says what the code costs and `p50` what it cost here.
    rounds: the median of each round, where contenders took turns.
    """

    min: float
    p50: float
    p95: float
    p99: float
    worst: float
    calls: int
    rounds: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "rounds": list(self.rounds)}


@dataclass(frozen=True)
class Ratio:
    """One time over another: of the minima, and of the medians.

    low, high: the quartiles of the same ratio within each round, where rounds were taken.
    """

    min: float
    p50: float
    low: float | None = None
    high: float | None = None


def spread(rounds: Sequence[Sequence[float]]) -> Spread:
    """Of milliseconds, by round. Raises ValueError if a round is empty or a time not a number."""
    medians = []
    for number, times in enumerate(rounds):
        if not len(times) or not np.isfinite(times).all():
            raise ValueError(f"round {number}: expected finite timings, at least one; got {times}")
        medians.append(round(float(np.median(times)), 6))
    if not medians:
        raise ValueError("expected timings of at least one round; got none")
    values = np.concatenate([np.asarray(times, np.float64) for times in rounds])
    figures = np.percentile(values, (0, 50, 95, 99, 100))
    shown = dict(zip(FIGURES, (round(float(figure), 6) for figure in figures), strict=True))
    return Spread(**shown, calls=int(values.size), rounds=tuple(medians))


def ratio(one: Spread, other: Spread) -> Ratio:
    """How many times as long `one` takes as `other`."""
    low = high = None
    if one.rounds and len(one.rounds) == len(other.rounds):
        within = np.divide(one.rounds, other.rounds)
        low, high = (round(float(value), 4) for value in np.percentile(within, (25, 75)))
    return Ratio(round(one.min / other.min, 4), round(one.p50 / other.p50, 4), low, high)


def fastest(spreads: Iterable[Spread]) -> Spread | None:
    """The best of several in each figure by itself, the hardest to beat; None of none."""
    held = list(spreads)
    if not held:
        return None
    best = {figure: min(getattr(one, figure) for one in held) for figure in FIGURES}
    rounds: tuple[float, ...] = ()
    if len({len(one.rounds) for one in held}) == 1:
        rounds = tuple(map(min, zip(*(one.rounds for one in held), strict=True)))
    return Spread(**best, calls=min(one.calls for one in held), rounds=rounds)


def scaled(times: Spread, factor: float) -> Spread:
    """As if every call had taken `factor` times as long."""
    figures = {figure: factor * getattr(times, figure) for figure in FIGURES}
    rounds = tuple(factor * median for median in times.rounds)
    return Spread(**figures, calls=times.calls, rounds=rounds)
