"""Motion from a folder of any layout: Human3.6M in its two, or your own data."""

from __future__ import annotations

import os
from pathlib import Path

from vp3d_deploy.data import h36m_mmpose, h36m_videopose3d, own
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.h36m import load_h36m
from vp3d_deploy.data.npy import DataFileError


def load_motion(
    directory: str | os.PathLike[str], keypoints: str = "gt", split: str = "test"
) -> list[Clip]:
    """All clips of a split, from whichever layout the folder is in.

    directory: as `load_h36m` takes it, or as `load_own` does. keypoints: "gt" or a detector's
        name, "cpn" for example. split: "train", "test" or "all".

    Raises as the loader of that layout, and DataFileError for a folder in none of them or in two.
    """
    folder = Path(directory)
    if not folder.is_dir():
        raise DataFileError(f"{folder} is not a directory; expected one with motion data")
    is_h36m, is_own = _is_h36m(folder), own.is_at(folder)
    if is_h36m and is_own:
        raise DataFileError(
            f"{folder} holds both Human3.6M's files and train or test with clips of your own; "
            "give each a folder to itself"
        )
    if not is_h36m and not is_own:
        raise DataFileError(
            f"{folder} holds neither train/*.npz or test/*.npz (your own clips), nor "
            "data_3d_h36m.npz (Human3.6M in VideoPose3D's layout), nor annotation_body3d "
            f"(in MMPose's){_nearby(folder)}"
        )
    load = load_h36m if is_h36m else own.load_own
    return load(folder, keypoints, split)


def has_split(directory: str | os.PathLike[str], split: str) -> bool:
    """Whether a folder has clips of "train" or "test". Human3.6M's layouts have both."""
    folder = Path(directory)
    return _is_h36m(folder) or not own.is_at(folder) or own.has_split(folder, split)


def _is_h36m(folder: Path) -> bool:
    return h36m_videopose3d.is_at(folder) or h36m_mmpose.is_at(folder)


def _nearby(folder: Path) -> str:
    """Where near a wrong folder the data is, as the end of a sentence."""
    near = [*sorted(folder.iterdir()), *folder.resolve().parents[:2]]
    fitting = [
        str(place) for place in near if place.is_dir() and (_is_h36m(place) or own.is_at(place))
    ]
    return f"; give a folder that does, for example {' or '.join(fitting[:2])}" if fitting else ""
