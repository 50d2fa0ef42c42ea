"""Human3.6M as VideoPose3D publishes it: world poses in one npz, each kind of 2D in another.

data_3d_h36m.npz: positions_3d, subject -> action -> (T, 32 or 17, 3) world metres, z up.
data_2d_h36m_KIND.npz: positions_2d, subject -> action -> one (T, J, 2) in pixels per camera, in
the order of `h36m_cameras.camera_ids`; metadata names the layout of the J joints.
https://github.com/facebookresearch/VideoPose3D/blob/main/DATASETS.md
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.camera import world_to_camera
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.h36m_cameras import camera_ids, frame_rate, h36m_camera
from vp3d_deploy.data.npy import DataFileError, load_npz, mapping_in
from vp3d_deploy.skeleton import H36M_17, Skeleton, SkeletonError, get_skeleton

POSES_FILE = "data_3d_h36m.npz"
_KEYPOINTS_FILE = "data_2d_h36m_{}.npz"

# Of the 32 joints that Human3.6M records, those that move on their own, in H36M_17's order.
KEPT_JOINTS = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)


def is_at(folder: Path) -> bool:
    """Whether this folder is in VideoPose3D's layout."""
    return (folder / POSES_FILE).is_file() or any(folder.glob(_KEYPOINTS_FILE.format("*")))


def load(folder: Path, detector: str, subjects: Sequence[str]) -> list[Clip]:
    """Clips of those of the `subjects` that the files have. Raises DataFileError if none."""
    poses_path = folder / POSES_FILE
    keypoints_path = folder / _KEYPOINTS_FILE.format(detector)
    for path in (poses_path, keypoints_path):
        if not path.is_file():
            there = sorted(found.name for found in folder.glob("data_*d_h36m*.npz"))
            raise DataFileError(f"{path} is not there; the folder has {', '.join(there)}")
    poses = mapping_in(load_npz(poses_path, ["positions_3d"]), "positions_3d", str(poses_path))
    chosen = [subject for subject in poses if subject in subjects]
    if not chosen:
        raise DataFileError(
            f"{poses_path} has none of the subjects {', '.join(subjects)}; it has "
            f"{', '.join(map(str, poses))}"
        )
    arrays = load_npz(keypoints_path)
    views = mapping_in(arrays, "positions_2d", str(keypoints_path))
    skeleton = keypoint_skeleton(arrays, str(keypoints_path))
    return [
        clip
        for subject in chosen
        for action, world_m in _actions(poses[subject], subject, poses_path).items()
        for clip in _clips(
            subject,
            action,
            _world_poses(world_m, f"{poses_path}: {subject} {action!r}"),
            _views(views, subject, action, keypoints_path),
            skeleton,
            str(keypoints_path),
        )
    ]


def keypoint_skeleton(arrays: dict[str, np.ndarray], source: str) -> Skeleton:
    """The skeleton that a 2D file's metadata names; Human3.6M-17 where it has none."""
    if "metadata" not in arrays:
        return H36M_17
    name = mapping_in(arrays, "metadata", source).get("layout_name", H36M_17.name)
    try:
        return get_skeleton(name)
    except SkeletonError as error:
        raise DataFileError(f"{source}: {error}") from None


def _clips(
    subject: str,
    action: str,
    world_m: np.ndarray,
    views: Sequence[np.ndarray],
    skeleton: Skeleton,
    source: str,
) -> list[Clip]:
    """One clip per camera, the 2D cut to the length of the 3D as VideoPose3D does."""
    T, clips = len(world_m), []
    for camera_id, view in zip(camera_ids(), views, strict=True):
        camera = h36m_camera(subject, camera_id)
        name = f"{subject}/{action}.{camera_id}"
        shape = view.shape if isinstance(view, np.ndarray) else type(view).__name__
        if not isinstance(view, np.ndarray) or view.shape[1:] != (skeleton.n_joints, 2):
            raise DataFileError(
                f"{source}: the keypoints of {name} are {shape}, expected "
                f"(T, {skeleton.n_joints}, 2) in pixels ({skeleton.name})"
            )
        if len(view) < T:
            raise DataFileError(
                f"{source}: {name} has {len(view)} frames of keypoints for {T} poses; "
                "2D may be longer than 3D, but not shorter"
            )
        clips.append(
            Clip(
                name=name,
                subject=subject,
                action=action,
                camera=camera,
                image_size=camera.image_size,
                fps=frame_rate(),
                keypoints_px=view[:T],
                keypoint_skeleton=skeleton,
                pose_m=world_to_camera(world_m, camera).astype(np.float32),
            )
        )
    return clips


def _actions(value: Any, subject: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(action, str) for action in value):
        raise DataFileError(f"{path}: {subject} must map the names of actions to poses")
    return value


def _world_poses(value: Any, source: str) -> np.ndarray:
    """(T, 17, 3) float64, metres, world."""
    shape = value.shape if isinstance(value, np.ndarray) else type(value).__name__
    if (
        not isinstance(value, np.ndarray)
        or value.dtype.kind != "f"
        or value.ndim != 3
        or value.shape[0] == 0
        or value.shape[1:] not in ((32, 3), (17, 3))
    ):
        raise DataFileError(f"{source} is {shape}, expected (T, 32, 3) or (T, 17, 3) in metres")
    kept = value[:, KEPT_JOINTS] if value.shape[1] == 32 else value
    return kept.astype(np.float64)


def _views(views: dict[Any, Any], subject: str, action: str, path: Path) -> Sequence[np.ndarray]:
    actions = views.get(subject)
    found = actions.get(action) if isinstance(actions, dict) else None
    n_views = len(found) if isinstance(found, (list, tuple, np.ndarray)) else 0
    if n_views != len(camera_ids()) or found is None:
        raise DataFileError(
            f"{path} has {n_views} views of {subject} {action!r}; expected one per camera, "
            f"{', '.join(camera_ids())}"
        )
    return found
