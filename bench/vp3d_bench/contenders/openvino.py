"""OpenVINO on the plain export, and on our sequence graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openvino

from vp3d_bench.contenders.base import Contender, Runner, Unavailable
from vp3d_bench.contenders.plain import plain_export
from vp3d_bench.peers import INPUT
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output

SHORT_TYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}


class InferRunner:
    """A model compiled for one shape, as its documentation advises for latency.

    options: of the CPU plugin, beside the latency hint and the number of threads.
    """

    def __init__(self, model: Path, shape: list[int], threads: int, options: dict[str, str]):
        core = openvino.Core()
        read = core.read_model(model)
        read.reshape({INPUT: shape})
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, **options}
        self._model = core.compile_model(read, "CPU", hints)
        self._request = self._model.create_infer_request()

    def prepare(self, keypoints: np.ndarray) -> Any:
        return openvino.Tensor(np.array(keypoints), shared_memory=False)

    def run(self, prepared: Any) -> None:
        self._request.set_input_tensor(prepared)
        self._request.infer()

    def answer(self, result: None) -> Output:
        arrays = [np.array(self._request.get_output_tensor(i).data) for i in range(self._count)]
        return Output(arrays[0], arrays[1] if len(arrays) > 1 else None)

    @property
    def _count(self) -> int:
        return len(self._model.outputs)

    def close(self) -> None:
        del self._request, self._model


def exact() -> Contender:
    """Everything in float32, which it does not promise unless told."""
    return Contender(
        "openvino-f32", "OpenVINO f32, plain export", "openvino", "window", "fp32",
        lambda subject, people: _open(subject, people, {"INFERENCE_PRECISION_HINT": "f32"}),
    )  # fmt: skip


def default() -> Contender:
    """In the precision that it takes by itself, where that is another one.

    Raises Unavailable where it is float32.
    """
    precision = _default_precision()
    if precision == "fp32":
        raise Unavailable("OpenVINO's default precision on this processor is f32, as openvino-f32")
    return Contender(
        "openvino-default", f"OpenVINO default ({precision}), plain export", "openvino", "window",
        precision, lambda subject, people: _open(subject, people, {}),
    )  # fmt: skip


def _open(subject: Subject, people: int, options: dict[str, str]) -> Runner:
    spec = subject.bundle.spec
    shape = [people, spec.receptive_field, spec.joints_in, spec.features]
    return InferRunner(plain_export(subject), shape, subject.threads, options)


def _default_precision() -> str:
    name = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    return SHORT_TYPES.get(name, name)
