"""One product of few rows, as two operators: which reads its weights faster in ONNX Runtime?

    python -m vp3d_bench.operators [--out bench/results/operators.json]

The stream graphs' choice of operators (vp3d_export/graphs/level.py) rests on this.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from vp3d_bench.machine import describe_machine
from vp3d_bench.onnx_session import onnxruntime_session
from vp3d_bench.statistics import ratio
from vp3d_bench.turns import Turns, take_turns

TAPS = 3
LAYERS = 6  # together larger than the caches, as a network's weights are
# Of a stream at lag 0, and the network that is measured.
ROWS, CHANNELS, THREADS = 3, 1024, 2


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


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    machine = describe_machine()
    rows = np.random.default_rng(0).normal(0, 1, (ROWS, TAPS * CHANNELS)).astype(np.float32)
    points = np.ascontiguousarray(rows.T)[None, :, None]
    sessions = {name: chain(name, ROWS, CHANNELS, THREADS) for name in ("Gemm", "Conv")}
    product = sessions["Gemm"].run(None, {"x": rows})[0]
    convolution = sessions["Conv"].run(None, {"x": points})[0]
    difference = float(np.abs(product - convolution[0, :, 0].T).max())
    if difference > 1e-3 * np.abs(product).max():
        raise SystemExit(f"the two operators differ by {difference}; nothing was timed")
    timed = take_turns(
        {
            "Gemm": lambda: sessions["Gemm"].run(None, {"x": rows}),
            "Conv": lambda: sessions["Conv"].run(None, {"x": points}),
        },
        Turns(),
    )
    found = ratio(timed["Gemm"], timed["Conv"])
    for name, one in timed.items():
        print(f"{name}: min {one.min:.3f} ms, median {one.p50:.3f} ms")
    print(f"Gemm / Conv: {found.min:.2f} of minima, {found.p50:.2f} of medians")
    if options.out:
        result = {
            "command": "python -m vp3d_bench.operators",
            "rows": ROWS,
            "channels": CHANNELS,
            "layers": LAYERS,
            "threads": THREADS,
            "machine": machine,
            "milliseconds": {name: one.to_dict() for name, one in timed.items()},
            "gemm_over_conv": asdict(found),
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
