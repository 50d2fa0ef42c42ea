"""Human3.6M as MMPose publishes it: one row per image, in camera space.

annotation_body3d/fps50/h36m_SPLIT.npz (or fps10): imgname (N,), part (N, 17, 3) pixels and
visibility, S (N, 17, 4) camera-space metres and visibility; annotation_body3d/cameras.pkl;
joint_2d_det_files/DETECTOR_SPLIT.npy (N, 17, 3) pixels and score, beside annotation_body3d.
https://mmpose.readthedocs.io/en/latest/dataset_zoo/3d_body_keypoint.html#human3-6m
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy import safe_pickle
from vp3d_deploy.camera import Camera, CameraError
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.frame_names import group_by_clip
from vp3d_deploy.data.npy import DataFileError, load_npy, load_npz
from vp3d_deploy.skeleton import H36M_17

_RATES = (50, 10)  # frames per second, the one we take first
_CLIP_NAME = re.compile(r"(?:.*[/\\])?(?P<subject>S\d+)_(?P<action>[^./\\]+)\.(?P<camera>\d+)")
# The recordings of some subjects spell two actions differently; VideoPose3D's names are used.
_SPELLINGS = {"TakingPhoto": "Photo", "WalkingDog": "WalkDog"}


def is_at(folder: Path) -> bool:
    """Whether this folder is annotation_body3d or the one that holds it."""
    annotations = _annotations(folder)
    return annotations != folder or any((folder / f"fps{rate}").is_dir() for rate in _RATES)


def load(folder: Path, detector: str, split: str) -> list[Clip]:
    """Clips of one split; `detector` "gt" takes the annotated 2D. Raises DataFileError."""
    annotations = _annotations(folder)
    path, fps = _split_file(annotations, split)
    cameras = _read_cameras(annotations / "cameras.pkl")
    # One big array at a time: the published ones are 0.4 to 0.9 GB each.
    names = load_npz(path, ["imgname"])["imgname"]
    rows, N = group_by_clip(names, str(path)), len(names)
    del names
    poses = _rows(load_npz(path, ["S"])["S"], N, (3, 4), f"{path}: S")
    pose_m = {name: _take(poses, frames, 3) for name, frames in rows.items()}
    del poses
    keypoints = _keypoints(annotations, detector, split, path, N)
    has_scores = detector != "gt" and keypoints.shape[2] == 3
    clips = []
    for name, frames in rows.items():
        subject, action, camera_id = _parse(name, path)
        camera = cameras.get((subject, camera_id))
        if camera is None:
            raise DataFileError(f"{path} shows {name}, but cameras.pkl lacks that camera")
        clips.append(
            Clip(
                name=f"{subject}/{action}.{camera_id}",
                subject=subject,
                action=action,
                camera=camera,
                image_size=camera.image_size,
                fps=float(fps),
                keypoints_px=_take(keypoints, frames, 2),
                scores=keypoints[frames, :, 2] if has_scores else None,
                pose_m=pose_m.pop(name),
            )
        )
    return clips


def _annotations(folder: Path) -> Path:
    inner = folder / "annotation_body3d"
    return inner if inner.is_dir() else folder


def _split_file(annotations: Path, split: str) -> tuple[Path, int]:
    """The annotation file of a split and its frames per second."""
    paths = {annotations / f"fps{rate}" / f"h36m_{split}.npz": rate for rate in _RATES}
    for path, rate in paths.items():
        if path.is_file():
            return path, rate
    raise DataFileError(f"neither of {' and '.join(map(str, paths))} is there")


def _keypoints(annotations: Path, detector: str, split: str, path: Path, n_rows: int) -> np.ndarray:
    """(N, 17, 2 or 3): the annotated or the detected 2D."""
    if detector == "gt":
        return _rows(load_npz(path, ["part"])["part"], n_rows, (2, 3), f"{path}: part")
    folder = annotations.parent / "joint_2d_det_files"
    detections = folder / f"{detector}_{split}.npy"
    if not detections.is_file():
        there = ", ".join(sorted(found.name for found in folder.glob("*.npy"))) or "no .npy file"
        raise DataFileError(f"{detections} is not there; the folder has {there}")
    return _rows(load_npy(detections), n_rows, (2, 3), f"{detections} (for {path})")


def _rows(array: np.ndarray, n_rows: int, last: tuple[int, int], source: str) -> np.ndarray:
    J = H36M_17.n_joints
    if (
        array.ndim != 3
        or array.shape[:2] != (n_rows, J)
        or array.shape[2] not in last
        or array.dtype.kind != "f"
    ):
        raise DataFileError(
            f"{source} is {array.dtype} of shape {array.shape}, expected "
            f"({n_rows}, {J}, {last[0]} or {last[1]}) numbers, a row per image"
        )
    return array


def _take(array: np.ndarray, frames: slice | np.ndarray, size: int) -> np.ndarray:
    """A copy in float32, so that the big array can go."""
    return np.array(array[frames, :, :size], dtype=np.float32)


def _parse(name: str, path: Path) -> tuple[str, str, str]:
    """(subject, action, camera id) of "S9/S9_Directions_1.54138969/S9_Directions_1.54138969"."""
    match = _CLIP_NAME.fullmatch(name)
    if match is None:
        raise DataFileError(
            f"{path}: image names start with {name!r}; expected them like "
            "S9/S9_Directions_1.54138969/S9_Directions_1.54138969_000001.jpg"
        )
    action, _, take = match["action"].partition("_")
    action = _SPELLINGS.get(action, action)
    return match["subject"], f"{action} {take}".strip(), match["camera"]


def _read_cameras(path: Path) -> dict[tuple[str, str], Camera]:
    """The published cameras: (subject, id) -> R camera to world, T position, f, c, k, p, w, h."""
    if not path.is_file():
        raise DataFileError(f"{path} is not there; MMPose publishes it with the annotations")
    found = safe_pickle.loads(path.read_bytes(), str(path))
    if not isinstance(found, dict):
        raise DataFileError(f"{path} holds a {type(found).__name__}, expected a dictionary")
    cameras = {}
    for key, facts in found.items():
        if not (isinstance(key, tuple) and len(key) == 2 and isinstance(facts, dict)):
            raise DataFileError(f"{path}: {key!r} must be (subject, camera id) of a dictionary")
        subject, camera_id = str(key[0]), str(key[1])
        cameras[subject, camera_id] = _camera(camera_id, facts, f"{path}: {subject} {camera_id}")
    return cameras


def _camera(name: str, facts: dict[Any, Any], source: str) -> Camera:
    missing = sorted({"R", "T", "f", "c", "k", "p", "w", "h"} - set(facts))
    if missing:
        raise DataFileError(f"{source} lacks {', '.join(missing)}")
    try:
        values = {key: np.asarray(facts[key], np.float64) for key in "RTfckp"}
        return Camera(
            name=name,
            width=int(facts["w"]),
            height=int(facts["h"]),
            focal_px=values["f"].ravel(),
            center_px=values["c"].ravel(),
            radial=values["k"].ravel(),
            tangential=values["p"].ravel(),
            rotation=values["R"].T,
            position_m=values["T"].ravel(),
        )
    except CameraError as error:
        raise DataFileError(f"{source}: {error}") from None
    except (TypeError, ValueError, OverflowError) as error:
        raise DataFileError(f"{source} is not a camera: {error}") from None
