"""Errors of whole clips, and their averages over frames and over actions.

Two conventions are in use, and their figures differ by millimetres. MMPose averages over all
frames. The original VideoPose3D averages over the frames of each action (of all its takes,
subjects and cameras together; a clip's MPJVE counts with its number of frames) and then over the
actions, each with the same weight. Ground truth is relative to the root in both; predictions are
taken as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from typing import Any

import numpy as np

from vp3d_deploy import metrics

# What clips without an action are counted as.
ALL = "all"


@dataclass(frozen=True)
class Errors:
    """The four errors of vp3d_deploy/metrics.py, millimetres; MPJVE is per frame."""

    mpjpe_mm: float
    p_mpjpe_mm: float
    n_mpjpe_mm: float
    mpjve_mm: float


METRICS = {
    "mpjpe_mm": "MPJPE",
    "p_mpjpe_mm": "P-MPJPE",
    "n_mpjpe_mm": "N-MPJPE",
    "mpjve_mm": "MPJVE",
}


@dataclass(frozen=True)
class ClipErrors:
    """Of one clip; per_joint_mm: (J,) MPJPE of each joint."""

    action: str
    n_frames: int
    errors: Errors
    per_joint_mm: np.ndarray


@dataclass(frozen=True)
class ActionErrors:
    """Averages over the frames of one action."""

    n_clips: int
    n_frames: int
    errors: Errors


@dataclass(frozen=True)
class ErrorReport:
    """All averages over a set of clips.

    frames: over all frames. actions: over the frames of each action, then over actions.
    per_action: in alphabetical order. per_joint_mm: MPJPE over all frames, by joint name.
    """

    n_clips: int
    n_frames: int
    frames: Errors
    actions: Errors
    per_action: Mapping[str, ActionErrors]
    per_joint_mm: Mapping[str, float]

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "frames": asdict(self.frames),
            "actions": asdict(self.actions),
            "per_action": {
                name: {"clips": a.n_clips, "frames": a.n_frames, **asdict(a.errors)}
                for name, a in self.per_action.items()
            },
            "per_joint_mpjpe_mm": dict(self.per_joint_mm),
        }


def clip_errors(prediction_m: np.ndarray, target_m: np.ndarray, action: str | None) -> ClipErrors:
    """Errors of one clip.

    prediction_m, target_m: (T, J, 3) metres, camera frame, the target relative to the root.
    Raises ValueError as vp3d_deploy.metrics does.
    """
    errors = Errors(
        metrics.mpjpe_mm(prediction_m, target_m),
        metrics.p_mpjpe_mm(prediction_m, target_m),
        metrics.n_mpjpe_mm(prediction_m, target_m),
        metrics.mpjve_mm(prediction_m, target_m),
    )
    per_joint = metrics.mpjpe_per_joint_mm(prediction_m, target_m)
    return ClipErrors(action or ALL, len(target_m), errors, per_joint)


def average_errors(clips: Sequence[ClipErrors], joints: Sequence[str]) -> ErrorReport:
    """Averages over clips whose joints have these names. Raises ValueError without clips."""
    if not clips:
        raise ValueError("there are no clips to average over")
    per_action = {}
    for action in sorted({clip.action for clip in clips}):
        own = [clip for clip in clips if clip.action == action]
        n_frames = sum(clip.n_frames for clip in own)
        per_action[action] = ActionErrors(len(own), n_frames, _over_frames(own))
    weights = [clip.n_frames for clip in clips]
    per_joint = np.average([clip.per_joint_mm for clip in clips], axis=0, weights=weights)
    return ErrorReport(
        n_clips=len(clips),
        n_frames=sum(weights),
        frames=_over_frames(clips),
        actions=_mean(action.errors for action in per_action.values()),
        per_action=per_action,
        per_joint_mm=dict(zip(joints, per_joint.tolist(), strict=True)),
    )


def _over_frames(clips: Sequence[ClipErrors]) -> Errors:
    return _mean((clip.errors for clip in clips), [clip.n_frames for clip in clips])


def _mean(errors: Iterable[Errors], weights: Sequence[int] | None = None) -> Errors:
    table = np.array([astuple(error) for error in errors])
    return Errors(*np.average(table, axis=0, weights=weights).tolist())
