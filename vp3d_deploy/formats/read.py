"""Keypoint files to tracks: which format a file is in is seen from its contents."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.formats import arrays, coco, mmpose, openpose
from vp3d_deploy.formats.csvfile import read_csv
from vp3d_deploy.formats.jsonfile import read_json, shown
from vp3d_deploy.formats.skeletons import SkeletonHints, skeleton_for
from vp3d_deploy.formats.tracker import associate
from vp3d_deploy.formats.tracks import (
    Detection,
    FormatError,
    Track,
    tracks_from_detections,
)
from vp3d_deploy.keypoints import MAX_NORMALIZED, not_pixels
from vp3d_deploy.skeleton import Skeleton

READABLE = ".npz, .npy, .json, .csv, or a folder of .json files, one per frame"


def read_tracks(
    path: str | os.PathLike[str],
    skeleton: str | Skeleton | None = None,
    network: Skeleton | None = None,
) -> list[Track]:
    """Every person in a file or folder of 2D keypoints, those seen longest first.

    path: .npz (VideoPose3D's layout or plain arrays), .npy, .csv, .json (COCO results or
        annotations, AlphaPose, OpenPose, MMPose), or a folder with one .json file per frame.
    skeleton: what the joints are; without it, by what the file or its format says, by the number
        of joints, and for 17 joints of unknown meaning by where they are.
    network: the skeleton that the network reads, known by its name, by its joints' names, and by
        their number where that means no other.

    People whom the file does not tell apart are followed from frame to frame (tracker.py).

    Raises FormatError for anything that is not keypoints, naming the file and the place in it,
    ValueError for an unknown skeleton, OSError if the file cannot be read.
    """
    source = Path(path)
    hints = SkeletonHints(network=network)
    if skeleton is not None:
        hints = SkeletonHints(hints.find(skeleton), network)
    if source.is_dir():
        tracks = _read_folder(source, hints)
    else:
        readers = {".npz": arrays.read_npz, ".npy": arrays.read_npy}
        suffix = source.suffix.lower()
        if suffix in readers:
            tracks = readers[suffix](source, hints)
        elif suffix == ".csv":
            keypoints = read_csv(source, hints.known())
            tracks = _tracks(keypoints.detections, str(source), hints, keypoints.skeleton)
        elif suffix == ".json":
            tracks = _read_json(source, hints)
        else:
            raise FormatError(f"{source}: cannot read {suffix or 'this'}; expected {READABLE}")
    _check_pixels(tracks, str(source))
    return tracks


def _read_json(path: Path, hints: SkeletonHints) -> list[Track]:
    source, content = str(path), read_json(path)
    if coco.is_coco(content):
        detections, size, names = coco.read_coco(content, source)
        tracks = _tracks(detections, source, hints, _named(names, hints) or "by count")
        return [replace(track, image_size=size) for track in tracks]
    if mmpose.is_mmpose(content):
        detections, dataset = mmpose.read_mmpose(content, source)
        return _tracks(detections, source, hints, _of_dataset(dataset, hints))
    if mmpose.is_mmpose_0(content):
        return _tracks(mmpose.read_mmpose_0(content, source), source, hints, None)
    if openpose.is_openpose(content):
        return _tracks(openpose.read_openpose(content, source), source, hints, "by count")
    if coco.is_alphapose_by_image(content):
        detections = coco.read_alphapose_by_image(content, source)
        return _tracks(detections, source, hints, "by count")
    if isinstance(content, dict) and content.get("format") == "vp3d-poses":
        raise FormatError(f"{source}: these are 3D poses already; expected 2D keypoints")
    raise FormatError(
        f"{source}: no keypoint format that is known: found {shown(content)}; expected COCO "
        "results, or the output of OpenPose, AlphaPose or MMPose"
    )


def _read_folder(folder: Path, hints: SkeletonHints) -> list[Track]:
    """One JSON file per frame, each from OpenPose or, one picture each, from MMPose."""
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() == ".json")
    if not files:
        raise FormatError(f"{folder}: no .json files in this folder; expected one per frame")
    detections: list[Detection] = []
    for file, frame in zip(files, openpose.frame_numbers(files, str(folder)), strict=True):
        content = read_json(file)
        if openpose.is_openpose(content):
            detections += openpose.read_openpose(content, str(file), frame)
        elif content == [] or mmpose.is_mmpose(content):
            detections += mmpose.read_mmpose(content, str(file), frame)[0]
        else:
            raise FormatError(
                f'{file}: expected one frame by OpenPose ("people") or MMPose (a list of '
                f"instances), found {shown(content)}"
            )
    return _tracks(detections, str(folder), hints, "by count")


def _tracks(
    detections: list[Detection], source: str, hints: SkeletonHints, found: Skeleton | str | None
) -> list[Track]:
    """Tracks of detections that may not have track ids yet.

    found: the skeleton that the file names; "by count" for a format whose number of joints says
        it; None where 17 joints could be COCO's or Human3.6M's.
    """
    if not detections:
        raise FormatError(f"{source}: nobody in any frame")
    detections = _same_joints(detections, source)
    named, sample = found.name if isinstance(found, Skeleton) else None, None
    if found is None and _n_joints(detections) == 17:
        sample = np.stack([detection.keypoints[:, :2] for detection in detections])
    skeleton, origin = skeleton_for(_n_joints(detections), source, hints, named, sample)
    if any(detection.track_id is None for detection in detections):
        detections = associate(detections)
    return tracks_from_detections(detections, source, skeleton, skeleton_from=origin)


def _same_joints(detections: list[Detection], source: str) -> list[Detection]:
    """Detections with one number of joints; Halpe-136 is cut to the 26 of its body."""
    counts = {len(detection.keypoints) for detection in detections}
    if len(counts) > 1:
        raise FormatError(
            f"{source}: people have {' and '.join(str(c) for c in sorted(counts)[:4])} joints; "
            "expected the same number for all"
        )
    if counts == {136}:
        return [replace(d, keypoints=d.keypoints[:26]) for d in detections]
    return detections


def _n_joints(detections: list[Detection]) -> int:
    return len(detections[0].keypoints)


def _named(names: tuple[str, ...] | None, hints: SkeletonHints) -> Skeleton | None:
    """The skeleton with exactly these joint names in this order."""
    return next((s for s in hints.known() if s.joints == names), None)


def _of_dataset(dataset: str | None, hints: SkeletonHints) -> Skeleton | None:
    """The skeleton of MMPose's data set of this name, if it is a skeleton's too."""
    return hints.find(dataset) if dataset is not None and hints.knows(dataset) else None


def _check_pixels(tracks: list[Track], source: str) -> None:
    """Raises FormatError for coordinates that were divided by the image size."""
    largest: Any = max(np.nanmax(np.abs(track.keypoints_px), initial=0.0) for track in tracks)
    if largest <= MAX_NORMALIZED:
        raise FormatError(f"{source}: {not_pixels(float(largest))}")
