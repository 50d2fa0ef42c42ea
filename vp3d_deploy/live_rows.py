"""The rows of a stream engine: who is in which, and which answer belongs to which frame."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

from vp3d_deploy.engines.base import StreamEngine


class Row:
    """One person's row of the engine, from their first frame until their last answer is out."""

    __slots__ = ("ended", "pending", "position", "steps", "track_id")

    def __init__(self, track_id: int | str | None) -> None:
        self.track_id = track_id
        self.position = -1  # in the engine; -1 before the first step
        self.steps = 0
        self.ended = False
        # Frames shown and not answered yet: index and confidence (J_out,).
        self.pending: deque[tuple[int, np.ndarray]] = deque()


class Answer(NamedTuple):
    """What the network says of one person in one frame; arrays are copies."""

    track_id: int | str | None
    frame_index: int
    joints_m: np.ndarray  # (J_out, 3)
    trajectory_m: np.ndarray | None  # (1, 3)
    confidence: np.ndarray  # (J_out,)


class LiveRows:
    """Feeds a stream engine with people who come and go.

    A person who ends is not shown anything new: their last frame is repeated until the `lag`
    answers that are still out have come, then their row is removed.
    """

    def __init__(self, engine: StreamEngine, lag: int, joints_in: int, features: int) -> None:
        self._engine = engine
        self._lag = lag
        self._rows: list[Row] = []
        self._inputs = np.zeros((0, joints_in, features), np.float32)

    def __len__(self) -> int:
        return len(self._rows)

    def step(
        self, frame_index: int, people: list[Row], inputs: np.ndarray, confidence: np.ndarray
    ) -> list[Answer]:
        """Show one frame to `people`, who have not ended, and its last one again to everyone else.

        People seen for the first time get a row. inputs: (len(people), J_in, F) normalised screen
        units, finite. confidence: (len(people), J_out) float32, kept. Returns the answers that
        came out, for frames `lag` steps ago.
        """
        self._admit([row for row in people if row.position < 0])
        if not self._rows:
            return []
        if len(people) == len(self._rows):  # then both are in order of arrival
            self._inputs[...] = inputs
        elif people:
            self._inputs[[row.position for row in people]] = inputs
        output = self._engine.step(self._inputs)
        for row, trust in zip(people, confidence, strict=True):
            row.pending.append((frame_index, trust))
        answers, finished = [], False
        for row in self._rows:
            row.steps += 1
            if row.steps > self._lag:
                index, trust = row.pending.popleft()
                joints = output.pose[row.position].copy()
                trajectory = None
                if output.trajectory is not None:
                    trajectory = output.trajectory[row.position].copy()
                answers.append(Answer(row.track_id, index, joints, trajectory, trust))
            finished |= row.ended and not row.pending
        if finished:
            self._remove([row for row in self._rows if row.ended and not row.pending])
        return answers

    def end(self, people: list[Row]) -> None:
        """These people are gone; their answers that are still out keep coming."""
        for row in people:
            row.ended = True
        self._remove([row for row in people if row.position >= 0 and not row.pending])

    def end_all(self) -> None:
        """Everyone is gone."""
        self.end(list(self._rows))

    def forget(self, track_id: int | str | None) -> None:
        """Remove a person's rows at once; answers that are still out never come."""
        self._remove([row for row in self._rows if row.track_id == track_id])

    def clear(self) -> None:
        """Remove everyone at once, whatever state the engine is in."""
        self._rows = []
        self._inputs = self._inputs[:0]
        self._engine.remove_rows(list(range(self._engine.n_rows)))

    def _admit(self, new: list[Row]) -> None:
        if not new:
            return
        self._engine.add_rows(len(new))
        for row in new:
            row.position = len(self._rows)
            self._rows.append(row)
        room = np.zeros((len(new), *self._inputs.shape[1:]), np.float32)
        self._inputs = np.concatenate([self._inputs, room])

    def _remove(self, gone: list[Row]) -> None:
        if not gone:
            return
        positions = sorted(row.position for row in gone)
        self._engine.remove_rows(positions)
        self._inputs = np.delete(self._inputs, positions, axis=0)
        for row in gone:
            row.position = -1
        self._rows = [row for row in self._rows if row.position >= 0]
        for position, row in enumerate(self._rows):
            row.position = position
