"""People as seen in a mirror."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.skeleton import Skeleton, SkeletonError

MIRROR_X = np.array([-1, 1, 1], np.float32)


def mirrored(points: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(..., J, 2 or 3) as seen in a mirror: x changes its sign, left and right their places.

    points: centred on the image's middle or the body's root; a score in the place of z is kept.
    Returns a new array of the same shape, float32 for float32.
    """
    swapped = points.take(skeleton.flip_order, axis=-2)
    return swapped * MIRROR_X[: points.shape[-1]]


def check_sides(*skeletons: Skeleton) -> None:
    """Raises SkeletonError for a skeleton that does not say what is left and what is right."""
    for skeleton in skeletons:
        if not skeleton.left and skeleton.n_joints > 1:
            raise SkeletonError(
                f"flipping needs to know which joints are left and right, and skeleton "
                f"{skeleton.name!r} does not say; go without"
            )
