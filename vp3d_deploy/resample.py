"""Between the frame rate of a camera and that of a network.

A network knows motion as steps of one frame at the rate it was trained with (Human3.6M: 50 per
second). Frames that come at another rate are therefore interpolated, linearly in time.
"""

from __future__ import annotations

import math

import numpy as np

from vp3d_deploy.keypoints import KeypointsError

# Nothing can be said about motion between frames that are further apart than this.
MAX_GAP_S = 0.5
# Frames this close to a point of the grid, as a fraction of its spacing, count as on it: a
# camera's clock wobbles by more, and nobody moves in that time.
_ON_GRID = 1e-3


def n_resampled(n_frames: int, from_fps: float, to_fps: float) -> int:
    """Frames at `to_fps` that cover a clip of `n_frames` frames at `from_fps`, its end included."""
    return math.ceil((n_frames - 1) * to_fps / from_fps - _ON_GRID) + 1


def resample(values: np.ndarray, from_fps: float, to_fps: float, n_frames: int) -> np.ndarray:
    """Interpolate along time: frame i of the result is the value at i / to_fps seconds.

    values: (N, T, ...) floats at `from_fps`, T >= 1. Returns (N, n_frames, ...), the same dtype;
    past the end the last value stays.
    """
    last = values.shape[1] - 1
    position = np.minimum(np.arange(n_frames) * (from_fps / to_fps), last)
    before = position.astype(np.int64)
    after = np.minimum(before + 1, last)
    weight = (position - before).astype(values.dtype)
    weight = weight.reshape(1, n_frames, *(1,) * (values.ndim - 2))
    return values[:, before] * (1 - weight) + values[:, after] * weight


class FrameGrid:
    """Which points of a regular grid in time each arriving frame reaches.

    The grid begins with the first frame, at `origin_s`, and has a spacing of 1 / fps.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self.origin_s: float | None = None
        self._last_s = 0.0
        self._next = 0

    def check(self, time_s: float) -> None:
        """Raises KeypointsError if a frame at `time_s` is not later than the one before."""
        if self.origin_s is not None and time_s <= self._last_s:
            raise KeypointsError(
                f"timestamp_s is {time_s!r} after {self._last_s!r}; times must increase from frame "
                "to frame (reset() begins a new recording)"
            )

    def elapsed_s(self, time_s: float) -> float:
        """Time since the last frame, 0 for the first."""
        return 0.0 if self.origin_s is None else time_s - self._last_s

    def advance(self, time_s: float) -> list[tuple[int, float]]:
        """Take the next frame, for which `check` has passed.

        Returns (index, weight) for every point of the grid after the frame before, up to this
        one: the value there is weight * this frame + (1 - weight) * the frame before, 0 <= weight
        <= 1. Weight is 1 exactly for a point at this frame. Points within a gap of more than
        MAX_GAP_S are left out.
        """
        if self.origin_s is None:
            self.origin_s = time_s
        elapsed_s = time_s - self._last_s
        # A division per frame would make the grid drift from origin + index / fps.
        reached = math.floor((time_s - self.origin_s) * self._fps + _ON_GRID)
        on_grid = abs((time_s - self.origin_s) * self._fps - reached) <= _ON_GRID
        if elapsed_s > MAX_GAP_S or self._next == 0:
            points = [(reached, 1.0)] if on_grid and reached >= self._next else []
        else:
            points = [
                (index, self._weight(index, elapsed_s)) for index in range(self._next, reached)
            ]
            if reached >= self._next:
                points.append((reached, 1.0 if on_grid else self._weight(reached, elapsed_s)))
        self._next = reached + 1
        self._last_s = time_s
        return points

    def _weight(self, index: int, elapsed_s: float) -> float:
        assert self.origin_s is not None
        at_s = self.origin_s + index / self._fps - self._last_s
        return min(max(at_s / elapsed_s, 0.0), 1.0)
