"""The rows of a stream engine: who is in which, and which answer belongs to which frame."""

from __future__ import annotations

from collections import deque

import numpy as np

from vp3d_deploy.engines.base import Output, StreamEngine
from vp3d_deploy.engines.pixels import PixelStream
from vp3d_deploy.poses import Poses, trusted_poses
from vp3d_deploy.skeleton import Skeleton

# No image's: where some rows have not been told of theirs.
_UNTOLD = (-1.0, -1.0)

# What the network says of one person in one frame, T = 1; the arrays are the caller's own.
Answer = tuple[int | str | None, Poses]


class Row:
    """One person's row of the engine, from their first frame until their last answer is out."""

    __slots__ = ("ended", "pending", "position", "steps", "track_id")

    def __init__(self, track_id: int | str | None) -> None:
        self.track_id = track_id
        self.position = -1  # in the engine; -1 before the first step
        self.steps = 0
        self.ended = False
        # Frames shown and not answered yet: index (1,) and confidence (1, J_out), neither its own.
        self.pending: deque[tuple[np.ndarray, np.ndarray]] = deque()


class LiveRows:
    """Feeds a stream engine with people who come and go.

    A person who ends is not shown anything new: their last frame is repeated until the `lag`
    answers that are still out have come, then their row is removed.
    """

    def __init__(
        self,
        engine: StreamEngine,
        lag: int,
        shape_in: tuple[int, int],
        skeleton_out: Skeleton,
        fps: float,
    ) -> None:
        """shape_in: (J_in, F); where the engine takes pixels, of the joints that come in.
        skeleton_out, fps: of the answers."""
        self._engine = engine
        self._lag = lag
        self._skeleton_out = skeleton_out
        self._fps = fps
        self._rows: list[Row] = []
        self._inputs = np.zeros((0, *shape_in), np.float32)
        self._pixels = engine if isinstance(engine, PixelStream) else None
        # What the engine takes the inputs of all who have not ended for.
        self._image_size: tuple[float, float] | None = None

    @property
    def takes_pixels(self) -> bool:
        """Whether inputs may be pixels, of the joints that come in."""
        return self._pixels is not None

    def __len__(self) -> int:
        return len(self._rows)

    def step(
        self,
        frame_index: int,
        people: list[Row],
        inputs: np.ndarray,
        confidence: np.ndarray,
        image_size: tuple[float, float] | None = None,
    ) -> list[Answer]:
        """Show one frame to `people`, who have not ended, and its last one again to everyone else.

        People seen for the first time get a row. inputs: (len(people), J_in, F) normalised screen
        units, finite; or pixels of an image of `image_size`, which `takes_pixels` allows.
        confidence: (len(people), J_out) float32, kept. Returns the answers that came out, for
        frames `lag` steps ago.
        """
        if people and people[-1].position < 0:  # who is new comes last
            self._admit([row for row in people if row.position < 0])
        if not self._rows:
            return []
        if len(people) == len(self._rows):  # then both are in order of arrival
            self._inputs[...] = inputs
        elif people:
            self._inputs[[row.position for row in people]] = inputs
        if self._pixels is not None and people:
            self._tell_size(self._pixels, people, image_size)
        output = self._engine.step(self._inputs)
        frame = np.array([frame_index], np.int64)
        for index, row in enumerate(people):
            row.pending.append((frame, confidence[index : index + 1]))
        answers, finished = [], False
        for row in self._rows:
            row.steps += 1
            if row.steps > self._lag:
                answers.append((row.track_id, self._answer(row, output)))
            if row.ended and not row.pending:
                finished = True
        if finished:
            self._remove([row for row in self._rows if row.ended and not row.pending])
        return answers

    def _tell_size(
        self, engine: PixelStream, people: list[Row], image_size: tuple[float, float] | None
    ) -> None:
        """Who has ended keeps theirs, with their last frame."""
        if self._image_size != image_size:
            engine.set_image_size([row.position for row in people], image_size)
            self._image_size = image_size

    def _answer(self, row: Row, output: Output) -> Poses:
        """A row's answer of this step; the engine's arrays live until the next one only."""
        frame, trust = row.pending.popleft()
        own = slice(row.position, row.position + 1)
        root = output.trajectory
        return trusted_poses(
            output.pose[own].copy(),
            None if root is None else root[own].copy(),
            trust.copy(),
            self._skeleton_out,
            self._fps,
            frame.copy(),
        )

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
        self._image_size = None
        self._engine.remove_rows(list(range(self._engine.n_rows)))

    def _admit(self, new: list[Row]) -> None:
        self._engine.add_rows(len(new))
        for row in new:
            row.position = len(self._rows)
            self._rows.append(row)
        if self._image_size is not None:
            self._image_size = _UNTOLD  # new rows have none
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
