"""2D keypoints of videos in the wild, in the layout of VideoPose3D's preparation script.

positions_2d: video -> "custom" -> list of tracks (T, J, 2) in pixels, NaN where nobody was seen;
metadata: layout_name of the joints ("coco") and video_metadata, video -> {w, h}.
https://github.com/facebookresearch/VideoPose3D/blob/main/INFERENCE.md
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.npy import DataFileError, load_npz, mapping_in
from vp3d_deploy.skeleton import Skeleton, SkeletonError, get_skeleton

_MAX_PIXELS = 1_000_000


def load_wild(path: str | os.PathLike[str]) -> list[Clip]:
    """One clip per track of every video, in the order of the file; NaN stays NaN.

    A clip is named after its video, with "#0", "#1" .. behind it where there are several tracks,
    and "/KEY" before that where the tracks are not under the usual "custom". A third column is
    taken as scores. Where the metadata gives a video "fps", the clip has it.
    Raises DataFileError for what is missing or not in this layout, and as `load_npz`.
    """
    source = str(path)
    arrays = load_npz(path)
    if "positions_2d" not in arrays or "metadata" not in arrays:
        raise DataFileError(
            f"{source} holds {sorted(arrays)}; a file in VideoPose3D's layout for videos in the "
            "wild holds positions_2d and metadata"
        )
    videos = mapping_in(arrays, "positions_2d", source)
    metadata = mapping_in(arrays, "metadata", source)
    try:
        skeleton = get_skeleton(metadata.get("layout_name", "coco"))
    except SkeletonError as error:
        raise DataFileError(f"{source}: {error}") from None
    clips = [
        _clip(name, track, skeleton, _video_facts(metadata, video, source), source)
        for video, groups in videos.items()
        for name, track in _tracks(video, groups, source)
    ]
    if not clips:
        raise DataFileError(f"{source} holds no tracks")
    return clips


def _tracks(video: Any, groups: Any, source: str) -> Iterator[tuple[str, Any]]:
    """(clip name, array) of each track of a video."""
    if not isinstance(groups, dict):
        raise DataFileError(
            f"{source}: {video!r} holds a {type(groups).__name__}, expected {{'custom': [tracks]}}"
        )
    for key, tracks in groups.items():
        if not isinstance(tracks, (list, tuple, np.ndarray)):
            raise DataFileError(
                f"{source}: {video!r}, {key!r} holds a {type(tracks).__name__}, expected a list "
                "of tracks"
            )
        name = str(video) if key == "custom" else f"{video}/{key}"
        for number, track in enumerate(tracks):
            yield (name if len(tracks) == 1 else f"{name}#{number}"), track


def _video_facts(metadata: dict[Any, Any], video: Any, source: str) -> dict[Any, Any]:
    """{w, h, maybe fps} of a video, checked."""
    videos = metadata.get("video_metadata")
    facts = videos.get(video) if isinstance(videos, dict) else None
    if not isinstance(facts, dict) or not {"w", "h"} <= set(facts):
        raise DataFileError(
            f"{source}: metadata['video_metadata'] has no w and h for {video!r}; the size of its "
            "images must be known"
        )
    for key in ("w", "h", *({"fps"} & set(facts))):
        value = facts[key]
        if not isinstance(value, (int, float, np.number)) or not 0 < value <= _MAX_PIXELS:
            raise DataFileError(f"{source}: {key} of {video!r} is {value!r}, expected a size")
    return facts


def _clip(name: str, track: Any, skeleton: Skeleton, facts: dict[Any, Any], source: str) -> Clip:
    J = skeleton.n_joints
    if (
        not isinstance(track, np.ndarray)
        or track.ndim != 3
        or track.shape[1] != J
        or track.shape[2] not in (2, 3)
        or track.dtype.kind not in "fiu"
    ):
        found = track.shape if isinstance(track, np.ndarray) else type(track).__name__
        raise DataFileError(
            f"{source}: the track {name} is {found}, expected (T, {J}, 2) in pixels, or 3 with "
            f"scores ({skeleton.name})"
        )
    return Clip(
        name=name,
        keypoints_px=track[..., :2],
        scores=track[..., 2] if track.shape[2] == 3 else None,
        image_size=(int(facts["w"]), int(facts["h"])),
        fps=float(facts["fps"]) if "fps" in facts else None,
        keypoint_skeleton=skeleton,
    )
