"""Which columns of the network a live stream computes per frame: exact lifting at any lag.

Notation: level 0 is the input, level k >= 1 the k-th level of the network (`filter_widths[k-1]`
wide). A *column* of a level is its value at one position in time, named by its offset from the
newest frame t. `r` is the half receptive field of a level's output: 0 at the input, (R-1)/2 at the
top. The answer for frame t-lag is what the full network gives when every frame after t is replaced
by frame t. Then, seen from t,

- a column at offset <= -r depends on frames up to t only. It never changes again: the one at
  exactly -r is new (`TRUE`), the older ones lie in the level's *ring*;
- every column at offset >= +r sees frame t alone: one `CONSTANT` column stands for all;
- of the columns between, at most one is ever read, because the next level reads at a spacing of
  2r + 1 or more: the `STRADDLING` column.

For a causal network r = 0 everywhere: all columns are true, and there is no lag.

`stream_plan` works this out for one (filter_widths, causal, lag); the ONNX stream graph
(vp3d_export/graphs) and the native kernels (kernels/include/vp3d/plan.hpp computes the same in
C++) are built from it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from vp3d_deploy.spec import ModelSpec


class Column(str, Enum):
    """The kinds of column that are computed anew for each frame, in the order they are stored."""

    TRUE = "true"
    STRADDLING = "straddling"
    CONSTANT = "constant"


@dataclass(frozen=True)
class Tap:
    """Where one tap of a convolution reads in the level below.

    Either a `column` computed this frame, or the ring: the true column computed `age` frames ago
    (age >= 1). Exactly one of the two is set.
    """

    column: Column | None = None
    age: int = 0


@dataclass(frozen=True)
class LevelPlan:
    """What one level computes per frame: for each column its `filter_widths[level]` taps.

    The residual of a column is its tap number `ModelSpec.residual_tap(level)`.
    """

    columns: dict[Column, tuple[Tap, ...]]


@dataclass(frozen=True)
class StreamPlan:
    """The whole of a frame's work.

    levels: one per filter width, in order of evaluation.
    ring_lengths: how many past true columns to keep of the input (index 0) and of each level's
        output (index k, k = 1 .. n); the top level keeps none, so there is one entry per level.
        A level whose ring is empty keeps no state.
    answer: the column of the top level that holds the answer.
    """

    levels: tuple[LevelPlan, ...]
    ring_lengths: tuple[int, ...]
    answer: Column
    lag: int


def stream_plan(spec: ModelSpec, lag: int) -> StreamPlan:
    """Plan a live stream whose answers trail the newest frame by `lag` frames.

    lag: 0 .. `spec.lookahead`.
    Raises ValueError for a lag outside the range.

    A stream begins as if its first frame had been shown forever. On the first frame every column
    therefore has its level's constant value, the true one included: a ring entry older than the
    stream reads as the true column of the first frame.
    """
    if not isinstance(lag, int) or isinstance(lag, bool) or not 0 <= lag <= spec.lookahead:
        kind = "causal network" if spec.causal else f"{spec.receptive_field}-frame network"
        raise ValueError(f"lag {lag!r}: a {kind} can trail by 0 to {spec.lookahead} frames")

    reach = _half_receptive_fields(spec)
    top = len(spec.filter_widths)
    answer, _ = _classify(-lag, reach[top])
    # Offsets of the one straddling column that each level may have, found on the way down.
    straddling: dict[int, int] = {top: -lag} if answer is Column.STRADDLING else {}
    wanted: dict[int, set[Column]] = {top: {answer}}
    levels: list[LevelPlan] = []
    ages = [0] * top

    for level in range(top, 0, -1):
        below = level - 1
        columns: dict[Column, tuple[Tap, ...]] = {}
        wanted.setdefault(below, set())
        for column in _in_order(wanted[level]):
            taps = []
            for offset in _tap_offsets(spec, below, column, reach[level], straddling.get(level)):
                kind, age = _classify(offset, reach[below])
                if kind is Column.STRADDLING:
                    _claim(straddling, below, offset)
                if age == 0:
                    wanted[below].add(kind)
                ages[below] = max(ages[below], age)
                taps.append(Tap(age=age) if age else Tap(column=kind))
            columns[column] = tuple(taps)
        # A ring is fed by the level's true column, so that has to be computed every frame.
        if ages[below]:
            wanted[below].add(Column.TRUE)
        levels.append(LevelPlan(columns))
    return StreamPlan(tuple(reversed(levels)), tuple(ages), answer, lag)


def _half_receptive_fields(spec: ModelSpec) -> list[int]:
    """r of the input and of every level's output; a causal network has no future to wait for."""
    if spec.causal:
        return [0] * (len(spec.filter_widths) + 1)
    return [(d - 1) // 2 for d in (*spec.dilations, spec.receptive_field)]


def _tap_offsets(
    spec: ModelSpec, level: int, column: Column, reach: int, straddling: int | None
) -> Sequence[int]:
    """Offsets in the level below at which a column of the level with filter `level` reads."""
    width, dilation = spec.filter_widths[level], spec.dilations[level]
    if column is Column.TRUE:
        centre = -reach
    elif column is Column.CONSTANT:
        # Any position from here on has this value; the nearest reads the same constants.
        centre = reach + (width - 1) * dilation
    else:
        assert straddling is not None
        centre = straddling
    first = centre - spec.residual_tap(level) * dilation
    return range(first, first + width * dilation, dilation)


def _classify(offset: int, reach: int) -> tuple[Column, int]:
    """The kind of the column at `offset`, and for one in the ring how many frames ago it was new.

    Where reach is 0 and offset is past the newest frame, the newest column itself is the constant.
    """
    if offset <= -reach:
        return Column.TRUE, -reach - offset
    if offset >= reach:
        return (Column.TRUE if reach == 0 else Column.CONSTANT), 0
    return Column.STRADDLING, 0


def _claim(straddling: dict[int, int], level: int, offset: int) -> None:
    """Note the one straddling column of a level; two would contradict the theory above."""
    if straddling.setdefault(level, offset) != offset:
        raise AssertionError(f"two straddling columns at level {level}")


def _in_order(columns: set[Column]) -> list[Column]:
    return [column for column in Column if column in columns]
