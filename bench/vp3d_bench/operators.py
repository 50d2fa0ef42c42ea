"""One product of few rows, as two operators: which reads its weights faster in ONNX Runtime?"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vp3d_bench.onnx_session import onnxruntime_session

TAPS = 3
LAYERS = 6  # together larger than the caches, as a network's weights are


def chain(operator: str, rows: int, channels: int, threads: int) -> onnxruntime.InferenceSession:
    """`LAYERS` products (rows, TAPS * channels) x (TAPS * channels, channels), one after another.

    operator: "Gemm", or "Conv" over `rows` single points. Input x: (rows, TAPS * channels), for
    "Conv" (1, TAPS * channels, 1, rows), float32. Both compute the same.
    """
    rng = np.random.default_rng(0)
    width = TAPS * channels
    shape = [1, width, 1, rows] if operator == "Conv" else [rows, width]
    nodes, weights, x = [], [], "x"
    for layer in range(LAYERS):
        matrix = rng.normal(0, width**-0.5, (channels, width)).astype(np.float32)
        if operator == "Conv":
            matrix = matrix[:, :, None, None]
            options: dict[str, Any] = {"kernel_shape": [1, 1]}
        else:
            options = {"transB": 1}
        weights.append(numpy_helper.from_array(matrix, f"w{layer}"))
        nodes.append(helper.make_node(operator, [x, f"w{layer}"], [f"y{layer}"], **options))
        x = f"x{layer}"
        nodes.append(helper.make_node("Concat", [f"y{layer}"] * TAPS, [x], axis=1))
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("x", x)]
    graph = helper.make_graph(nodes, operator, values[:1], values[1:], weights)
    opset = [helper.make_opsetid("", 17)]
    model = helper.make_model(graph, opset_imports=opset, ir_version=8)
    return onnxruntime_session(model.SerializeToString(), threads)
