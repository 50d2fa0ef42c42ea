"""The stream form: the columns of vp3d_deploy/plan.py, with its rings as state tensors.

State, for B streams:

    started             (B, 1, 1) float32: 0 before a stream's first frame, then 1
    keypoint_ring       (B, A, J_in*F) float32
    NAME_ring_KK        (B, A, C) float32: of level KK's output

A ring of length A holds the true columns of the last A frames, oldest first. On a stream's first
frame, when all its state is zero, every ring is filled with the true column of that frame, which
is its level's constant column: as if the frame had been shown forever. So any server that starts
a state at zeros and hands it from call to call can run the graph.

Each level has one tensor of sources, the filled ring followed by this frame's columns; its taps,
and the ring after the frame, are parts of that.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vp3d_deploy.plan import Column, StreamPlan, Tap
from vp3d_deploy.spec import ModelSpec
from vp3d_export.graphs.builder import GraphBuilder
from vp3d_export.graphs.level import (
    first_level,
    gemm,
    level_branch,
    point_convolution,
)

_FLAG_SHAPE = ("B", 1, 1)


@dataclass
class StreamState:
    """The state tensors of one stream graph: read where a level needs them, written at the end."""

    graph: GraphBuilder
    _fresh: str = ""
    _written: dict[str, tuple[str, tuple[int | str, ...]]] = field(default_factory=dict)
    _sources: dict[str, str] = field(default_factory=dict)

    def source(self, name: str, length: int, current: str, n_current: int, width: int) -> str:
        """(B, length + n_current, width): the ring `name`, oldest first, then `current`.

        The first of `current` is the true column, which the ring takes in. Two networks that
        read the same ring share it.
        """
        if name not in self._sources:
            graph, shape = self.graph, ("B", length, width)
            held = graph.input(f"{name}_in", "float32", shape)
            newest = current
            if n_current > 1:
                newest = graph.slice(current, 0, 1, 1, f"{name}.newest")
            filling = graph.node("Mul", [newest, self._is_fresh()], f"{name}.filling")
            filled = graph.node("Add", [held, filling], f"{name}.filled")
            source = graph.node("Concat", [filled, current], f"{name}.source", axis=1)
            after = graph.slice(source, 1, 1 + length, 1, f"{name}.next")
            self._written[name] = (after, shape)
            self._sources[name] = source
        return self._sources[name]

    def write(self) -> None:
        """Name the state outputs; call once, when every network is built."""
        for name, (value, shape) in self._written.items():
            self.graph.output(value, f"{name}_out", "float32", shape)

    def _is_fresh(self) -> str:
        """(B, 1, 1): 1 on a stream's first frame, else 0."""
        if not self._fresh:
            graph = self.graph
            started = graph.input("started_in", "float32", _FLAG_SHAPE)
            one = graph.constant(np.float32(1), "one")
            self._fresh = graph.node("Sub", [one, started], "fresh")
            # Always 1, but of the batch's size.
            after = graph.node("Add", [started, self._fresh], "started.next")
            self._written["started"] = (after, _FLAG_SHAPE)
        return self._fresh


def stream_network(
    graph: GraphBuilder,
    prefix: str,
    spec: ModelSpec,
    plan: StreamPlan,
    frame: str,
    state: StreamState,
) -> str:
    """frame (B, 1, J_in*F) float32 -> the answer's column of the top level, (B, C)."""
    source, width = frame, spec.joints_in * spec.features
    at_hand = [Column.TRUE]
    for level, work in enumerate(plan.levels):
        name = f"{prefix}.level{level}"
        length = plan.ring_lengths[level]
        if length:
            ring = f"{prefix}_ring_{level:02d}" if level else "keypoint_ring"
            source = state.source(ring, length, source, len(at_hand), width)
        columns = list(work.columns)
        places = [[_place(tap, length, at_hand) for tap in work.columns[c]] for c in columns]
        flat = [place for row in places for place in row]
        rows = _pick(graph, source, length + len(at_hand), flat, f"{name}.taps")
        rows = graph.reshape(rows, (-1, len(places[0]) * width), f"{name}.rows")
        if level == 0:
            h = first_level(graph, prefix, rows, gemm)
        else:
            tap = spec.residual_tap(level) * width
            residual = graph.slice(rows, tap, tap + width, 1, f"{name}.residual")
            if graph.stored[f"{name}.conv.weight"].dtype == "int8":
                branch = level_branch(graph, prefix, level, rows, gemm)
            else:
                branch = _branch_of_points(graph, prefix, level, rows, spec)
            h = graph.node("Add", [residual, branch], f"{name}.out")
        width = spec.channels
        if level + 1 < len(plan.levels):
            source = graph.reshape(h, (-1, len(columns), width), f"{name}.columns")
        at_hand = columns
    # The top level computes the answer's column alone, so its rows are the answers.
    assert at_hand == [plan.answer]
    return h


def _branch_of_points(
    graph: GraphBuilder, prefix: str, level: int, rows: str, spec: ModelSpec
) -> str:
    """The level's branch by convolutions over points: rows (n, in) -> (n, C)."""
    name = f"{prefix}.level{level}"
    inputs = spec.filter_widths[level] * spec.channels
    points = graph.node("Transpose", [rows], f"{name}.turned", perm=[1, 0])
    points = graph.reshape(points, (1, inputs, 1, -1), f"{name}.points")
    branch = level_branch(graph, prefix, level, points, point_convolution)
    branch = graph.reshape(branch, (spec.channels, -1), f"{name}.points_out")
    return graph.node("Transpose", [branch], f"{name}.branch", perm=[1, 0])


def _place(tap: Tap, length: int, at_hand: list[Column]) -> int:
    """Where a tap finds its column in a level's source: the ring first, then this frame's."""
    if tap.column is None:
        return length - tap.age
    return length + at_hand.index(tap.column)


def _pick(graph: GraphBuilder, source: str, count: int, places: list[int], hint: str) -> str:
    """The columns at `places`; nothing to do where they are all of them, in order."""
    if places == list(range(count)):
        return source
    return graph.gather(source, places, 1, hint)
