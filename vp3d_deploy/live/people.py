"""The people of a live stream, from pixels to answers: observed, interpolated, stepped, let go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vp3d_deploy.live.rows import Answer, LiveRows, Row
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.observe import Observer, anyone
from vp3d_deploy.screen import Screen


class LivePeople:
    """Everyone in front of the camera, and those whose last answers are still to come."""

    def __init__(self, observer: Observer, network_input: NetworkInput, rows: LiveRows) -> None:
        self._observer = observer
        self._network_input = network_input
        self._rows = rows
        self._people: list[Row] = []  # in the order of the observer's rows
        # What the network would have been shown of them at the last frame: input, confidence.
        self._previous: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def track_ids(self) -> tuple[Any, ...]:
        """Those who are followed, held ones included."""
        return tuple(row.track_id for row in self._people)

    def advance(
        self,
        frames: Mapping[Any, np.ndarray],
        screen: Screen,
        elapsed_s: float,
        steps: list[tuple[int, float]],
    ) -> list[Answer]:
        """One frame of the camera; the network takes `steps`, from `FrameGrid.advance`.

        frames: (J, 2|3) pixels and perhaps scores by track id, checked. elapsed_s: since the
        frame before. Returns the answers that came out, for each person in order of time.
        """
        before, n_before = self._previous, len(self._people)
        inputs, confidence = self._observe(frames, screen, elapsed_s)
        answers: list[Answer] = []
        on_frame = bool(steps) and steps[-1][1] == 1.0
        for index, weight in steps[:-1] if on_frame else steps:
            # Someone who is new in this frame begins with the next point of the grid.
            blends = tuple(
                old * (1 - weight) + new[:n_before] * weight
                for old, new in zip(before or (), (inputs, confidence), strict=False)
            )
            answers += self._rows.step(index, self._people[:n_before], *(blends or _NOBODY))
        if not self._observer.complete:  # else everyone is seen, and nobody has faded
            alive = anyone(confidence)
            if not alive.all():
                self._rows.end(self._keep(alive))
                inputs, confidence = inputs[alive], confidence[alive]
        if on_frame:
            answers += self._rows.step(steps[-1][0], self._people, inputs, confidence)
        self._previous = inputs, confidence
        return answers

    def end_all(self) -> None:
        """Everyone is gone; answers that are still out keep coming."""
        self._keep(np.zeros(len(self._people), bool))
        self._rows.end_all()

    def flush(self) -> list[Answer]:
        """Everyone is gone, and these are the answers that were still out."""
        self.end_all()
        answers: list[Answer] = []
        while len(self._rows):
            answers += self._rows.step(-1, [], *_NOBODY)
        return answers

    def forget(self, track_id: Any) -> None:
        """Remove one person and all their answers that are still out."""
        self._keep(np.array([row.track_id != track_id for row in self._people], bool))
        self._rows.forget(track_id)

    def clear(self) -> None:
        """Remove everyone and all answers that are still out."""
        self._keep(np.zeros(len(self._people), bool))
        self._rows.clear()

    def _keep(self, kept: np.ndarray) -> list[Row]:
        """Follow only these people (bool mask) from now on. Returns the others."""
        gone = [row for row, stays in zip(self._people, kept, strict=True) if not stays]
        if gone:
            self._people = [row for row, stays in zip(self._people, kept, strict=True) if stays]
            self._observer.keep(kept)
            if self._previous is not None and len(self._previous[0]) == len(kept):
                self._previous = self._previous[0][kept], self._previous[1][kept]
        return gone

    def _observe(
        self, frames: Mapping[Any, np.ndarray], screen: Screen, elapsed_s: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """What the network is to be shown of everyone now: input and confidence, one row each.

        People who are seen for the first time are appended.
        """
        followed = [row.track_id for row in self._people]
        known = set(followed)
        new = [track_id for track_id in frames if track_id not in known]
        arrays = [*map(frames.get, followed), *map(frames.get, new)]
        values, seen = screen.frame(self._gathered(arrays))
        if new:
            values, seen = self._admit(new, values, seen)
        scores = values[..., 2] if values.shape[2] == 3 else None
        points, confidence = self._observer.update(values[..., :2], scores, seen, screen, elapsed_s)
        return self._network_input(points, confidence)

    def _admit(
        self, new: list[Any], values: np.ndarray, seen: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """Follow those of the new people, the last rows, of whom anything is seen.

        Returns `values` and `seen` without the rows of the others.
        """
        if seen is not None:
            n_known = len(self._people)
            begins = anyone(seen)
            begins[:n_known] = True
            new = [own for own, begun in zip(new, begins[n_known:], strict=True) if begun]
            values, seen = values[begins], seen[begins]
        self._people += [Row(track_id) for track_id in new]
        self._observer.add(len(new))
        return values, seen

    def _gathered(self, arrays: list[np.ndarray | None]) -> np.ndarray:
        """(N, J, 2) pixels, NaN for who is absent; or (N, J, 3) with scores if anyone has them."""
        if len(arrays) == 1 and arrays[0] is not None:
            return arrays[0][None]
        n_joints = self._observer.n_joints
        here = [array for array in arrays if array is not None]
        widths = {array.shape[1] for array in here}
        if len(here) == len(arrays) and len(widths) == 1:
            together = np.concatenate(here, dtype=np.float64)
            return together.reshape(len(here), n_joints, -1)
        columns = max(widths, default=2)
        pixels = np.full((len(arrays), n_joints, columns), np.nan)
        pixels[..., 2:] = 1
        for row, array in enumerate(arrays):
            if array is not None:
                pixels[row, :, : array.shape[1]] = array
        return pixels


_NOBODY = (np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32))
