"""What is said about repeated timings: shortest, middle and tail."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Spread:
    """Milliseconds of `calls` calls. Percentiles are interpolated between neighbours.

    On a machine that others use too, `min` says what the code costs and `p50` what it cost here.
    """

    min: float
    p50: float
    p95: float
    p99: float
    worst: float
    calls: int


@dataclass(frozen=True)
class Ratio:
    """One contender's time over another's: of the minima, and of the medians."""

    min: float
    p50: float


def spread(milliseconds: Sequence[float] | np.ndarray) -> Spread:
    """Raises ValueError if nothing was timed, or if a time is not a number."""
    values = np.asarray(milliseconds, np.float64)
    if not values.size or not np.isfinite(values).all():
        raise ValueError(f"expected finite timings, at least one; got {values.size} of them")
    p50, p95, p99 = np.percentile(values, (50, 95, 99))
    figures = (values.min(), p50, p95, p99, values.max())
    return Spread(*(round(float(figure), 6) for figure in figures), calls=int(values.size))


def ratio(one: Spread, other: Spread) -> Ratio:
    """How many times as long `one` takes as `other`."""
    return Ratio(round(one.min / other.min, 4), round(one.p50 / other.p50, 4))


def fastest(spreads: Iterable[Spread]) -> Spread | None:
    """The best of several in each figure by itself, the hardest to beat; None of none."""
    held = list(spreads)
    if not held:
        return None
    figures = ("min", "p50", "p95", "p99", "worst")
    best = {figure: min(getattr(one, figure) for one in held) for figure in figures}
    return Spread(**best, calls=min(one.calls for one in held))
