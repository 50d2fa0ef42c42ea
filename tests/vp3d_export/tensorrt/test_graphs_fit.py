"""The graphs hold nothing that TensorRT's ONNX parser lacks, in any version from 8.5 on.

Source: docs/operators.md of github.com/onnx/onnx-tensorrt at commit 6d0ab7be, of TensorRT 8.5 with
opset 17; later versions only add to it. Types and restrictions are as it lists them for the
operators that the graphs use. INT64 is listed as read and narrowed to INT32, so it may hold shapes
and bounds alone.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import random_bundle
from onnx import numpy_helper

from vp3d_deploy.bundle import GraphEntry
from vp3d_deploy.spec import ModelSpec
from vp3d_export.graphs.builder import OPSET
from vp3d_export.tensorrt.onnx_axes import nodes, with_fixed_axes

FP32, FP16, INT8, INT32, INT64 = "float32", "float16", "int8", "int32", "int64"
SUPPORTED: dict[str, set[str]] = {
    "Add": {FP32, FP16, INT32},
    "Cast": {FP32, FP16, INT32, INT8},
    "Concat": {FP32, FP16, INT32, INT8},
    "Conv": {FP32, FP16, INT8},
    "DequantizeLinear": {INT8},
    "Gather": {FP32, FP16, INT8, INT32},
    "Gemm": {FP32, FP16, INT8},
    "Identity": {FP32, FP16, INT32, INT8},
    "Mul": {FP32, FP16, INT32},
    "QuantizeLinear": {FP32, FP16},
    "Relu": {FP32, FP16, INT8},
    "Reshape": {FP32, FP16, INT32, INT8},
    "Shape": {FP32, FP16, INT32, INT8},
    "Slice": {FP32, FP16, INT32, INT8},
    "Sub": {FP32, FP16, INT32},
    "Transpose": {FP32, FP16, INT32, INT8},
}
# Inputs that say where or to what shape: these may be INT64, and so may what computes them.
SHAPE_INPUTS = {"Reshape": (1,), "Slice": (1, 2, 3, 4)}
TYPES = {1: FP32, 10: FP16, 3: INT8, 6: INT32, 7: INT64}
SPECS = {
    "small": ModelSpec(filter_widths=(3, 3), channels=16, joints_in=17, joints_out=17),
    "causal": ModelSpec(
        filter_widths=(3, 5, 1), channels=8, joints_in=17, joints_out=17, causal=True
    ),
}


class Graph:
    """A graph with the type of every tensor."""

    def __init__(self, path: Path) -> None:
        self.model = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True)
        graph = self.model.graph
        self.nodes = list(graph.node)
        self.initializers = {tensor.name: tensor for tensor in graph.initializer}
        values = (*graph.input, *graph.output, *graph.value_info)
        self.types = {v.name: TYPES[v.type.tensor_type.elem_type] for v in values}
        self.types |= {name: TYPES[t.data_type] for name, t in self.initializers.items()}

    def constant(self, name: str) -> np.ndarray:
        return numpy_helper.to_array(self.initializers[name])


@pytest.fixture(scope="module", params=[(name, p) for name in SPECS for p in (FP32, FP16, INT8)])
def graphs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[GraphEntry, Graph]]:
    name, dtype = request.param
    precision = {FP32: "fp32", FP16: "fp16", INT8: "int8"}[dtype]
    spec = SPECS[name]
    lags = tuple(sorted({0, spec.lookahead // 2, spec.lookahead}))
    path = tmp_path_factory.mktemp("fit") / "net.vp3d"
    made = random_bundle(path, spec, trajectory=True, precisions=(precision,), lags=lags)
    bundle = made.bundle
    return [(entry, Graph(bundle.file(entry.file))) for entry in bundle.graphs]


def test_operators_and_their_types_are_ones_that_the_parser_reads(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    for entry, graph in graphs:
        (opset,) = graph.model.opset_import
        assert (opset.domain, opset.version) == ("", OPSET)
        assert OPSET <= 17
        for node in graph.nodes:
            assert node.op_type in SUPPORTED, f"{entry.file}: {node.name}"
            data = node.input[0]
            allowed = SUPPORTED[node.op_type]
            if is_of_shapes(graph, node):
                continue
            assert graph.types[data] in allowed, f"{entry.file}: {node.name}"


def is_of_shapes(graph: Graph, node: onnx.NodeProto) -> bool:
    """Does the node only take together what a Reshape is told?"""
    return node.op_type in ("Slice", "Concat") and graph.types[node.output[0]] == INT64


def test_int64_holds_shapes_and_bounds_and_is_never_computed_with(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    for entry, graph in graphs:
        for node in graph.nodes:
            for place, name in enumerate(node.input):
                if graph.types[name] == INT64:
                    told = place in SHAPE_INPUTS.get(node.op_type, ())
                    assert told or is_of_shapes(graph, node), f"{entry.file}: {node.name}"
            made = [name for name in node.output if graph.types[name] == INT64]
            assert not made or node.op_type in ("Shape", "Slice", "Concat"), (
                f"{entry.file}: {node.name}"
            )
        for node in graph.nodes:
            # TensorRT 8's parser reads over `start` and `end`.
            assert node.op_type != "Shape" or not node.attribute
        if entry.form != "sequence":
            # All shapes are constants; -1 stands for what follows from the input's.
            assert not [node for node in graph.nodes if node.op_type == "Shape"]
        for tensor in graph.initializers.values():
            if tensor.data_type == onnx.TensorProto.INT64:
                values = graph.constant(tensor.name)
                # INT64_MAX as "to the end" is clamped to INT32_MAX, which ends there too.
                ends = values == np.iinfo(np.int64).max
                assert (np.abs(values[~ends]) < 2**31).all()


def test_axes_of_slices_and_weights_are_constants(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    for _, graph in graphs:
        for node in graph.nodes:
            constants = {"Slice": (1, 2, 3), "Gemm": (2,), "Conv": (1, 2), "Gather": (1,)}
            for place in constants.get(node.op_type, ()):
                if place < len(node.input):
                    assert node.input[place] in graph.initializers
            if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
                zero = graph.constant(node.input[2])
                assert zero.dtype == np.int8
                assert not zero.any()


def test_half_precision_begins_and_ends_where_each_level_does(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    """One cast into each level's branch and one out of it, and none within."""
    for entry, graph in graphs:
        casts = [node for node in graph.nodes if node.op_type == "Cast"]
        if entry.precision != "fp16":
            assert casts == []
            continue
        producers = {name: node for node in graph.nodes for name in node.output}
        products = [n for n in graph.nodes if n.op_type in ("Gemm", "Conv")]
        inner = [n for n in products if graph.types[n.input[0]] == FP16]
        edges = [n for n in products if graph.types[n.input[0]] == FP32]
        assert {n.name.split(".")[1] for n in edges} == {"level0", "shrink"}
        assert len(casts) == len(inner)  # two products a level, two casts a level
        for node in inner:
            assert all(graph.types[name] == FP16 for name in (*node.input, *node.output))
            before = producers[node.input[0]]
            if node.name.endswith(".mix"):
                assert before.op_type == "Relu"
            while before.op_type in ("Reshape", "Transpose"):
                before = producers[before.input[0]]
            assert before.op_type == ("Relu" if node.name.endswith(".mix") else "Cast")
        for value in (*graph.model.graph.input, *graph.model.graph.output):
            assert graph.types[value.name] == FP32


def test_with_its_batch_fixed_a_stream_has_no_free_axis_at_all(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    for entry, graph in graphs:
        if entry.form != "stream":
            continue
        plain = graph.model.SerializeToString()
        fixed = onnx.load_model_from_string(with_fixed_axes(plain, {"B": 3}))
        assert [(n.name, n.op_type) for n in fixed.graph.node] == nodes(plain)
        del fixed.graph.value_info[:]
        inferred = onnx.shape_inference.infer_shapes(fixed, strict_mode=True, data_prop=True).graph
        values = (*inferred.input, *inferred.output, *inferred.value_info)
        named = {value.name for value in values}
        assert {name for node in inferred.node for name in node.output} <= named
        for value in values:
            dims = value.type.tensor_type.shape.dim
            assert all(dim.HasField("dim_value") for dim in dims), value.name
        for value in (*inferred.input, *inferred.output):
            assert value.type.tensor_type.shape.dim[0].dim_value == 3


def test_other_axes_and_everything_else_stay_as_they_are(
    graphs: list[tuple[GraphEntry, Graph]],
) -> None:
    for _, graph in graphs:
        plain = graph.model.SerializeToString()
        assert with_fixed_axes(plain, {"no such axis": 3}) == plain
