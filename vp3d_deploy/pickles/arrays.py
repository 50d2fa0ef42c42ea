"""Stand-ins for what pickles of numpy arrays, dtypes and scalars call.

numpy's own functions are never called: `dtype.__setstate__` takes item sizes and flags from the
file as they come, and an object array with a forged dtype reads pointers from the file.
"""

from __future__ import annotations

import re
from math import prod
from typing import Any

import numpy as np

from vp3d_deploy.pickles.values import (
    Constructor,
    Placeholder,
    Unfinished,
    UnsupportedError,
    bad_call,
    brief,
    latin1_bytes,
    only_named,
)

# numpy 1 allows 32 dimensions, numpy 2 allows 64.
MAX_DIMENSIONS = 32
_DTYPE_CODE = re.compile(r"(?:[biufcSUO]\d{0,9}|\?)\Z")
_LARGEST_CODE_POINT = 0x10FFFF

_NDARRAY = only_named("numpy.ndarray")


def _text(value: Any) -> Any:
    return value.decode("latin1") if isinstance(value, bytes) else value


def _dtype(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (code, _, _) | (code, _) | (code,):
            code = _text(code)
        case _:
            raise bad_call("numpy.dtype")
    if not isinstance(code, str) or not _DTYPE_CODE.match(code):
        raise UnsupportedError(
            f"it holds an array of dtype {brief(code)}; numbers and text are read"
        )
    # An object array's items come as a list, so their size in the writer's memory is irrelevant.
    base = _make_dtype("O" if code[0] == "O" else code)

    def finish(state: object) -> object:
        match state:
            case (int(), order, None, None, None, int(size), int(), int(), *_):
                order = _text(order)
                if order in ("<", ">", "=", "|") and size in (-1, base.itemsize):
                    ordered = base.newbyteorder(order)
                    return base if ordered.isnative else ordered
                raise bad_call("numpy.dtype")
        raise UnsupportedError("it holds a structured array; plain arrays are read")

    return Unfinished("numpy.dtype", finish)


def _make_dtype(code: str) -> np.dtype[Any]:
    try:
        return np.dtype(code)
    except (TypeError, ValueError):
        raise ValueError(f"it holds an array of dtype {code!r}, which does not exist") from None


def _reconstruct(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (Placeholder() as owner, _, _):
            return owner
        case (owner, _, _) if owner is _NDARRAY:
            return Unfinished("numpy.ndarray", _finish_array)
    raise bad_call("numpy.core.multiarray._reconstruct")


def _finish_array(state: object) -> object:
    match state:
        case (int(), tuple(shape), np.dtype() as dtype, fortran, data):
            return _array(shape, dtype, "F" if fortran else "C", data)
        case (int(), tuple(), Placeholder(), _, _):
            raise UnsupportedError("it holds an array of an unknown dtype")
    raise bad_call("numpy.ndarray.__setstate__")


def _frombuffer(arguments: tuple[Any, ...]) -> object:
    # How protocol 5 writes an array.
    match arguments:
        case (data, np.dtype() as dtype, tuple(shape), "C" | "F" as order):
            return _array(shape, dtype, order, data)
        case (_, Placeholder(), tuple(), _):
            raise UnsupportedError("it holds an array of an unknown dtype")
    raise bad_call("numpy.core.numeric._frombuffer")


def _array(shape: tuple[Any, ...], dtype: np.dtype[Any], order: Any, data: object) -> object:
    if len(shape) > MAX_DIMENSIONS or any(type(n) is not int or n < 0 for n in shape):
        raise ValueError(f"it holds an array of impossible shape {brief(shape)}")
    if dtype.hasobject:  # whose items are listed in C order whatever the order in memory was
        flat, order = _object_items(shape, data), "C"
    else:
        flat = _numbers(shape, dtype, data)
    try:
        return flat.reshape(shape, order=order)
    except (ValueError, OverflowError):  # no elements, yet the other sizes are beyond numpy's
        raise ValueError(f"it holds an array of impossible shape {brief(shape)}") from None


def _object_items(shape: tuple[int, ...], data: object) -> np.ndarray[Any, Any]:
    if not isinstance(data, list) or len(data) != prod(shape):
        raise ValueError(
            f"it holds an object array of shape {brief(shape)} without that many items"
        )
    flat = np.empty(len(data), object)
    for index, item in enumerate(data):  # one by one, or numpy would join items that are sequences
        flat[index] = item
    return flat


def _numbers(shape: tuple[int, ...], dtype: np.dtype[Any], data: object) -> np.ndarray[Any, Any]:
    # The reader gives strings of Python 2 as text of one character per byte.
    raw = latin1_bytes(data) if isinstance(data, str) else data
    if not isinstance(raw, (bytes, bytearray)):
        raise ValueError(f"it holds an array whose values are a {type(raw).__name__}")
    expected = prod(shape) * dtype.itemsize
    if len(raw) != expected or (dtype.itemsize == 0 and prod(shape) > 0):
        raise ValueError(
            f"it holds an array of shape {brief(shape)} and dtype {dtype} with {len(raw)} bytes of "
            f"values, expected {expected}"
        )
    if expected == 0:
        return np.zeros(0, dtype)
    flat = np.frombuffer(raw, dtype).copy()  # a copy, so that the caller may change it
    if dtype.kind == "U":
        codes = flat.view(np.dtype(np.uint32).newbyteorder(dtype.byteorder))
        if codes.max() > _LARGEST_CODE_POINT:
            raise ValueError("it holds an array of text with characters that do not exist")
    return flat.view(np.uint8) != 0 if dtype.kind == "b" else flat


def _scalar(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (np.dtype() as dtype, data) if not dtype.hasobject:
            if dtype.itemsize == 0:
                return dtype.type()
            return _numbers((1,), dtype, data)[0]
        case (Placeholder(), _):
            raise UnsupportedError("it holds a scalar of an unknown dtype")
    raise bad_call("numpy.core.multiarray.scalar")


# By the names of numpy 1.
NUMPY_GLOBALS = (
    _NDARRAY,
    Constructor("numpy.dtype", _dtype),
    Constructor("numpy.core.multiarray._reconstruct", _reconstruct),
    Constructor("numpy.core.multiarray.scalar", _scalar),
    Constructor("numpy.core.numeric._frombuffer", _frombuffer),
)
