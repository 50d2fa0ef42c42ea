"""Which frames the windows of a clip hold: edges repeated, lags clamped, no loop over samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from vp3d_deploy.spec import ModelSpec


def window_frames(
    n_frames: int, spec: ModelSpec, lag: int | NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """The frames that the answer for each frame of a clip is computed from.

    Edges are repeated, as in training. With a `lag`, frames later than t + lag are replaced by
    frame t + lag: what the network is given when an answer may trail the camera by that much.

    n_frames: T, at least 1. lag: frames >= 0, one for all windows or (T,) one each; None for
        all the frames there are.
    Returns (T, R) int64: row t holds the frames of the window of frame t, each in [0, T).
    Raises ValueError if there is no frame or a lag is negative.
    """
    if n_frames < 1:
        raise ValueError(f"a clip has at least one frame, not {n_frames}")
    centres = np.arange(n_frames)[:, None]
    offsets = np.arange(-spec.pad_left, spec.pad_right + 1)[None, :]
    if lag is not None:
        offsets = clamp_offsets(offsets, np.asarray(lag, dtype=np.int64))
    return np.clip(centres + offsets, 0, n_frames - 1)


def clamp_offsets(offsets: NDArray[np.int64], lag: NDArray[np.int64]) -> NDArray[np.int64]:
    """Replace offsets beyond the lag by the lag: offsets (1, R), lag () or (N,) -> (1|N, R).

    Raises ValueError if a lag is negative.
    """
    if np.any(lag < 0):
        raise ValueError(f"a lag is at least 0 frames, not {int(np.min(lag))}")
    return np.minimum(offsets, lag.reshape(-1, 1))


def segment_frames(
    lengths: Sequence[int], n_centres: int, spec: ModelSpec, phase: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Cut clips that lie one behind the other into segments of `n_centres` windows each.

    lengths: frames of each clip. phase: where the first cut lies, 0 <= phase < n_centres;
        changing it from epoch to epoch moves the seams.
    Returns
        frames (S, n_centres + R - 1) int64: rows of the concatenated clips, edges repeated, so
            that window i of a segment is its columns i .. i + R - 1;
        clip (S,) int64: the clip of each segment;
        valid (S, n_centres) bool: False for windows whose centre is outside the clip.
    Raises ValueError if the phase or n_centres is out of range.
    """
    if n_centres < 1 or not 0 <= phase < n_centres:
        raise ValueError(
            f"segments of {n_centres} windows can start at 0 to {n_centres - 1}, not {phase}"
        )
    bases = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    columns = np.arange(-spec.pad_left, n_centres + spec.pad_right)
    frames, clips, valid = [], [], []
    for clip, (base, length) in enumerate(zip(bases, lengths, strict=True)):
        starts = np.arange(-phase, length, n_centres)
        starts = starts[starts + n_centres > 0]
        centres = starts[:, None] + np.arange(n_centres)
        frames.append(base + np.clip(starts[:, None] + columns, 0, length - 1))
        clips.append(np.full(len(starts), clip))
        valid.append((centres >= 0) & (centres < length))
    return np.concatenate(frames), np.concatenate(clips), np.concatenate(valid)
