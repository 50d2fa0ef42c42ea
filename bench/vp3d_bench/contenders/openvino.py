"""OpenVINO on plain exports of the strided and the dilated network, and on our sequence graph."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino

from vp3d_bench.contenders.base import SEQUENCE, WINDOW, Contender, Runner, UnavailableError
from vp3d_bench.contenders.plain_files import (
    DILATED,
    DYNAMO,
    LEGACY,
    STRIDED,
    plain_export,
)
from vp3d_bench.onnx_session import INPUT
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output

SHORT_TYPES = {"f32": "fp32", "bf16": "bf16", "f16": "fp16"}
EXACT = {"INFERENCE_PRECISION_HINT": "f32"}


class InferRunner:
    """A model compiled for one shape, as its documentation advises for latency.

    options: of the CPU plugin, beside the latency hint and the number of threads.
    """

    def __init__(
        self, model: Path, shape: tuple[int, ...], threads: int, options: dict[str, str]
    ) -> None:
        core = openvino.Core()
        read = core.read_model(model)
        read.reshape({INPUT: list(shape)})
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, **options}
        self._model = core.compile_model(read, "CPU", hints)
        self._request = self._model.create_infer_request()

    def prepare(self, keypoints: np.ndarray) -> Any:
        return openvino.Tensor(np.array(keypoints), shared_memory=False)

    def run(self, prepared: Any) -> None:
        self._request.set_input_tensor(prepared)
        self._request.infer()

    def answer(self, result: None) -> Output:
        count = len(self._model.outputs)
        arrays = [np.array(self._request.get_output_tensor(i).data) for i in range(count)]
        return Output(arrays[0], arrays[1] if count > 1 else None)

    def close(self) -> None:
        del self._request, self._model


def window() -> Contender:
    """Everything in float32, which it does not promise unless told."""
    return _exact("openvino-f32", WINDOW, STRIDED, LEGACY)


def window_dynamo() -> Contender:
    return _exact("openvino-f32-dynamo", WINDOW, STRIDED, DYNAMO)


def window_default() -> Contender:
    """In the precision that it takes by itself, where that is another one.

    Raises UnavailableError where it is float32.
    """
    return _default("openvino-default", WINDOW, STRIDED)


def sequence() -> Contender:
    return _exact("openvino-sequence-f32", SEQUENCE, DILATED, LEGACY)


def sequence_dynamo() -> Contender:
    return _exact("openvino-sequence-f32-dynamo", SEQUENCE, DILATED, DYNAMO)


def sequence_default() -> Contender:
    return _default("openvino-sequence-default", SEQUENCE, DILATED)


def sequence_on_our_graph() -> Contender:
    """Matrix products where the plain export has dilated convolutions."""

    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = subject.bundle.file(subject.bundle.graph(SEQUENCE, "fp32").file)
        return InferRunner(model, shape, subject.threads, EXACT)

    return _contender(
        "openvino-sequence-graph", "OpenVINO f32, our graph", SEQUENCE, "fp32", opener
    )


def _contender(
    name: str,
    label: str,
    form: str,
    precision: str,
    opener: Callable[[Subject, tuple[int, ...]], Runner],
) -> Contender:
    return Contender(name, label, "openvino", form, precision, opener)


def _exact(name: str, form: str, network: str, exporter: str) -> Contender:
    label = f"OpenVINO f32, {exporter} export"
    return _contender(name, label, form, "fp32", _plain(network, exporter, EXACT))


def _default(name: str, form: str, network: str) -> Contender:
    precision = _default_precision()
    label = f"OpenVINO default ({precision}), {LEGACY} export"
    return _contender(name, label, form, precision, _plain(network, LEGACY, {}))


def _plain(
    network: str, exporter: str, options: dict[str, str]
) -> Callable[[Subject, tuple[int, ...]], Runner]:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        model = plain_export(subject, network, exporter)
        return InferRunner(model, shape, subject.threads, options)

    return opener


def _default_precision() -> str:
    name = openvino.Core().get_property("CPU", "INFERENCE_PRECISION_HINT").get_type_name()
    if name == "f32":
        raise UnavailableError("OpenVINO's default precision on this processor is f32 itself")
    return SHORT_TYPES.get(name, name)
