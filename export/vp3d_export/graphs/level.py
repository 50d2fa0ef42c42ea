"""What every form of the network has in common: a level's arithmetic, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from vp3d_export.graphs.builder import GraphBuilder

# (graph, rows, name of the weights) -> rows @ weight.T + bias; the result takes the weights' name.
Linear = Callable[[GraphBuilder, str, str], str]


def gemm(graph: GraphBuilder, rows: str, weights: str) -> str:
    """rows (n, in) -> (n, out)."""
    names = [rows, graph.weight(f"{weights}.weight"), graph.weight(f"{weights}.bias")]
    return graph.node("Gemm", names, weights, transB=1)


def quantised_gemm(graph: GraphBuilder, rows: str, weights: str) -> str:
    """rows (n, in) float32, not negative -> (n, out) float32, multiplied in 8 bits.

    Whole numbers of int8 end at 127, so nothing else limits the activations. The bias is added
    after the product: within it, ONNX Runtime would compute in float32, and so it would without
    the weights' zero points.
    """
    weight, outputs = f"{weights}.weight", graph.stored[f"{weights}.weight"].shape[0]
    scale = graph.weight(f"{weights}.input_scale")
    # Not shared by the layers: ONNX Runtime cannot load that when told to use unsigned weights.
    zero = graph.constant(np.array(0, np.int8), f"{weights}.zero")
    zeros = graph.constant(np.zeros(outputs, np.int8), f"{weights}.zeros")
    numbers = graph.node("QuantizeLinear", [rows, scale, zero], f"{weights}.int8")
    inputs = graph.node("DequantizeLinear", [numbers, scale, zero], f"{weights}.inputs")
    names = [graph.weight(weight), graph.weight(f"{weights}.scale"), zeros]
    matrix = graph.node("DequantizeLinear", names, f"{weights}.matrix", axis=0)
    product = graph.node("Gemm", [inputs, matrix], f"{weights}.product", transB=1)
    return graph.node("Add", [product, graph.weight(f"{weights}.bias")], weights)


def point_convolution(graph: GraphBuilder, points: str, weights: str) -> str:
    """points (1, in, 1, n) -> (1, out, 1, n): the same product, written as a convolution.

    For a handful of points ONNX Runtime's convolutions read their weights faster than its matrix
    products do: bench/vp3d_bench/operators.py measures it.
    """
    at = graph.stored[f"{weights}.weight"]
    weight = graph.weight(f"{weights}.weight", (*at.shape, 1, 1))
    names = [points, weight, graph.weight(f"{weights}.bias")]
    return graph.node("Conv", names, weights, kernel_shape=[1, 1])


def first_level(graph: GraphBuilder, prefix: str, rows: str, linear: Linear) -> str:
    """relu(rows @ W0.T + b0), float32 in every precision."""
    name = f"{prefix}.level0"
    return graph.node("Relu", [linear(graph, rows, f"{name}.conv")], f"{name}.relu")


def residual_level(
    graph: GraphBuilder, prefix: str, level: int, rows: str, residual: str, linear: Linear
) -> str:
    """residual + relu(relu(rows @ W.T + b) @ mix.T + b_mix)."""
    branch = level_branch(graph, prefix, level, rows, linear)
    return graph.node("Add", [residual, branch], f"{prefix}.level{level}.out")


def level_branch(graph: GraphBuilder, prefix: str, level: int, rows: str, linear: Linear) -> str:
    """What a level adds to its residual: in the type of its weights inside, float32 outside.

    rows: as `linear` takes them; in int8 (n, in), and `linear` is not asked.

    The sums along the residuals stay float32: in half precision each level would round once more
    what every later level builds on.
    """
    name = f"{prefix}.level{level}"
    dtype = graph.stored[f"{name}.conv.weight"].dtype
    if dtype == "int8":
        linear = quantised_gemm
    if dtype == "float16":
        rows = graph.cast(rows, dtype, f"{name}.{dtype}")
    h = graph.node("Relu", [linear(graph, rows, f"{name}.conv")], f"{name}.relu")
    h = graph.node("Relu", [linear(graph, h, f"{name}.mix")], f"{name}.mix_relu")
    return graph.cast(h, "float32", f"{name}.float32") if dtype == "float16" else h


def shrink(graph: GraphBuilder, prefix: str, top: str, linear: Linear) -> str:
    """The top level's columns -> joints_out * 3 coordinates, float32 in every precision."""
    return linear(graph, top, f"{prefix}.shrink")
