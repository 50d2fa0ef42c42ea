"""Which frames the windows of a clip hold: edges repeated, lags clamped, no loop over samples."""

from __future__ import annotations

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
        lags = np.asarray(lag, dtype=np.int64)
        if np.any(lags < 0):
            raise ValueError(f"a lag is at least 0 frames, not {int(np.min(lags))}")
        offsets = np.minimum(offsets, lags.reshape(-1, 1))
    return np.clip(centres + offsets, 0, n_frames - 1)
