"""Keypoints to measure with: built-in motion, as the network reads it."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.data.procedural import make_clips
from vp3d_deploy.evaluation.clips import pad_clip, prepare_clip
from vp3d_deploy.spec import ModelSpec

SEED = 20_001  # of clips that neither training nor an export's check has seen
# As many different people as there are; more are the same ones a little later.
DIFFERENT, LATER_FRAMES = 8, 7


def keypoints(bundle: Bundle, people: int, n_frames: int) -> np.ndarray:
    """(people, n_frames, J_in, F) float32, normalised screen units, everybody moving."""
    different = min(people, DIFFERENT)
    rounds = -(-people // DIFFERENT)
    clips = make_clips(different, n_frames + LATER_FRAMES * (rounds - 1), seed=SEED)
    shown = [
        prepare_clip(clip, bundle.spec, bundle.skeleton_in, bundle.skeleton_out).keypoints
        for clip in clips
    ]
    rows = []
    for person in range(people):
        begin = LATER_FRAMES * (person // DIFFERENT)
        rows.append(shown[person % DIFFERENT][begin : begin + n_frames])
    return np.ascontiguousarray(np.stack(rows), np.float32)


def padded(spec: ModelSpec, clips: np.ndarray) -> np.ndarray:
    """(B, T, J_in, F) -> (B, T+R-1, J_in, F), as `sequence` wants it."""
    return np.ascontiguousarray(np.stack([pad_clip(spec, clip) for clip in clips]))
