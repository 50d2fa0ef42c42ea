"""Keypoints from .npy and .npz: plain arrays, and VideoPose3D's 2D layout."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.data.npy import load_npy, load_npz
from vp3d_deploy.formats.skeletons import SkeletonHints, skeleton_for
from vp3d_deploy.formats.tracks import (
    MAX_COORDINATE,
    MAX_VALUES,
    FormatError,
    Track,
    longest_first,
    rows_with_missing,
    trim,
)

_KEYPOINT_NAMES = ("keypoints_px", "keypoints", "keypoints_2d", "poses_2d", "arr_0")


def read_npy(path: Path, hints: SkeletonHints) -> list[Track]:
    """Tracks from one array (T, J, 2|3) or (N, T, J, 2|3); see `tracks_from_array`."""
    return tracks_from_array(load_npy(path), str(path), hints)


def read_npz(path: Path, hints: SkeletonHints) -> list[Track]:
    """Tracks from VideoPose3D's layout ("positions_2d") or from one array and its companions.

    The array is called keypoints_px or keypoints, or is the only one in the file. Beside it there
    may be: scores (.., J), image_size (2,) width and height, fps, skeleton (a name), track_ids
    (N,) and frame_indices (T,), of which the first counts.

    Raises FormatError naming what was found.
    """
    source = str(path)
    arrays = load_npz(path)
    if "positions_2d" in arrays:
        return _tracks_from_videopose3d(arrays, source, hints)
    if "joints_m" in arrays:
        raise FormatError(f"{source}: these are 3D poses already; expected 2D keypoints")
    name = next((name for name in _KEYPOINT_NAMES if name in arrays), None)
    if name is None:
        candidates = [key for key, array in arrays.items() if array.ndim in (3, 4)]
        candidates = candidates or (list(arrays) if len(arrays) == 1 else [])
        if len(candidates) != 1:
            raise FormatError(
                f"{source}: no array of keypoints among {', '.join(sorted(arrays)[:8]) or 'none'};"
                " expected keypoints_px (T, J, 2), or VideoPose3D's positions_2d"
            )
        name = candidates[0]
    keypoints, scores = arrays[name], arrays.get("scores")
    if scores is not None:
        if scores.shape != keypoints.shape[:-1] or scores.dtype.kind not in "fiub":
            raise FormatError(
                f"{source}: scores are {scores.dtype} {scores.shape}; expected numbers "
                f"{keypoints.shape[:-1]} beside {name} {keypoints.shape}"
            )
        keypoints = np.concatenate([keypoints[..., :2], scores[..., None]], axis=-1)
    first = _integers(arrays, "frame_indices", source)
    ids = arrays.get("track_ids")
    return tracks_from_array(
        keypoints,
        f"{source}: {name}",
        hints,
        named=str(arrays["skeleton"]) if "skeleton" in arrays else None,
        image_size=_image_size(arrays, source),
        fps=_fps(arrays, source),
        track_ids=None if ids is None or ids.dtype.kind not in "iuU" else ids.ravel().tolist(),
        first_frame=int(first[0]) if first is not None and first.size else 0,
    )


def tracks_from_array(
    keypoints: np.ndarray,
    source: str,
    hints: SkeletonHints,
    *,
    named: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    track_ids: list[Any] | None = None,
    first_frame: int = 0,
    video: str = "",
) -> list[Track]:
    """Tracks from keypoints (T, J, 2|3) or (N, T, J, 2|3), pixels and, if three, scores.

    Raises FormatError for other shapes, and for values that are no numbers.
    """
    if keypoints.dtype.kind not in "fiu" or keypoints.ndim not in (3, 4):
        single = keypoints.ndim == 2 and keypoints.shape[1] in (2, 3)
        raise FormatError(
            f"{source}: {keypoints.dtype} {keypoints.shape}; expected numbers (T, J, 2), "
            "(T, J, 3) with scores, or (N, T, J, 2 or 3)"
            + ("; save a single frame as keypoints[None]" if single else "")
        )
    if keypoints.shape[-1] not in (2, 3) or keypoints.size > MAX_VALUES:
        raise FormatError(
            f"{source}: shape {keypoints.shape}; expected (T, J, 2), (T, J, 3) with scores, or "
            f"(N, T, J, 2 or 3), of at most {MAX_VALUES:,} values"
        )
    people = keypoints if keypoints.ndim == 4 else keypoints[None]
    joints, origin = skeleton_for(people.shape[2], source, hints, named, people[..., :2])
    has_scores = people.shape[-1] == 3
    if track_ids is None or len(track_ids) != len(people) or len(set(track_ids)) != len(people):
        track_ids = list(range(len(people)))
    tracks = []
    for track_id, person in zip(track_ids, people, strict=True):
        largest = _largest(person[..., :2])
        if largest > MAX_COORDINATE:
            raise FormatError(f"{source}: a coordinate of {largest:g} pixels")
        points, scores = rows_with_missing(person, has_scores)
        frames = np.arange(first_frame, first_frame + len(points), dtype=np.int64)
        tracks.append(
            Track(
                track_id=track_id,
                frame_indices=frames,
                keypoints_px=points,
                scores=scores if has_scores else None,
                skeleton=joints,
                image_size=image_size,
                fps=fps,
                video=video,
                skeleton_from=origin,
            )
        )
    return longest_first([trim(track) for track in tracks if track.n_seen], source)


def _largest(points: np.ndarray) -> float:
    """The largest magnitude of the finite values.

    As Python numbers: the bound overflows a float16, and the lowest integer has no opposite.
    """
    finite = np.isfinite(points)
    zero = points.dtype.type(0)
    highest = np.max(points, initial=zero, where=finite)
    return max(float(highest), -float(np.min(points, initial=zero, where=finite)))


def _tracks_from_videopose3d(
    arrays: dict[str, np.ndarray], source: str, hints: SkeletonHints
) -> list[Track]:
    """VideoPose3D's positions_2d: video or subject -> action -> people, or views by camera.

    In files for videos in the wild ("video_metadata") an action's arrays are people; in
    Human3.6M's files they are the same person seen by several cameras, each a video of its own.
    """
    videos = _item(arrays["positions_2d"], f"{source}: positions_2d")
    metadata = _item(arrays["metadata"], f"{source}: metadata") if "metadata" in arrays else {}
    layout = metadata.get("layout_name")
    sizes = metadata.get("video_metadata")
    wild = isinstance(sizes, dict)
    tracks: list[Track] = []
    for video, actions in videos.items():
        if not isinstance(actions, dict):
            raise FormatError(f"{source}: video {video!r} is no dict of actions")
        about = sizes.get(video) if isinstance(sizes, dict) else None
        size, fps = _video_size(about, f"{source}: video_metadata of {video!r}")
        for action, people in actions.items():
            where = f"{source}: {video!r}, {action!r}"
            name = str(video) if len(actions) == 1 and wild else f"{video}/{action}"
            for index, array in enumerate(_person_arrays(people, where)):
                found = tracks_from_array(
                    array,
                    f"{where}, track {index}",
                    hints,
                    named=layout if isinstance(layout, str) else None,
                    image_size=size,
                    fps=fps,
                    track_ids=[index if wild else 0],
                    video=name if wild else f"{name}/{index}",
                )
                tracks += found
    return longest_first(tracks, source)


def _item(array: np.ndarray, where: str) -> dict[Any, Any]:
    value: Any = array.reshape(-1)[0] if array.dtype == object and array.size == 1 else None
    if not isinstance(value, dict):
        raise FormatError(f"{where} is {array.dtype} {array.shape}; expected a pickled dict")
    return value


def _person_arrays(people: Any, where: str) -> list[np.ndarray]:
    """The (T, J, 2) arrays of a list, or of one array for one person or several."""
    if isinstance(people, np.ndarray) and people.dtype != object:
        people = [people] if people.ndim == 3 else list(people)
    if not isinstance(people, (list, tuple, np.ndarray)) or not all(
        isinstance(person, np.ndarray) and person.ndim == 3 for person in people
    ):
        raise FormatError(f"{where}: expected a list of arrays (T, J, 2)")
    return list(people)


def _video_size(about: Any, where: str) -> tuple[tuple[int, int] | None, float | None]:
    if not isinstance(about, dict) or not {"w", "h"} <= set(about):
        return None, None
    width, height, fps = about["w"], about["h"], about.get("fps")
    numbers = (int, float, np.integer, np.floating)
    if not isinstance(width, numbers) or not isinstance(height, numbers):
        raise FormatError(f"{where}: expected numbers w and h, found {width!r} and {height!r}")
    return _checked_size(width, height, where), float(fps) if isinstance(fps, numbers) else None


def _image_size(arrays: dict[str, np.ndarray], source: str) -> tuple[int, int] | None:
    size = arrays.get("image_size")
    if size is None:
        return None
    if size.size != 2 or size.dtype.kind not in "fiu":
        raise FormatError(f"{source}: image_size is {size.dtype} {size.shape}; expected (2,)")
    width, height = size.ravel().tolist()
    return _checked_size(width, height, f"{source}: image_size")


def _checked_size(width: Any, height: Any, where: str) -> tuple[int, int]:
    if not (0 < width < MAX_COORDINATE and 0 < height < MAX_COORDINATE):
        raise FormatError(f"{where}: {width} x {height} is no image size in pixels")
    return int(width), int(height)


def _fps(arrays: dict[str, np.ndarray], source: str) -> float | None:
    fps = arrays.get("fps")
    if fps is None:
        return None
    if fps.size != 1 or fps.dtype.kind not in "fiu":
        raise FormatError(f"{source}: fps is {fps.dtype} {fps.shape}; expected one number")
    value = float(fps.reshape(()))
    return value if 0 < value < np.inf else None


def _integers(arrays: dict[str, np.ndarray], name: str, source: str) -> np.ndarray | None:
    array = arrays.get(name)
    if array is not None and array.dtype.kind not in "iu":
        raise FormatError(f"{source}: {name} is {array.dtype}; expected whole numbers")
    return array
