"""What every form of the network has in common: a level's arithmetic, and the way in and out."""

from __future__ import annotations

from collections.abc import Callable

from vp3d_deploy.spec import ModelSpec
from vp3d_export.graphs.builder import GraphBuilder

# (graph, rows, name of the weights) -> rows @ weight.T + bias; the result takes the weights' name.
Linear = Callable[[GraphBuilder, str, str], str]


def gemm(graph: GraphBuilder, rows: str, weights: str) -> str:
    """rows (n, in) -> (n, out)."""
    names = [rows, graph.weight(f"{weights}.weight"), graph.weight(f"{weights}.bias")]
    return graph.node("Gemm", names, weights, transB=1)


def point_convolution(graph: GraphBuilder, points: str, weights: str) -> str:
    """points (1, in, 1, n) -> (1, out, 1, n): the same product, written as a convolution.

    For a handful of points ONNX Runtime's convolutions read weights half again as fast as its
    matrix products do (bench/results/first_look.json); for many points products are the faster.
    """
    at = graph.stored[f"{weights}.weight"]
    weight = graph.weight(f"{weights}.weight", (*at.shape, 1, 1))
    names = [points, weight, graph.weight(f"{weights}.bias")]
    return graph.node("Conv", names, weights, kernel_shape=[1, 1])


def inner_dtype(graph: GraphBuilder, prefix: str, spec: ModelSpec) -> str:
    """The type between the first level and `shrink`, which are float32 in every precision."""
    if len(spec.filter_widths) == 1:
        return "float32"
    return graph.stored[f"{prefix}.level1.conv.weight"].dtype


def first_level(
    graph: GraphBuilder, prefix: str, spec: ModelSpec, rows: str, linear: Linear
) -> str:
    """relu(rows @ W0.T + b0), in the type of the levels above."""
    name = f"{prefix}.level0"
    h = graph.node("Relu", [linear(graph, rows, f"{name}.conv")], f"{name}.relu")
    dtype = inner_dtype(graph, prefix, spec)
    return h if dtype == "float32" else graph.cast(h, dtype, f"{name}.{dtype}")


def residual_level(
    graph: GraphBuilder, prefix: str, level: int, rows: str, residual: str, linear: Linear
) -> str:
    """residual + relu(relu(rows @ W.T + b) @ mix.T + b_mix)."""
    return graph.node(
        "Add",
        [residual, level_branch(graph, prefix, level, rows, linear)],
        f"{prefix}.level{level}.out",
    )


def level_branch(graph: GraphBuilder, prefix: str, level: int, rows: str, linear: Linear) -> str:
    """What a level adds to its residual."""
    name = f"{prefix}.level{level}"
    h = graph.node("Relu", [linear(graph, rows, f"{name}.conv")], f"{name}.relu")
    return graph.node("Relu", [linear(graph, h, f"{name}.mix")], f"{name}.mix_relu")


def shrink(graph: GraphBuilder, prefix: str, spec: ModelSpec, top: str, linear: Linear) -> str:
    """The top level's columns -> joints_out * 3 coordinates, in float32."""
    if inner_dtype(graph, prefix, spec) != "float32":
        top = graph.cast(top, "float32", f"{prefix}.top")
    return linear(graph, top, f"{prefix}.shrink")
