"""What PyTorch and an engine say for the same frames, for each form of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from vp3d_deploy.engines.base import Engine, Output
from vp3d_deploy.evaluation.clips import EvaluationClip, EvaluationSet, pad_clip
from vp3d_deploy.evaluation.predict import CHUNK_FRAMES, join_outputs, over_clip
from vp3d_deploy.spec import ModelSpec

WINDOWS_PER_CLIP = 32
# Streams: people in one call, over this many receptive fields and some frames.
STREAM_PEOPLE = 4
STREAM_RECEPTIVE_FIELDS = 1
STREAM_EXTRA_FRAMES = 120
# A stream's definition costs PyTorch a whole window per answer, so big networks are compared in
# fewer answers per person: about this many multiply-adds in all, within these bounds.
STREAM_MULTIPLY_ADDS = 4e11
STREAM_ANSWERS = (24, 240)


class Reference(Protocol):
    def sequence(self, keypoints: np.ndarray) -> Output: ...


@dataclass
class Answers:
    """What one side says for a list of frames, and the truth where it is known."""

    pose: np.ndarray
    trajectory: np.ndarray | None
    truth: np.ndarray | None


class Expected:
    """What the reference says, for each form: computed when first asked for, and kept.

    Whichever engine and precision is compared, it is held against the same answers.
    """

    def __init__(self, spec: ModelSpec, reference: Reference, data: EvaluationSet) -> None:
        self.spec, self.data, self.reference = spec, data, reference
        self._whole: Answers | None = None
        self._live: dict[int, Answers] = {}

    def whole(self) -> Answers:
        """For every frame of the padded clips."""
        if self._whole is None:
            self._whole = over_clips(self.reference.sequence, self.spec, self.data)
        return self._whole

    def live(self, lag: int) -> Answers:
        """For the frames of `live_frames`, when answers trail by `lag` frames."""
        if lag not in self._live:
            keypoints, truths, chosen = live_frames(self.spec, self.data)
            defined = _defined_answers(self.spec, keypoints, chosen, lag, self.reference)
            self._live[lag] = _join(defined, truths)
        return self._live[lag]


def over_clips(
    sequence: Callable[[np.ndarray], Output], spec: ModelSpec, data: EvaluationSet
) -> Answers:
    """Whole padded clips, in chunks, their answers end to end."""
    outputs = [over_clip(sequence, spec, clip.keypoints) for clip in data.clips]
    truths = [clip.pose_m for clip in data.clips]
    return _join(outputs, truths)


def compare_windows(engine: Engine, expected: Expected) -> tuple[Answers, Answers]:
    """Some windows of every clip, in batches, beside the same frames of the whole clips."""
    spec, data, whole = expected.spec, expected.data, expected.whole()
    chosen, outputs, offset = [], [], 0
    for clip in data.clips:
        frames = pad_clip(spec, clip.keypoints)
        count = min(WINDOWS_PER_CLIP, len(clip.keypoints))
        starts = np.linspace(0, len(clip.keypoints) - 1, count).round().astype(int)
        at = starts[:, None] + np.arange(spec.receptive_field)
        outputs.append(engine.window(frames[at]).copied())
        chosen.append(offset + starts)
        offset += len(clip.keypoints)
    places = np.concatenate(chosen)
    picked = Answers(
        whole.pose[places],
        None if whole.trajectory is None else whole.trajectory[places],
        None if whole.truth is None else whole.truth[places],
    )
    found = _join(outputs, [None])
    found.truth = picked.truth
    return picked, found


def compare_stream(engine: Engine, lag: int, expected: Expected) -> tuple[Answers, Answers]:
    """A few people live in one call, from their first frame until every answer is out."""
    keypoints, truths, chosen = live_frames(expected.spec, expected.data)
    live = _live_answers(engine, keypoints, lag, set(chosen.tolist()))
    return expected.live(lag), _join(live, truths)


def live_frames(
    spec: ModelSpec, data: EvaluationSet
) -> tuple[np.ndarray, list[np.ndarray | None], np.ndarray]:
    """Keypoints (N, T, J_in, F) of N people, the true poses of compared answers, their frames.

    The clips are longer than the receptive field, so the rings turn over; the answers compared
    are spread evenly over them.
    """
    clips = _people(spec, data)
    keypoints = np.stack([clip.keypoints for clip in clips])
    T = keypoints.shape[1]
    chosen = np.unique(np.linspace(0, T - 1, _affordable(spec, len(clips))).round().astype(int))
    truths = [None if c.pose_m is None else c.pose_m[s : s + 1] for s in chosen for c in clips]
    return keypoints, truths, chosen


def _live_answers(
    engine: Engine, keypoints: np.ndarray, lag: int, chosen: set[int]
) -> list[Output]:
    """The answers for the chosen frames, each for all people."""
    n_people, T = keypoints.shape[:2]
    answers = []
    stream = engine.open_stream(lag)
    try:
        stream.add_rows(n_people)
        for frame in range(T + lag):
            shown = np.ascontiguousarray(keypoints[:, min(frame, T - 1)])
            output = stream.step(shown)
            if frame - lag in chosen:
                answers.append(output.copied())
    finally:
        stream.close()
    return answers


def _people(spec: ModelSpec, data: EvaluationSet) -> list[EvaluationClip]:
    """The longest clips, cut to one length."""
    clips = sorted(data.clips, key=lambda clip: -len(clip.keypoints))[:STREAM_PEOPLE]
    shortest = len(clips[-1].keypoints)
    if shortest < STREAM_RECEPTIVE_FIELDS * spec.receptive_field:
        # Rather one person whose rings turn over than several whose do not.
        clips = clips[:1]
        shortest = len(clips[0].keypoints)
    n_frames = min(shortest, STREAM_RECEPTIVE_FIELDS * spec.receptive_field + STREAM_EXTRA_FRAMES)
    return [clip.cut(n_frames) for clip in clips]


def _affordable(spec: ModelSpec, n_people: int) -> int:
    answers = STREAM_MULTIPLY_ADDS / (_window_multiply_adds(spec) * n_people)
    return int(np.clip(answers, *STREAM_ANSWERS))


def _window_multiply_adds(spec: ModelSpec) -> float:
    """Of the dilated network over one window."""
    columns, total = spec.receptive_field, 0
    for level, (width, dilation) in enumerate(zip(spec.filter_widths, spec.dilations, strict=True)):
        columns -= (width - 1) * dilation
        inputs = spec.channels if level else spec.joints_in * spec.features
        mix = spec.channels if level else 0
        total += columns * spec.channels * (width * inputs + mix)
    return float(total)


def _defined_answers(
    spec: ModelSpec, keypoints: np.ndarray, chosen: np.ndarray, lag: int, reference: Reference
) -> list[Output]:
    """What each chosen frame's answer is by definition, for all people: the network over the
    frame's window when nothing after frame + lag has been seen."""
    n_people, T = keypoints.shape[:2]
    together = max(1, CHUNK_FRAMES // (spec.receptive_field * n_people))
    answers = []
    for start in range(0, len(chosen), together):
        frames = chosen[start : start + together, None]
        around = np.arange(-spec.pad_left, spec.pad_right + 1)
        at = np.clip(frames + around, 0, np.minimum(frames + lag, T - 1))
        # (frames, people, R, J, F) as one batch: the answers come in the same order.
        windows = keypoints[:, at].swapaxes(0, 1).reshape(-1, *at.shape[1:], *keypoints.shape[2:])
        answers.append(reference.sequence(windows).copied((slice(None), 0)))
    return answers


def _join(outputs: list[Output], truths: list[np.ndarray | None]) -> Answers:
    known = [truth for truth in truths if truth is not None]
    truth = np.concatenate(known) if known and len(known) == len(truths) else None
    return Answers(*join_outputs(outputs), truth)
