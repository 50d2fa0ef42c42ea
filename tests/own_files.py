"""A clip of random poses, as users write theirs, and the comparison of two clips."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.camera import Camera, project
from vp3d_deploy.data import Clip, load_own

T = 6
RNG = np.random.default_rng(11)

CAMERA = Camera(
    name="left",
    width=1920,
    height=1080,
    focal_px=[1500, 1510],  # type: ignore[arg-type]
    center_px=[950.5, 544],  # type: ignore[arg-type]
    radial=[-0.2, 0.21, 0.01],  # type: ignore[arg-type]
    tangential=[-0.001, 0.002],  # type: ignore[arg-type]
    rotation=np.linalg.qr(RNG.normal(size=(3, 3)))[0],
    position_m=[1, 2, 3],  # type: ignore[arg-type]
)
if np.linalg.det(CAMERA.rotation) < 0:
    CAMERA = replace(CAMERA, rotation=-CAMERA.rotation)
POSE_M = RNG.uniform((-0.7, -0.6, 3.2), (0.9, 1.0, 4.8), (T, 17, 3)).astype(np.float32)
PIXELS = project(POSE_M, CAMERA)

PLAIN: dict[str, Any] = {"keypoints_px": PIXELS, "image_size": (1920, 1080)}
LENS = {
    "focal_px": CAMERA.focal_px,
    "center_px": CAMERA.center_px,
    "radial": CAMERA.radial,
    "tangential": CAMERA.tangential,
    "distortion": "h36m",
}
PLACE = {"rotation": CAMERA.rotation, "position_m": CAMERA.position_m}
WHOLE = {**PLAIN, **LENS, **PLACE, "fps": 50, "pose_camera_m": POSE_M, "action": "Walk 1"}


def written(folder: Path, arrays: dict[str, Any], name: str = "test/anna_walk.npz") -> Path:
    """The folder with a clip in it, as users write it; None drops a key."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return folder


def read(folder: Path, arrays: dict[str, Any], keypoints: str = "gt") -> Clip:
    (clip,) = load_own(written(folder, arrays), keypoints)
    return clip


def assert_same(ours: Clip, theirs: Clip) -> None:
    for key in ("subject", "action", "image_size", "fps", "keypoint_skeleton"):
        assert getattr(ours, key) == getattr(theirs, key), key
    for key in ("keypoints_px", "scores", "pose_m"):
        assert_same_array(getattr(ours, key), getattr(theirs, key))
    if ours.camera is None or theirs.camera is None:
        assert ours.camera is theirs.camera
        return
    for key in ("name", "width", "height", "distortion"):
        assert getattr(ours.camera, key) == getattr(theirs.camera, key), key
    for key in ("focal_px", "center_px", "radial", "tangential", "rotation", "position_m"):
        assert_same_array(getattr(ours.camera, key), getattr(theirs.camera, key))


def assert_same_array(ours: np.ndarray | None, theirs: np.ndarray | None) -> None:
    if ours is None or theirs is None:
        assert ours is theirs
    else:
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
