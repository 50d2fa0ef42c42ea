"""Look into an ONNX file before an engine does: where would it read its weights from?

An ONNX initialiser may name any file, and not every version of ONNX Runtime refuses one outside
the model's directory. So the few messages of which a bundle's graphs consist are walked here, by
the protobuf wire format and field numbers of onnx.proto (both public and fixed), without the onnx
package, which devices do not have. Whatever could hide another tensor, such as subgraphs,
functions, sparse and training data, is not among them, and refused.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

_LIMIT_BYTES = 16 << 20
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Field numbers that graphs of bundles use, by message; those that are walked have names.
_GRAPH = 7
_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14}
_NODE, _INITIALIZER = 1, 5
_GRAPH_FIELDS = {_NODE, 2, _INITIALIZER, 10, 11, 12, 13, 14}
_ATTRIBUTE = 5
_NODE_FIELDS = {1, 2, 3, 4, _ATTRIBUTE, 6, 7}
# A name, a type, and numbers or text: neither tensors nor graphs.
_ATTRIBUTE_FIELDS = {1, 2, 3, 4, 7, 8, 9, 13, 20}
_EXTERNAL_DATA = 13
_TENSOR_FIELDS = set(range(1, 15)) - {3}
_KEY, _VALUE = 1, 2


class OnnxFileError(ValueError):
    """An ONNX file that is damaged, or that is not of the kind a bundle holds."""


def check_weights_location(path: Path, weights: str) -> None:
    """Refuse a graph whose initialisers lie anywhere but in itself and in the file `weights`.

    Raises OnnxFileError saying what was found.
    """
    if path.stat().st_size > _LIMIT_BYTES:
        raise OnnxFileError(f"{path.stat().st_size} bytes are too many for a graph without weights")
    for _, graph in _messages(path.read_bytes(), {_GRAPH}, _MODEL_FIELDS, "model"):
        for number, part in _messages(graph, {_NODE, _INITIALIZER}, _GRAPH_FIELDS, "graph"):
            if number == _NODE:
                for _, attribute in _messages(part, {_ATTRIBUTE}, _NODE_FIELDS, "node"):
                    list(_messages(attribute, set(), _ATTRIBUTE_FIELDS, "attribute"))
            else:
                _check_tensor(part, weights)


def _check_tensor(tensor: bytes, weights: str) -> None:
    for _, entry in _messages(tensor, {_EXTERNAL_DATA}, _TENSOR_FIELDS, "tensor"):
        # As protobuf does, the last of several values of a field counts.
        pair = dict(_messages(entry, {_KEY, _VALUE}, {_KEY, _VALUE}, "external data"))
        if pair.get(_KEY) == b"location" and pair.get(_VALUE) != weights.encode():
            found = pair.get(_VALUE, b"").decode("utf-8", "replace")
            raise OnnxFileError(f"it reads weights from {found!r:.100}, not from {weights!r}")


def _messages(
    data: bytes, wanted: set[int], known: set[int], what: str
) -> Iterator[tuple[int, bytes]]:
    """(field number, contents) of the wanted fields of one message; the others must be known."""
    for number, kind, contents in fields(data):
        if number not in known:
            raise OnnxFileError(f"its {what} has a field {number} that no graph of a bundle has")
        if number in wanted:
            if kind != _BYTES:
                raise OnnxFileError("it is not an ONNX file, or damaged")
            yield number, contents


def fields(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(number, wire type, contents as stored) of the fields of one protobuf message.

    Raises OnnxFileError for what is not one.
    """
    at = 0
    while at < len(data):
        tag, at = _varint(data, at)
        number, kind = tag >> 3, tag & 7
        start = at
        if kind == _VARINT:
            _, end = _varint(data, at)
        elif kind == _BYTES:
            length, start = _varint(data, at)
            end = start + length
        elif kind in (_FIXED64, _FIXED32):
            end = at + (8 if kind == _FIXED64 else 4)
        else:
            raise OnnxFileError("it is not an ONNX file, or damaged")
        if end > len(data):
            raise OnnxFileError("it is not an ONNX file, or damaged")
        yield number, kind, data[start:end]
        at = end


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """The number at `at`, and where the next byte is."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(data):
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise OnnxFileError("it is not an ONNX file, or damaged")
