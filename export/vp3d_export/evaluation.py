"""The clips on which an export is checked: Human3.6M's test subjects, or built-in motion."""

from __future__ import annotations

from pathlib import Path

from vp3d_deploy.evaluation.clips import EvaluationSet, prepare_clip, share_frames
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

BUILT_IN_CLIPS = 8
BUILT_IN_FRAMES = 400
BUILT_IN_SEED = 7


def built_in_set(spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton) -> EvaluationSet:
    """Procedural motion, half of it as a detector would see it."""
    from vp3d_deploy.data.procedural import make_clips

    half = BUILT_IN_CLIPS // 2
    clips = [
        *make_clips(half, BUILT_IN_FRAMES, seed=BUILT_IN_SEED),
        *make_clips(half, BUILT_IN_FRAMES, seed=BUILT_IN_SEED + 1, detector=True),
    ]
    prepared = [prepare_clip(clip, spec, skeleton_in, skeleton_out) for clip in clips]
    return EvaluationSet("built-in procedural motion, not Human3.6M", prepared)


def h36m_set(
    directory: Path,
    keypoints: str,
    spec: ModelSpec,
    skeleton_in: Skeleton,
    skeleton_out: Skeleton,
    max_frames: int | None = None,
) -> EvaluationSet:
    """Test subjects S9 and S11 of data in a Human3.6M layout.

    max_frames: stop once this many frames are taken, an equal share of every clip.
    """
    from vp3d_deploy.data import load_h36m

    clips = load_h36m(directory, keypoints=keypoints, split="test")
    clips = share_frames(clips, max_frames)
    prepared = [prepare_clip(clip, spec, skeleton_in, skeleton_out) for clip in clips]
    return EvaluationSet(f"{directory}, subjects S9 and S11, {keypoints} keypoints", prepared)
