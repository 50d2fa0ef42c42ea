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
        # What the network would have been shown of them at the last frame: input, confidence. The
        # input is None where it was pixels.
        self._previous: tuple[np.ndarray | None, np.ndarray] | None = None

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
        n_before = len(self._people)
        on_frame = bool(steps) and steps[-1][1] == 1.0
        between = steps[:-1] if on_frame else steps
        before = self._shown_before() if between else None
        as_pixels = on_frame and not between and self._rows.takes_pixels
        inputs, confidence, are_pixels = self._observe(frames, screen, elapsed_s, as_pixels)
        answers: list[Answer] = []
        for index, weight in between:
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
            size = screen.size if are_pixels else None
            answers += self._rows.step(steps[-1][0], self._people, inputs, confidence, size)
        self._previous = None if are_pixels else inputs, confidence
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
            if self._previous is not None and len(self._previous[1]) == len(kept):
                inputs, confidence = self._previous
                self._previous = None if inputs is None else inputs[kept], confidence[kept]
        return gone

    def _shown_before(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Input, in normalised screen units, and confidence of the last frame."""
        if self._previous is None:
            return None
        inputs, confidence = self._previous
        if inputs is None:
            inputs, _ = self._network_input(self._observer.points, self._observer.scores)
        return inputs, confidence

    def _observe(
        self, frames: Mapping[Any, np.ndarray], screen: Screen, elapsed_s: float, as_pixels: bool
    ) -> tuple[np.ndarray, np.ndarray, bool]:
        """What the network is to be shown of everyone now: input and confidence, one row each, and
        whether the input is pixels.

        People who are seen for the first time are appended. as_pixels: the input may be pixels,
        which it is where everyone is seen from head to foot, and was in the frame before.
        """
        followed = [row.track_id for row in self._people]
        known = set(followed)
        new = [track_id for track_id in frames if track_id not in known]
        arrays = [*map(frames.get, followed), *map(frames.get, new)]
        pixels = self._gathered(arrays)
        if (
            as_pixels
            and (self._observer.complete or not self._people)
            and _all_seen(pixels, screen)
        ):
            return *self._take_pixels(new, pixels, screen), True
        values, seen = screen.frame(pixels)
        if new:
            values, seen = self._admit(new, values, seen)
        scores = values[..., 2] if values.shape[2] == 3 else None
        points, confidence = self._observer.update(values[..., :2], scores, seen, screen, elapsed_s)
        return *self._network_input(points, confidence), False

    def _take_pixels(
        self, new: list[Any], pixels: np.ndarray, screen: Screen
    ) -> tuple[np.ndarray, np.ndarray]:
        """`_observe` of a frame in which everyone is seen from head to foot: its pixels, which are
        normalised here only if a later frame is not so."""
        own = np.array(pixels, np.float32)  # the caller may use theirs again
        if new:
            self._admit(new, own, None)
        scores = own[..., 2] if own.shape[2] == 3 else None
        confidence = self._observer.update_complete(lambda: screen.frame(own)[0][..., :2], scores)
        return self._network_input(own[..., :2], confidence)

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


def _all_seen(pixels: np.ndarray, screen: Screen) -> bool:
    return screen.all_seen(pixels if pixels.dtype == np.float32 else pixels.astype(np.float64))


_NOBODY = (np.zeros((0, 0, 0), np.float32), np.zeros((0, 0), np.float32))
