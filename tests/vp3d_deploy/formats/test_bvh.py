"""BVH files, read back by an independent reader and forward kinematics."""

from __future__ import annotations

import numpy as np
import pytest
from bvh_reader import Bvh, read_bvh
from pose_samples import STANDING_M, make_poses

from vp3d_deploy.poses import Poses
from vp3d_deploy.skeleton import COCO_17, H36M_17, HALPE_26, OPENPOSE_25, Skeleton

# Angles are written to 1e-6 degrees, 1.7e-8 rad, and add up along a chain of at most ten joints.
ANGLE_TOLERANCE_RAD = 5e-7
# Offsets are written to 1e-6 cm.
LENGTH_TOLERANCE_CM = 2e-5


def to_bvh_axes(points_m: np.ndarray) -> np.ndarray:
    return points_m.astype(np.float64) * [1, -1, -1] * 100


def joint_positions(bvh: Bvh, skeleton: Skeleton) -> np.ndarray:
    return bvh.positions()[:, [bvh.index(name) for name in skeleton.joints]]


def bones(positions: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(T, J-1, 3) from parent to child."""
    pairs = [(parent, child) for child, parent in enumerate(skeleton.parents) if parent >= 0]
    return np.stack([positions[:, child] - positions[:, parent] for parent, child in pairs], axis=1)


def angles(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Angles between vectors, precise for small ones (unlike the arc cosine)."""
    return 2 * np.arctan2(
        np.linalg.norm(a / np.linalg.norm(a, axis=-1, keepdims=True)
                       - b / np.linalg.norm(b, axis=-1, keepdims=True), axis=-1),
        np.linalg.norm(a / np.linalg.norm(a, axis=-1, keepdims=True)
                       + b / np.linalg.norm(b, axis=-1, keepdims=True), axis=-1),
    )  # fmt: skip


def single(joints: np.ndarray, skeleton: Skeleton = H36M_17, fps: float | None = 50.0) -> Poses:
    joints = joints.astype(np.float32)
    return Poses(joints, None, np.ones(joints.shape[:2], np.float32), skeleton, fps)


@pytest.mark.parametrize("skeleton", [H36M_17, COCO_17, OPENPOSE_25, HALPE_26])
def test_directions_and_median_lengths(tmp_path, skeleton):
    """Wild random poses: every direction exact, every bone as long as its median."""
    joints = np.random.default_rng(1).normal(0, 1, (80, skeleton.n_joints, 3)).astype(np.float32)
    joints -= joints[:, [skeleton.root]]
    single(joints, skeleton).save(tmp_path / "x.bvh")
    bvh = read_bvh(tmp_path / "x.bvh")
    found = bones(joint_positions(bvh, skeleton), skeleton)
    expected = bones(to_bvh_axes(joints), skeleton)
    assert angles(found, expected).max() < ANGLE_TOLERANCE_RAD
    lengths = np.linalg.norm(found, axis=-1)
    medians = np.median(np.linalg.norm(expected, axis=-1), axis=0)
    np.testing.assert_allclose(lengths, np.tile(medians, (80, 1)), rtol=0, atol=LENGTH_TOLERANCE_CM)


def test_constant_lengths_reproduce_positions_and_trajectory(tmp_path):
    poses = make_poses(40)
    poses.joints_m[:] = STANDING_M  # constant bone lengths
    poses.save(tmp_path / "x.bvh")
    found = joint_positions(read_bvh(tmp_path / "x.bvh"), H36M_17)
    np.testing.assert_allclose(found, to_bvh_axes(poses.absolute_m), rtol=0, atol=1e-3)


def test_t_pose_has_no_rotation_and_faces_forward(tmp_path):
    """Somebody in a T-pose before the camera: all angles zero, left at +x, head up."""
    directions = {
        "right_hip": (-1, 0, 0), "left_hip": (1, 0, 0), "left_shoulder": (1, 0, 0),
        "right_shoulder": (-1, 0, 0), "left_elbow": (1, 0, 0), "left_wrist": (1, 0, 0),
        "right_elbow": (-1, 0, 0), "right_wrist": (-1, 0, 0), "right_knee": (0, 1, 0),
        "right_ankle": (0, 1, 0), "left_knee": (0, 1, 0), "left_ankle": (0, 1, 0),
    }  # fmt: skip
    pose = np.zeros((17, 3))
    for joint, parent in enumerate(H36M_17.parents):
        if parent >= 0:
            step = np.array(directions.get(H36M_17.joints[joint], (0, -1, 0)))
            pose[joint] = pose[parent] + 0.2 * step
    single(np.stack([pose] * 3)).save(tmp_path / "x.bvh")
    bvh = read_bvh(tmp_path / "x.bvh")
    assert np.abs(bvh.motion).max() == 0
    assert bvh.frame_time == pytest.approx(0.02)
    positions = joint_positions(bvh, H36M_17)[0]
    assert positions[H36M_17.index("left_wrist"), 0] == pytest.approx(60)
    assert positions[H36M_17.index("head"), 1] == pytest.approx(80)


def test_hierarchy_names_channels_and_extra_joints(tmp_path):
    make_poses(2).save(tmp_path / "x.bvh")
    bvh = read_bvh(tmp_path / "x.bvh")
    names = [joint.name for joint in bvh.joints]
    assert set(H36M_17.joints) <= set(names)
    extra = sorted(set(names) - set(H36M_17.joints))
    assert extra == [
        "pelvis_left_hip", "pelvis_right_hip", "thorax_left_shoulder", "thorax_right_shoulder"
    ]  # fmt: skip
    assert all(np.all(bvh.joints[names.index(name)].offset == 0) for name in extra)
    rotation = ["Zrotation", "Xrotation", "Yrotation"]
    assert bvh.joints[0].channels == ["Xposition", "Yposition", "Zposition", *rotation]
    assert all(joint.channels == rotation for joint in bvh.joints[1:])
    assert bvh.end_sites == 5


def test_missing_frames_and_joints_hold_the_last_pose(tmp_path):
    poses = make_poses(12)
    whole = Poses(poses.joints_m.copy(), poses.trajectory_m.copy(), poses.confidence, H36M_17, 50.0)
    poses.joints_m[:2] = np.nan
    poses.trajectory_m[:2] = np.nan
    poses.joints_m[6:9] = np.nan
    poses.trajectory_m[6:9] = np.nan
    poses.joints_m[10, H36M_17.index("left_wrist")] = np.nan
    poses.save(tmp_path / "x.bvh")
    bvh = read_bvh(tmp_path / "x.bvh")
    found = bones(joint_positions(bvh, H36M_17), H36M_17)
    source = np.array([2, 2, 2, 3, 4, 5, 5, 5, 5, 9, 10, 11])
    expected = bones(to_bvh_axes(whole.joints_m), H36M_17)[source]
    expected[10, H36M_17.index("left_wrist") - 1] = expected[9, H36M_17.index("left_wrist") - 1]
    assert angles(found, expected).max() < ANGLE_TOLERANCE_RAD
    root = to_bvh_axes(whole.trajectory_m[:, 0])[source]
    np.testing.assert_allclose(bvh.motion[:, :3], root, rtol=0, atol=1e-6)


def test_degenerate_poses_give_finite_files(tmp_path):
    """All joints in one point, on one line, opposite to the T-pose, and never seen at all."""
    line = np.stack([np.zeros((17, 3)), np.outer(np.arange(17), [0, 0.1, 0])])
    opposite = STANDING_M * np.float32([1, -1, 1])
    for name, joints in (
        ("point", np.zeros((3, 17, 3))),
        ("line", line),
        ("opposite", np.stack([opposite, STANDING_M])),
        ("unseen", np.full((2, 17, 3), np.nan)),
        ("empty", np.zeros((0, 17, 3))),
    ):
        single(joints, fps=None).save(tmp_path / f"{name}.bvh")
        bvh = read_bvh(tmp_path / f"{name}.bvh")
        assert np.isfinite(bvh.motion).all(), name
        assert len(bvh.motion) == len(joints)
        assert bvh.frame_time == pytest.approx(1 / 30)
        if name == "line":
            found = bones(joint_positions(bvh, H36M_17), H36M_17)[1]
            expected = bones(to_bvh_axes(joints), H36M_17)[1]
            assert np.abs(np.cross(found, expected)).max() < 1e-3


def test_angles_do_not_jump(tmp_path):
    """Somebody turning about their axis, four times: no channel leaps by half a turn."""
    angle = np.linspace(0, 8 * np.pi, 400)
    zero, one = np.zeros_like(angle), np.ones_like(angle)
    turn = np.array([[np.cos(angle), zero, np.sin(angle)], [zero, one, zero],
                     [-np.sin(angle), zero, np.cos(angle)]])  # fmt: skip
    joints = np.einsum("ijt,kj->tki", turn, STANDING_M)
    single(joints).save(tmp_path / "x.bvh")
    bvh = read_bvh(tmp_path / "x.bvh")
    # The limbs' own rotations stay as they are, the root alone turns.
    assert np.abs(np.diff(bvh.motion[:, :6], axis=0)).max() < 5
    found = bones(joint_positions(bvh, H36M_17), H36M_17)
    assert angles(found, bones(to_bvh_axes(joints), H36M_17)).max() < ANGLE_TOLERANCE_RAD


def test_several_people_get_a_file_each(tmp_path):
    poses = make_poses(3, n_people=3)
    written = poses.save(tmp_path / "walk.bvh")
    assert [path.name for path in written] == ["walk_0.bvh", "walk_1.bvh", "walk_2.bvh"]
    for n, path in enumerate(written):
        found = bones(joint_positions(read_bvh(path), H36M_17), H36M_17)
        expected = bones(to_bvh_axes(poses.joints_m[n]), H36M_17)
        assert angles(found, expected).max() < ANGLE_TOLERANCE_RAD
    assert make_poses(2, n_people=1).save(tmp_path / "one.bvh") == (tmp_path / "one.bvh",)
