"""Poses and keypoints for the tests of files and pictures, without a network."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.poses import Poses
from vp3d_deploy.skeleton import H36M_17

# A standing person, camera frame (x right, y down, z away), facing the camera, metres.
STANDING_M = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.14, 0.45, 0.02], [-0.14, 0.9, 0.05],
        [0.13, 0, 0], [0.14, 0.45, 0.02], [0.14, 0.9, 0.05],
        [0, -0.24, 0.0], [0, -0.5, 0.0], [0, -0.6, -0.08], [0, -0.7, -0.03],
        [0.15, -0.46, 0], [0.2, -0.18, 0.02], [0.22, 0.06, -0.05],
        [-0.15, -0.46, 0], [-0.2, -0.18, 0.02], [-0.22, 0.06, -0.05],
    ],
    np.float32,
)  # fmt: skip


def moving_joints(n_frames: int, seed: int = 0) -> np.ndarray:
    """(T, 17, 3) float32: the standing person with smooth, generous random movement."""
    rng = np.random.default_rng(seed)
    t = np.arange(n_frames)[:, None, None] / 20
    phase, rate = rng.uniform(0, 6.28, (1, 17, 3)), rng.uniform(0.3, 1.5, (1, 17, 3))
    joints = STANDING_M + 0.12 * np.sin(rate * t + phase)
    return (joints - joints[:, :1]).astype(np.float32)


def make_poses(
    n_frames: int = 12, n_people: int | None = None, trajectory: bool = True, seed: int = 0
) -> Poses:
    """Poses with values that use all 24 bits of float32."""
    rng = np.random.default_rng(seed)
    people = [moving_joints(n_frames, seed + n) for n in range(n_people or 1)]
    joints = np.stack(people)
    confidence = rng.uniform(0, 1, joints.shape[:-1]).astype(np.float32)
    # Side by side, 1.2 m apart, five metres away, unsteady by a centimetre.
    root = rng.normal(0, 0.01, (*joints.shape[:2], 1, 3)).astype(np.float32)
    root += np.float32([0, 0, 5])
    root[..., 0] += 1.2 * np.arange(len(joints), dtype=np.float32)[:, None, None]
    if n_people is None:
        joints, confidence, root = joints[0], confidence[0], root[0]
    return Poses(
        joints,
        root if trajectory else None,
        confidence,
        H36M_17,
        fps=50.0,
        track_ids=None if n_people is None else tuple(range(3, 3 + n_people)),
    )


def lose(poses: Poses, person: int, frames: slice) -> None:
    """Make one of several people missing in these frames."""
    poses.joints_m[person, frames] = np.nan
    poses.confidence[person, frames] = 0
    if poses.trajectory_m is not None:
        poses.trajectory_m[person, frames] = np.nan


def project_px(poses: Poses, image_size: tuple[int, int] = (1000, 1000)) -> np.ndarray:
    """(..., 17, 2) float32 pixels of poses with a trajectory, by a plain pinhole camera."""
    points = poses.absolute_m.astype(np.float64)
    screen = points[..., :2] / points[..., 2:] * 1.1 * image_size[0]
    return (screen + np.array(image_size) / 2).astype(np.float32)
