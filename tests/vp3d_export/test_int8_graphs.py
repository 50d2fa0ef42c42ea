"""int8 graphs as ONNX Runtime computes them, against their definition in whole numbers."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.numpy
from bundles import RandomBundle, random_bundle
from integer_network import assert_same_answers, integer_live, integer_sequence

from vp3d_deploy.bundle import GraphEntry
from vp3d_deploy.engines import CPU_ENGINES, open_engine
from vp3d_deploy.spec import ModelSpec

SPECS = [
    ModelSpec((3, 3, 3), 32),
    ModelSpec((5, 1, 3), 16, 16, 3, 15),
    ModelSpec((3, 5, 3), 17, causal=True),
    ModelSpec((1, 1, 1), 24),
    ModelSpec((7,), 16),
]
NETWORKS = ("pose", "trajectory")
every_engine = pytest.mark.parametrize("engine", CPU_ENGINES)


def spec_id(spec: ModelSpec) -> str:
    return "-".join(map(str, spec.filter_widths)) + ("-causal" if spec.causal else "")


@pytest.fixture(scope="module", params=SPECS, ids=spec_id)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RandomBundle:
    spec: ModelSpec = request.param
    lags = tuple(sorted({0, min(1, spec.lookahead), spec.lookahead}))
    path = tmp_path_factory.mktemp("int8") / "net.vp3d"
    return random_bundle(path, spec, trajectory=True, precisions=("int8",), lags=lags)


def stored(made: RandomBundle) -> dict[str, np.ndarray]:
    return dict(safetensors.numpy.load_file(made.bundle.file("weights.int8.safetensors")))


def keypoints_for(spec: ModelSpec, batch: int, n_frames: int, seed: int = 0) -> np.ndarray:
    shape = (batch, n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


@every_engine
@pytest.mark.parametrize(("batch", "n_frames"), [(1, 1), (3, 20), (2, 57)])
def test_sequence(made: RandomBundle, engine: str, batch: int, n_frames: int) -> None:
    clips = keypoints_for(made.bundle.spec, batch, n_frames + made.bundle.spec.receptive_field - 1)
    output = open_engine(made.bundle, engine, "int8").sequence(clips)
    for name, found in zip(NETWORKS, output, strict=True):
        spec = made.bundle.networks[name]
        assert_same_answers(found, integer_sequence(spec, stored(made), name, clips))


@every_engine
@pytest.mark.parametrize("batch", [1, 5])
def test_window(made: RandomBundle, engine: str, batch: int) -> None:
    windows = keypoints_for(made.bundle.spec, batch, made.bundle.spec.receptive_field)
    output = open_engine(made.bundle, engine, "int8").window(windows)
    for name, found in zip(NETWORKS, output, strict=True):
        spec = made.bundle.networks[name]
        assert_same_answers(found, integer_sequence(spec, stored(made), name, windows)[:, 0])


@every_engine
def test_stream_at_every_lag(made: RandomBundle, engine: str) -> None:
    T = 40
    clips = keypoints_for(made.bundle.spec, 3, T)
    opened = open_engine(made.bundle, engine, "int8")
    for lag in made.bundle.lags:
        stream = opened.open_stream(lag)
        stream.add_rows(len(clips))
        frames = [np.ascontiguousarray(clips[:, min(t, T - 1)]) for t in range(T + lag)]
        outputs = [stream.step(frame).copied() for frame in frames][lag:]
        for index, name in enumerate(NETWORKS):
            spec = made.bundle.networks[name]
            live = [integer_live(spec, stored(made), name, clip, lag) for clip in clips]
            found = np.stack([output[index] for output in outputs], 1)
            assert_same_answers(found, np.stack(live))


def test_a_server_may_carry_the_state_of_any_number_of_streams(made: RandomBundle) -> None:
    """By the graph alone, with ONNX Runtime's own options: state by name, all zeros at first."""
    spec, T = made.bundle.spec, 12
    entry = made.bundle.graph("stream", "int8", 0)
    session = onnxruntime.InferenceSession(made.bundle.file(entry.file), precise())
    names = [output.name for output in session.get_outputs()]
    for batch in (1, 4):
        clips = keypoints_for(spec, batch, T, seed=batch)
        state = {
            i.name: np.zeros((batch, *i.shape[1:]), np.float32)
            for i in session.get_inputs()
            if i.name != "keypoints"
        }
        poses = []
        for t in range(T):
            answers = session.run(None, {"keypoints": clips[:, t], **state})
            by_name = dict(zip(names, answers, strict=True))
            state = {name: by_name[f"{name[:-3]}_out"] for name in state}
            poses.append(by_name["pose"])
        live = [integer_live(spec, stored(made), "pose", clip, 0) for clip in clips]
        assert_same_answers(np.stack(poses, 1), np.stack(live))


def precise() -> onnxruntime.SessionOptions:
    """As docs/int8.md tells those who run the graphs themselves on any x86."""
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.x64quantprecision", "1")
    return options


def optimised(
    made: RandomBundle, entry: GraphEntry, options: onnxruntime.SessionOptions, path: Path
) -> list[onnx.NodeProto]:
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        made.bundle.file(entry.file), options, providers=["CPUExecutionProvider"]
    )
    return list(onnx.load(path, load_external_data=False).graph.node)


def test_onnx_runtime_multiplies_whole_numbers(made: RandomBundle, tmp_path: Path) -> None:
    """Every product between the first level and shrink; what it does not recognise as 8-bit
    products would be right, and ten times slower."""
    levels = len(made.bundle.spec.filter_widths) - 1
    for entry, options in itertools.product(
        made.bundle.graphs, (onnxruntime.SessionOptions(), precise())
    ):
        nodes = optimised(made, entry, options, tmp_path / "optimised.onnx")
        kinds = [node.op_type for node in nodes]
        assert kinds.count("QGemm") == 2 * levels * len(NETWORKS)
        assert kinds.count("QuantizeLinear") == 2 * levels * len(NETWORKS)
        assert "DequantizeLinear" not in kinds


def test_activations_and_weights_are_symmetric_int8(made: RandomBundle) -> None:
    """The one kind of 8-bit numbers that TensorRT takes: int8, and every zero point is 0."""
    for entry in made.bundle.graphs:
        model = onnx.load(made.bundle.file(entry.file), load_external_data=False)
        held = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type not in ("QuantizeLinear", "DequantizeLinear"):
                continue
            zero = held[node.input[2]]
            assert zero.data_type == onnx.TensorProto.INT8
            assert not onnx.numpy_helper.to_array(zero).any()
            assert held[node.input[1]].name.endswith(("scale", "input_scale"))


def test_graphs_point_into_the_weights(made: RandomBundle) -> None:
    for entry in made.bundle.graphs:
        path = made.bundle.file(entry.file)
        assert path.stat().st_size < 60_000
        model = onnx.load(path, load_external_data=False)
        external = [t for t in model.graph.initializer if t.external_data]
        places = {e.value for t in external for e in t.external_data if e.key == "location"}
        assert places == {"weights.int8.safetensors"}
        assert {t.name for t in external} == set(stored(made))
