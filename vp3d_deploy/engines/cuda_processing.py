"""What the GPU does around the network, so that pixels go up and positions come down.

The same as camera.py, network_input.py and poses.py do in Python (kernels/cuda/processing.hpp), for
applications that have so many people that this is what takes them time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.camera import Camera
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.skeleton_conversion import parts_of_joints

# Of a View (kernels/cuda/processing.hpp): centre, half, a filler, rotation, position.
VIEW_FLOATS = 16


@dataclass(frozen=True)
class Processing:
    """skeleton: that of incoming keypoints, which are pixels, or pixels and scores where the
    network reads 3 values per joint; None where they are what the network reads.
    trajectory: the root's position is added to the joints: camera frame, no longer root-relative.
    world: positions are in the world, metres, by each view's camera; with `trajectory` alone.
    """

    skeleton: Skeleton | None = None
    trajectory: bool = False
    world: bool = False

    @property
    def needs_views(self) -> bool:
        return self.skeleton is not None or self.world


@dataclass(frozen=True)
class View:
    """Where a person is seen: an image of this size (width, height), in pixels, or None where
    keypoints are in normalised screen units already; and its camera, of which rotation and position
    are used: without one the world is the camera's own frame."""

    image_size: tuple[float, float] | None
    camera: Camera | None = None

    def numbers(self) -> np.ndarray:
        """(VIEW_FLOATS,) float32, as the kernels read it."""
        centre, half = (0.0, 0.0), 1.0
        if self.image_size is not None:
            width, height = self.image_size
            if not (width > 0 and height > 0):
                raise ValueError(f"an image of {width} x {height} pixels; sizes are positive")
            centre, half = (width / 2, height / 2), width / 2
        rotation, position = np.eye(3), np.zeros(3)
        if self.camera is not None:
            rotation, position = self.camera.rotation, self.camera.position_m
        numbers = [*centre, half, 0, *rotation.ravel(), *position]
        return np.array(numbers, np.float32)


class Tables(NamedTuple):
    """A Processing in the terms of one bundle, for the native module.

    joints, shares: (J_in, K) int32 and float32: what each joint that the network reads is made of.
    """

    joints_seen: int
    joints: np.ndarray
    shares: np.ndarray
    add_trajectory: bool
    to_world: bool


def tables(processing: Processing, bundle: Bundle) -> Tables:
    """Raises SkeletonError where the skeleton cannot become the network's, ValueError for positions
    that nothing in the bundle says."""
    if processing.trajectory and not bundle.has_trajectory:
        raise ValueError(
            f"{bundle.path} has no trajectory network, so that nothing says where people are"
        )
    if processing.world and not processing.trajectory:
        raise ValueError("positions in the world follow from the trajectory: ask for it too")
    seen, joints, shares = 0, np.zeros((0, 1)), np.zeros((0, 1))
    if processing.skeleton is not None:
        seen = processing.skeleton.n_joints
        joints, shares = parts_of_joints(processing.skeleton, bundle.skeleton_in)
    return Tables(
        seen,
        np.ascontiguousarray(joints, np.int32),
        np.ascontiguousarray(shares, np.float32),
        processing.trajectory,
        processing.world,
    )


def numbers_of_views(views: Sequence[View]) -> np.ndarray:
    """(n, VIEW_FLOATS) float32."""
    return np.array([view.numbers() for view in views], np.float32).reshape(-1, VIEW_FLOATS)
