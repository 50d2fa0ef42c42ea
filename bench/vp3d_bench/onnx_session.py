"""ONNX Runtime sessions as peers use them, without PyTorch."""

from __future__ import annotations

import onnxruntime

# The name of a plain export's input, and of its free axes.
INPUT = "keypoints"
BATCH, FRAMES = "B", "T"


def onnxruntime_session(
    model: bytes | str, threads: int, sizes: dict[str, int] | None = None
) -> onnxruntime.InferenceSession:
    """model: a path, or the file's contents. sizes: of free axes, which are fixed for speed."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    for axis, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(axis, size)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
