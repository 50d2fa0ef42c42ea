"""`Poses` to and from files, by the suffix of the file's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from vp3d_deploy.formats import bvh, poses_csv, poses_json, poses_npz
from vp3d_deploy.formats.atomic import check_folder, replacing
from vp3d_deploy.poses import LOADABLE_SUFFIXES, SUFFIXES, Poses, PosesError

_WRITERS: dict[str, Callable[[Poses, Path], None]] = {
    ".npz": poses_npz.write,
    ".json": poses_json.write,
    ".csv": poses_csv.write,
    ".bvh": bvh.write,
}


def check_output(path: str | os.PathLike[str]) -> Path:
    """The path, if `write_poses` can write to it; meant to be called before long work begins.

    Raises PosesError for an unknown suffix, and OSError if the path is a folder, or in one that
    does not exist or cannot be written to.
    """
    target = Path(path)
    if target.suffix.lower() not in SUFFIXES:
        raise PosesError(
            f"{target}: cannot write {target.suffix or 'a file without a suffix'}; the formats for "
            f"3D poses are {', '.join(SUFFIXES)}"
        )
    check_folder(target)
    return target


def write_poses(poses: Poses, path: str | os.PathLike[str]) -> tuple[Path, ...]:
    """Write poses in the format of the suffix; returns the paths written. See `Poses.save`."""
    target = check_output(path)
    writer = _WRITERS[target.suffix.lower()]
    if writer is bvh.write and poses.n_people != 1:
        people = [(bvh_path(target, i), poses.person(i)) for i in range(poses.n_people)]
    else:
        people = [(target, poses)]
    for file, part in people:
        with replacing(file) as temporary:
            writer(part, temporary)
    return tuple(file for file, _ in people)


def bvh_path(path: Path, person: int) -> Path:
    """The BVH file of one of several people: walk.bvh -> walk_0.bvh, walk_1.bvh .."""
    return path.with_name(f"{path.stem}_{person}{path.suffix}")


def load_poses(path: str | os.PathLike[str]) -> Poses:
    """Poses from .npz or .json, as `write_poses` wrote them. See `Poses.load`."""
    source = Path(path)
    suffix = source.suffix.lower()
    if suffix not in LOADABLE_SUFFIXES:
        raise PosesError(
            f"{source}: poses load from {' and '.join(LOADABLE_SUFFIXES)}, not from "
            f"{suffix or 'a file without a suffix'}"
        )
    return poses_npz.read(source) if suffix == ".npz" else poses_json.read(source)
