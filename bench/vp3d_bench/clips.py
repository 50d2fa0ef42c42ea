"""Keypoints to measure with: built-in motion, as the network reads it."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.data.procedural import make_clips
from vp3d_deploy.evaluation.clips import pad_clip, prepare_clip
from vp3d_deploy.spec import ModelSpec

SEED = 20_001  # of clips that neither training nor an export's check has seen


def keypoints(bundle: Bundle, people: int, n_frames: int) -> np.ndarray:
    """(people, n_frames, J_in, F) float32, normalised screen units, everybody moving."""
    clips = make_clips(min(people, 8), n_frames, seed=SEED)
    shown = [
        prepare_clip(clip, bundle.spec, bundle.skeleton_in, bundle.skeleton_out).keypoints
        for clip in clips
    ]
    # More people than that are the same ones a little later.
    rows = [np.roll(shown[p % len(shown)], -7 * (p // len(shown)), axis=0) for p in range(people)]
    return np.ascontiguousarray(np.stack(rows), np.float32)


def padded(spec: ModelSpec, clips: np.ndarray) -> np.ndarray:
    """(B, T, J_in, F) -> (B, T+R-1, J_in, F), as `sequence` wants it."""
    return np.ascontiguousarray(np.stack([pad_clip(spec, clip) for clip in clips]))
