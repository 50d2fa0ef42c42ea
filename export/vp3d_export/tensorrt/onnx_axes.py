"""Graphs with fixed axes, and the names of their nodes, without the onnx package.

A stream graph's batch is an axis named "B". Its engine is to have no dynamic shapes, so the name is
replaced by a number in the graph's inputs and outputs, which is all that has to change: inside,
shapes follow. The messages are walked by the protobuf wire format and field numbers of onnx.proto,
as in vp3d_deploy/engines/onnx_file.py.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from vp3d_deploy.engines.onnx_file import fields

_GRAPH, _NODE, _NODE_NAME, _NODE_OPERATOR = 7, 1, 3, 4
_GRAPH_INPUT, _GRAPH_OUTPUT = 11, 12
_TYPE, _TENSOR_TYPE, _SHAPE, _DIM = 2, 1, 2, 1
_DIM_VALUE, _DIM_PARAM = 1, 2
_VARINT, _BYTES = 0, 2


def with_fixed_axes(model: bytes, sizes: Mapping[str, int]) -> bytes:
    """The model whose inputs and outputs have these sizes for the axes of these names."""

    def dimension(data: bytes) -> bytes:
        for number, kind, contents in fields(data):
            name = contents.decode("utf-8", "replace")
            if (number, kind) == (_DIM_PARAM, _BYTES) and name in sizes:
                return _tag(_DIM_VALUE, _VARINT) + _varint(sizes[name])
        return data

    value = _within(_TYPE, _within(_TENSOR_TYPE, _within(_SHAPE, _within(_DIM, dimension))))
    graph = _within(_GRAPH_OUTPUT, value)
    return _within(_GRAPH, lambda data: graph(_within(_GRAPH_INPUT, value)(data)))(model)


def nodes(model: bytes) -> list[tuple[str, str]]:
    """The graph's nodes, in order: name and operator; "" for what a node lacks."""
    found = []
    for number, _, graph in fields(model):
        for field, _, node in fields(graph) if number == _GRAPH else ():
            if field == _NODE:
                texts = {part: text for part, _, text in fields(node)}
                name, operator = (texts.get(p, b"") for p in (_NODE_NAME, _NODE_OPERATOR))
                found.append((name.decode("utf-8", "replace"), operator.decode("utf-8", "replace")))
    return found


def _within(wanted: int, change: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """A message with `change` applied to every submessage in the field `wanted`."""

    def changed(data: bytes) -> bytes:
        parts = []
        for number, kind, contents in fields(data):
            if number == wanted and kind == _BYTES:
                contents = change(contents)
            length = _varint(len(contents)) if kind == _BYTES else b""
            parts.append(_tag(number, kind) + length + contents)
        return b"".join(parts)

    return changed


def _tag(number: int, kind: int) -> bytes:
    return _varint(number << 3 | kind)


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 0x7F:
        parts.append(value & 0x7F | 0x80)
        value >>= 7
    parts.append(value)
    return bytes(parts)
