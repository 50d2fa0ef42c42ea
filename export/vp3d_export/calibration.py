"""The motion that weights are fitted to when they are rounded: built-in clips, or your own.

It is never what the export is checked on afterwards.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.motion import load_motion
from vp3d_deploy.data.own import load_own_clip
from vp3d_deploy.evaluation.clips import (
    EvaluationClip,
    EvaluationSet,
    pad_clip,
    prepare_clip,
    share_frames,
)
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

# Other people and motion than those of the built-in check.
SEED = 1007
# All actions, once as they are and once as a detector would see them.
BUILT_IN_CLIPS = 14
BUILT_IN_FRAMES = 300
# What is enough for the mean error of half precision.
FEW_CLIPS = 4
FEW_FRAMES = 200
# More frames of your own than this would take minutes and change nothing.
MAX_FRAMES = 12_000


@dataclass(frozen=True)
class Calibration:
    """title: what it is, for the bundle's provenance.

    clips, few: keypoints (T+R-1, J_in, F) float32, padded, normalised screen units; all of them,
        and as many as half precision needs.
    """

    title: str
    prepared: Sequence[EvaluationClip]
    clips: Sequence[np.ndarray]
    few: Sequence[np.ndarray]

    def shared_with(self, data: EvaluationSet) -> str | None:
        """The name of a clip that is also in `data`, if there is one: both begin alike."""
        for clip in self.prepared:
            for checked in data.clips:
                n_frames = min(len(clip.keypoints), len(checked.keypoints))
                if np.array_equal(clip.keypoints[:n_frames], checked.keypoints[:n_frames]):
                    return clip.name
        return None


def built_in_calibration(
    spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton
) -> Calibration:
    """Procedural motion, half of it as a detector would see it."""
    from vp3d_deploy.data.procedural import make_clips

    half = BUILT_IN_CLIPS // 2
    clips = [
        *make_clips(half, BUILT_IN_FRAMES, seed=SEED),
        *make_clips(half, BUILT_IN_FRAMES, seed=SEED + 1, detector=True),
    ]
    few = make_clips(FEW_CLIPS, FEW_FRAMES, seed=SEED)
    title = f"built-in procedural motion, seeds {SEED} and {SEED + 1}"
    return _calibration(title, clips, few, spec, skeleton_in, skeleton_out)


def calibration_from(
    places: Sequence[Path], spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton
) -> Calibration:
    """Your own motion.

    places: clips, .npz files as docs/own-data.md describes them, and folders of motion in any
        layout that `load_motion` reads, of which the training part is taken.
    Raises ValueError (DataFileError, ...) in one sentence for what is neither, OSError for what
    cannot be read.
    """
    clips: list[Clip] = []
    for place in places:
        if place.is_dir():
            clips += load_motion(place, split="train")
        else:
            clips.append(load_own_clip(place))
    clips = share_frames(clips, MAX_FRAMES)
    names = ", ".join(place.name for place in places)
    title = f"{names}: {len(clips)} clips, {sum(clip.n_frames for clip in clips)} frames"
    few = share_frames(clips, FEW_CLIPS * FEW_FRAMES)
    return _calibration(title, clips, few, spec, skeleton_in, skeleton_out)


def _calibration(
    title: str,
    clips: list[Clip],
    few: list[Clip],
    spec: ModelSpec,
    skeleton_in: Skeleton,
    skeleton_out: Skeleton,
) -> Calibration:
    def prepared(clips: list[Clip]) -> list[EvaluationClip]:
        return [prepare_clip(clip, spec, skeleton_in, skeleton_out) for clip in clips]

    def padded(clips: list[EvaluationClip]) -> list[np.ndarray]:
        return [pad_clip(spec, clip.keypoints) for clip in clips]

    every = prepared(clips)
    return Calibration(title, every, padded(every), padded(prepared(few)))
