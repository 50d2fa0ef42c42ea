"""Clips of random people in front of distorting cameras, for the tests of training."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.camera import Camera, project
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.skeleton import H36M_17


def camera(seed: int, distortion: str = "h36m", size: tuple[int, int] = (1000, 1002)) -> Camera:
    """No two parameters alike, so that none can stand in for another; somewhere in the world."""
    rng = np.random.default_rng([seed, 1])
    rotation = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    rotation *= np.sign(np.linalg.det(rotation))
    width, height = size
    return Camera(
        name=f"camera {seed}",
        width=width,
        height=height,
        focal_px=rng.uniform(1.05, 1.2, 2) * width,
        center_px=rng.uniform(0.45, 0.55, 2) * size,
        radial=rng.uniform(0.05, 0.25, 3) * [-1, 1, 0.1],
        tangential=rng.uniform(0.002, 0.01, 2) * [-1, 1],
        rotation=rotation,
        position_m=rng.uniform(-3, 3, 3),
        distortion=distortion,
    )


def clip(
    n_frames: int,
    seed: int,
    *,
    subject: str = "S1",
    action: str = "Walking 1",
    labelled: bool = True,
    distortion: str = "h36m",
    size: tuple[int, int] = (1000, 1002),
) -> Clip:
    """Poses 4 to 6 m away, as random as can be, and their projection."""
    rng = np.random.default_rng([seed, 2])
    pose = rng.uniform((-0.9, -0.9, 4), (0.9, 0.9, 6), (n_frames, 17, 3))
    view = camera(seed, distortion, size)
    return Clip(
        name=f"{subject}/{action}.{view.name}",
        subject=subject,
        action=action,
        camera=view,
        image_size=size,
        fps=50.0,
        keypoints_px=project(pose, view),
        pose_m=pose if labelled else None,
    )


# Human3.6M's joints that change places in a mirror, written out.
MIRROR_ORDER = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]
assert sorted(H36M_17.left) == [4, 5, 6, 11, 12, 13]
