"""The motion that weights are fitted to when they are rounded: built-in clips, or your own.

It is never what the export is checked on afterwards. To show networks more than the clips hold,
each clip is followed by its mirror image, nearer to the camera or further away and elsewhere in
the picture: what a channel never said during calibration is cut off later.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
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
# Four times all actions: two as they are, two as a detector would see them.
BUILT_IN_CLIPS = 28
BUILT_IN_FRAMES = 200
# What is enough for the mean error of half precision.
FEW_CLIPS = 4
FEW_FRAMES = 200
# More frames of your own than this would take minutes and change nothing.
MAX_FRAMES = 6000
# How much larger a person of a mirror image is, and how much further from the image's middle.
_ZOOM = (0.7, 1.4)
_SHIFT = (0.5, 1.5)


@dataclass(frozen=True)
class Calibration:
    """title: what it is, for the bundle's provenance.

    prepared: the clips. padded, few: keypoints (T+R-1, J_in, F) float32, padded, normalised screen
        units; of the clips and their mirror images, and as many as half precision needs.
    """

    title: str
    prepared: Sequence[EvaluationClip]
    padded: Sequence[np.ndarray]
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
    rng = np.random.default_rng(SEED)
    images = [_image(clip, skeleton_in, rng) for clip in every]
    return Calibration(title, every, padded(every + images), padded(prepared(few)))


def _image(clip: EvaluationClip, skeleton: Skeleton, rng: np.random.Generator) -> EvaluationClip:
    """The clip in a mirror, at another distance and place."""
    turned = clip.keypoints[:, list(skeleton.flip_order)]
    turned[..., 0] *= -1
    xy = turned[..., :2]
    middle = xy.mean((0, 1))
    xy[...] = (xy - middle) * rng.uniform(*_ZOOM) + middle * rng.uniform(*_SHIFT)
    return replace(clip, keypoints=turned)
