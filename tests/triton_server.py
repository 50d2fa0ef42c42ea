"""What Triton Inference Server does with a model repository, as far as it concerns our models.

Written from its documentation and model_config.proto: how it checks a configuration against a
model, carries implicit state (paired by places in sorted lists of names, zeroed only where the
configuration says so, without the batch in dims), and joins requests into a batch.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc
import numpy as np
import onnxruntime
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2, service_pb2, service_pb2_grpc

FLOAT = model_config_pb2.TYPE_FP32
Arrays = dict[str, np.ndarray]


class ServerError(Exception):
    """What the server would answer instead."""


def read_config(model: Path) -> model_config_pb2.ModelConfig:
    """Strictly: an unknown field is an error, as it is for the server."""
    return text_format.Parse((model / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


@dataclass
class Request:
    """One request for one or more rows; sequence 0 is none."""

    inputs: Arrays
    sequence: int = 0
    start: bool = False
    end: bool = False


@dataclass
class Model:
    """One loaded model of the ONNX Runtime backend."""

    directory: Path
    config: model_config_pb2.ModelConfig = field(init=False)
    session: onnxruntime.InferenceSession = field(init=False)
    states: dict[int, Arrays] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.config = read_config(self.directory)
        if self.config.name != self.directory.name:
            raise ServerError("the model's name is not its directory's")
        version = max(
            (p for p in self.directory.iterdir() if p.is_dir() and p.name.isdigit()),
            key=lambda p: int(p.name),
        )
        file = version / (self.config.default_model_filename or "model.onnx")
        self.session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
        self._check_against_model()

    @property
    def _states(self) -> list[model_config_pb2.ModelSequenceBatching.State]:
        return list(self.config.sequence_batching.state)

    def infer(self, requests: list[Request]) -> list[Arrays]:
        """Several requests in one call of the model; each one's rows of every answer."""
        rows = [len(next(iter(request.inputs.values()))) for request in requests]
        # Without batching a call is one request, whose first axis is like any other.
        if sum(rows) > max(1, self.config.max_batch_size):
            raise ServerError(f"batch {sum(rows)} is beyond {self.config.max_batch_size}")
        for request in requests:
            self._check_request(request)
        feeds = self._joined([request.inputs for request in requests])
        if self._states:
            if any(count != 1 for count in rows):
                raise ServerError("a request of a sequence has one row")
            feeds |= self._joined([self._state_of(request) for request in requests])
        names = [output.name for output in self.session.get_outputs()]
        answers = dict(zip(names, self.session.run(names, feeds), strict=True))
        ends = np.cumsum(rows)
        parts = [
            {name: value[end - count : end] for name, value in answers.items()}
            for end, count in zip(ends, rows, strict=True)
        ]
        for request, part in zip(requests, parts, strict=True):
            self._keep(request, part)
        listed = [output.name for output in self.config.output]
        return [{name: part[name] for name in listed} for part in parts]

    @staticmethod
    def _joined(arrays: list[Arrays]) -> Arrays:
        return {name: np.concatenate([one[name] for one in arrays]) for name in arrays[0]}

    def _state_of(self, request: Request) -> Arrays:
        if request.start:
            batch = (1,) if self.config.max_batch_size else ()
            self.states[request.sequence] = {s.input_name: _first(s, batch) for s in self._states}
        return self.states[request.sequence]

    def _keep(self, request: Request, answers: Arrays) -> None:
        """The n-th output by name becomes the n-th input by name."""
        inputs = sorted(state.input_name for state in self._states)
        outputs = sorted(state.output_name for state in self._states)
        if request.sequence:
            kept = {i: answers[o] for i, o in zip(inputs, outputs, strict=True)}
            self.states[request.sequence] = kept
        if request.end:
            del self.states[request.sequence]

    def _check_request(self, request: Request) -> None:
        wanted = {i.name: tuple(i.dims) for i in self.config.input}
        if set(request.inputs) != set(wanted):
            raise ServerError(f"expected inputs {sorted(wanted)}, got {sorted(request.inputs)}")
        for name, value in request.inputs.items():
            shape = value.shape[1:] if self.config.max_batch_size else value.shape
            if value.dtype != np.float32 or shape != wanted[name]:
                raise ServerError(f"{name} has shape {value.shape}, expected {wanted[name]}")
        sequential = self.config.WhichOneof("scheduling_choice") == "sequence_batching"
        if sequential and not request.sequence:
            raise ServerError("requests to this model must have a sequence id")
        if sequential and not request.start and request.sequence not in self.states:
            raise ServerError("the first request of a sequence must be marked as its start")

    def _check_against_model(self) -> None:
        """Every input, output and state exists, of this type and shape, and none is left over."""
        held = {i.name: i for i in self.session.get_inputs()}
        given = {o.name: o for o in self.session.get_outputs()}
        expected = {i.name: i for i in self.config.input}
        expected |= {s.input_name: s for s in self._states}
        if set(held) != set(expected) or len(expected) != len(self.config.input) + len(
            self._states
        ):
            raise ServerError(f"inputs {sorted(expected)}, the model has {sorted(held)}")
        for name, entry in expected.items():
            _check_tensor(name, entry, held[name], self.config.max_batch_size)
        results = {o.name: o for o in self.config.output}
        results |= {s.output_name: s for s in self._states}
        for name, entry in results.items():
            if name not in given:
                raise ServerError(f"the model has no output {name}")
            _check_tensor(name, entry, given[name], self.config.max_batch_size)
        for state in self._states:
            for initial in state.initial_state:
                if list(initial.dims) != list(state.dims) or initial.data_type != state.data_type:
                    raise ServerError(f"the initial state of {state.input_name} does not fit it")
                if not initial.name:
                    raise ServerError("an initial state must have a name")


def _first(
    state: model_config_pb2.ModelSequenceBatching.State, batch: tuple[int, ...]
) -> np.ndarray:
    """What a sequence's first request finds: zeros if asked for, else whatever memory holds."""
    zeros = [s for s in state.initial_state if s.WhichOneof("state_data") == "zero_data"]
    return np.full((*batch, *state.dims), 0 if zeros else np.nan, np.float32)


def _check_tensor(
    name: str, entry: object, found: onnxruntime.NodeArg, max_batch_size: int
) -> None:
    dims = [d if isinstance(d, int) else -1 for d in found.shape]
    wanted = [*([-1] if max_batch_size else []), *entry.dims]  # type: ignore[attr-defined]
    if dims != wanted or found.type != "tensor(float)" or entry.data_type != FLOAT:  # type: ignore[attr-defined]
        raise ServerError(f"{name} is {wanted} by its configuration, the model has {dims}")


class Service(service_pb2_grpc.GRPCInferenceServiceServicer):
    """The part of the inference protocol that a client of ours needs."""

    def __init__(self, repository: Path) -> None:
        self.models = {p.name: Model(p) for p in sorted(repository.iterdir())}

    def ModelConfig(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        config = self._model(request.name, context).config
        return service_pb2.ModelConfigResponse(config=config)

    def ModelInfer(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802
        model = self._model(request.model_name, context)
        inputs = {
            given.name: np.frombuffer(raw, np.float32).reshape(tuple(given.shape))
            for given, raw in zip(request.inputs, request.raw_input_contents, strict=True)
        }
        controls = {
            name: parameter.bool_param or parameter.int64_param
            for name, parameter in request.parameters.items()
        }
        try:
            answers = model.infer(
                [
                    Request(
                        inputs,
                        int(controls.get("sequence_id", 0)),
                        bool(controls.get("sequence_start")),
                        bool(controls.get("sequence_end")),
                    )
                ]
            )[0]
        except ServerError as error:
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        wanted = [output.name for output in request.outputs] or list(answers)
        for name in wanted:
            shape = list(answers[name].shape)
            response.outputs.add(name=name, datatype="FP32", shape=shape)
            response.raw_output_contents.append(answers[name].tobytes())
        return response

    def _model(self, name, context) -> Model:  # type: ignore[no-untyped-def]
        if name not in self.models:
            context.abort(grpc.StatusCode.NOT_FOUND, f"unknown model {name!r}")
        return self.models[name]


@contextmanager
def serving(repository: Path) -> Iterator[tuple[str, Service]]:
    """A server on a free port of this machine: its address, and what it holds."""
    service = Service(repository)
    server = grpc.server(ThreadPoolExecutor(max_workers=2))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}", service
    finally:
        server.stop(None).wait()
