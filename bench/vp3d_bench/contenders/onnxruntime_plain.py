"""ONNX Runtime on a plain torch.onnx.export of the strided network."""

from __future__ import annotations

import numpy as np

from vp3d_bench.contenders.base import Contender, Runner
from vp3d_bench.contenders.plain import plain_export
from vp3d_bench.peers import INPUT, onnxruntime_session
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output


class SessionRunner:
    """model: a path. Inputs are handed over as they are; outputs are ONNX Runtime's own."""

    def __init__(self, model: str, threads: int) -> None:
        self._session = onnxruntime_session(model, threads)

    def prepare(self, keypoints: np.ndarray) -> dict[str, np.ndarray]:
        return {INPUT: np.array(keypoints)}

    def run(self, prepared: dict[str, np.ndarray]) -> list[np.ndarray]:
        return self._session.run(None, prepared)

    def answer(self, result: list[np.ndarray]) -> Output:
        return Output(result[0], result[1] if len(result) > 1 else None)

    def close(self) -> None:
        del self._session


def plain() -> Contender:
    return Contender(
        "onnxruntime-plain", "ONNX Runtime, plain export", "onnxruntime", "window", "fp32", _open
    )


def _open(subject: Subject, people: int) -> Runner:
    return SessionRunner(str(plain_export(subject)), subject.threads)
