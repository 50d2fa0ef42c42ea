"""Levelling, the floor, where people stand, and the view of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pose_samples import STANDING_M, make_poses

from vp3d_deploy.data.h36m import load_h36m
from vp3d_deploy.poses import Poses
from vp3d_deploy.render.stage import View, leveling, set_stage
from vp3d_deploy.skeleton import COCO_17, H36M_17

ANKLES = [H36M_17.index("left_ankle"), H36M_17.index("right_ankle")]


def standing(n_frames: int = 20, n_people: int = 1) -> Poses:
    joints = np.tile(STANDING_M, (n_people, n_frames, 1, 1))
    return Poses(joints, None, np.ones(joints.shape[:3], np.float32), H36M_17, 50.0)


@pytest.mark.parametrize("tilt_deg", [-15, 0, 12])
def test_a_tilted_camera_is_levelled(tilt_deg):
    c, s = math.cos(math.radians(tilt_deg)), math.sin(math.radians(tilt_deg))
    tilt = np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    level = leveling(np.tile(STANDING_M, (10, 1, 1)), H36M_17)
    found = leveling(np.tile(STANDING_M @ tilt.T, (10, 1, 1)), H36M_17)
    np.testing.assert_allclose(found @ tilt, level, rtol=0, atol=1e-6)
    assert np.linalg.det(found) == pytest.approx(1)


def test_nothing_to_level_by():
    """Nobody upright, nobody at all, other skeletons: the camera is taken as level."""
    plain = np.diag([1.0, -1.0, -1.0])
    crouching = STANDING_M.copy()
    crouching[ANKLES] = crouching[[H36M_17.index("left_hip"), H36M_17.index("right_hip")]]
    for joints in (crouching[None], np.full((4, 17, 3), np.nan), np.zeros((4, 17, 3))):
        np.testing.assert_array_equal(leveling(joints, H36M_17), plain)
    np.testing.assert_array_equal(leveling(STANDING_M[None], COCO_17), plain)


def test_levelling_on_real_motion(shared_data):
    """Human3.6M's cameras look down by 11 to 16 degrees; most of that is found in every clip."""
    left_deg, tilt_deg = [], []
    for clip in load_h36m(shared_data / "motion" / "videopose3d", "gt", "test"):
        up = clip.camera.rotation @ [0, 0, 1]
        leveled = leveling(clip.pose_m - clip.pose_m[:, :1], H36M_17) @ up
        left_deg.append(math.degrees(math.acos(min(1.0, leveled[1]))))
        tilt_deg.append(math.degrees(math.acos(-up[1])))
    assert min(tilt_deg) > 10
    assert np.median(left_deg) < 5
    assert max(left_deg) < 10


def test_feet_are_on_the_floor_and_heads_above():
    stage = set_stage(standing(n_people=2))
    heights = stage.joints_m[..., 1]
    np.testing.assert_allclose(heights.min(-1), 0.05, rtol=0, atol=1e-5)
    assert (np.argmax(heights, -1) == H36M_17.index("head")).all()
    # Mirror images would have left and right exchanged: they face the viewer, left at the right.
    assert (stage.joints_m[..., H36M_17.left, 0] > stage.joints_m[..., H36M_17.right, 0]).all()


def test_the_floor_follows_somebody_who_sits_down_and_never_cuts_feet():
    poses = make_poses(120)
    poses.trajectory_m = None
    drop = np.clip((np.arange(120) - 50) / 20, 0, 1)[:, None] * 0.4
    poses.joints_m[:, ANKLES, 1] -= drop.astype(np.float32)
    lowest = set_stage(poses).joints_m[0, ..., 1].min(-1)
    assert lowest.min() > 0.05 - 1e-5
    assert lowest.max() < 0.2


def test_without_trajectory_people_stand_side_by_side():
    stage = set_stage(standing(n_people=3))
    roots = stage.joints_m[:, 0, 0]
    np.testing.assert_allclose(np.diff(roots[:, 0]), 1.15, rtol=0, atol=1e-5)
    np.testing.assert_allclose(stage.target_m[:, [0, 2]], 0, atol=1e-6)


def test_with_trajectory_they_are_where_they_are_and_the_view_follows():
    poses = make_poses(200, n_people=2)
    poses.trajectory_m[:, :, 0, 0] += np.linspace(0, 6, 200, dtype=np.float32)
    stage = set_stage(poses)
    apart = np.linalg.norm(stage.joints_m[1, :, 0] - stage.joints_m[0, :, 0], axis=-1)
    np.testing.assert_allclose(apart, 1.2, atol=0.25)
    walked = stage.joints_m[0, -1, 0, 0] - stage.joints_m[0, 0, 0, 0]
    assert walked == pytest.approx(6, abs=0.1)
    assert stage.target_m[150, 0] - stage.target_m[50, 0] == pytest.approx(3, abs=0.1)
    assert 0.5 < stage.radius_m < 1.5


def test_missing_people_leave_no_trace():
    poses = make_poses(30, n_people=2)
    poses.joints_m[0, :10] = np.nan
    poses.trajectory_m[0, :10] = np.nan
    poses.joints_m[1] = np.nan
    poses.trajectory_m[1] = np.nan
    stage = set_stage(poses)
    assert np.isnan(stage.joints_m[1]).all()
    assert np.isfinite(stage.joints_m[0, 10:]).all()
    assert np.isfinite(stage.target_m).all()
    poses.joints_m[:] = np.nan
    empty = set_stage(poses)
    assert np.isfinite(empty.target_m).all()
    assert empty.radius_m == 1.0


def test_view_projects_like_a_camera_in_front():
    view = View(np.array([0.0, 1.0, 0.0]), 4.0, 0.0, 0.0, 800.0, (320.0, 240.0))
    pixels, depth = view.project(np.array([[0.0, 1, 0], [1, 1, 0], [0, 2, 0], [0, 1, 2]]))
    expected = [[320, 240], [520, 240], [320, 40], [320, 240]]
    np.testing.assert_allclose(pixels, expected, atol=1e-9)
    np.testing.assert_allclose(depth, [4, 4, 4, 2])


def test_view_from_the_right_and_above():
    target = np.zeros(3)
    right = View(target, 4.0, math.pi / 2, 0.0, 800.0, (0.0, 0.0))
    pixels, depth = right.project(np.array([[1.0, 0, 0], [0, 0, 1]]))
    np.testing.assert_allclose(depth, [3, 4], atol=1e-12)
    np.testing.assert_allclose(pixels, [[0, 0], [-200, 0]], atol=1e-9)
    above = View(target, 4.0, 0.0, math.pi / 2, 800.0, (0.0, 0.0))
    pixels, depth = above.project(np.array([[0.0, 1, 0], [0, 0, 1]]))
    np.testing.assert_allclose(depth, [3, 4], atol=1e-12)
    np.testing.assert_allclose(pixels, [[0, 0], [0, 200]], atol=1e-9)
