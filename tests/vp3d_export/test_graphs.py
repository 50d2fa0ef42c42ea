"""Every form as ONNX Runtime computes it, against the float64 definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from bundles import RandomBundle, random_bundle
from onnx import TensorProto
from reference import dilated_network, live_answers, padded

from vp3d_deploy.engines import open_engine
from vp3d_deploy.spec import ModelSpec

# Absolute, metres, for answers of about half a metre. fp32: round-off of a few thousand products.
# fp16: half precision between the first level and the last, of random weights.
ATOL = {"fp32": 2e-5, "fp16": 2e-2}

SPECS = [
    ModelSpec((3, 3, 3), 32),
    ModelSpec((5, 1, 3), 16, 16, 3, 15),
    ModelSpec((3, 5, 3), 16, causal=True),
    ModelSpec((1, 1, 1), 16),
    ModelSpec((7,), 16),
]


def spec_id(spec: ModelSpec) -> str:
    return "-".join(map(str, spec.filter_widths)) + ("-causal" if spec.causal else "")


def lags_of(spec: ModelSpec) -> tuple[int, ...]:
    full = spec.lookahead
    return tuple(sorted({0, min(1, full), full // 2, full}))


@pytest.fixture(scope="module", params=SPECS, ids=spec_id)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RandomBundle:
    spec: ModelSpec = request.param
    path = tmp_path_factory.mktemp("graphs") / "net.vp3d"
    return random_bundle(
        path, spec, trajectory=True, precisions=("fp32", "fp16"), lags=lags_of(spec)
    )


def keypoints_for(spec: ModelSpec, batch: int, n_frames: int, seed: int = 0) -> np.ndarray:
    shape = (batch, n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def expected_sequence(made: RandomBundle, name: str, clips: np.ndarray) -> np.ndarray:
    spec = made.bundle.networks[name]
    return np.stack([dilated_network(spec, made.parameters[name], clip) for clip in clips])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize(("batch", "n_frames"), [(1, 1), (3, 20), (2, 57)])
def test_sequence(made: RandomBundle, precision: str, batch: int, n_frames: int) -> None:
    spec = made.bundle.spec
    clips = keypoints_for(spec, batch, n_frames + spec.receptive_field - 1)
    output = open_engine(made.bundle, "onnx", precision).sequence(clips)
    assert output.trajectory is not None
    for name, found in (("pose", output.pose), ("trajectory", output.trajectory)):
        expected = expected_sequence(made, name, clips)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("batch", [1, 5])
def test_window(made: RandomBundle, precision: str, batch: int) -> None:
    windows = keypoints_for(made.bundle.spec, batch, made.bundle.spec.receptive_field)
    output = open_engine(made.bundle, "onnx", precision).window(windows)
    assert output.trajectory is not None
    for name, found in (("pose", output.pose), ("trajectory", output.trajectory)):
        expected = expected_sequence(made, name, windows)[:, 0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=ATOL[precision])


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_stream_at_every_lag(made: RandomBundle, precision: str) -> None:
    spec, T = made.bundle.spec, 40
    clips = keypoints_for(spec, 3, T)
    engine = open_engine(made.bundle, "onnx", precision)
    for lag in made.bundle.lags:
        stream = engine.open_stream(lag)
        stream.add_rows(len(clips))
        poses, roots = [], []
        for t in range(T + lag):
            output = stream.step(clips[:, min(t, T - 1)])
            poses.append(output.pose.copy())
            assert output.trajectory is not None
            roots.append(output.trajectory.copy())
        for name, found in (("pose", poses), ("trajectory", roots)):
            network, tensors = made.bundle.networks[name], made.parameters[name]
            expected = [live_answers(network, tensors, clip, lag) for clip in clips]
            np.testing.assert_allclose(
                np.stack(found[lag:], 1), np.stack(expected), rtol=0, atol=ATOL[precision]
            )


def test_stream_graph_runs_in_a_server_that_starts_from_zeros(made: RandomBundle) -> None:
    """By the graph alone: state by name from output to input, batch of two, from all zeros."""
    spec, T = made.bundle.spec, 25
    clips = keypoints_for(spec, 2, T, seed=9)
    entry = made.bundle.graph("stream", "fp32", 0)
    session = onnxruntime.InferenceSession(made.bundle.file(entry.file))
    names_in = [i.name for i in session.get_inputs() if i.name.endswith("_in")]
    names_out = [o.name for o in session.get_outputs()]
    assert [n[:-3] for n in sorted(names_in)] == [
        n[:-4] for n in sorted(names_out) if n.endswith("_out")
    ]
    state = {
        i.name: np.zeros((2, *i.shape[1:]), np.float32)
        for i in session.get_inputs()
        if i.name != "keypoints"
    }
    poses = []
    for t in range(T):
        answers = session.run(None, {"keypoints": clips[:, t], **state})
        by_name = dict(zip(names_out, answers, strict=True))
        state = {name: by_name[f"{name[:-3]}_out"] for name in state}
        poses.append(by_name["pose"])
    expected = [live_answers(spec, made.parameters["pose"], clip, 0) for clip in clips]
    np.testing.assert_allclose(np.stack(poses, 1), np.stack(expected), rtol=0, atol=ATOL["fp32"])


def test_sequence_of_a_padded_clip_is_the_stream_at_full_lag(made: RandomBundle) -> None:
    spec = made.bundle.spec
    clip = keypoints_for(spec, 1, 30)[0]
    engine = open_engine(made.bundle, "onnx")
    whole = engine.sequence(padded(spec, clip)[None]).pose[0]
    stream = engine.open_stream(spec.lookahead)
    stream.add_rows(1)
    last = len(clip) - 1
    live = [
        stream.step(clip[min(t, last)][None]).pose[0].copy()
        for t in range(len(clip) + spec.lookahead)
    ]
    np.testing.assert_allclose(np.array(live[spec.lookahead :]), whole, rtol=0, atol=1e-5)


def test_fp16_graphs_compute_in_half_precision(made: RandomBundle) -> None:
    """Every product between the first level and shrink has float16 operands, by inference of the
    types; around each level's two there is one cast into half precision and one out of it."""
    levels = len(made.bundle.spec.filter_widths) - 1
    for entry in made.bundle.graphs:
        if entry.precision != "fp16":
            continue
        path = made.bundle.file(entry.file)
        model = onnx.shape_inference.infer_shapes(
            onnx.load(path, load_external_data=False), strict_mode=True
        )
        types = {v.name: v.type.tensor_type.elem_type for v in model.graph.value_info}
        types |= {t.name: t.data_type for t in model.graph.initializer}
        products = [n for n in model.graph.node if n.op_type in ("Gemm", "Conv")]
        for node in products:
            ends = ".level0." in node.name or ".shrink" in node.name
            wanted = TensorProto.FLOAT if ends else TensorProto.FLOAT16
            assert types[node.input[1]] == wanted, node.name
            assert types[node.output[0]] == wanted, node.name
        casts = [n for n in model.graph.node if n.op_type == "Cast"]
        assert len(casts) == 2 * levels * len(made.bundle.networks)


def test_graphs_are_small_and_hold_no_weights(made: RandomBundle) -> None:
    for entry in made.bundle.graphs:
        path = made.bundle.file(entry.file)
        assert path.stat().st_size < 60_000
        model = onnx.load(path, load_external_data=False)
        external = {
            item.value
            for tensor in model.graph.initializer
            for item in tensor.external_data
            if item.key == "location"
        }
        assert external == {entry.weights}


def test_weights_start_on_a_page(made: RandomBundle) -> None:
    for precision in made.bundle.precisions:
        path: Path = made.bundle.file(f"weights.{precision}.safetensors")
        header = int.from_bytes(path.read_bytes()[:8], "little")
        assert (8 + header) % 4096 == 0
