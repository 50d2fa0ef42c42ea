"""Pickles that no reader may obey: each runs something, forges memory, or exhausts it.

`RUNS_CODE` would touch the file named in the environment variable MARKER_VARIABLE if it were given
to pickle.load; `EXHAUSTING` would take gigabytes, hours or the C stack.
"""

from __future__ import annotations

import os
import pickle
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

MARKER_VARIABLE = "HOSTILE_PICKLE_MARKER"
_CODE = f"open(__import__('os').environ[{MARKER_VARIABLE!r}], 'w').close()"
_SHELL = f'touch "${MARKER_VARIABLE}"'


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


def _text(text: str) -> bytes:
    data = text.encode()
    return b"X" + struct.pack("<I", len(data)) + data


def _global(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


# name -> (pickle, the global that a message must name)
RUNS_CODE: dict[str, tuple[bytes, str]] = {
    "system": (pickle.dumps(Call(os.system, _SHELL)), f"{os.system.__module__}.system"),
    "system, protocol 0": (
        pickle.dumps(Call(os.system, _SHELL), 0),
        f"{os.system.__module__}.system",
    ),
    "eval": (pickle.dumps(Call(eval, _CODE)), "builtins.eval"),
    "exec, of Python 2": (
        _global("__builtin__", "exec") + _text(_CODE) + b"\x85R.",
        "builtins.exec",
    ),
    "instance (INST)": (b"(" + _text(_SHELL) + b"i" + b"os\nsystem\n.", "os.system"),
    "instance (OBJ)": (b"(" + _global("os", "system") + _text(_SHELL) + b"o.", "os.system"),
    "new object": (_global("os", "system") + _text(_SHELL) + b"\x85\x81.", "os.system"),
    "new object with names": (
        _global("subprocess", "Popen") + _text("true") + b"\x85}" + b"\x92.",
        "subprocess.Popen",
    ),
    "by stack": (
        _text("os") + _text("system") + b"\x93" + _text(_SHELL) + b"\x85R.",
        "os.system",
    ),
    "attribute chain": (
        _global("builtins", "getattr")
        + _global("builtins", "__import__")
        + _text("os")
        + b"\x85R"
        + _text("system")
        + b"\x86R"
        + _text(_SHELL)
        + b"\x85R.",
        "builtins.",
    ),
    "import only": (_global("antigravity", "fly") + b".", "antigravity.fly"),
    "numpy's own pickles": (
        _global("numpy", "load") + _text("x.npy") + b"\x85R.",
        "numpy.load",
    ),
}


def _deep(opening: bytes, closing: bytes, depth: int) -> bytes:
    return opening * depth + closing * depth + b"."


def _laughs(n_levels: int) -> bytes:
    """Lists of two of the list below: 2 ** n_levels leaves in a few bytes each."""
    data = b"]q\x00"
    for level in range(n_levels):
        data += b"](" + f"g{level}\ng{level}\n".encode() + b"ep" + f"{level + 1}\n".encode()
    return data + b"."


def _tuple_laughs(n_levels: int) -> bytes:
    """A dictionary whose key is a tuple of two of the tuple below, which hashes 2 ** n_levels."""
    return b"}K\x01" + b"\x85" + b"2\x86" * n_levels + b"K\x01s."


EXHAUSTING: dict[str, bytes] = {
    "memo index": b"\x80\x02]r\xff\xff\xff\xff0j\xff\xff\xff\xfe.",
    "byte string": b"\x8e" + struct.pack("<Q", 1 << 62) + b"x.",
    "text": b"\x8d" + struct.pack("<Q", 1 << 40) + b"x.",
    "frame": b"\x80\x04\x95" + struct.pack("<Q", 1 << 62) + b"N.",
    "bytearray": b"\x96" + struct.pack("<Q", 1 << 40) + b".",
    "bytearray by size": _global("builtins", "bytearray") + b"J\xff\xff\xff\x7f\x85R.",
    "integer": b"\x8b" + struct.pack("<I", 1 << 20) + b"\x7f" * (1 << 20) + b".",
    "decimal integer": b"L" + b"7" * (1 << 20) + b"L\n.",
    "deep lists": _deep(b"]", b"a", 100_000)[1:-1] + b".",
    "deep tuples": b")" + b"\x85" * 100_000 + b".",
    "deep dictionaries": b"}" + b"K\x01}" * 100_000 + b"s" * 100_000 + b".",
    "marks": b"(" * 3_000_000 + b".",
    "empty sets": b"(" + b"\x8f" * 3_000_000 + b"l.",
    "laughs": _laughs(60),
    "hashed laughs": _tuple_laughs(60),
    "list in itself": b"]2a.",
    "dictionary in itself": b"}q\x00K\x01h\x00s.",
    "colliding keys": b"}("
    + b"".join(
        b"\x8a\x10" + (k * ((1 << 61) - 1)).to_bytes(16, "little") + b"N" for k in range(1000, 1009)
    )
    + b"u.",
    "array beyond memory": _global("numpy", "ndarray") + b"J\xff\xff\xff\x7f\x85R.",
    "one list, many sets": (
        b"(" + b"".join(b"M" + struct.pack("<H", k) for k in range(60_000)) + b"lq\x000("
        + (_global("builtins", "set") + b"h\x00\x85R") * 400
        + b"l."
    ),
}  # fmt: skip


def _array(dtype_code: str, dtype_state: bytes, shape: bytes, data: bytes) -> bytes:
    return (
        _global("numpy.core.multiarray", "_reconstruct")
        + _global("numpy", "ndarray")
        + b"K\x00\x85C\x01b\x87R(K\x01"
        + shape
        + _global("numpy", "dtype")
        + _text(dtype_code)
        + b"K\x00K\x01\x87R"
        + dtype_state
        + b"\x89"
        + data
        + b"tb."
    )


def _dtype_state(size: int = -1, flags: int = 0, names: bytes = b"N") -> bytes:
    number = b"J" + struct.pack("<i", size)
    return b"(K\x03" + _text("|") + b"N" + names + b"N" + number * 2 + b"K" + bytes([flags]) + b"tb"


def _raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


_POINTERS = _raw(b"\x41" * 16)
FORGED_ARRAYS: dict[str, bytes] = {
    "pointers as objects": _array("O8", _dtype_state(flags=63), b"K\x02\x85", _POINTERS),
    "objects behind a number's name": _array(
        "i8", _dtype_state(flags=63), b"K\x02\x85", b"]" + b"N"
    ),
    "size in the state": _array("i4", _dtype_state(size=1 << 20), b"K\x04\x85", _POINTERS),
    "more elements than bytes": _array("i8", _dtype_state(), b"M\xff\xff\x85", _POINTERS),
    "negative shape": _array("i8", _dtype_state(), b"J\xff\xff\xff\xff\x85", _POINTERS),
    "no elements, vast shape": _array(
        "i8", _dtype_state(), b"K\x00" + b"\x8a\x09" + b"\xff" * 8 + b"\x00\x86", _raw(b"")
    ),
    "items without size": _array("U0", _dtype_state(), b"J\xff\xff\xff\x7f\x85", _raw(b"")),
    "characters that do not exist": _array("U4", _dtype_state(), b"K\x01\x85", _POINTERS),
    "fewer objects than shape": _array("O8", _dtype_state(), b"K\x09\x85", b"]"),
    "scalar of pointers": _global("numpy.core.multiarray", "scalar")
    + _global("numpy", "dtype")
    + _text("O8")
    + b"K\x00K\x01\x87R"
    + _dtype_state(flags=63)
    + _raw(b"\x41" * 8)
    + b"\x86R.",
    "array without contents": _global("numpy.core.multiarray", "_reconstruct")
    + _global("numpy", "ndarray")
    + b"K\x00\x85C\x01b\x87R.",
}


def marker(directory: Path) -> Path:
    """Where the pickles that run code leave a trace; sets the environment variable they read."""
    path = directory / "was_run"
    os.environ[MARKER_VARIABLE] = str(path)
    return path
