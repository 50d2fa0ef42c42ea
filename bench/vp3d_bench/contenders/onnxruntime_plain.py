"""ONNX Runtime on plain torch.onnx.exports of the strided and the dilated network."""

from __future__ import annotations

import numpy as np

from vp3d_bench.contenders.base import SEQUENCE, WINDOW, Contender, Runner
from vp3d_bench.contenders.plain_files import DILATED, STRIDED, plain_export
from vp3d_bench.onnx_session import BATCH, FRAMES, INPUT, onnxruntime_session
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output


class SessionRunner:
    """model: a path. Inputs are handed over as they are; outputs are ONNX Runtime's own."""

    def __init__(self, model: str, threads: int, sizes: dict[str, int]) -> None:
        self._session = onnxruntime_session(model, threads, sizes)

    def prepare(self, keypoints: np.ndarray) -> dict[str, np.ndarray]:
        return {INPUT: np.array(keypoints)}

    def run(self, prepared: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(None, prepared)

    def answer(self, result: list[np.ndarray]) -> Output:
        return Output(result[0], result[1] if len(result) > 1 else None)

    def close(self) -> None:
        del self._session


def window() -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = plain_export(subject, STRIDED)
        return SessionRunner(str(model), subject.threads, {BATCH: shape[0]})

    label = "ONNX Runtime, plain export"
    return Contender("onnxruntime-plain", label, "onnxruntime", WINDOW, "fp32", opener)


def sequence() -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = plain_export(subject, DILATED)
        return SessionRunner(str(model), subject.threads, {BATCH: shape[0], FRAMES: shape[1]})

    label = "ONNX Runtime, plain export"
    return Contender("onnxruntime-sequence", label, "onnxruntime", SEQUENCE, "fp32", opener)
