"""The config.pbtxt of each form.

What the server does with it, and what that asks of us:

- *Implicit state*: what a sequence's frame leaves in an output is what the next frame finds in an
  input. A state's buffers are fresh memory unless `initial_state` says zeros, and all zeros is how
  our graphs know a stream's first frame: they then fill each ring with its level's constant column
  (vp3d_export/graphs/stream.py). So the server's START control is not needed by the graph; a client
  still marks a sequence's first and last request.
- The server pairs the outputs with the inputs of states by their *places in two sorted lists of
  names*, whatever the pairs of the configuration say (core's src/sequence_state.cc). So both lists
  must sort alike, which `_check_pairing` holds them to.
- A state's dims are those without the batch.
- A sequence that is idle for a second is forgotten by default: too short for a camera that stalls.
- *oldest* batches the frames of whichever sequences have one; *direct* would keep a batch slot for
  every sequence and fill the gaps with rows of uninitialised memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vp3d_deploy.bundle import Bundle, EngineEntry, GraphEntry
from vp3d_deploy.engines.onnx_interface import Shapes, form_shapes, stream_state_shapes
from vp3d_export.triton.textproto import Message, Name, render

# Of each platform: the backend that runs it, the platform's name there, and its model file.
BACKENDS = {
    "onnxruntime": ("onnxruntime", "onnxruntime_onnx", "model.onnx"),
    "tensorrt": ("tensorrt", "tensorrt_plan", "model.plan"),
}
# The first line of every configuration that we wrote, and may therefore replace.
HEADER = "# Written by vp3d-export --triton; a new export replaces it."
_FLOAT = Name("TYPE_FP32")


class TritonError(ValueError):
    """A model repository that cannot be written as asked, in one sentence."""


@dataclass(frozen=True)
class Serving:
    """How models are served.

    platform: "onnxruntime" or "tensorrt".
    max_batch: the most requests (of the window) or sequences (of the stream) in one call.
    max_streams: how many sequences may be open at once; more wait for their turn.
    idle_s: after how many seconds without a frame the server forgets a sequence.
    gpu: of the server, where a bundle holds TensorRT engines for several; name or capability.
    queue_delay_us: how long a window may wait for others to share its call, microseconds. A frame
        of a stream never waits.
    """

    platform: str = "onnxruntime"
    max_batch: int = 32
    max_streams: int = 128
    idle_s: float = 60.0
    gpu: str | None = None
    queue_delay_us: int = 200


def model_config(
    name: str, bundle: Bundle, source: GraphEntry | EngineEntry, serving: Serving
) -> str:
    """The text of config.pbtxt for the model `name`, one graph or engine of `bundle`."""
    backend, platform, file = BACKENDS[serving.platform]
    max_batch = _max_batch(source, serving)
    inputs, outputs = form_shapes(bundle, source.form, source.lag)
    states: Shapes = {}
    if source.lag is not None:
        states = stream_state_shapes(bundle.networks, source.lag)
    dims = _Dims(batched=max_batch > 0)
    plain = [(n, s) for n, s in inputs.items() if not _is_state(n, "_in", states)]
    answers = [(n, s) for n, s in outputs.items() if not _is_state(n, "_out", states)]
    fields = [
        ("name", name),
        ("backend", backend),
        ("platform", platform),
        ("default_model_filename", file),
        ("max_batch_size", max_batch),
        *[("input", _tensor(n, dims(s))) for n, s in plain],
        *[("output", _tensor(n, dims(s))) for n, s in answers],
    ]
    if source.form == "window":
        delay = ("max_queue_delay_microseconds", serving.queue_delay_us)
        fields += [("dynamic_batching", Message(delay)), ("model_warmup", _warmup(plain, dims))]
    else:
        fields += [("sequence_batching", _sequences(states, dims, serving, max_batch))]
    fields += [("parameters", _parameter(*pair)) for pair in _facts(bundle, source).items()]
    return f"{HEADER}\n{_NOTES[source.form]}{render(Message(*fields))}"


def _max_batch(source: GraphEntry | EngineEntry, serving: Serving) -> int:
    """0 is the server's word for a model whose shapes, the batch of one included, are fixed."""
    if isinstance(source, GraphEntry):
        return serving.max_batch
    if source.rows is not None:
        return 0
    try:
        fewest, _, most = (int(shape[0]) for shape in source.details["profile"]["keypoints"])
    except (KeyError, TypeError, ValueError, IndexError):
        raise TritonError(
            f"the manifest does not tell the optimisation profile of {source.file}; build the "
            "engine again"
        ) from None
    if fewest > 1 or most < 1:
        raise TritonError(
            f"{source.file} takes {fewest} to {most} windows at once, and a server's first request "
            "may be of one: build the engine again with --batch 1:1:32"
        )
    return min(serving.max_batch, most)


@dataclass(frozen=True)
class _Dims:
    """Shapes as a configuration has them: without the batch, unless the model has none."""

    batched: bool

    def __call__(self, shape: tuple[int | None, ...]) -> list[int]:
        return [*([] if self.batched else [1]), *(-1 if n is None else n for n in shape[1:])]


_NOTES = {
    "window": "",
    "stream": "# Send one sequence per person: sequence_start with its first frame, sequence_end\n"
    "# with its last. A sequence's first `lag` answers are for frames before its first; after the\n"
    "# last frame, send it `lag` times more for the answers that remain.\n",
}


def _is_state(name: str, suffix: str, states: Shapes) -> bool:
    return name.endswith(suffix) and name.removesuffix(suffix) in states


def _tensor(name: str, dims: list[int]) -> Message:
    return Message(("name", name), ("data_type", _FLOAT), ("dims", dims))


def _warmup(inputs: list[tuple[str, tuple[int | None, ...]]], dims: _Dims) -> Message:
    """One window when the model is loaded, so that the first client does not wait for it."""
    fields: list[tuple[str, Any]] = [("name", "one window"), ("batch_size", 1)]
    for name, shape in inputs:
        zeros = Message(("data_type", _FLOAT), ("dims", dims(shape)), ("zero_data", True))
        fields.append(("inputs", Message(("key", name), ("value", zeros))))
    return Message(*fields)


def _sequences(states: Shapes, dims: _Dims, serving: Serving, max_batch: int) -> Message:
    _check_pairing([(f"{name}_in", f"{name}_out") for name in states])
    oldest = Message(
        ("max_candidate_sequences", max(serving.max_streams, max_batch)),
        ("max_queue_delay_microseconds", 0),
    )
    return Message(
        ("max_sequence_idle_microseconds", round(serving.idle_s * 1e6)),
        ("oldest", oldest),
        *[("state", _state(name, dims(shape))) for name, shape in states.items()],
    )


def _state(name: str, dims: list[int]) -> Message:
    kind = (("data_type", _FLOAT), ("dims", dims))
    return Message(
        ("input_name", f"{name}_in"),
        ("output_name", f"{name}_out"),
        *kind,
        ("initial_state", Message(("name", "nothing seen"), *kind, ("zero_data", True))),
    )


def _check_pairing(names: list[tuple[str, str]]) -> None:
    """Raises TritonError unless the server's pairing by sorted place is the intended one."""
    inputs = sorted(input_name for input_name, _ in names)
    outputs = sorted(output_name for _, output_name in names)
    intended = dict(names)
    for input_name, output_name in zip(inputs, outputs, strict=True):
        if intended[input_name] != output_name:
            raise TritonError(
                f"Triton pairs states by the order of their names and would carry {output_name} "
                f"into {input_name}; this bundle's graphs cannot be served with implicit state"
            )


def _facts(bundle: Bundle, source: GraphEntry | EngineEntry) -> Mapping[str, str]:
    """What a client should know, which it can ask the server for."""
    facts = {
        "vp3d_form": source.form,
        "vp3d_precision": source.precision,
        "vp3d_fps": f"{bundle.fps:g}",
        "vp3d_receptive_field": str(bundle.spec.receptive_field),
        "vp3d_lookahead": str(bundle.spec.lookahead),
        "vp3d_input_skeleton": bundle.skeleton_in.name,
        "vp3d_output_skeleton": bundle.skeleton_out.name,
        "vp3d_output_joints": ",".join(bundle.skeleton_out.joints),
    }
    if source.lag is not None:
        facts["vp3d_lag"] = str(source.lag)
    if isinstance(source, EngineEntry):
        facts["vp3d_gpu"] = f"{source.gpu}, compute capability {source.compute_capability}"
        facts["vp3d_tensorrt"] = source.tensorrt
    return facts


def _parameter(key: str, value: str) -> Message:
    return Message(("key", key), ("value", Message(("string_value", value))))
