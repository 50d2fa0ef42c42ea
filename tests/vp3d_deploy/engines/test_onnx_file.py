"""A stranger's graph names the file of its weights; nothing may follow it out of the bundle."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import RandomBundle, random_bundle
from onnx import TensorProto, helper, numpy_helper

from vp3d_deploy.bundle import BundleError
from vp3d_deploy.engines.onnx import OnnxEngine
from vp3d_deploy.engines.onnx_file import OnnxFileError, check_weights_location
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 8)
WEIGHTS = "weights.fp32.safetensors"


@pytest.fixture
def made(tmp_path: Path) -> RandomBundle:
    return random_bundle(
        tmp_path / "net.vp3d", SPEC, trajectory=True, precisions=("fp32", "fp16"), lags=(0, 4)
    )


def load(path: Path) -> onnx.ModelProto:
    return onnx.load(path, load_external_data=False)


def window(made: RandomBundle) -> Path:
    return made.bundle.file("window.fp32.onnx")


def outside_tensor(location: str) -> onnx.TensorProto:
    tensor = TensorProto(name="t", data_type=TensorProto.FLOAT, dims=[1])
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return tensor


def test_graphs_of_bundles_pass(made: RandomBundle) -> None:
    for entry in made.bundle.graphs:
        check_weights_location(made.bundle.file(entry.file), entry.weights)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "", "weights.fp16.safetensors"])
def test_weights_elsewhere_are_refused(made: RandomBundle, location: str) -> None:
    model = load(window(made))
    stored = next(tensor for tensor in model.graph.initializer if tensor.external_data)
    for item in stored.external_data:
        if item.key == "location":
            item.value = location
    window(made).write_bytes(model.SerializeToString())
    with pytest.raises(BundleError, match=r"is not a graph of a bundle: it reads weights from"):
        OnnxEngine(made.bundle, "fp32").window(np.zeros((1, 9, 17, 2), np.float32))


def _in_attribute(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["hidden"], value=outside_tensor("../secret"))
    model.graph.node.append(node)


def _in_subgraph(model: onnx.ModelProto) -> None:
    branch = helper.make_graph([], "branch", [], [], [outside_tensor("../secret")])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=branch)
    model.graph.node.append(node)


def _in_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Constant", [], ["y"], value=outside_tensor("../secret"))
    function = helper.make_function("d", "f", [], ["y"], [node], [helper.make_opsetid("", 17)])
    model.functions.append(function)


def _in_sparse(model: onnx.ModelProto) -> None:
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    sparse = helper.make_sparse_tensor(outside_tensor("../secret"), indices, [1])
    model.graph.sparse_initializer.append(sparse)


@pytest.mark.parametrize("hide", [_in_attribute, _in_subgraph, _in_function, _in_sparse])
def test_tensors_hidden_elsewhere_are_refused(
    made: RandomBundle, hide: Callable[[onnx.ModelProto], None]
) -> None:
    model = load(window(made))
    hide(model)
    window(made).write_bytes(model.SerializeToString())
    with pytest.raises(OnnxFileError, match="that no graph of a bundle has"):
        check_weights_location(window(made), WEIGHTS)


def test_the_last_of_two_locations_counts(made: RandomBundle) -> None:
    """Protobuf lets a field come twice: a decoy first must not hide what a reader would take."""
    for first, last, refused in ((WEIGHTS, "../secret", True), ("../secret", WEIGHTS, False)):
        entry = b"\x0a\x08location" + b"".join(
            b"\x12" + bytes([len(v)]) + v.encode() for v in (first, last)
        )
        tensor = b"\x6a" + bytes([len(entry)]) + entry
        graph = b"\x2a" + bytes([len(tensor)]) + tensor
        window(made).write_bytes(b"\x3a" + bytes([len(graph)]) + graph)
        parsed = load(window(made)).graph.initializer[0].external_data[0]
        assert (parsed.key, parsed.value) == ("location", last)
        if refused:
            with pytest.raises(OnnxFileError, match=r"from '\.\./secret'"):
                check_weights_location(window(made), WEIGHTS)
        else:
            check_weights_location(window(made), WEIGHTS)


def test_damaged_files_are_refused_or_harmless(made: RandomBundle) -> None:
    content = window(made).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(300):
        damaged = bytearray(content[: rng.integers(1, len(content))])
        damaged[rng.integers(len(damaged))] = rng.integers(256)
        window(made).write_bytes(damaged)
        try:
            check_weights_location(window(made), WEIGHTS)
        except OnnxFileError:
            refused += 1
    assert refused > 250
