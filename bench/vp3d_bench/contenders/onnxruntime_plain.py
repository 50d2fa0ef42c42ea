"""ONNX Runtime on plain torch.onnx.exports of the strided and the dilated network."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vp3d_bench.contenders.base import SEQUENCE, WINDOW, Contender, Runner
from vp3d_bench.contenders.plain_files import (
    DILATED,
    DYNAMO,
    LEGACY,
    STRIDED,
    plain_export,
)
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
    return _window("onnxruntime-plain", LEGACY)


def window_dynamo() -> Contender:
    return _window("onnxruntime-plain-dynamo", DYNAMO)


def sequence() -> Contender:
    return _sequence("onnxruntime-sequence", LEGACY)


def sequence_dynamo() -> Contender:
    return _sequence("onnxruntime-sequence-dynamo", DYNAMO)


def _window(name: str, exporter: str) -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = plain_export(subject, STRIDED, exporter)
        return SessionRunner(str(model), subject.threads, {BATCH: shape[0]})

    return _contender(name, exporter, WINDOW, opener)


def _sequence(name: str, exporter: str) -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = plain_export(subject, DILATED, exporter)
        return SessionRunner(str(model), subject.threads, {BATCH: shape[0], FRAMES: shape[1]})

    return _contender(name, exporter, SEQUENCE, opener)


def _contender(
    name: str, exporter: str, form: str, opener: Callable[[Subject, tuple[int, ...]], Runner]
) -> Contender:
    label = f"ONNX Runtime, {exporter} export"
    return Contender(name, label, "onnxruntime", form, "fp32", opener)
