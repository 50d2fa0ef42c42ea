"""Your own data: folders `train` and `test`, and in each one .npz per clip and camera view.

A file is what `numpy.savez(path, **arrays)` writes; nothing in it is pickled. T frames, J joints:

    keypoints_px       (T, J, 2) pixels, NaN for a joint that was not seen; (T, J, 3) with scores
    keypoints_NAME_px  the same from a detector; the name is yours, read with keypoints="NAME"
    image_size         (2,) width and height, pixels; the one key that no file can do without
    fps                frames per second
    skeleton           name of the J joints' skeleton, "h36m17" if left out
    skeleton_NAME      that of keypoints_NAME_px, if it is another
    pose_camera_m      (T, 17, 3) metres, camera frame, Human3.6M's joints in `skeleton.H36M_17`'s
                       order, not relative to the root, every value finite
    pose_world_m       the same in the world, instead; needs rotation and position_m
    focal_px, center_px       (2,) each, pixels: both, if there is any key of a camera
    radial, tangential        (3,) k1 k2 k3 and (2,) p1 p2; zero if left out
    distortion                "opencv" (if left out) or "h36m"; see `camera.Camera`
    rotation, position_m      (3, 3) world -> camera and (3,) metres: both or none
    camera_name               the clip's name if left out
    subject, action           strings; the subject is the file name up to its first underscore if
                              left out, and the action None; "" says that there is none

A file without poses is a clip without ground truth. Any other key is an error, for it may be a
misspelt one. Clips are named after folder and file, "train/S1_walk", which makes the names unique.
docs/own-data.md is the user's page on this.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.npy import DataFileError, load_npz
from vp3d_deploy.data.own_file import arrays_of_clip, clip_from_arrays

_FOLDERS = {"train": ("train",), "test": ("test",), "all": ("train", "test")}


def is_at(folder: Path) -> bool:
    """Whether this folder has clips in `train` or `test`."""
    return any(_files(folder / part) for part in _FOLDERS["all"])


def has_split(folder: Path, split: str) -> bool:
    """Whether this folder has clips of "train" or "test"."""
    return any(_files(folder / split))


def load_own(
    directory: str | os.PathLike[str], keypoints: str = "gt", split: str = "test"
) -> list[Clip]:
    """All clips of a split, in the order of their file names.

    directory: holds `train`, `test` or both. keypoints: "gt" for keypoints_px, NAME for
        keypoints_NAME_px. split: "train", "test", or "all" for those that are there.

    Poses are in the camera frame whichever way the file has them; see `Clip`. Arrays become
    float32; world poses and cameras are computed with in float64.
    Raises ValueError: for another split, and DataFileError or UnsafePickleError, which name the
    folder or file that is missing, damaged or not as described above. OSError if a file cannot
    be read.
    """
    if split not in _FOLDERS:
        raise ValueError(f"split is {split!r}; expected one of {', '.join(_FOLDERS)}")
    if not re.fullmatch(r"\w+", keypoints, re.ASCII):
        raise ValueError(f"keypoints are {keypoints!r}; expected gt or NAME of keypoints_NAME_px")
    folder = Path(directory)
    files = [(part, path) for part in _FOLDERS[split] for path in _files(folder / part)]
    if not files:
        raise DataFileError(f"{folder} has no clip in {_places(split)}{_instead(folder)}")
    return [_clip(path, f"{part}/{path.stem}", keypoints) for part, path in files]


def load_own_clip(path: str | os.PathLike[str]) -> Clip:
    """One file, wherever it lies; the clip is named after it. Raises as `load_own` does."""
    file = Path(path)
    return _clip(file, file.stem, "gt")


def _clip(path: Path, name: str, keypoints: str) -> Clip:
    return clip_from_arrays(load_npz(path), name, _subject(path), keypoints, str(path))


def save_clip(path: str | os.PathLike[str], clip: Clip) -> None:
    """Write a clip so that `load_own` gives it back, every value the same, named after its file.

    path: ends in .npz, in a folder `train` or `test` that exists. The file appears complete or
        not at all, and replaces one that was there.
    Raises ValueError for a path or a clip (ClipError, DataFileError) that could not be read back,
    and OSError where the file cannot be written.
    """
    from vp3d_deploy.formats.atomic import replacing  # imported here: formats imports data

    target = Path(path)
    if target.suffix != ".npz" or target.name.startswith("."):
        raise ValueError(f"{target}: a clip's file is called NAME.npz and is not hidden")
    arrays = arrays_of_clip(clip)
    # Whatever reading refuses must not be written.
    clip_from_arrays(arrays, clip.name, _subject(target), "gt", str(target))
    with replacing(target) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # numpy's stub takes kwargs for allow_pickle


def _files(folder: Path) -> list[Path]:
    """Clips in this folder; hidden files are what programs that were stopped leave behind."""
    found = folder.glob("*.npz") if folder.is_dir() else ()
    return sorted(path for path in found if not path.name.startswith(".") and path.is_file())


def _subject(path: Path) -> str:
    return path.stem.partition("_")[0] or path.stem


def _places(split: str) -> str:
    return " or ".join(f"{part}/*.npz" for part in _FOLDERS[split])


def _instead(folder: Path) -> str:
    """Where the clips may be that were not found, as the end of a sentence."""
    if not folder.is_dir():
        return ": it is not a directory"
    if _files(folder):
        return "; move the .npz files that lie in it to a folder train or test"
    parts = [part for part in _FOLDERS["all"] if _files(folder / part)]
    return f"; it has clips in {parts[0]}" if parts else ""
