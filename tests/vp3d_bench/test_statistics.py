"""Spreads and ratios against figures worked out by hand."""

from __future__ import annotations

import math

import pytest

from vp3d_bench.statistics import Ratio, Spread, fastest, ratio, scaled, spread


def test_a_spread_is_of_all_calls_and_keeps_the_median_of_each_round() -> None:
    found = spread([[3.0, 1.0, 2.0], [10.0, 4.0]])
    # Sorted: 1 2 3 4 10. Percentiles lie between neighbours.
    assert found.min == 1.0
    assert found.p50 == 3.0
    assert found.p95 == pytest.approx(4.0 + 0.8 * 6.0)
    assert found.p99 == pytest.approx(4.0 + 0.96 * 6.0)
    assert found.worst == 10.0
    assert found.calls == 5
    assert found.rounds == (2.0, 7.0)


@pytest.mark.parametrize("rounds", [[], [[]], [[1.0], []], [[1.0, math.nan]], [[math.inf]]])
def test_nothing_is_said_of_nothing(rounds: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="expected"):
        spread(rounds)


def test_a_ratio_is_of_minima_of_medians_and_within_rounds() -> None:
    slow, fast = spread([[4.0, 6.0], [9.0]]), spread([[2.0, 3.0], [3.0]])
    # Within the rounds: 5 / 2.5 = 2 and 9 / 3 = 3; their quartiles are 2.25 and 2.75.
    assert ratio(slow, fast) == Ratio(min=2.0, p50=2.0, low=2.25, high=2.75)


def test_rounds_that_do_not_belong_together_give_no_quartiles() -> None:
    assert ratio(spread([[1.0]]), spread([[1.0], [1.0]])) == Ratio(1.0, 1.0, None, None)


def test_the_fastest_is_the_hardest_to_beat_in_every_figure() -> None:
    steady, lucky = spread([[3.0, 3.0], [3.0]]), spread([[1.0, 9.0], [9.0]])
    best = fastest([steady, lucky])
    assert best is not None
    assert (best.min, best.p50, best.worst) == (1.0, 3.0, 3.0)
    assert best.rounds == (3.0, 3.0)
    assert fastest([]) is None


def test_scaling_leaves_no_figure_behind() -> None:
    assert scaled(spread([[1.0, 3.0]]), 2.0) == Spread(2, 4, 5.8, 5.96, 6, 2, (4.0,))
