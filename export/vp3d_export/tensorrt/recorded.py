"""PyTorch's answers for a fixed set of clips, kept in the bundle.

An engine that is built later, on a device without torch, is compared with these. The clips are
the built-in ones: measured motion may not be passed on, and is large.

    clipNN.keypoints, clipNN.truth        (T, J_in, F), (T, J_out, 3) float32
    whole.pose, whole.trajectory          for every frame of the padded clips, end to end
    liveLLL.pose, liveLLL.trajectory      at lag LLL, for the frames of compare.live_frames
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import safetensors
import safetensors.numpy

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Output
from vp3d_deploy.evaluation.clips import EvaluationClip, EvaluationSet
from vp3d_deploy.spec import ModelSpec
from vp3d_export.compare import Answers, Expected, live_frames

RECORDED = "pytorch.safetensors"
_TITLE = "title"


def write_recorded(path: Path, expected: Expected, lags: Sequence[int]) -> None:
    """Ask the reference for all that later builds compare with, and write it."""
    tensors: dict[str, np.ndarray] = {}
    for index, clip in enumerate(expected.data.clips):
        tensors[f"clip{index:02d}.keypoints"] = clip.keypoints
        if clip.pose_m is not None:
            tensors[f"clip{index:02d}.truth"] = clip.pose_m
    answers = {"whole": expected.whole(), **{_live(lag): expected.live(lag) for lag in lags}}
    for name, answer in answers.items():
        tensors[f"{name}.pose"] = answer.pose
        if answer.trajectory is not None:
            tensors[f"{name}.trajectory"] = answer.trajectory
    plain = {name: np.ascontiguousarray(value, np.float32) for name, value in tensors.items()}
    # Not save_file, whose files nobody else may read.
    path.write_bytes(safetensors.numpy.save(plain, {_TITLE: expected.data.title}))


def load_recorded(bundle: Bundle) -> Expected:
    """What `write_recorded` wrote; raises BundleError where there is none, or a damaged one."""
    if RECORDED not in bundle.manifest["files"]:
        raise BundleError(
            f"{bundle.path} holds no {RECORDED} to compare engines with; export the checkpoint "
            "again"
        )
    path = bundle.file(RECORDED)
    try:
        with safetensors.safe_open(path, "numpy") as file:
            title = (file.metadata() or {}).get(_TITLE, RECORDED)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        data = EvaluationSet(title, list(_clips(tensors)))
        recorded = _Recorded(bundle.spec, data)
        recorded.keep("whole", _answers(tensors, "whole", _truth(data)))
        for lag in bundle.lags:
            recorded.keep(lag, _answers(tensors, _live(lag), recorded.live_truth()))
    except (safetensors.SafetensorError, KeyError, ValueError) as error:
        raise BundleError(f"{path} is damaged: {error}") from None
    return recorded


class _Recorded(Expected):
    """Expected answers that were computed another time."""

    def __init__(self, spec: ModelSpec, data: EvaluationSet) -> None:
        super().__init__(spec, _Absent(), data)

    def keep(self, what: str | int, answers: Answers) -> None:
        if isinstance(what, int):
            self._live[what] = answers
        else:
            self._whole = answers

    def live_truth(self) -> np.ndarray | None:
        _, truths, _ = live_frames(self.spec, self.data)
        known = [truth for truth in truths if truth is not None]
        return np.concatenate(known) if known and len(known) == len(truths) else None


class _Absent:
    def sequence(self, keypoints: np.ndarray) -> Output:
        raise AssertionError("an answer that was not recorded")


def _live(lag: int) -> str:
    return f"live{lag:03d}"


def _clips(tensors: dict[str, np.ndarray]) -> list[EvaluationClip]:
    names = sorted(name.split(".")[0] for name in tensors if name.endswith(".keypoints"))
    if not names:
        raise ValueError("it holds no clips")
    return [
        EvaluationClip(name, tensors[f"{name}.keypoints"], tensors.get(f"{name}.truth"))
        for name in names
    ]


def _truth(data: EvaluationSet) -> np.ndarray | None:
    known = [clip.pose_m for clip in data.clips if clip.pose_m is not None]
    return np.concatenate(known) if len(known) == len(data.clips) else None


def _answers(tensors: dict[str, np.ndarray], name: str, truth: np.ndarray | None) -> Answers:
    return Answers(tensors[f"{name}.pose"], tensors.get(f"{name}.trajectory"), truth)
