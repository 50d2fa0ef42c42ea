"""Which of a bundle's precisions an engine runs where nobody says."""

from __future__ import annotations

# By default an engine runs the first of these that a bundle holds. ONNX Runtime on a CPU widens
# half precision again. The native engine reads half the bytes in fp16, which is what a live frame
# costs, and computes in float32: rounding the weights moves poses by some hundredths of a
# millimetre, and an export that moves them by more than 0.3 mm fails. TensorRT computes in half
# precision where that is exact enough (vp3d_export/graphs/forms.py). int8 is used by name alone.
DEFAULT_PRECISIONS = {
    "tensorrt": ("fp16", "fp32", "int8"),
    "cuda": ("fp16", "fp32", "int8"),
    "native": ("fp16", "fp32", "int8"),
    "onnx": ("fp32", "fp16", "int8"),
}
