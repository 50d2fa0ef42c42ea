"""Score a network on clips with ground truth, at full lag or as a camera would see it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from vp3d_deploy import metrics
from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.training.networks import TemporalModelStrided
from vp3d_deploy.training.windows import window_frames

METRICS = {
    "mpjpe_mm": metrics.mpjpe_mm,
    "p_mpjpe_mm": metrics.p_mpjpe_mm,
    "n_mpjpe_mm": metrics.n_mpjpe_mm,
    "mpjve_mm": metrics.mpjve_mm,
}
BATCH = 4096


def mirror(array: NDArray[np.float32], order: Sequence[int]) -> NDArray[np.float32]:
    """Mirror (..., J, 2 or 3) left to right about x = 0 and swap the sides of the body."""
    out = array[..., list(order), :].copy()
    out[..., 0] *= -1
    return out


def predict(
    network: TemporalModelStrided, clip: Clip, lag: int | None = None, flip: bool = False
) -> NDArray[np.float32]:
    """Lift one clip, edges repeated.

    lag: frames an answer may trail the camera (frames after t + lag replaced by t + lag), None
        for all. flip: average with the prediction for the mirrored keypoints.
    Returns (T, J, 3) float32, metres, camera frame, root-relative. Leaves the network in
    evaluation mode.
    """
    network.eval()
    keypoints = normalize_screen(clip.keypoints_px, clip.image_size)
    frames = window_frames(clip.n_frames, network.spec, lag)
    out: NDArray[np.float32] = _forward(network, keypoints, frames)
    if flip:
        order = clip.keypoint_skeleton.flip_order
        mirrored = _forward(network, mirror(keypoints, order), frames)
        out = np.float32(0.5) * (out + mirror(mirrored, order))
    return out


@torch.inference_mode()
def _forward(
    network: TemporalModelStrided, keypoints: NDArray[np.float32], frames: NDArray[np.int64]
) -> NDArray[np.float32]:
    parts = [
        network(torch.from_numpy(keypoints[frames[start : start + BATCH]])).numpy()
        for start in range(0, len(frames), BATCH)
    ]
    return np.concatenate(parts)


def evaluate(
    network: TemporalModelStrided,
    clips: Sequence[Clip],
    lag: int | None = None,
    flip: bool = False,
) -> dict[str, dict[str, float]]:
    """Errors over clips with ground truth.

    Returns {"frames": metric -> mm over all frames, "actions": metric -> mm, the mean over
    actions of the mean over the frames of an action, which is how the original repository
    reports}. Ground truth is taken relative to joint 0.
    Raises ValueError if there are no clips or a clip has no ground truth.
    """
    if not clips:
        raise ValueError("there are no clips to evaluate on")
    rows = []
    for clip in clips:
        if clip.pose_m is None:
            raise ValueError(f"clip {clip.name!r} has no 3D ground truth to compare with")
        target = clip.pose_m - clip.pose_m[:, :1]
        predicted = predict(network, clip, lag, flip)
        rows.append([metric(predicted, target) for metric in METRICS.values()])
    table = np.array(rows)
    weights = np.array([clip.n_frames for clip in clips], dtype=float)
    actions = np.array([clip.base_action for clip in clips], dtype=str)
    by_action = [
        np.average(table[actions == action], axis=0, weights=weights[actions == action])
        for action in np.unique(actions)
    ]
    overall = np.average(table, axis=0, weights=weights)
    return {
        "frames": dict(zip(METRICS, overall.tolist(), strict=True)),
        "actions": dict(zip(METRICS, np.mean(by_action, axis=0).tolist(), strict=True)),
    }
