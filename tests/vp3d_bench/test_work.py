"""Multiply-adds counted by hand."""

from __future__ import annotations

from vp3d_bench.work import column_multiply_adds, most_columns, multiply_adds
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3, 3), 10, joints_in=2, features=2, joints_out=5)
FIRST, LEVEL, LAST = 3 * 4 * 10, 4 * 10 * 10, 15 * 10


def test_at_the_full_lag_every_level_computes_one_column() -> None:
    assert multiply_adds([SPEC], SPEC.lookahead) == FIRST + 2 * LEVEL + LAST
    assert column_multiply_adds([SPEC]) == FIRST + 2 * LEVEL + LAST


def test_at_lag_0_the_last_level_computes_the_answer_alone() -> None:
    assert most_columns([SPEC], 0) == 3
    assert multiply_adds([SPEC], 0) == 3 * FIRST + 3 * LEVEL + LEVEL + LAST


def test_networks_add_up() -> None:
    assert multiply_adds([SPEC, SPEC], 0) == 2 * multiply_adds([SPEC], 0)
