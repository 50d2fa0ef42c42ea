"""Who takes part in a benchmark of one bundle, by name. Libraries are imported when they are asked
for a contender, not before: one that is missing is a reason, not an error."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from fnmatch import fnmatchcase

from vp3d_bench.contenders import ours
from vp3d_bench.contenders.base import SEQUENCE, WINDOW, Contender, UnavailableError, not_installed
from vp3d_bench.our_engines import OUR_ENGINES
from vp3d_deploy.bundle import Bundle

# What makes a contender; raises UnavailableError where it cannot take part.
Factory = Callable[[], Contender]
LineUp = dict[str, Factory]

# Peers: name, module of this package, function there.
_PEERS = (
    ("pytorch-dilated", "pytorch", "eager_dilated"),
    ("pytorch-strided", "pytorch", "eager_strided"),
    ("pytorch-compiled", "pytorch", "compiled_strided"),
    ("onnxruntime-plain", "onnxruntime_plain", "window"),
    ("onnxruntime-plain-dynamo", "onnxruntime_plain", "window_dynamo"),
    ("openvino-f32", "openvino", "window"),
    ("openvino-f32-dynamo", "openvino", "window_dynamo"),
    ("openvino-default", "openvino", "window_default"),
    ("pytorch-sequence", "pytorch", "dilated_sequence"),
    ("onnxruntime-sequence", "onnxruntime_plain", "sequence"),
    ("onnxruntime-sequence-dynamo", "onnxruntime_plain", "sequence_dynamo"),
    ("openvino-sequence-f32", "openvino", "sequence"),
    ("openvino-sequence-f32-dynamo", "openvino", "sequence_dynamo"),
    ("openvino-sequence-default", "openvino", "sequence_default"),
    ("openvino-sequence-graph", "openvino", "sequence_on_our_graph"),
    ("torchcuda-strided-fp32", "torch_cuda", "strided_fp32"),
    ("torchcuda-strided-half", "torch_cuda", "strided_half"),
    ("torchcuda-compiled-half", "torch_cuda", "compiled_half"),
    ("torchcuda-graph-fp32", "torch_cuda", "graph_fp32"),
    ("torchcuda-graph-half", "torch_cuda", "graph_half"),
    ("torchcuda-products-graph-half", "torch_cuda", "products_graph_half"),
    ("torchcuda-sequence-fp32", "torch_cuda", "sequence_fp32"),
    ("torchcuda-sequence-half", "torch_cuda", "sequence_half"),
)
# Contenders whose names begin so run on an NVIDIA GPU.
GPU_FAMILIES = ("torchcuda", *(one.family for one in OUR_ENGINES.values() if one.on_gpu))


def line_up(bundle: Bundle, lags: Sequence[int]) -> LineUp:
    """Every contender that there could be: peers first, then our engines on this bundle."""
    found: LineUp = {}
    for name, module, function in _PEERS:
        found[name] = _peer(module, function)
    for family in OUR_ENGINES:
        for precision in bundle.precisions:
            members = [ours.form(family, form, precision) for form in (WINDOW, SEQUENCE)]
            members += [ours.stream(family, precision, lag) for lag in lags]
            if OUR_ENGINES[family].prepares:
                members += [ours.stream(family, precision, lag, prepared=True) for lag in lags]
            for member in members:
                found[member.name] = _made(member)
    return found


def select(names: Sequence[str], patterns: Sequence[str]) -> list[str]:
    """The names that any of the patterns (names, or globs such as "native-*") means, in order.

    Raises ValueError for a pattern that means none of them.
    """
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in names):
            raise ValueError(
                f"--contenders {pattern}: no contender is called that; there are "
                f"{', '.join(names)}, and patterns such as 'native-*'"
            )
    return [name for name in names if any(fnmatchcase(name, p) for p in patterns or ("*",))]


def on_gpu(name: str) -> bool:
    """Does the contender of this name run on an NVIDIA GPU?"""
    return name.split("-")[0] in GPU_FAMILIES


def _peer(module: str, function: str) -> Factory:
    def make() -> Contender:
        try:
            imported = importlib.import_module(f"vp3d_bench.contenders.{module}")
        except ModuleNotFoundError as error:
            raise UnavailableError(not_installed(error)) from error
        except ImportError as error:
            raise UnavailableError(str(error)) from error
        made: Contender = getattr(imported, function)()
        return made

    return make


def _made(contender: Contender) -> Factory:
    return lambda: contender
