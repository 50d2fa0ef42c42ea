"""Human3.6M from either published layout, unchanged: VideoPose3D's npz files or MMPose's folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

from vp3d_deploy.data import h36m_mmpose, h36m_videopose3d
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.npy import DataFileError

TRAIN_SUBJECTS = ("S1", "S5", "S6", "S7", "S8")
TEST_SUBJECTS = ("S9", "S11")
_SUBJECTS = {
    "train": TRAIN_SUBJECTS,
    "test": TEST_SUBJECTS,
    "all": TRAIN_SUBJECTS + TEST_SUBJECTS,
}

# The name under which both projects publish the detections of a cascaded pyramid network that
# was fine-tuned on Human3.6M.
_DETECTORS = {"cpn": "cpn_ft_h36m_dbb"}


def load_h36m(
    directory: str | os.PathLike[str], keypoints: str = "gt", split: str = "test"
) -> list[Clip]:
    """All clips of a split, one per subject, action and camera, in the order of the files.

    directory: of VideoPose3D's data_3d_h36m.npz and data_2d_h36m_*.npz; or MMPose's
        annotation_body3d or the folder that holds it. Which one it is shows in what is there.
    keypoints: "gt" for projected ground truth, "cpn" for detections, or another detector's name
        as the files spell it (data_2d_h36m_NAME.npz, joint_2d_det_files/NAME_test.npy).
    split: "test" (S9, S11), "train" (S1, S5, S6, S7, S8) or "all".

    Poses are the 17 joints that VideoPose3D keeps, in camera space; see `Clip`.
    Raises ValueError: for another split, and DataFileError, ClipError or UnsafePickleError, which
    name the file or clip that is missing, damaged or not as published.
    """
    if split not in _SUBJECTS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(_SUBJECTS)}")
    detector = _DETECTORS.get(keypoints, keypoints)
    if not re.fullmatch(r"\w+", detector, re.ASCII):
        raise ValueError(f"keypoints are {keypoints!r}; expected gt, cpn or a detector's name")
    folder = Path(directory)
    if _layout(folder) == "videopose3d":
        return h36m_videopose3d.load(folder, detector, _SUBJECTS[split])
    splits = ("train", "test") if split == "all" else (split,)
    return [clip for part in splits for clip in h36m_mmpose.load(folder, detector, part)]


def _layout(folder: Path) -> str:
    if not folder.is_dir():
        raise DataFileError(f"{folder} is not a directory; expected one with Human3.6M's files")
    has_videopose3d = h36m_videopose3d.is_at(folder)
    has_mmpose = h36m_mmpose.is_at(folder)
    if has_videopose3d and has_mmpose:
        raise DataFileError(
            f"{folder} holds both data_3d_h36m.npz (VideoPose3D) and annotation_body3d (MMPose); "
            "give the folder of one of them"
        )
    if not has_videopose3d and not has_mmpose:
        raise DataFileError(
            f"{folder} holds neither data_3d_h36m.npz (VideoPose3D's layout) nor annotation_body3d "
            f"(MMPose's); give the folder of one of them{_nearby(folder)}"
        )
    return "videopose3d" if has_videopose3d else "mmpose"


def _nearby(folder: Path) -> str:
    """Where near a wrong folder the data is, as the end of a sentence."""
    near = [*sorted(folder.iterdir()), *folder.resolve().parents[:2]]
    fitting = [
        str(place)
        for place in near
        if place.is_dir() and (h36m_videopose3d.is_at(place) or h36m_mmpose.is_at(place))
    ]
    return f", for example {' or '.join(fitting[:2])}" if fitting else ""
