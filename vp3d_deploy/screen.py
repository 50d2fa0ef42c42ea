"""An image and its surroundings: pixels to screen units, and which of them are credible.

**Not observed** is a joint with a coordinate that is NaN, infinite, or more than `OUTSIDE` image
sizes outside the image, or with a score that is zero, negative or not finite. Everything else is
observed.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vp3d_deploy.camera import normalize_screen

# Detectors do place joints outside the image, about a body's length at most for people cut off by
# its edge; beyond an image's size they are mistakes.
OUTSIDE = 1.0
# Scores are kept as float32: what is zero there is zero. The largest number that rounds to it.
_ZERO_SCORE = 2.0**-150
_FLOAT32 = np.dtype(np.float32)
_FLOAT64 = np.dtype(np.float64)


class _FrameBounds(NamedTuple):
    """What one frame is computed with, as arrays of its own shape and dtype.

    Where they would have to be stretched to it, numpy takes four times as long.
    """

    centre: np.ndarray
    half: np.ndarray
    below: np.ndarray
    above: np.ndarray


class Screen:
    """An image size, and with it which coordinates are credible.

    image_size: (width, height) in pixels, positive. Raises ValueError otherwise.
    """

    __slots__ = ("_bounds", "_limit", "_pixel_bounds", "size")

    def __init__(self, image_size: tuple[float, float]) -> None:
        top_left = normalize_screen(np.zeros(2), image_size)
        self._limit = -(1 + 2 * OUTSIDE) * top_left
        self._bounds: _FrameBounds | None = None
        # What frames are compared with that need not be normalised for it: below, above.
        self._pixel_bounds: tuple[np.ndarray, np.ndarray] | None = None
        self.size = (float(image_size[0]), float(image_size[1]))

    def normalize(self, points_px: np.ndarray) -> np.ndarray:
        """(..., 2) pixels -> (..., 2) normalised screen units, a new array."""
        return normalize_screen(points_px, self.size)

    def observed(self, points: np.ndarray, scores: np.ndarray | None) -> np.ndarray:
        """Which joints count as seen: bool (..., J).

        points: (..., J, 2) normalised screen units. scores: (..., J) or None.
        """
        # NaN compares false with everything.
        seen: np.ndarray = (np.abs(points) <= self._limit).all(-1)
        if scores is not None:
            seen &= (scores > _ZERO_SCORE) & (scores < np.inf)
        return seen

    def frame(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """`normalize` and `observed` of one frame, for live streams: the same results, sooner.

        pixels: (N, J, 2) pixels, or (N, J, 3) with scores.
        Returns a new array of that shape, the points in normalised screen units, and which joints
        are seen: bool (N, J), or None where all of them are.
        """
        if pixels.dtype != _FLOAT32:
            pixels = pixels.astype(_FLOAT64, copy=False)
        bounds = self._bounds
        if (
            bounds is None
            or bounds.centre.shape != pixels.shape
            or bounds.centre.dtype != pixels.dtype
        ):
            bounds = self._bounds = self._frame_bounds(pixels.shape, pixels.dtype)
        values = np.subtract(pixels, bounds.centre)
        np.divide(values, bounds.half, out=values)
        within = np.greater(values, bounds.below)
        np.logical_and(within, np.less(values, bounds.above), out=within)
        complete = np.count_nonzero(within) == within.size
        return values, None if complete else np.logical_and.reduce(within, axis=-1)

    def all_seen(self, pixels: np.ndarray) -> bool:
        """Whether `frame` would say that all joints are seen, of frames in float32 or float64."""
        bounds = self._pixel_bounds
        if bounds is None or bounds[0].shape != pixels.shape or bounds[0].dtype != pixels.dtype:
            bounds = self._pixel_bounds = self._bounds_in_pixels(pixels.shape, pixels.dtype)
        within = np.greater(pixels, bounds[0])
        np.logical_and(within, np.less(pixels, bounds[1]), out=within)
        return np.count_nonzero(within) == within.size

    def limit(self, points: np.ndarray) -> np.ndarray:
        """Points moved to the edge of what is credible, for joints that were carried along."""
        # Twice as fast as np.clip on arrays this small.
        return np.minimum(np.maximum(points, -self._limit), self._limit)

    def _bounds_in_pixels(
        self, shape: tuple[int, ...], dtype: np.dtype
    ) -> tuple[np.ndarray, np.ndarray]:
        """The pixels that normalising rounds to the bounds of normalised units, or just beyond."""
        centre, half, below, above = self._frame_bounds((shape[-1],), dtype)

        def first_beyond(bound: np.ndarray, to: float) -> np.ndarray:
            """Of each column, from the inside on; normalised pixels grow with pixels."""
            outer = dtype.type(to)
            pixels = np.nextafter(bound * half + centre, outer)
            while True:
                inner = np.nextafter(pixels, -outer)
                beyond = (inner - centre) / half * np.sign(outer) >= bound * np.sign(outer)
                if not beyond.any():
                    break
                pixels = np.where(beyond, inner, pixels)
            while True:
                within = (pixels - centre) / half * np.sign(outer) < bound * np.sign(outer)
                if not within.any():
                    return pixels
                pixels = np.where(within, np.nextafter(pixels, outer), pixels)

        below, above = first_beyond(below, -np.inf), first_beyond(above, np.inf)
        return np.broadcast_to(below, shape).copy(), np.broadcast_to(above, shape).copy()

    def _frame_bounds(self, shape: tuple[int, ...], dtype: np.dtype) -> _FrameBounds:
        """Bounds for frames (N, J, 2|3); a third column passes as it is, if it is a score."""
        width, height = self.size
        above = _next_above(self._limit, dtype)
        columns = (
            (width / 2, height / 2, 0.0),
            (width / 2, width / 2, 1.0),
            (*-above, _ZERO_SCORE),
            (*above, np.inf),
        )
        return _FrameBounds(*(np.full(shape, row[: shape[-1]], dtype) for row in columns))


def _next_above(limit: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """The smallest numbers of `dtype` that are larger than the float64 `limit`."""
    rounded = limit.astype(dtype)
    return np.where(rounded > limit, rounded, np.nextafter(rounded, dtype.type(np.inf)))
