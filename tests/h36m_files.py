"""Small Human3.6M folders in both published layouts, with two clips of random poses each."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.camera import project, world_to_camera
from vp3d_deploy.data.h36m_cameras import camera_ids, h36m_camera
from vp3d_deploy.data.h36m_videopose3d import KEPT_JOINTS

RNG = np.random.default_rng(7)
WORLD_M = RNG.normal(size=(2, 6, 32, 3)).astype(np.float32)  # of two clips
WORLD_M[..., 2] += 1
ACTIONS = ("Directions 1", "Photo")
SUBJECTS = ("S1", "S9", "S11")


def views_px(world_m: np.ndarray, subject: str) -> list[np.ndarray]:
    kept = world_m[:, KEPT_JOINTS].astype(np.float64)
    cameras = [h36m_camera(subject, camera_id) for camera_id in camera_ids()]
    return [project(world_to_camera(kept, c), c).astype(np.float32) for c in cameras]


def poses_3d() -> dict[str, Any]:
    return {s: dict(zip(ACTIONS, WORLD_M.copy(), strict=True)) for s in SUBJECTS}


def keypoints_2d() -> dict[str, Any]:
    return {s: {a: views_px(w, s) for a, w in zip(ACTIONS, WORLD_M, strict=True)} for s in SUBJECTS}


def write_videopose3d(
    folder: Path, poses: Any = None, keypoints: Any = None, meta: Any = None, kind: str = "gt"
) -> Path:
    """VideoPose3D's files, made as its own scripts make them."""
    poses = poses_3d() if poses is None else poses
    keypoints = keypoints_2d() if keypoints is None else keypoints
    meta = {"layout_name": "h36m", "num_joints": 17} if meta is None else meta
    np.savez_compressed(folder / "data_3d_h36m.npz", positions_3d=np.array(poses, object))
    arrays = {"positions_2d": np.array(keypoints, object), "metadata": np.array(meta, object)}
    np.savez_compressed(folder / f"data_2d_h36m_{kind}.npz", **arrays)
    return folder


def camera_facts() -> dict[tuple[str, str], dict[str, Any]]:
    """As in MMPose's cameras.pkl."""
    facts = {}
    for subject in SUBJECTS:
        for camera_id in camera_ids():
            c = h36m_camera(subject, camera_id)
            columns = {"T": c.position_m, "f": c.focal_px, "c": c.center_px}
            columns |= {"k": c.radial, "p": c.tangential}
            facts[subject, camera_id] = {
                "R": c.rotation.T.copy(),
                **{key: value.reshape(-1, 1).copy() for key, value in columns.items()},
                "w": c.width,
                "h": c.height,
                "name": "camera",
                "id": camera_id,
            }
    return facts


def annotations(split: str) -> dict[str, np.ndarray]:
    """As in MMPose's h36m_{train,test}.npz; here with the frames of all clips interleaved."""
    names, parts, poses = [], [], []
    for frame in range(6):
        for subject in ("S1",) if split == "train" else ("S9", "S11"):
            for action, world_m in zip(("Directions_1", "TakingPhoto"), WORLD_M, strict=True):
                for view, camera_id in enumerate(camera_ids()):
                    camera = h36m_camera(subject, camera_id)
                    clip = f"{subject}_{action}.{camera_id}"
                    names.append(f"{subject}/{clip}/{clip}_{frame + 1:06d}.jpg")
                    kept = world_m[frame, KEPT_JOINTS].astype(np.float64)
                    poses.append(np.c_[world_to_camera(kept, camera), np.ones(17)])
                    parts.append(np.c_[views_px(world_m, subject)[view][frame], np.ones(17)])
    return {"imgname": np.array(names), "part": np.array(parts), "S": np.array(poses)}


def write_mmpose(folder: Path, cameras: Any = None, fps: int = 50, **changes: np.ndarray) -> Path:
    inner = folder / "annotation_body3d"
    (inner / f"fps{fps}").mkdir(parents=True)
    for split in ("train", "test"):
        np.savez(inner / f"fps{fps}" / f"h36m_{split}.npz", **{**annotations(split), **changes})
    cameras = camera_facts() if cameras is None else cameras
    (inner / "cameras.pkl").write_bytes(pickle.dumps(cameras))
    return folder


def write_detections(folder: Path, split: str, array: np.ndarray) -> None:
    (folder / "joint_2d_det_files").mkdir(exist_ok=True)
    np.save(folder / "joint_2d_det_files" / f"cpn_ft_h36m_dbb_{split}.npy", array)
