"""Mirror images of keypoints and poses."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.mirror import check_sides, mirrored
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton, SkeletonError

UNNAMED = Skeleton("unnamed2", ("a", "b"), (-1, 0), (), ())
ONE = Skeleton("root", ("pelvis",), (-1,), (), ())


@pytest.mark.parametrize("size", [2, 3])
def test_sides_change_places_and_x_its_sign(size: int) -> None:
    points = np.random.default_rng(0).normal(0, 1, (3, 17, size)).astype(np.float32)
    before = points.copy()
    once = mirrored(points, H36M_17)
    assert once.dtype == np.float32
    signs = np.float32([-1, 1, 1])[:size]
    hips = H36M_17.index("right_hip"), H36M_17.index("left_hip")
    np.testing.assert_array_equal(once[:, hips[0]], points[:, hips[1]] * signs)
    np.testing.assert_array_equal(once[:, 0], points[:, 0] * signs)
    np.testing.assert_array_equal(mirrored(once, H36M_17), points)
    np.testing.assert_array_equal(points, before)


def test_skeletons_must_know_their_sides() -> None:
    check_sides(H36M_17, COCO_17, ONE)
    with pytest.raises(SkeletonError, match="unnamed2.*does not say"):
        check_sides(H36M_17, UNNAMED)
