"""Clips as a network reads them: normalised, its own joints, ground truth relative to the root."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton, SkeletonError
from vp3d_deploy.skeleton_conversion import convert_keypoints
from vp3d_deploy.spec import ModelSpec


@dataclass(frozen=True)
class EvaluationClip:
    """keypoints: (T, J_in, F) float32, normalised screen units, finite.

    pose_m: (T, J_out, 3) float32 root-relative metres, or None where the network's joints have no
    ground truth. action: without its take; None for clips that have none.
    """

    name: str
    keypoints: np.ndarray
    pose_m: np.ndarray | None
    action: str | None = None

    def cut(self, n_frames: int) -> EvaluationClip:
        """The first `n_frames` frames."""
        pose = None if self.pose_m is None else self.pose_m[:n_frames]
        return replace(self, keypoints=self.keypoints[:n_frames], pose_m=pose)


@dataclass(frozen=True)
class EvaluationSet:
    """title: what the figures were measured on, as tables and parity.json name it."""

    title: str
    clips: list[EvaluationClip]

    @property
    def n_frames(self) -> int:
        return sum(len(clip.keypoints) for clip in self.clips)


def pad_clip(spec: ModelSpec, keypoints: np.ndarray) -> np.ndarray:
    """(T, ...) -> (T+R-1, ...), the first and last frame repeated, as in training."""
    widths = [(spec.pad_left, spec.pad_right), *[(0, 0)] * (keypoints.ndim - 1)]
    return np.pad(keypoints, widths, mode="edge")


def share_frames(clips: list[Clip], max_frames: int | None) -> list[Clip]:
    """The beginnings of all clips, an equal share of each, `max_frames` in all or a few more."""
    total = sum(clip.n_frames for clip in clips)
    if max_frames is None or max_frames >= total:
        return clips
    share = max_frames / total
    return [clip.cut(0, max(1, round(clip.n_frames * share))) for clip in clips]


def has_truth_for(skeleton_out: Skeleton) -> bool:
    """Whether `Clip.pose_m` has the joints that a network writes."""
    return skeleton_out == H36M_17


def prepare_clip(
    clip: Clip, spec: ModelSpec, skeleton_in: Skeleton, skeleton_out: Skeleton
) -> EvaluationClip:
    """What a network is shown of a clip.

    A joint that was not seen (NaN) is put in the middle of the image, with score 0. A network that
    reads scores is given the clip's, or 1 for every joint that was seen.
    """
    points = normalize_screen(clip.keypoints_px, clip.image_size).astype(np.float32)
    seen = np.isfinite(points).all(-1)
    scores = seen.astype(np.float32) if clip.scores is None else np.nan_to_num(clip.scores, nan=0.0)
    scored = np.concatenate([points, np.where(seen, scores, 0.0)[..., None]], -1)
    scored = _with_joints(scored.astype(np.float32), clip.keypoint_skeleton, skeleton_in)
    # Engines see finite keypoints only (vp3d_deploy fills gaps); here the image centre will do.
    scored = np.nan_to_num(scored, nan=0.0)
    if spec.features > 3:
        ones = np.ones((*scored.shape[:2], spec.features - 3), np.float32)
        scored = np.concatenate([scored, ones], axis=2)
    keypoints = np.ascontiguousarray(scored[:, :, : spec.features])
    pose = clip.pose_m if has_truth_for(skeleton_out) else None
    relative = None if pose is None else pose - pose[:, H36M_17.root : H36M_17.root + 1]
    return EvaluationClip(clip.name, keypoints, relative, clip.base_action)


def stand_ins(source: Skeleton, skeleton_in: Skeleton) -> list[str]:
    """The joints that a network reads and of which keypoints of `source` say nothing."""
    if _same_joints(source, skeleton_in):
        return []
    try:
        convert_keypoints(np.zeros((source.n_joints, 2)), source, skeleton_in)
    except SkeletonError:
        return [joint for joint in skeleton_in.joints if joint not in source.joints]
    return []


def _with_joints(points: np.ndarray, source: Skeleton, skeleton_in: Skeleton) -> np.ndarray:
    """(T, J, 3) positions and scores -> (T, J_in, 3).

    Human3.6M has no face, so COCO's joints there are all taken from the head. For joints without
    any relation some joint of the same number stands in: engines can still be compared with
    PyTorch on that, though not with ground truth.
    """
    if _same_joints(source, skeleton_in):
        return points
    if not stand_ins(source, skeleton_in):
        return convert_keypoints(points, source, skeleton_in)
    if source == H36M_17 and skeleton_in == COCO_17:
        head = source.index("head")
        names = source.joints
        return points[:, [names.index(j) if j in names else head for j in skeleton_in.joints]]
    return points[:, [joint % source.n_joints for joint in range(skeleton_in.n_joints)]]


def _same_joints(a: Skeleton, b: Skeleton) -> bool:
    """Whether they mean the same joints; what a joint's name means depends on its skeleton's."""
    return (a.name, a.joints) == (b.name, b.joints)
