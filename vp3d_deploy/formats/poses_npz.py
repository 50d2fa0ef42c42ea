"""`Poses` to and from .npz: plain arrays that numpy loads without pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.data.npy import load_npz
from vp3d_deploy.poses import Poses, PosesError, known_or_custom
from vp3d_deploy.skeleton import Skeleton

FORMAT = "vp3d-poses"
VERSION = 1


def write(poses: Poses, path: Path) -> None:
    """The arrays of `Poses` under their own names, and the skeleton.

    joint_names (J,), parents (J,), left and right (indices), skeleton (its name), fps (NaN if
    unknown), format and version. trajectory_m and track_ids are left out where there is none.
    """
    skeleton = poses.skeleton
    arrays: dict[str, np.ndarray] = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "joints_m": poses.joints_m,
        "confidence": poses.confidence,
        "frame_indices": poses.frame_indices,
        "fps": np.array(np.nan if poses.fps is None else poses.fps),
        "skeleton": np.array(skeleton.name),
        "joint_names": np.array(skeleton.joints),
        "parents": np.array(skeleton.parents, np.int64),
        "left": np.array(skeleton.left, np.int64),
        "right": np.array(skeleton.right, np.int64),
    }
    if poses.trajectory_m is not None:
        arrays["trajectory_m"] = poses.trajectory_m
    if poses.track_ids is not None:
        arrays["track_ids"], arrays["track_id_is_number"] = _ids_to_arrays(poses.track_ids)
    with path.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes kwargs for allow_pickle


def read(path: Path) -> Poses:
    """The inverse of `write`; raises PosesError naming the file for anything else."""
    arrays = load_npz(path)
    if "format" not in arrays or str(arrays["format"]) != FORMAT:
        raise PosesError(
            f"{path}: not poses; found the arrays {', '.join(sorted(arrays)[:8]) or 'none'}, "
            f"expected those that Poses.save writes"
        )
    version = _integers(arrays, "version", path).tolist()
    if version != VERSION:
        raise PosesError(f"{path}: poses of version {version}; this program reads {VERSION}")
    missing = sorted({"joints_m", "confidence", "frame_indices", "joint_names"} - set(arrays))
    if missing:
        raise PosesError(f"{path}: lacks the arrays {', '.join(missing)}")
    try:
        return Poses(
            joints_m=_floats(arrays, "joints_m", path),
            trajectory_m=_floats(arrays, "trajectory_m", path)
            if "trajectory_m" in arrays
            else None,
            confidence=_floats(arrays, "confidence", path),
            skeleton=_skeleton(arrays, path),
            fps=_fps(arrays, path),
            frame_indices=_integers(arrays, "frame_indices", path),
            track_ids=_ids_from_arrays(arrays, path),
        )
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise PosesError(f"{path}: {error}") from None


def _skeleton(arrays: dict[str, np.ndarray], path: Path) -> Skeleton:
    names = arrays["joint_names"]
    if names.dtype.kind != "U" or names.ndim != 1:
        raise PosesError(f"{path}: joint_names is {names.dtype} {names.shape}; expected J names")
    parents, left, right = (
        tuple(int(i) for i in _integers(arrays, key, path).ravel())
        for key in ("parents", "left", "right")
    )
    name = str(arrays.get("skeleton", "custom"))
    return known_or_custom(Skeleton(name, tuple(names.tolist()), parents, left, right))


def _fps(arrays: dict[str, np.ndarray], path: Path) -> float | None:
    fps = arrays.get("fps")
    if fps is None:
        return None
    if fps.size != 1 or fps.dtype.kind not in "fiu":
        raise PosesError(f"{path}: fps is {fps.dtype} {fps.shape}; expected one number")
    value = float(fps.reshape(()))
    return None if np.isnan(value) else value


def _floats(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    array = arrays[name]
    if array.dtype.kind != "f":
        raise PosesError(f"{path}: {name} is {array.dtype}; expected float32")
    return np.ascontiguousarray(array, dtype=np.float32)


def _integers(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.dtype.kind not in "iu":
        found = "nothing" if array is None else str(array.dtype)
        raise PosesError(f"{path}: {name} is {found}; expected whole numbers")
    return array.astype(np.int64)


def _ids_to_arrays(ids: tuple[int | str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Numbers as numbers; otherwise all as text, beside a mask of those that were numbers."""
    is_number = np.array([isinstance(i, int) for i in ids])
    if is_number.all():
        return np.array(ids, np.int64), is_number
    return np.array([str(i) for i in ids]), is_number


def _ids_from_arrays(arrays: dict[str, np.ndarray], path: Path) -> tuple[Any, ...] | None:
    ids = arrays.get("track_ids")
    if ids is None:
        return None
    if ids.ndim != 1 or ids.dtype.kind not in "iuU":
        raise PosesError(f"{path}: track_ids is {ids.dtype} {ids.shape}; expected a list of ids")
    is_number = arrays.get("track_id_is_number")
    if ids.dtype.kind != "U" or is_number is None or is_number.shape != ids.shape:
        return tuple(ids.tolist())
    return tuple(
        int(i) if number else i for i, number in zip(ids.tolist(), is_number.tolist(), strict=True)
    )
