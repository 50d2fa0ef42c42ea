"""Gaps of recorded clips, whose future is known; observe.py has the rest of the rules.

A joint that was not observed moves linearly in time, relative to the body, from its last to its
next observation, and the age that fades its confidence is the time to the nearer of the two. Before
the first and after the last observation it is held.
"""

from __future__ import annotations

import numpy as np

from vp3d_deploy.observe import anyone, fade, nearest_seen
from vp3d_deploy.screen import Screen
from vp3d_deploy.skeleton import Skeleton


def fill_clip(
    points: np.ndarray,
    scores: np.ndarray | None,
    seen: np.ndarray,
    skeleton: Skeleton,
    screen: Screen,
    fps: float,
    hold_s: float,
    fade_s: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Fill the gaps of one person's recorded clip.

    points: (T, J, 2) normalised screen units, anything where not seen; scores: (T, J) or None;
    seen: (T, J) bool, from `Screen.observed`.
    Returns points (T, J, 2), finite, and confidence (T, J) float32 0..1. Of a person who is never
    seen the points are zero, the middle of the image.
    """
    if scores is None:
        confidence = seen.astype(np.float32)
    else:
        confidence = np.where(seen, np.minimum(scores, 1), 0).astype(np.float32)
    if seen.all():
        return points, confidence
    points = np.where(seen[..., None], points, 0)
    if not seen.any():
        return points, confidence
    body = _body_path(points, seen)
    for joint in range(skeleton.n_joints):
        at, gaps = np.flatnonzero(seen[:, joint]), np.flatnonzero(~seen[:, joint])
        if not len(at) or not len(gaps):
            continue
        for axis in (0, 1):
            offsets = points[at, joint, axis] - body[at, axis]
            points[gaps, joint, axis] = body[gaps, axis] + np.interp(gaps, at, offsets)
        after = np.searchsorted(at, gaps)
        before, after = at[np.maximum(after - 1, 0)], at[np.minimum(after, len(at) - 1)]
        nearest = np.where(np.abs(gaps - before) <= np.abs(after - gaps), before, after)
        left = fade(np.abs(gaps - nearest) / fps, hold_s, fade_s)
        confidence[gaps, joint] = confidence[nearest, joint] * left
    sources = nearest_seen(skeleton, anyone(seen.T)[None])[0]
    return screen.limit(points)[:, sources], confidence


def _body_path(points: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(T, 2): where the body has moved to since the first frame.

    From one frame with observations to the next by the mean step of the joints seen in both;
    linear in time over frames without any.
    """
    present = np.flatnonzero(anyone(seen))
    now, then = points[present[1:]], points[present[:-1]]
    common = seen[present[1:]] & seen[present[:-1]]
    steps = np.where(common[..., None], now - then, 0).sum(1, dtype=np.float64)
    steps /= np.maximum(common.sum(1), 1)[:, None]
    path = np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])
    frames = np.arange(len(points))
    return np.stack([np.interp(frames, present, path[:, axis]) for axis in (0, 1)], axis=-1)
