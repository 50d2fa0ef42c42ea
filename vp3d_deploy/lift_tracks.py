"""Tracks of people, as files give them, through a `Lifter`: whole, or frame by frame."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from vp3d_deploy.formats.tracks import MAX_VALUES, FormatError, Track
from vp3d_deploy.poses import Poses, merge_people

if TYPE_CHECKING:
    from vp3d_deploy.lifter import Lifter

Progress = Callable[[int, int], None]


def lift_recorded(
    lifter: Lifter,
    tracks: Sequence[Track],
    image_size: tuple[int, int],
    *,
    fps: float | None = None,
    flip: bool = False,
    progress: Progress | None = None,
) -> Poses:
    """Every person over the frames they were seen in, each with their own edges.

    Somebody who comes in late is not padded with frames in which they were not there.
    Returns Poses (N, T, J, 3), T from the first to the last frame of anybody; raises what
    `Lifter.lift` does.
    """
    check_extent(tracks)
    total, done = sum(track.n_frames for track in tracks), 0
    people = []
    for track in tracks:

        def report(n: int, _: int, before: int = done) -> None:
            if progress is not None:
                progress(before + n, total)

        poses = lifter.lift(
            _keypoints(track),
            image_size,
            flip=flip,
            skeleton=track.skeleton,
            fps=fps,
            progress=report,
        )
        poses.frame_indices = track.frame_indices
        people.append(poses)
        done += track.n_frames
    return merge_people(people, [track.track_id for track in tracks], people[0].skeleton)


def lift_live(
    lifter: Lifter,
    tracks: Sequence[Track],
    image_size: tuple[int, int],
    *,
    lag: int = 0,
    fps: float | None = None,
    progress: Progress | None = None,
) -> Poses:
    """The same tracks pushed frame by frame, as a camera would bring them.

    Returns Poses (N, T, J, 3). With `fps` other than the network's, its frames are those of the
    network's rate (see `LiveStream`), counted from frame 0 of the file at time 0.
    """
    check_extent(tracks)
    first = min(int(track.frame_indices[0]) for track in tracks)
    last = max(int(track.frame_indices[-1]) for track in tracks)
    answers: dict[Any, list[Poses]] = {track.track_id: [] for track in tracks}
    keypoints = {track.track_id: _keypoints(track) for track in tracks}
    with lifter.stream(image_size, lag, skeleton=tracks[0].skeleton, fps=fps) as stream:
        for frame in range(first, last + 1):
            seen = {}
            for track in tracks:
                row = frame - int(track.frame_indices[0])
                if 0 <= row < track.n_frames:
                    seen[track.track_id] = keypoints[track.track_id][row]
            _collect(answers, stream.push(seen))
            if progress is not None:
                progress(frame - first + 1, last - first + 1)
        _collect(answers, stream.flush())
        rate = stream.fps
    offset = first if fps is None else round(first / fps * rate)
    people, ids = [], []
    for track in tracks:
        if answers[track.track_id]:
            people.append(_in_time(answers[track.track_id], offset, rate))
            ids.append(track.track_id)
    if not people:
        raise FormatError("nobody was seen long enough for an answer")
    return merge_people(people, ids, people[0].skeleton)


def keypoints_of(tracks: Sequence[Track], poses: Poses, fps: float | None = None) -> np.ndarray:
    """(N, T, J, 3) float32, keypoints and scores of the people and frames of `poses`.

    fps: the frame rate of the tracks, if it is another than that of the poses.
    NaN in frames that a track does not cover.
    """
    frames = poses.frame_indices
    if fps is not None and poses.fps is not None and fps != poses.fps:
        frames = np.round(frames / poses.fps * fps).astype(np.int64)
    by_id = {track.track_id: track for track in tracks}
    ids = poses.track_ids or ()
    n_joints = tracks[0].skeleton.n_joints
    keypoints = np.full((len(ids), len(frames), n_joints, 3), np.nan, np.float32)
    for person, track_id in enumerate(ids):
        track = by_id[track_id]
        rows = frames - track.frame_indices[0]
        inside = (rows >= 0) & (rows < track.n_frames)
        keypoints[person, inside] = track.keypoints_with_scores()[rows[inside]]
    return keypoints


def check_extent(tracks: Sequence[Track]) -> None:
    """Raises FormatError if the people together span more frames than fit into memory."""
    first = min(int(track.frame_indices[0]) for track in tracks)
    last = max(int(track.frame_indices[-1]) for track in tracks)
    n_values = len(tracks) * (last - first + 1) * 17 * 3
    if n_values > MAX_VALUES:
        raise FormatError(
            f"{len(tracks)} people over {last - first + 1:,} frames are {n_values:,} values, more "
            f"than {MAX_VALUES:,}; take the longest seen with --people N"
        )


def _keypoints(track: Track) -> np.ndarray:
    """(T, J, 3) with scores where the file has some, else (T, J, 2)."""
    return track.keypoints_px if track.scores is None else track.keypoints_with_scores()


def _collect(answers: dict[Any, list[Poses]], new: Any) -> None:
    if isinstance(new, dict):
        for track_id, poses in new.items():
            answers[track_id].append(poses)


def _in_time(parts: list[Poses], offset: int, fps: float) -> Poses:
    """The answers for one person as one, without gaps in the arrays."""
    last = parts[0]
    joints = np.concatenate([part.joints_m for part in parts])
    confidence = np.concatenate([part.confidence for part in parts])
    trajectory = None
    if last.trajectory_m is not None:
        trajectory = np.concatenate(
            [part.trajectory_m for part in parts if part.trajectory_m is not None]
        )
    frames = np.concatenate([part.frame_indices for part in parts]) + offset
    return Poses(joints, trajectory, confidence, last.skeleton, fps, frames)
