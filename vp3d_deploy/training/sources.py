"""From clips to each epoch's frames: parts of clips, chunks that move, views seen anew."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vp3d_deploy.camera import camera_to_world
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.skeleton import H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.frames import Frames, chunk_samples, frames_of, with_chunks
from vp3d_deploy.training.settings import TrainingSettings
from vp3d_deploy.training.views import CameraBatch, ViewSettings, new_views

# Answers per new view where samples are single windows.
_SEGMENT = 32
# Frames that are seen anew in one go: it bounds the memory for what lies between.
_FRAMES_AT_ONCE = 100_000
# Far from the small seeds that demonstrations, tests and checks use.
_PROCEDURAL_SEED = 1_000_000
_PROCEDURAL_FRAMES = 500


@dataclass(frozen=True)
class TrainingClips:
    """Clips with labels, and without (perhaps none); all of one skeleton."""

    labelled: list[Clip]
    unlabelled: list[Clip]

    @property
    def skeleton_in(self) -> Skeleton:
        return self.labelled[0].keypoint_skeleton


def choose_clips(clips: Sequence[Clip], settings: TrainingSettings) -> TrainingClips:
    """The clips that a run uses. Clips without poses never count as labelled.

    Raises ValueError naming subjects that are not there, and where nothing is left.
    """
    there = sorted({str(clip.subject) for clip in clips})
    wanted = {*settings.subjects, *settings.unlabelled_subjects}
    missing = sorted(wanted - set(there))
    if missing:
        raise ValueError(
            f"the training data has no {', '.join(missing)}; its subjects are {', '.join(there)}"
        )
    labelled = [
        clip
        for clip in clips
        if clip.pose_m is not None
        and not _is_unlabelled(clip, settings)
        and (not settings.subjects or clip.subject in settings.subjects)
    ]
    unlabelled = [clip for clip in clips if _is_unlabelled(clip, settings)]
    if not labelled:
        raise ValueError("none of the training clips has 3D poses to learn from")
    if settings.semi_supervised and not unlabelled:
        raise ValueError(
            "all training clips have labels; name the subjects to see without them: --unlabelled"
        )
    _check_alike((*labelled, *unlabelled))
    skeleton = labelled[0].keypoint_skeleton
    if settings.semi_supervised and skeleton != H36M_17:
        raise ValueError(
            f"without labels the pose's joints, {H36M_17.name}, are compared with the keypoints, "
            f"which are {skeleton.name}; semi-supervised training needs {H36M_17.name} keypoints"
        )
    return TrainingClips(part_of_each(labelled, settings.subset), unlabelled)


def _check_alike(clips: Sequence[Clip]) -> None:
    """One network learns one skeleton at one frame rate; a clip may not know its rate."""
    for name, facts in (
        ("skeleton", [clip.keypoint_skeleton.name for clip in clips]),
        ("frame rate", [clip.fps for clip in clips]),
    ):
        known = {fact: clip.name for clip, fact in zip(clips, facts, strict=True) if fact}
        if len(known) > 1:
            (one, first), (other, second) = list(known.items())[:2]
            raise ValueError(
                f"the training clips differ in their {name}: {first!r} has {one}, {second!r} "
                f"{other}; convert them to one"
            )


def _is_unlabelled(clip: Clip, settings: TrainingSettings) -> bool:
    if not settings.semi_supervised:
        return False
    if settings.unlabelled_subjects:
        return clip.subject in settings.unlabelled_subjects
    return clip.pose_m is None


def part_of_each(clips: Sequence[Clip], part: float) -> list[Clip]:
    """One piece of every clip, the same in every run.

    Its place is drawn from the clip's length, by the rule of the original repository: so all views
    of a take show the same piece, and a tenth of the frames is a tenth of the poses.
    """
    if part == 1:
        return list(clips)
    pieces = []
    for clip in clips:
        length = max(1, round(clip.n_frames * part))
        digest = hashlib.sha256(str(clip.n_frames).encode()).digest()
        drawn = int.from_bytes(digest[:4], "little") / (2**32 - 1)  # 0 to 1, both included
        start = min(int(drawn * (clip.n_frames - length + 1)), clip.n_frames - length)
        pieces.append(clip.cut(start, start + length))
    return pieces


class RecordedMotion:
    """The recorded frames as they are."""

    def __init__(self, clips: Sequence[Clip], labelled: bool, settings: TrainingSettings) -> None:
        """Raises ValueError as `frames_of`."""
        self.frames = frames_of(clips, labelled)
        self._lengths = [clip.n_frames for clip in clips]
        self._settings = settings

    def epoch(self, epoch: int) -> Frames:
        """The frames of an epoch; the same again, but for where chunks begin."""
        chunk = self._settings.chunk
        if chunk == 1:
            return self.frames
        phase = int(_rng(self._settings, epoch).integers(chunk))
        return with_chunks(self.frames, self._lengths, chunk, phase)

    def move_to(self, device: torch.device) -> None:
        """Keep the frames there."""
        self.frames = self.frames.to(device)


class SeenAnew:
    """Recorded poses, and procedural ones, seen by other cameras and on other bodies (views.py).

    Each epoch the clips are cut into segments, and each segment gets a view of its own.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        spec: ModelSpec,
        settings: TrainingSettings,
        views: ViewSettings | None = None,
    ) -> None:
        """Raises ValueError for a clip without camera or poses, or with other joints."""
        from vp3d_deploy.data.procedural import make_clips

        self._spec, self._settings = spec, settings
        self._views = views or ViewSettings()
        n_invented = settings.procedural_clips
        invented = make_clips(n_invented, _PROCEDURAL_FRAMES, seed=_PROCEDURAL_SEED)
        self._foreign = np.arange(len(clips) + n_invented) < len(clips)
        self._foreign &= settings.foreign_joints
        world, cameras = [], []
        for clip in (*clips, *invented):
            if clip.pose_m is None or clip.camera is None:
                raise ValueError(f"clip {clip.name!r} has no camera or no poses to see anew")
            if clip.keypoint_skeleton != H36M_17:
                raise ValueError(
                    f"views can only show Human3.6M's joints; the keypoints of clip "
                    f"{clip.name!r} are {clip.keypoint_skeleton.name}"
                )
            world.append(camera_to_world(clip.pose_m, clip.camera))
            cameras.append(clip.camera)
        self._lengths = [len(poses) for poses in world]
        self._world_m = np.concatenate(world).astype(np.float32)
        self._cameras = CameraBatch.stack(cameras)

    def epoch(self, epoch: int) -> Frames:
        """New frames, on the CPU."""
        spec, chunk = self._spec, self._settings.chunk
        rng = _rng(self._settings, epoch)
        n = chunk if chunk > 1 else _SEGMENT
        segments = chunk_samples(self._lengths, n, int(rng.integers(n)))
        start, first, last, clip = (
            segments[name].numpy() for name in ("start", "first", "last", "clip")
        )
        length = n + spec.receptive_field - 1
        begin = start - spec.pad_left
        rows = np.clip(begin[:, None] + np.arange(length), first[:, None], last[:, None])
        pose, keypoints = self._see(rows, clip, rng)
        base = np.arange(len(start)) * length
        bounds = base + np.maximum(first - begin, 0), base + np.minimum(last - begin, length - 1)
        samples = _answers(base + spec.pad_left, *bounds, n, chunk)
        return Frames(
            torch.from_numpy(keypoints.reshape(-1, *keypoints.shape[2:])),
            torch.from_numpy(pose.reshape(-1, *pose.shape[2:])),
            torch.full((1, 10), torch.nan),
            **{name: torch.from_numpy(a) for name, a in samples.items()},
            clip=torch.zeros(len(samples["start"]), dtype=torch.int64),
        )

    def _see(
        self, rows: np.ndarray, clip: np.ndarray, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """(S, L) rows -> poses (S, L, J, 3) and keypoints (S, L, J, 2), some segments at a time."""
        at_once = max(1, _FRAMES_AT_ONCE // rows.shape[1])
        # Limbs are exchanged within a piece, so pieces are made of segments from all clips.
        order = rng.permutation(len(rows))
        pose = np.empty((*rows.shape, H36M_17.n_joints, 3), np.float32)
        keypoints = np.empty((*rows.shape, H36M_17.n_joints, 2), np.float32)
        for begin in range(0, len(order), at_once):
            chosen = order[begin : begin + at_once]
            pose[chosen], keypoints[chosen] = new_views(
                self._world_m[rows[chosen]],
                self._cameras.take(clip[chosen]),
                self._foreign[clip[chosen]],
                H36M_17,
                self._views,
                rng,
            )
        return pose, keypoints


def _answers(
    start: np.ndarray, first: np.ndarray, last: np.ndarray, n: int, chunk: int
) -> dict[str, np.ndarray]:
    """start, first, last of the samples in segments of n answers each: one of n, or n of one."""
    if chunk > 1:
        return {"start": start, "first": first, "last": last}
    answers = start[:, None] + np.arange(n)
    inside = (answers >= first[:, None]) & (answers <= last[:, None])
    segment = np.broadcast_to(np.arange(len(start))[:, None], answers.shape)[inside]
    return {"start": answers[inside], "first": first[segment], "last": last[segment]}


def _rng(settings: TrainingSettings, epoch: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, epoch])
