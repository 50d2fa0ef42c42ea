"""Engines whose live streams take pixels and make what the network reads of them by themselves."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from vp3d_deploy.engines.base import StreamEngine
from vp3d_deploy.skeleton import Skeleton


@runtime_checkable
class PixelStream(StreamEngine, Protocol):
    """A `StreamEngine` whose `step` takes (n_rows, J, F) float32 keypoints of the skeleton that it
    was opened for, in pixels, finite; F = 3 with a confidence.

    Rows that were just added are read in normalised screen units, as without an image size.
    """

    def set_image_size(self, rows: list[int], image_size: tuple[float, float] | None) -> None:
        """From the next step on these rows are pixels of an image (width, height); None: they are
        normalised screen units."""
        ...


@runtime_checkable
class PixelEngine(Protocol):
    """An `Engine` that has such streams."""

    def open_pixel_stream(self, lag: int, skeleton: Skeleton) -> PixelStream:
        """Streams whose answers trail by `lag` frames, of keypoints of this skeleton.

        Raises SkeletonError where it cannot become the network's, ValueError for a lag not at hand.
        """
        ...
