"""A small writer of ONNX graphs whose weights live in a safetensors file beside the graph."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# TensorRT 8.5 (JetPack 5.1) reads up to opset 17; nothing newer is needed.
OPSET = 17
IR_VERSION = 8
INT64_MAX = np.iinfo(np.int64).max

ONNX_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
}


@dataclass(frozen=True)
class StoredTensor:
    """Where a weight lies: `length` bytes from `offset` of the file `location`."""

    location: str
    offset: int
    length: int
    dtype: str
    shape: tuple[int, ...]


@dataclass
class GraphBuilder:
    """Collects nodes and returns tensor names, so that a graph reads like the network it is.

    stored: the weights that `weight` may name.
    """

    stored: dict[str, StoredTensor]
    _nodes: list[onnx.NodeProto] = field(default_factory=list)
    _initializers: dict[str, onnx.TensorProto] = field(default_factory=dict)
    _inputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _outputs: list[onnx.ValueInfoProto] = field(default_factory=list)
    _used_names: set[str] = field(default_factory=set)

    def input(self, name: str, dtype: str, shape: Sequence[int | str]) -> str:
        self._inputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[dtype], shape))
        return name

    def output(self, value: str, name: str, dtype: str, shape: Sequence[int | str]) -> None:
        """Give `value` to the outside as `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name], name=name))
        self._outputs.append(helper.make_tensor_value_info(name, ONNX_TYPES[dtype], shape))

    def weight(self, name: str, shape: tuple[int, ...] | None = None) -> str:
        """A folded weight, by reference into its file; `shape` may add axes of length 1."""
        if name not in self._initializers:
            at = self.stored[name]
            tensor = TensorProto(
                name=name,
                data_type=ONNX_TYPES[at.dtype],
                dims=shape or at.shape,
                data_location=TensorProto.EXTERNAL,
            )
            for key, value in (
                ("location", at.location),
                ("offset", str(at.offset)),
                ("length", str(at.length)),
            ):
                tensor.external_data.add(key=key, value=value)
            self._initializers[name] = tensor
        return name

    def constant(self, values: np.ndarray, hint: str) -> str:
        """A small constant inside the graph."""
        name = self._unique(hint)
        self._initializers[name] = numpy_helper.from_array(values, name)
        return name

    def integers(self, values: Sequence[int], hint: str) -> str:
        return self.constant(np.asarray(values, np.int64), hint)

    def node(self, op: str, inputs: Sequence[str], hint: str, **attributes: Any) -> str:
        name = self._unique(hint)
        self._nodes.append(helper.make_node(op, list(inputs), [name], name=name, **attributes))
        return name

    def cast(self, value: str, dtype: str, hint: str) -> str:
        return self.node("Cast", [value], hint, to=ONNX_TYPES[dtype])

    def reshape(self, value: str, shape: Sequence[int], hint: str) -> str:
        """One entry may be -1; 0 keeps the input's size at that place."""
        return self.node("Reshape", [value, self.integers(shape, f"{hint}.shape")], hint)

    def slice(self, value: str, start: int, end: int | None, axis: int, hint: str) -> str:
        """value[start:end] along `axis`; negative ends count from the back, None is the end."""
        bounds = (start, INT64_MAX if end is None else end, axis)
        names = [
            self.integers([bound], f"{hint}.{what}")
            for bound, what in zip(bounds, ("start", "end", "axis"), strict=True)
        ]
        return self.node("Slice", [value, *names], hint)

    def gather(self, value: str, indices: Sequence[int], axis: int, hint: str) -> str:
        at = self.constant(np.asarray(indices, np.int32), f"{hint}.at")
        return self.node("Gather", [value, at], hint, axis=axis)

    def model(self, name: str, metadata: dict[str, str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self._nodes, name, self._inputs, self._outputs, list(self._initializers.values())
        )
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
            producer_name="vp3d-deploy",
        )
        helper.set_model_props(model, metadata)
        return model

    def _unique(self, hint: str) -> str:
        if hint in self._used_names:
            raise AssertionError(f"two tensors of a graph are called {hint}")
        self._used_names.add(hint)
        return hint
