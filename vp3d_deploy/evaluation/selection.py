"""Which clips to measure on, and what to say about them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.motion import load_motion
from vp3d_deploy.evaluation.clips import share_frames, stand_ins
from vp3d_deploy.evaluation.model import Model

_LONGEST_SUBJECTS = 24  # characters of a title


@dataclass(frozen=True)
class Selection:
    """directory, keypoints, split: as vp3d_deploy.data.motion.load_motion takes them.

    subjects, actions: only these, if any; an action with or without its take, in any case.
    max_frames: the beginnings of all clips, about so many frames in all.
    """

    directory: Path
    keypoints: str = "gt"
    split: str = "test"
    subjects: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    max_frames: int | None = None


@dataclass(frozen=True)
class Description:
    """What the figures were measured on. folder: its name alone; where it lies is nobody's
    business. fps: frames per second of the clips, if they say and all say the same."""

    folder: str
    keypoints: str
    split: str
    subjects: tuple[str, ...]
    actions: tuple[str, ...]
    n_clips: int
    n_frames: int
    fps: float | None

    @property
    def title(self) -> str:
        """In a few words, for tables and pictures."""
        names = " ".join(self.subjects)
        if len(names) > _LONGEST_SUBJECTS:
            names = f"{len(self.subjects)} subjects"
        subjects = f", {names}" if names else ""
        return f"{self.folder}{subjects}, {self.keypoints} keypoints, {self.n_frames:,} frames"

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "folder": self.folder,
            "keypoints": self.keypoints,
            "split": self.split,
            "subjects": list(self.subjects),
            "actions": list(self.actions),
            "clips": self.n_clips,
            "frames": self.n_frames,
            "fps": self.fps,
        }


def load_selection(selection: Selection) -> list[Clip]:
    """The clips chosen. Raises ValueError for names that no clip has, and as `load_motion`."""
    clips = load_motion(selection.directory, selection.keypoints, selection.split)
    clips = _keep(clips, selection.subjects, "subject", lambda clip: (clip.subject,))
    clips = _keep(clips, selection.actions, "action", lambda clip: (clip.base_action, clip.action))
    return share_frames(clips, selection.max_frames)


def _keep(
    clips: list[Clip],
    wanted: Sequence[str],
    what: str,
    names_of: Callable[[Clip], tuple[str | None, ...]],
) -> list[Clip]:
    """The clips of which one of the names is wanted; every wanted name must occur."""
    if not wanted:
        return clips
    lowered = {name.lower() for name in wanted}
    kept, found = [], set()
    for clip in clips:
        hits = lowered & {name.lower() for name in names_of(clip) if name is not None}
        found |= hits
        if hits:
            kept.append(clip)
    lacking = [name for name in wanted if name.lower() not in found]
    if lacking:
        there = sorted({names_of(clip)[0] or "none" for clip in clips})
        raise ValueError(f"no clip is of {what} {lacking[0]!r}; there are {', '.join(there)}")
    return kept


def describe(selection: Selection, clips: Sequence[Clip]) -> Description:
    """What `load_selection` gave."""
    rates = {clip.fps for clip in clips}
    return Description(
        folder=selection.directory.resolve().name,
        keypoints=selection.keypoints,
        split=selection.split,
        subjects=tuple(
            sorted({s for clip in clips if (s := clip.subject) is not None}, key=_order)
        ),
        actions=tuple(sorted({a for clip in clips if (a := clip.base_action) is not None})),
        n_clips=len(clips),
        n_frames=sum(clip.n_frames for clip in clips),
        fps=rates.pop() if len(rates) == 1 else None,
    )


def _order(subject: str) -> tuple[int, str]:
    """S9 comes before S11."""
    return len(subject), subject


def doubts(model: Model, clips: Sequence[Clip], description: Description) -> list[str]:
    """What a reader of the figures should know about these clips, one sentence each."""
    found = []
    invented = sorted({j for clip in clips for j in stand_ins(clip.keypoint_skeleton,
                                                              model.skeleton_in)})  # fmt: skip
    if invented:
        found.append(
            f"the keypoints say nothing of {', '.join(invented)}, which {model.name} reads; other "
            "joints stand in, and the errors are larger than those of real keypoints"
        )
    unseen = sum(int(np.isnan(clip.keypoints_px).any(-1).sum()) for clip in clips)
    if unseen:
        total = sum(clip.keypoints_px.shape[0] * clip.keypoints_px.shape[1] for clip in clips)
        found.append(
            f"{unseen:,} of {total:,} joints were not seen and are put in the middle of the image"
        )
    if model.fps is not None and description.fps not in (None, model.fps):
        found.append(
            f"the clips have {description.fps:g} frames/s, and {model.name} was trained at "
            f"{model.fps:g}"
        )
    return found
