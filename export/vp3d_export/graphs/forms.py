"""The three forms of a folded network as ONNX graphs: window, sequence and stream.

    window     keypoints (B, R, J_in, F)      -> pose (B, J_out, 3)
    sequence   keypoints (B, T+R-1, J_in, F)  -> pose (B, T, J_out, 3)
    stream     keypoints (B, J_in, F) + state -> pose (B, J_out, 3) + state

all float32 at the edges: keypoints in normalised screen units, poses in metres, camera frame,
root-relative. A bundle with a trajectory network has a second output `trajectory` with one joint,
metres, camera frame.

Inside, the weights' types decide: the first level, `shrink` and the sums along the residuals are
float32 in every precision (keypoints and metres need more than half precision, and these cost
little); the products in between, where the weights are, are float16 in an fp16 graph, and in an
int8 graph of whole numbers (vp3d_export/int8), written as QuantizeLinear and DequantizeLinear
around float32 products, which ONNX Runtime and TensorRT turn into 8-bit ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from vp3d_deploy.plan import stream_plan
from vp3d_deploy.spec import ModelSpec
from vp3d_export.graphs.builder import GraphBuilder, StoredTensor
from vp3d_export.graphs.level import first_level, gemm, residual_level, shrink
from vp3d_export.graphs.stream import StreamState, stream_network

# Networks of a bundle by output name: "pose", and "trajectory" where there is one.
Networks = Mapping[str, ModelSpec]


def window_graph(networks: Networks, stored: dict[str, StoredTensor]) -> onnx.ModelProto:
    """Stateless: a window of R frames in, the pose of its centre (causal: last) frame out."""
    spec = networks["pose"]
    graph = GraphBuilder(stored)
    shape = ("B", spec.receptive_field, spec.joints_in, spec.features)
    keypoints = graph.input("keypoints", "float32", shape)
    for name, network in networks.items():
        top = _window_network(graph, name, network, keypoints)
        answer = shrink(graph, name, top, gemm)
        answer = graph.reshape(answer, (-1, network.joints_out, 3), f"{name}.joints")
        graph.output(answer, name, "float32", ("B", network.joints_out, 3))
    return graph.model("vp3d_window", {"form": "window"})


def sequence_graph(networks: Networks, stored: dict[str, StoredTensor]) -> onnx.ModelProto:
    """Recorded video: T+R-1 frames in, T poses out, every column computed once."""
    spec = networks["pose"]
    graph = GraphBuilder(stored)
    shape = ("B", "T_in", spec.joints_in, spec.features)
    keypoints = graph.input("keypoints", "float32", shape)
    for name, network in networks.items():
        top = _sequence_network(graph, name, network, keypoints)
        answer = shrink(graph, name, top.rows, gemm)
        answer = top.unfolded(graph, answer, (network.joints_out, 3), f"{name}.joints")
        graph.output(answer, name, "float32", ("B", "T", network.joints_out, 3))
    return graph.model("vp3d_sequence", {"form": "sequence"})


def stream_graph(networks: Networks, stored: dict[str, StoredTensor], lag: int) -> onnx.ModelProto:
    """A camera: one frame and the state in, one pose for the frame `lag` ago and the state out.

    State tensors are called NAME_in and NAME_out. All zeros is the state of a stream that has
    seen nothing. Its first `lag` answers are for frames before the first and mean nothing.
    """
    spec = networks["pose"]
    plan = stream_plan(spec, lag)
    graph = GraphBuilder(stored)
    keypoints = graph.input("keypoints", "float32", ("B", spec.joints_in, spec.features))
    frame = graph.reshape(keypoints, (-1, 1, spec.joints_in * spec.features), "frame")
    state = StreamState(graph)
    for name, network in networks.items():
        top = stream_network(graph, name, network, plan, frame, state)
        answer = shrink(graph, name, top, gemm)
        answer = graph.reshape(answer, (-1, network.joints_out, 3), f"{name}.joints")
        graph.output(answer, name, "float32", ("B", network.joints_out, 3))
    state.write()
    return graph.model("vp3d_stream", {"form": "stream", "lag": str(lag)})


def _window_network(graph: GraphBuilder, prefix: str, spec: ModelSpec, keypoints: str) -> str:
    """Strided: a level's kernel equals its stride, so its input reshapes to one row per output."""
    width = spec.filter_widths[0]
    rows = graph.reshape(
        keypoints, (-1, width * spec.joints_in * spec.features), f"{prefix}.level0.rows"
    )
    h = first_level(graph, prefix, rows, gemm)
    for level, width in enumerate(spec.filter_widths[1:], 1):
        name = f"{prefix}.level{level}"
        rows = graph.reshape(h, (-1, width * spec.channels), f"{name}.rows")
        # The residual is one tap of each row: a run of C columns.
        start = spec.residual_tap(level) * spec.channels
        residual = graph.slice(rows, start, start + spec.channels, 1, f"{name}.residual")
        h = residual_level(graph, prefix, level, rows, residual, gemm)
    return h


@dataclass(frozen=True)
class _Rows:
    """Columns of B clips as rows (B*T, ...), for products; `clips` is a tensor (B, T, ...)."""

    rows: str
    clips: str

    def unfolded(self, graph: GraphBuilder, rows: str, shape: tuple[int, ...], hint: str) -> str:
        """Rows of as many columns -> (B, T, *shape)."""
        # Not by Shape's own `start` and `end`, which parsers of TensorRT 8 read over.
        lengths = graph.node("Shape", [self.clips], f"{hint}.lengths")
        batch_and_time = graph.slice(lengths, 0, 2, 0, f"{hint}.BT")
        rest = graph.integers(shape, f"{hint}.rest")
        target = graph.node("Concat", [batch_and_time, rest], f"{hint}.to", axis=0)
        return graph.node("Reshape", [rows, target], hint)


def _sequence_network(graph: GraphBuilder, prefix: str, spec: ModelSpec, keypoints: str) -> _Rows:
    """Dilated: a level's taps, shifted copies of its input, lie side by side as rows."""
    inputs = spec.joints_in * spec.features
    h = graph.reshape(keypoints, (0, 0, inputs), f"{prefix}.frames")
    for level, width in enumerate(spec.filter_widths):
        name = f"{prefix}.level{level}"
        taps = [_shifted(graph, h, tap, width, spec.dilations[level], name) for tap in range(width)]
        clips = graph.node("Concat", taps, f"{name}.clips", axis=2) if width > 1 else h
        rows = graph.reshape(clips, (-1, width * inputs), f"{name}.rows")
        if level == 0:
            out = first_level(graph, prefix, rows, gemm)
        else:
            start = spec.residual_tap(level) * inputs
            residual = graph.slice(rows, start, start + inputs, 1, f"{name}.residual")
            out = residual_level(graph, prefix, level, rows, residual, gemm)
        top, inputs = _Rows(out, clips), spec.channels
        if level + 1 < len(spec.filter_widths):
            h = top.unfolded(graph, out, (inputs,), f"{name}.columns")
    return top


def _shifted(graph: GraphBuilder, h: str, tap: int, width: int, dilation: int, name: str) -> str:
    """What tap `tap` of every output column reads: h without the columns before and after."""
    if width == 1:
        return h
    after = (width - 1 - tap) * dilation
    return graph.slice(h, tap * dilation, -after if after else None, 1, f"{name}.tap{tap}")
