"""Tensors of a torch.save file, described by its pickle and read from disk when asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np

from vp3d_deploy.safe_pickle import brief

Bytes = np.ndarray[Any, np.dtype[np.uint8]]

# numpy's limit before version 2.
MAX_DIMENSIONS = 32
# torch's names; files are little-endian. numpy has no bfloat16: the upper half of a float32.
DTYPES: dict[str, np.dtype[Any]] = {
    "float64": np.dtype("<f8"),
    "float32": np.dtype("<f4"),
    "float16": np.dtype("<f2"),
    "bfloat16": np.dtype("<u2"),
    "int64": np.dtype("<i8"),
    "int32": np.dtype("<i4"),
    "int16": np.dtype("<i2"),
    "int8": np.dtype("i1"),
    "uint64": np.dtype("<u8"),
    "uint32": np.dtype("<u4"),
    "uint16": np.dtype("<u2"),
    "uint8": np.dtype("u1"),
    "bool": np.dtype("?"),
    "complex64": np.dtype("<c8"),
    "complex128": np.dtype("<c16"),
}
STORAGE_DTYPES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "UntypedStorage": "uint8",
    "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64",
    "ComplexDoubleStorage": "complex128",
}


class TensorError(ValueError):
    """A tensor whose description does not fit the data in its file."""


@dataclass(eq=False)
class Storage:
    """A run of bytes in the file that one or more tensors are views of."""

    key: str
    load: Callable[[], Bytes] | None = None
    _data: Bytes | None = field(default=None, repr=False)

    def read(self) -> Bytes:
        """All its bytes; read once, and shared by the tensors that look into it."""
        if self._data is None:
            if self.load is None:
                raise TensorError(f"storage {brief(self.key)} is not in the file")
            self._data = self.load()
        return self._data


@dataclass(frozen=True, eq=False)
class StorageView:
    """`count` values of `dtype` in a storage, from value `first` on."""

    storage: Storage
    dtype: str
    count: int
    first: int = 0


@dataclass(frozen=True, eq=False)
class StoredTensor:
    """A dense tensor on disk. `offset` and `strides` count values, as torch does."""

    values: StorageView
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def read(self) -> np.ndarray[Any, Any]:
        """The tensor as a contiguous numpy array of its own dtype, bfloat16 as float32.

        Not a copy if it is contiguous in the file: tensors that share a storage then share memory.

        Raises TensorError if it reaches outside its storage, or repeats values (torch.expand), so
        that an array is never larger than the file.
        """
        dtype = DTYPES[self.dtype]
        count = prod(self.shape)
        data = self._storage_values(dtype)
        last = sum((n - 1) * step for n, step in zip(self.shape, self.strides, strict=True))
        if count and self.offset + last >= len(data):
            raise TensorError(
                f"a tensor of shape {brief(self.shape)} reaches {self.offset + last + 1} values "
                f"into a storage of {len(data)}"
            )
        if count > len(data):
            raise TensorError(f"a tensor of shape {brief(self.shape)} repeats {len(data)} values")
        if count == 0:
            return _empty(self.shape, dtype)
        # torch may leave any stride on a dimension of one.
        sizes_steps = zip(self.shape, self.strides, strict=True)
        strides = [step * dtype.itemsize if n > 1 else 0 for n, step in sizes_steps]
        view = np.lib.stride_tricks.as_strided(data[self.offset :], self.shape, strides)
        array = np.ascontiguousarray(view).reshape(self.shape)
        if self.dtype == "bfloat16":
            return (array.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return array

    def _storage_values(self, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
        data = self.values.storage.read()
        itemsize = DTYPES[self.values.dtype].itemsize
        start, end = (
            n * itemsize for n in (self.values.first, self.values.first + self.values.count)
        )
        if end > len(data):
            raise TensorError(
                f"storage {brief(self.values.storage.key)} has {len(data)} bytes, expected {end}"
            )
        n_bytes = (end - start) // dtype.itemsize * dtype.itemsize
        return data[start : start + n_bytes].view(dtype)


def stored_tensor(
    values: StorageView, offset: object, shape: object, strides: object, dtype: str | None = None
) -> StoredTensor:
    """A tensor from the arguments in the file. Raises TensorError if they are not possible."""
    if (
        not isinstance(offset, int)
        or not isinstance(shape, tuple)
        or not isinstance(strides, tuple)
        or not all(type(n) is int and 0 <= n < 1 << 62 for n in (offset, *shape, *strides))
        or len(shape) != len(strides)
        or len(shape) > MAX_DIMENSIONS
    ):
        raise TensorError(
            f"it describes a tensor of impossible shape {brief(shape)}, strides {brief(strides)} "
            f"or offset {brief(offset)}"
        )
    return StoredTensor(values, dtype or values.dtype, offset, shape, strides)


def _empty(shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    try:
        return np.zeros(0, dtype).reshape(shape)
    except (ValueError, OverflowError):  # numpy multiplies the other sizes
        raise TensorError(f"a tensor has the impossible shape {brief(shape)}") from None
