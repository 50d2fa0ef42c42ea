"""Labels that would lie on each other make room."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_bench.plots import spread_out


def test_places_that_are_far_apart_stay() -> None:
    assert spread_out([0.9, 0.1, 0.5], 0.1) == [0.9, 0.1, 0.5]


def test_two_that_are_close_part_around_their_middle() -> None:
    assert spread_out([0.52, 0.1, 0.5], 0.1) == pytest.approx([0.56, 0.1, 0.46])


def test_equal_places_part_too() -> None:
    assert spread_out([0.5, 0.5, 0.5], 0.1) == pytest.approx([0.4, 0.5, 0.6])


def test_a_group_that_meets_another_joins_it() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        places = rng.uniform(0, 1, 8).tolist()
        moved = spread_out(places, 0.05)
        assert np.diff(np.sort(moved)).min() > 0.05 - 1e-9
        assert np.argsort(moved).tolist() == np.argsort(places).tolist()
        assert sum(moved) == pytest.approx(sum(places))
