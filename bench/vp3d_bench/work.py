"""What a live frame needs at the least: multiply-adds, by the stream plan."""

from __future__ import annotations

from collections.abc import Iterable

from vp3d_deploy.plan import stream_plan
from vp3d_deploy.spec import ModelSpec


def multiply_adds(networks: Iterable[ModelSpec], lag: int) -> int:
    """Of one person's frame at this lag: the columns that the plan has, and no others."""
    return sum(_network(spec, [len(level.columns) for level in stream_plan(spec, lag).levels])
               for spec in networks)  # fmt: skip


def column_multiply_adds(networks: Iterable[ModelSpec]) -> int:
    """Of one column of every level, and the output."""
    return sum(_network(spec, [1] * len(spec.filter_widths)) for spec in networks)


def most_columns(networks: Iterable[ModelSpec], lag: int) -> int:
    """Of any level."""
    return max(len(level.columns) for spec in networks for level in stream_plan(spec, lag).levels)


def sequence_multiply_adds(networks: Iterable[ModelSpec]) -> int:
    """Of each frame of a long clip, without its ends."""
    return column_multiply_adds(networks)


def _network(spec: ModelSpec, columns: list[int]) -> int:
    total = columns[0] * spec.filter_widths[0] * spec.joints_in * spec.features * spec.channels
    for width, count in zip(spec.filter_widths[1:], columns[1:], strict=True):
        total += count * (width + 1) * spec.channels**2
    return total + 3 * spec.joints_out * spec.channels
