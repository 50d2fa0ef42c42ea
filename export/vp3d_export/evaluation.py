"""The clips on which an export is checked: Human3.6M's test subjects, or built-in motion."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec

BUILT_IN_CLIPS = 8
BUILT_IN_FRAMES = 400
BUILT_IN_SEED = 7
# Other people and motion than the clips above: for what is measured before the check.
CALIBRATION_CLIPS = 4
CALIBRATION_FRAMES = 200
CALIBRATION_SEED = 1007


@dataclass(frozen=True)
class EvaluationClip:
    """keypoints: (T, J_in, F) float32, normalised screen units, finite.

    pose_m: (T, J_out, 3) float32 root-relative metres, or None where the network's joints have no
    ground truth.
    """

    name: str
    keypoints: np.ndarray
    pose_m: np.ndarray | None

    def cut(self, n_frames: int) -> EvaluationClip:
        """The first `n_frames` frames."""
        pose = None if self.pose_m is None else self.pose_m[:n_frames]
        return EvaluationClip(self.name, self.keypoints[:n_frames], pose)


@dataclass(frozen=True)
class EvaluationSet:
    """title: what the figures were measured on, as tables and parity.json name it."""

    title: str
    clips: list[EvaluationClip]

    @property
    def n_frames(self) -> int:
        return sum(len(clip.keypoints) for clip in self.clips)


def built_in_set(spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton) -> EvaluationSet:
    """Procedural motion, half of it as a detector would see it."""
    from vp3d_deploy.data.procedural import make_clips

    half = BUILT_IN_CLIPS // 2
    clips = [
        *make_clips(half, BUILT_IN_FRAMES, seed=BUILT_IN_SEED),
        *make_clips(half, BUILT_IN_FRAMES, seed=BUILT_IN_SEED + 1, detector=True),
    ]
    prepared = [_prepare(clip, spec, skeleton_in, skeleton_out) for clip in clips]
    return EvaluationSet("built-in procedural motion, not Human3.6M", prepared)


def calibration_keypoints(
    spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton
) -> list[np.ndarray]:
    """Padded clips (T+R-1, J_in, F) of built-in motion that no check uses."""
    from vp3d_deploy.data.procedural import make_clips

    clips = make_clips(CALIBRATION_CLIPS, CALIBRATION_FRAMES, seed=CALIBRATION_SEED)
    prepared = [_prepare(clip, spec, skeleton_in, skeleton_out) for clip in clips]
    return [pad_clip(spec, clip.keypoints) for clip in prepared]


def pad_clip(spec: ModelSpec, keypoints: np.ndarray) -> np.ndarray:
    """(T, ...) -> (T+R-1, ...), the first and last frame repeated, as in training."""
    widths = [(spec.pad_left, spec.pad_right), *[(0, 0)] * (keypoints.ndim - 1)]
    return np.pad(keypoints, widths, mode="edge")


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
    total = sum(clip.n_frames for clip in clips)
    if max_frames is not None and max_frames < total:
        share = max_frames / total
        clips = [clip.cut(0, max(1, round(clip.n_frames * share))) for clip in clips]
    prepared = [_prepare(clip, spec, skeleton_in, skeleton_out) for clip in clips]
    return EvaluationSet(f"{directory}, subjects S9 and S11, {keypoints} keypoints", prepared)


def _prepare(
    clip: Clip, spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton
) -> EvaluationClip:
    keypoints = normalize_screen(clip.keypoints_px, clip.image_size).astype(np.float32)
    # Engines see finite keypoints only (vp3d_deploy fills gaps); here the image centre will do.
    keypoints = np.nan_to_num(keypoints, nan=0.0)
    keypoints = keypoints[:, _sources(skeleton_in, spec.joints_in)]
    extra = spec.features - 2
    if extra > 0:
        ones = np.ones((*keypoints.shape[:2], extra), np.float32)
        keypoints = np.concatenate([keypoints, ones], axis=2)
    keypoints = np.ascontiguousarray(keypoints[:, :, : spec.features])
    known = clip.pose_m is not None and skeleton_out == H36M_17
    pose = clip.pose_m if known else None
    relative = None if pose is None else pose - pose[:, H36M_17.root : H36M_17.root + 1]
    return EvaluationClip(clip.name, keypoints, relative)


def _sources(skeleton_in: Skeleton, n_joints: int) -> list[int]:
    """Which Human3.6M joint stands in for each joint that the network reads.

    Accuracy against ground truth is only told for networks that read Human3.6M's joints or COCO's,
    whose face joints are taken from the head; others are still compared with PyTorch.
    """
    if skeleton_in == H36M_17:
        return list(range(n_joints))
    head = H36M_17.index("head")
    if skeleton_in == COCO_17:
        names = H36M_17.joints
        return [names.index(j) if j in names else head for j in COCO_17.joints]
    return [joint % H36M_17.n_joints for joint in range(n_joints)]
