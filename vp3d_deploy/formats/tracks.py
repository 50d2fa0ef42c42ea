"""What every reader gives: the 2D keypoints of each person, frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vp3d_deploy.skeleton import Skeleton

# A file may claim any frame number; beyond these a dense array would not fit into memory.
MAX_FRAMES = 5_000_000
MAX_VALUES = 200_000_000
# A joint is a pixel position; a coordinate beyond this is damage.
MAX_COORDINATE = 1e7


class FormatError(ValueError):
    """A file that cannot be read as keypoints; the message names the file and the place in it."""


@dataclass(frozen=True, eq=False)
class Track:
    """One person in one video, from the first to the last frame that shows them.

    track_id: number or name of the person, unique within `video`.
    frame_indices: (T,) int64, consecutive.
    keypoints_px: (T, J, 2) float32, pixels from the top left corner; NaN where missing.
    scores: (T, J) float32, 0 .. 1, 0 where missing; None if the file has none.
    skeleton: the meaning of the J joints.
    image_size: (width, height) in pixels; None if the file does not say.
    fps: frames per second; None if the file does not say.
    video: which video of the file this is; empty if the file holds only one.
    skeleton_from: where `skeleton` comes from, in a few words, for the user.
    """

    track_id: int | str
    frame_indices: np.ndarray
    keypoints_px: np.ndarray
    scores: np.ndarray | None
    skeleton: Skeleton
    image_size: tuple[int, int] | None = None
    fps: float | None = None
    video: str = ""
    skeleton_from: str = ""

    @property
    def n_frames(self) -> int:
        """T, gaps included."""
        return len(self.frame_indices)

    @property
    def n_seen(self) -> int:
        """Frames with at least one joint."""
        return int(np.isfinite(self.keypoints_px).all(-1).any(-1).sum())

    def keypoints_with_scores(self) -> np.ndarray:
        """(T, J, 3) float32: x and y in pixels and the score, 1 for seen joints without one."""
        scores = self.scores
        if scores is None:
            scores = np.isfinite(self.keypoints_px).all(-1).astype(np.float32)
        return np.concatenate([self.keypoints_px, scores[..., None]], axis=-1)


@dataclass(frozen=True)
class Detection:
    """One person in one frame, as a reader finds them.

    keypoints: (J, 3) float32, x and y in pixels and a score (NaN where the file has none).
    track_id: what the file says; None if it does not tell people apart.
    """

    frame: int
    keypoints: np.ndarray
    track_id: int | str | None = None
    score: float = 1.0


def rows_with_missing(keypoints: np.ndarray, has_scores: bool) -> tuple[np.ndarray, np.ndarray]:
    """Split (..., J, 3) into keypoints (..., J, 2) and scores (..., J), the missing joints marked.

    A joint is missing if a coordinate is not finite, or if its score is zero, negative or not
    finite. Missing joints get NaN and score 0; scores above 1 (some heatmaps) become 1.
    """
    points = np.array(keypoints[..., :2], np.float32)
    seen = np.isfinite(points).all(-1)
    scores = np.ones(points.shape[:-1], np.float32)
    if has_scores:
        given = np.nan_to_num(keypoints[..., 2], nan=0.0, posinf=1.0, neginf=0.0)
        scores = np.clip(given, 0.0, 1.0).astype(np.float32)
        seen &= scores > 0
    points[~seen] = np.nan
    scores[~seen] = 0.0
    return points, scores


def tracks_from_detections(
    detections: Sequence[Detection],
    source: str,
    skeleton: Skeleton,
    *,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    skeleton_from: str = "",
    video: str = "",
) -> list[Track]:
    """Tracks from single detections that all carry a track id, longest first.

    Where a file names the same person twice in one frame, the higher person score counts. Frames
    in which a person is not seen become NaN.
    Raises FormatError if there is nothing, or more than fits into memory.
    """
    people: dict[int | str, dict[int, Detection]] = {}
    for detection in detections:
        assert detection.track_id is not None
        frames = people.setdefault(detection.track_id, {})
        known = frames.get(detection.frame)
        if known is None or detection.score > known.score:
            frames[detection.frame] = detection
    n_values = sum((max(f) - min(f) + 1) * skeleton.n_joints * 3 for f in people.values())
    if n_values > MAX_VALUES:
        raise FormatError(
            f"{source}: {len(people)} people over so many frames would need {n_values:,} values, "
            f"more than {MAX_VALUES:,}; cut the file into shorter pieces"
        )
    has_scores = any(np.isfinite(d.keypoints[:, 2]).any() for d in detections)
    tracks = []
    for track_id, frames in people.items():
        first = min(frames)
        dense = np.full((max(frames) - first + 1, skeleton.n_joints, 3), np.nan, np.float32)
        for frame, detection in frames.items():
            dense[frame - first] = detection.keypoints
        points, scores = rows_with_missing(dense, has_scores)
        indices = np.arange(first, first + len(dense), dtype=np.int64)
        tracks.append(
            Track(
                track_id=track_id,
                frame_indices=indices,
                keypoints_px=points,
                scores=scores if has_scores else None,
                skeleton=skeleton,
                image_size=image_size,
                fps=fps,
                video=video,
                skeleton_from=skeleton_from,
            )
        )
    return longest_first([trim(track) for track in tracks if track.n_seen], source)


def longest_first(tracks: Iterable[Track], source: str) -> list[Track]:
    """The tracks by falling number of seen frames; raises FormatError if there is none."""
    ordered = sorted(tracks, key=lambda track: -track.n_seen)
    if not ordered:
        raise FormatError(f"{source}: nobody is seen in any frame")
    return ordered


def trim(track: Track) -> Track:
    """The track from its first to its last seen frame."""
    seen = np.flatnonzero(np.isfinite(track.keypoints_px).all(-1).any(-1))
    if not len(seen):
        return track
    part = slice(int(seen[0]), int(seen[-1]) + 1)
    return replace(
        track,
        frame_indices=track.frame_indices[part],
        keypoints_px=track.keypoints_px[part],
        scores=None if track.scores is None else track.scores[part],
    )


def frames_from_ids(ids: Sequence[int], source: str) -> dict[int, int]:
    """Frame numbers from the image ids of a file.

    Ids that could number the frames of a video (at most ten times as many as there are, with
    room for 1000 empty frames) are taken as they are, so that gaps stay gaps. Others, such as
    the ids of photographs in COCO, are counted 0, 1, 2 .. in rising order.

    Raises FormatError for more than MAX_FRAMES.
    """
    ordered = sorted(set(ids))
    if len(ordered) > MAX_FRAMES:
        raise FormatError(f"{source}: {len(ordered):,} frames; at most {MAX_FRAMES:,} are read")
    if not ordered:
        return {}
    span = ordered[-1] - ordered[0] + 1
    if ordered[0] >= 0 and ordered[-1] < 2**53 and span <= 10 * len(ordered) + 1000:
        return {frame: frame for frame in ordered}
    return {frame: index for index, frame in enumerate(ordered)}
