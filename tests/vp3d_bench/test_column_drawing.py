"""The drawing of the columns shows what the plan computes, where the definition needs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from vp3d_bench.column_drawing import draw, positions
from vp3d_deploy.plan import Column, stream_plan
from vp3d_deploy.spec import ModelSpec


@pytest.mark.parametrize("lag", [0, 3, 5, 13])
def test_columns_lie_where_the_pyramid_of_the_answer_reads(lag: int) -> None:
    """Every column that the answer needs, found from the network alone, has a mark."""
    spec = ModelSpec((3, 3, 3), 8)
    placed = positions(spec, stream_plan(spec, lag))
    wanted = {-lag}
    for level, reach in ((2, 13), (1, 4), (0, 1)):
        marks = placed[level]
        for offset in wanted:
            if -reach < offset < reach:
                assert marks[Column.STRADDLING] == offset
            elif offset >= reach:
                assert Column.CONSTANT in marks
            elif offset == -reach:
                assert marks[Column.TRUE] == offset
        spread = spec.dilations[level]
        wanted = {offset + tap * spread for offset in wanted for tap in (-1, 0, 1)}


def test_it_is_drawn(tmp_path: Path) -> None:
    draw(ModelSpec((3, 3), 8), (0, 4), tmp_path / "new" / "columns.svg")
    assert (tmp_path / "new" / "columns.svg").stat().st_size > 10_000
