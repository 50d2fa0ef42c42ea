"""Which precision each layer of an engine really has, from the engine inspector's JSON.

With detailed profiling, a layer is an object whose inputs and outputs say their format: TensorRT
8 and 10 in one text ("Format/Datatype": "Half", or "Row major linear FP16 format"), 11 in two
("Format" and "DataType"). The list of the engine's own tensors is "Bindings" before 11 and
"I/O Tensors" from 11 on; it is not needed. Reference: NVIDIA's page "Migrating IEngineInspector
Usage from TensorRT 10.x to 11.x".
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from vp3d_deploy.engines.tensorrt_api import TensorRTError

# In this order, since "BFloat16" and "Float16" hold "Float".
_TYPES = (
    ("bf16", r"BF16|BFloat16"),
    ("fp16", r"FP16|Half|Float16"),
    ("int8", r"INT8"),
    ("int64", r"INT64"),
    ("int32", r"INT32"),
    ("bool", r"\bBool"),
    ("fp32", r"FP32|Float"),
)
# Layers that only move or convert numbers say nothing of the arithmetic.
_MOVES = re.compile(
    r"reformat|constant|shuffle|noop|no.?op|slice|concat|gather|cast|identity", re.I
)
_QUANTISES = re.compile(r"quantize|scale", re.I)
# Nodes whose products are in the precision's own type: all levels but the first.
_PRODUCT = re.compile(r"\.level([1-9]\d*)\.(conv|mix)(?![a-z_])")


# One layer that stands for many, of which only the ends are listed.
_OPAQUE = re.compile(r"ForeignNode|Myelin|__myl|^kgen$", re.I)
# A plan holds the weights, and hardly more than as much again in kernels.
_LARGEST_SHARE = 1.5


class Layer(NamedTuple):
    """types: of its inputs and outputs, sorted, "fp16" and so on."""

    name: str
    kind: str
    types: tuple[str, ...]

    @property
    def is_opaque(self) -> bool:
        return bool(_OPAQUE.search(self.name) or _OPAQUE.search(self.kind))

    def to_list(self) -> list[str]:
        return [self.name, self.kind, "+".join(self.types)]


def layers_of(information: str) -> list[Layer]:
    """From `Plan.information`; raises TensorRTError where it does not say what is asked of it."""
    try:
        values = json.loads(information)
        layers = [_layer(layer) for layer in values["Layers"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise TensorRTError(f"the engine inspector's JSON is not understood: {error!r}") from None
    if not layers:
        raise TensorRTError("the engine inspector lists no layer")
    return layers


def precision_problem(
    layers: list[Layer], precision: str, plan_bytes: int = 0, weights_bytes: int = 0
) -> str | None:
    """One sentence where the builder did not use the precision that was asked for, or None.

    plan_bytes, weights_bytes: sizes of the engine and of the weights in this precision, by which
    an engine is judged whose layers TensorRT has merged into ones that do not say.
    """
    working = [layer for layer in layers if not _MOVES.search(layer.kind)] or layers
    if not any(layer.types for layer in working):
        return "the engine inspector says of no layer what precision it has"
    if precision == "fp32":
        low = [layer for layer in working if {"fp16", "bf16", "int8"} & set(layer.types)]
        if low:
            return f"layer {low[0].name!r} is {'+'.join(low[0].types)}, not fp32"
        return None
    # Quantising by itself is no arithmetic in 8 bits.
    able = [layer for layer in working if not _QUANTISES.search(layer.kind)]
    saying = [layer for layer in able if precision in layer.types]
    # A merged layer that says int8 may have merged the quantising alone.
    too_large = plan_bytes > _LARGEST_SHARE * weights_bytes
    if precision == "int8" and too_large and all(layer.is_opaque for layer in saying):
        saying = []
    if not saying:
        found = ", ".join(sorted({kind for layer in working for kind in layer.types}))
        if not any(layer.is_opaque for layer in working):
            return f"no layer computes in {precision}: the builder chose {found}"
        if too_large:
            return (
                f"its layers say {found} alone, and it has {plan_bytes} bytes where weights in "
                f"{precision} have {weights_bytes}"
            )
    # In int8 a layer that adds a bias may be one of its own, and float32.
    for layer in working if precision == "fp16" else ():
        named = not layer.is_opaque and _PRODUCT.search(layer.name)
        if named and layer.types and precision not in layer.types:
            return f"layer {layer.name!r} is {'+'.join(layer.types)}, not {precision}"
    return None


def _layer(values: Any) -> Layer:
    if not isinstance(values, Mapping):
        raise TypeError("layers are names alone, as without detailed profiling")
    tensors = [*values.get("Inputs", ()), *values.get("Outputs", ())]
    types = {kind for tensor in tensors if (kind := _type(tensor))}
    return Layer(str(values["Name"]), str(values.get("LayerType", "?")), tuple(sorted(types)))


def _type(tensor: Mapping[str, Any]) -> str | None:
    said = {key.lower(): str(value) for key, value in tensor.items()}
    text = said.get("datatype") or said.get("format/datatype") or said.get("format") or ""
    if text.startswith("N/A"):
        return None
    return next((name for name, words in _TYPES if re.search(words, text, re.IGNORECASE)), None)
