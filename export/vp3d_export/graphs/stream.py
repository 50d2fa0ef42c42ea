"""The stream form: the columns of vp3d_deploy/plan.py, with its rings as state tensors.

State, for B streams:

    frames_seen         (B, 1, 1) float32: frames before this one, counted up to the longest ring
    keypoint_ring       (B, 1 + A, J_in*F) float32
    NAME_ring_KK        (B, 1 + A, C): of level KK's output, in the type of the network's inside

A ring of length A holds the true columns of the last A frames, oldest first, behind the true
column of the stream's *first* frame. What is older than the stream reads as that one, and since
nothing is read before it was written, a stream may start from zeros: any server that hands a
state from call to call can run the graph.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from vp3d_deploy.plan import Column, StreamPlan, Tap
from vp3d_deploy.spec import ModelSpec
from vp3d_export.graphs.builder import GraphBuilder
from vp3d_export.graphs.level import first_level, gemm, inner_dtype, residual_level


@dataclass
class StreamState:
    """The state tensors of one stream graph: read where a level needs them, written at the end."""

    graph: GraphBuilder
    plan: StreamPlan
    _seen: str = ""
    _written: list[tuple[str, str, str, tuple[int | str, ...]]] = field(default_factory=list)
    _rings: dict[str, Ring] = field(default_factory=dict)

    @property
    def seen(self) -> str:
        """How many frames came before this one, (B, 1, 1)."""
        if not self._seen:
            longest = float(max(self.plan.ring_lengths))
            shape = ("B", 1, 1)
            self._seen = self.graph.input("frames_seen_in", "float32", shape)
            one = self.graph.constant(np.float32(1), "one")
            limit = self.graph.constant(np.float32(longest), "longest_ring")
            more = self.graph.node("Add", [self._seen, one], "frames_seen.more")
            # Counting on is of no use once every ring is full, and float32 would stop at 2^24.
            more = self.graph.node("Min", [more, limit], "frames_seen.next")
            self._written.append(("frames_seen_out", more, "float32", shape))
        return self._seen

    def ring(self, name: str, length: int, newest: str, width: int, dtype: str) -> Ring:
        """The ring `name` of `length` past columns, to which `newest` (B, 1, width) is added."""
        if name not in self._rings:
            shape = ("B", 1 + length, width)
            held = self.graph.input(f"{name}_in", dtype, shape)
            start = self.graph.slice(held, 0, 1, 1, f"{name}.held_first")
            is_first = self._older_than_stream([1], f"{name}.is_first")
            first = self.graph.node("Where", [is_first, newest, start], f"{name}.first")
            kept = self.graph.slice(held, 2, None, 1, f"{name}.kept") if length > 1 else None
            parts = [first, *([kept] if kept else []), newest]
            after = self.graph.node("Concat", parts, f"{name}.next", axis=1)
            self._written.append((f"{name}_out", after, dtype, shape))
            self._rings[name] = Ring(self, name, length, held, first)
        return self._rings[name]

    def write(self) -> None:
        """Name the state outputs; call once, when every network is built."""
        for name, value, dtype, shape in self._written:
            self.graph.output(value, name, dtype, shape)

    def _older_than_stream(self, ages: list[int], hint: str) -> str:
        """(B, len(ages), 1) bool: was the column of that age before the stream's first frame?"""
        limits = np.asarray(ages, np.float32).reshape(1, -1, 1)
        return self.graph.node(
            "Less", [self.seen, self.graph.constant(limits, f"{hint}.ages")], hint
        )


@dataclass
class Ring:
    """One ring within the graph; `first` is the true column of the stream's first frame."""

    state: StreamState
    name: str
    length: int
    held: str
    first: str

    def columns(self, ages: list[int], hint: str) -> str:
        """(B, len(ages), width): the true columns of `ages` frames ago."""
        graph = self.state.graph
        stored = graph.gather(self.held, [1 + self.length - age for age in ages], 1, f"{hint}.held")
        older = self.state._older_than_stream(ages, f"{hint}.older")
        return graph.node("Where", [older, self.first, stored], f"{hint}.past")


def stream_network(
    graph: GraphBuilder,
    prefix: str,
    spec: ModelSpec,
    plan: StreamPlan,
    frame: str,
    state: StreamState,
) -> str:
    """frame (B, 1, J_in*F) float32 -> the answer's column of the top level, (B, C)."""
    current, width = frame, spec.joints_in * spec.features
    at_hand = [Column.TRUE]
    for level, work in enumerate(plan.levels):
        name = f"{prefix}.level{level}"
        columns = list(work.columns)
        length = plan.ring_lengths[level]
        ages = sorted({tap.age for taps in work.columns.values() for tap in taps if tap.age})
        source = current
        if length:
            newest = current
            if len(at_hand) > 1:
                at = at_hand.index(Column.TRUE)
                newest = graph.slice(current, at, at + 1, 1, f"{name}.newest")
            ring_name = f"{prefix}_ring_{level:02d}" if level else "keypoint_ring"
            dtype = inner_dtype(graph, prefix, spec) if level else "float32"
            ring = state.ring(ring_name, length, newest, width, dtype)
            past = ring.columns(ages, name)
            source = graph.node("Concat", [past, current], f"{name}.source", axis=1)
        places = [[_place(tap, ages, at_hand) for tap in work.columns[c]] for c in columns]
        flat = [place for row in places for place in row]
        rows = _pick(graph, source, len(ages) + len(at_hand), flat, f"{name}.taps")
        rows = graph.reshape(rows, (-1, len(places[0]) * width), f"{name}.rows")
        if level == 0:
            h = first_level(graph, prefix, spec, rows, gemm)
        else:
            tap = spec.residual_tap(level) * width
            residual = graph.slice(rows, tap, tap + width, 1, f"{name}.residual")
            h = residual_level(graph, prefix, level, rows, residual, gemm)
        width = spec.channels
        if level + 1 < len(plan.levels):
            current = graph.reshape(h, (-1, len(columns), width), f"{name}.columns")
        at_hand = columns
    # The top level computes the answer's column alone, so its rows are the answers.
    assert at_hand == [plan.answer]
    return h


def _place(tap: Tap, ages: list[int], at_hand: list[Column]) -> int:
    """Where a tap finds its column in a level's source: past columns first, then this frame's."""
    if tap.column is None:
        return ages.index(tap.age)
    return len(ages) + at_hand.index(tap.column)


def _pick(graph: GraphBuilder, source: str, count: int, places: list[int], hint: str) -> str:
    """The columns at `places`; nothing to do where they are all of them, in order."""
    if places == list(range(count)):
        return source
    return graph.gather(source, places, 1, hint)
