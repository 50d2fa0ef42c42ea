"""Reading .npy and .npz files from strangers: sizes are checked first, pickles are only data.

`numpy.load` either refuses object arrays or runs whatever code they carry, and it allocates what
a header claims. Here the claim must agree with the bytes that are there, and object arrays, which
Human3.6M's published files consist of, go through `vp3d_deploy.safe_pickle`.
"""

from __future__ import annotations

import errno
import io
import math
import os
import re
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, BinaryIO, cast

import numpy as np

from vp3d_deploy.safe_pickle import load_next

MAGIC = b"\x93NUMPY"
_MAX_HEADER = 10_000  # numpy.load's own limit
_READ_BYTES = 1 << 20

# A well-meant archive of zeros may expand a thousandfold; only what is large both in itself and
# beside its file is taken for a bomb.
_BOMB_BYTES = 256 << 20
_BOMB_RATIO = 200
# No deflated stream can expand further than 1032 : 1, so a directory entry that says so lies.
_DEFLATE_RATIO = 1032

# What numpy's writer produces: a dict literal of three entries. Python 2 wrote 17L for 17.
_ENTRY = (
    r"'descr':\s*'(?P<descr{0}>[^']*)'|'fortran_order':\s*(?P<order{0}>True|False)"
    r"|'shape':\s*\((?P<shape{0}>[0-9L,\s]*)\)"
)
_HEADER = re.compile(
    r"\{\s*" + r"\s*,\s*".join(f"(?:{_ENTRY.format(i)})" for i in range(3)) + r"\s*(?:,\s*)?\}\s*"
)
_PLAIN_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248]|c(?:8|16)|[SU][1-9][0-9]{0,5})")


class DataFileError(ValueError):
    """A data file that is damaged, hostile, or not what its place calls for."""


def load_npy(path: str | os.PathLike[str]) -> np.ndarray:
    """The array in a .npy file: booleans, numbers, strings, or an object array of plain values.

    Raises DataFileError for files that are no .npy, are cut short, lie about their size or hold
    other types; UnsafePickleError (see `safe_pickle`) for objects that are not plain data;
    OSError if the file cannot be read.
    """
    source = str(path)
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(4) == b"PK\x03\x04":
            raise DataFileError(f"{source} is an archive of arrays; rename it to .npz")
        file.seek(0)
        return _read_array(file, size, source)


def load_npz(
    path: str | os.PathLike[str], names: Iterable[str] | None = None
) -> dict[str, np.ndarray]:
    """The arrays in a .npz file by name; `names` reads only those.

    Raises as `load_npy`, and DataFileError for archives that are damaged, encrypted, compressed
    by other means than numpy's, that lack a name, or that expand beyond reason.
    """
    source = str(path)
    with open(path, "rb") as file:
        if file.read(len(MAGIC)) == MAGIC:
            raise DataFileError(f"{source} is a single array; rename it to .npy")
        with _sound_archive(source), zipfile.ZipFile(file) as archive:
            members = _checked_members(archive, os.fstat(file.fileno()).st_size, source)
            wanted = list(members) if names is None else list(names)
            missing = [name for name in wanted if name not in members]
            if missing:
                raise DataFileError(
                    f"{source} lacks the arrays {missing}; it holds {sorted(members)}"
                )
            return {name: _read_member(archive, members[name], source) for name in wanted}


def mapping_in(arrays: Mapping[str, np.ndarray], name: str, source: str) -> dict[Any, Any]:
    """The dict that `numpy.savez(..., name=a_dict)` stored; DataFileError if it is none."""
    array = arrays.get(name)
    value = array.item() if array is not None and array.shape == () else array
    if not isinstance(value, dict):
        found = "nothing" if array is None else f"{array.dtype} of shape {array.shape}"
        raise DataFileError(f"{source}: {name!r} must hold a dictionary, but there is {found}")
    return value


@contextmanager
def _sound_archive(source: str) -> Iterator[None]:
    """Turn what zipfile and zlib raise for damaged archives into one DataFileError."""
    try:
        yield
    except OSError as error:
        if error.errno != errno.EINVAL:  # a seek to where the damaged directory points
            raise
        raise DataFileError(f"{source} is not a sound .npz archive: bad offsets") from None
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        NotImplementedError,
        struct.error,
        UnicodeDecodeError,
    ) as error:
        raise DataFileError(f"{source} is not a sound .npz archive: {error}") from None


def _checked_members(
    archive: zipfile.ZipFile, file_size: int, source: str
) -> dict[str, zipfile.ZipInfo]:
    """Members by array name, after checks of the directory alone."""
    members: dict[str, zipfile.ZipInfo] = {}
    for info in archive.infolist():
        name = info.filename.removesuffix(".npy")
        if name == info.filename or name in members:
            raise DataFileError(
                f"{source} holds {info.filename!r}, which is no .npy or there twice"
            )
        if info.flag_bits & 1 or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise DataFileError(
                f"{source}: {info.filename!r} is encrypted or compressed by method "
                f"{info.compress_type}; write it with numpy.savez or savez_compressed"
            )
        if info.file_size > info.compress_size * _DEFLATE_RATIO + 1024:
            raise DataFileError(
                f"{source}: {info.filename!r} claims to expand from {info.compress_size} to "
                f"{info.file_size} bytes, which no compression does"
            )
        members[name] = info
    packed = sum(info.compress_size for info in members.values())
    total = sum(info.file_size for info in members.values())
    if packed > file_size or total > max(_BOMB_BYTES, _BOMB_RATIO * file_size):
        raise DataFileError(
            f"{source} would expand from {file_size} to {total} bytes; refused as hostile"
        )
    return members


def _read_member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, source: str) -> np.ndarray:
    # Buffered, because pickles are read a few bytes at a time.
    with (
        archive.open(info) as member,
        io.BufferedReader(cast(io.RawIOBase, member), _READ_BYTES) as file,
    ):
        return _read_array(file, info.file_size, f"{source}: {info.filename}")


def _read_array(file: BinaryIO, size: int, source: str) -> np.ndarray:
    """The array that starts here and fills the `size` bytes up to the end."""
    array = _read_whole_array(file, size, source)
    if file.read(1):  # where this is the end, an archive compares its checksum
        raise DataFileError(f"{source} goes on after its array; the file is damaged")
    return array


def _read_whole_array(file: BinaryIO, size: int, source: str) -> np.ndarray:
    descr, fortran_order, shape, header_bytes = _read_header(file, source)
    if descr in ("O", "|O"):
        return _read_objects(file, size - header_bytes, shape, source)
    if not _PLAIN_DTYPE.fullmatch(descr):
        raise DataFileError(
            f"{source} holds items of type {descr!r}; expected booleans, numbers or strings"
        )
    dtype, count = np.dtype(descr), math.prod(shape)
    if count * dtype.itemsize != size - header_bytes:
        raise DataFileError(
            f"{source} claims {shape} items of {dtype}, {count * dtype.itemsize} bytes, but "
            f"{size - header_bytes} bytes follow; the file is cut short or damaged"
        )
    array = np.empty(count, dtype)
    _fill(file, memoryview(array.view(np.uint8)), source)  # type: ignore[arg-type]
    if dtype.kind == "b":
        array = array.view(np.uint8) != 0  # a byte of 2 is no bool that numpy can rely on
    return array.reshape(shape, order="F" if fortran_order else "C")


def _read_header(file: BinaryIO, source: str) -> tuple[str, bool, tuple[int, ...], int]:
    """(descr, fortran_order, shape, bytes read) of the .npy header, format versions 1 to 3.

    https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html
    """
    start = file.read(8)
    if len(start) < 8 or start[:6] != MAGIC:
        raise DataFileError(f"{source} is not a .npy array: it starts with {start!r}")
    if start[6] not in (1, 2, 3):
        raise DataFileError(f"{source} is .npy version {start[6]}; versions 1 to 3 are known")
    width = 2 if start[6] == 1 else 4
    length = int.from_bytes(file.read(width), "little")
    if length > _MAX_HEADER:
        raise DataFileError(f"{source} has a .npy header of {length} bytes; refused as hostile")
    text = file.read(length).decode("latin1")
    match = _HEADER.fullmatch(text)
    fields = (
        {} if match is None else {k[:-1]: v for k, v in match.groupdict().items() if v is not None}
    )
    if len(text) != length or set(fields) != {"descr", "order", "shape"}:
        shown = text if len(text) < 120 else text[:120] + "..."
        raise DataFileError(f"{source} has the .npy header {shown!r}, which describes no array")
    extents = [extent.strip() for extent in fields["shape"].split(",") if extent.strip()]
    if len(extents) > 32 or not all(re.fullmatch(r"[0-9]{1,15}L?", extent) for extent in extents):
        raise DataFileError(f"{source} claims the shape ({fields['shape']}), which is none")
    shape = tuple(int(extent.rstrip("L")) for extent in extents)
    if math.prod(max(extent, 1) for extent in shape) > 2**48:  # numpy counts even beside a 0
        raise DataFileError(f"{source} claims the shape {shape}; refused as hostile")
    return fields["descr"], fields["order"] == "True", shape, 8 + width + length


def _fill(file: BinaryIO, buffer: memoryview, source: str) -> None:
    """Read into `buffer` piece by piece: one big read of a zip member would hold it twice."""
    for start in range(0, len(buffer), _READ_BYTES):
        piece = buffer[start : start + _READ_BYTES]
        data = file.read(len(piece))
        if len(data) != len(piece):
            raise DataFileError(f"{source} is cut short")
        piece[:] = data


def _read_objects(file: BinaryIO, size: int, shape: tuple[int, ...], source: str) -> np.ndarray:
    array = load_next(file, size, source)
    if not isinstance(array, np.ndarray) or array.dtype != object or array.shape != shape:
        found = (
            f"{array.dtype} of shape {array.shape}"
            if isinstance(array, np.ndarray)
            else type(array).__name__
        )
        raise DataFileError(f"{source} claims objects of shape {shape}, but holds {found}")
    return array
