"""Read what torch.save wrote, without torch and without running anything.

Two formats, told apart by their first bytes: the zip archive of torch 1.6 and later, and before it
a row of pickles followed by the storages, which the original VideoPose3D and early MMPose files
use. Structure comes through `vp3d_deploy.safe_pickle`; tensors stay on disk until they are asked
for, so an optimizer's state, two thirds of a training checkpoint, is never read.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BufferedReader

import numpy as np

from vp3d_deploy.safe_pickle import (
    Constructor,
    Placeholder,
    UnsafePickleError,
    brief,
    load_next,
    loads,
)
from vp3d_export.file_kinds import describe_bytes, describe_zip
from vp3d_export.torch_globals import find_global, storage_dtype
from vp3d_export.torch_tensors import DTYPES, Bytes, Storage, StorageView, TensorError
from vp3d_export.zip_archive import ZipEntries, ZipError

# The first pickles of the older format, by torch 0.1.10 to 1.5.
LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
LEGACY_PROTOCOL = 1001
# Twice the largest network that fits ModelSpec sensibly, with its optimizer. A sparse file can
# claim any size at no cost, and what is read of it has to fit in memory.
MAX_FILE_BYTES = 8 << 30
_EXPECTED = "expected a checkpoint written by torch.save (VideoPose3D .bin, MMPose .pth or our own)"


class TorchFileError(ValueError):
    """A file that torch.save did not write, or that is damaged or hostile."""


@contextmanager
def open_torch_file(path: str | os.PathLike[str]) -> Iterator[object]:
    """What torch.save was given: plain containers and values, and `StoredTensor`s.

    Objects of other packages are `Placeholder`s. Tensors can be read inside the `with` block.

    Raises TorchFileError, in one sentence that starts with the path, for everything else: other
    kinds of files, damage, and pickles that ask to run something.
    """
    try:
        with _open_regular(path) as file:
            yield _read_contents(file)
    except OSError as error:
        reason = f"cannot be read ({error.strerror or error}); {_EXPECTED}"
        raise TorchFileError(f"{os.fspath(path)}: {reason}") from None
    except MemoryError:
        raise TorchFileError(
            f"{os.fspath(path)}: reading it takes more memory than there is"
        ) from None
    except (TorchFileError, ZipError, TensorError, UnsafePickleError) as error:
        raise TorchFileError(f"{os.fspath(path)}: {error}") from None


def _open_regular(path: str | os.PathLike[str]) -> BufferedReader:
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise TorchFileError(f"this is a directory; {_EXPECTED}")
    if not stat.S_ISREG(status.st_mode):  # a pipe or device could block or never end
        raise TorchFileError(f"this is not a regular file; {_EXPECTED}")
    if status.st_size > MAX_FILE_BYTES:
        raise TorchFileError(f"it has {status.st_size} bytes, expected {MAX_FILE_BYTES} at most")
    return open(path, "rb")


def _read_contents(file: BufferedReader) -> object:
    start = file.read(512)
    file.seek(0)
    if start.startswith(b"PK\x03\x04"):
        return _read_zip(file)
    if start.startswith(b"\x80"):
        return _read_legacy(file)
    raise TorchFileError(f"this is {describe_bytes(start)}; {_EXPECTED}")


@dataclass(frozen=True)
class _StorageId:
    """A storage as the pickle refers to it: `count` values. Old versions of torch add a `view`."""

    name: str
    dtype: str
    count: int
    view: object


def _read_id(key: object) -> _StorageId | Placeholder:
    """What the pickle refers to; a placeholder for storages of unknown types and for the classes
    of pickled modules, which torch keeps with their source code."""
    match key:
        case ("module", Placeholder() as owner, *_):
            return owner
        case ("storage", Placeholder() as kind, *_):
            return kind
        case ("storage", Constructor() as kind, str(name), _, int(count), *rest):
            dtype = storage_dtype(kind)
            if dtype is not None and 0 <= count < 1 << 62 and len(rest) <= 1:
                return _StorageId(name, dtype, count, rest[0] if rest else None)
    raise TorchFileError(f"it refers to {brief(key)}, expected a storage")


# -- the zip archive ----------------------------------------------------------------------------


def _read_zip(file: BufferedReader) -> object:
    entries = ZipEntries(file)
    prefix = _archive_prefix(entries)
    byte_order = f"{prefix}/byteorder"
    if byte_order in entries and bytes(entries.read(byte_order)) != b"little":
        raise TorchFileError("it was written on a big-endian machine; save it again on another")
    storages: dict[str, Storage] = {}

    def persistent_load(key: object) -> object:
        found = _read_id(key)
        if isinstance(found, Placeholder):
            return found
        name, dtype, count = found.name, found.dtype, found.count
        entry = f"{prefix}/data/{name}"
        if entry not in entries:
            raise TorchFileError(f"storage {brief(name)} is missing; the file is damaged")
        if entries.n_bytes(entry) // DTYPES[dtype].itemsize != count:
            raise TorchFileError(
                f"storage {brief(name)} has {entries.n_bytes(entry)} bytes, "
                f"expected {count} values of {dtype}"
            )
        storage = storages.setdefault(name, Storage(name, lambda: entries.read(entry)))
        return StorageView(storage, dtype, count)

    return loads(
        bytes(entries.read(f"{prefix}/data.pkl")),
        "data.pkl",
        find_global=find_global,
        persistent_load=persistent_load,
    )


def _archive_prefix(entries: ZipEntries) -> str:
    """The folder that holds everything, named after the file when it was first saved."""
    folders = [
        name.removesuffix("/data.pkl") for name in entries.names if name.endswith("/data.pkl")
    ]
    folders = [folder for folder in folders if "/" not in folder]
    if len(folders) != 1 or f"{folders[0]}/constants.pkl" in entries:
        raise TorchFileError(f"this is {describe_zip(entries.names)}; {_EXPECTED}")
    return folders[0]


# -- the row of pickles -------------------------------------------------------------------------


def _read_legacy(file: BufferedReader) -> object:
    size = os.fstat(file.fileno()).st_size

    def next_pickle(persistent_load: Callable[[object], object] | None = None) -> object:
        position = file.tell()
        return load_next(
            file,
            size - position,
            f"the pickle at byte {position}",
            find_global=find_global,
            persistent_load=persistent_load,
        )

    _check_legacy_header(next_pickle)
    storages: dict[str, tuple[Storage, str, int]] = {}

    def persistent_load(key: object) -> object:
        found = _read_id(key)
        if isinstance(found, Placeholder):
            return found
        name, dtype, count = found.name, found.dtype, found.count
        storage, known_dtype, known_count = storages.setdefault(name, (Storage(name), dtype, count))
        if (dtype, count) != (known_dtype, known_count):
            raise TorchFileError(f"storage {brief(name)} has two sizes or types; it is damaged")
        match found.view:
            case None:
                return StorageView(storage, dtype, count)
            case (str(), int(first), int(length)) if 0 <= first <= first + length <= count:
                return StorageView(storage, dtype, length, first)
        raise TorchFileError(f"storage {brief(name)} has an impossible view {brief(found.view)}")

    contents = next_pickle(persistent_load)
    _place_storages(file, size, next_pickle(), storages)
    return contents


def _check_legacy_header(next_pickle: Callable[[], object]) -> None:
    magic = next_pickle()
    if type(magic) is not int or magic != LEGACY_MAGIC:
        raise TorchFileError(f"this is a pickle that torch.save did not write; {_EXPECTED}")
    protocol = next_pickle()
    if type(protocol) is not int or protocol != LEGACY_PROTOCOL:
        raise TorchFileError(f"it has torch's file protocol {brief(protocol)}, expected 1001")
    system = next_pickle()
    if not isinstance(system, dict) or system.get("little_endian") is not True:
        raise TorchFileError("it was not written on a little-endian machine; save it on another")


def _place_storages(
    file: BufferedReader, size: int, keys: object, storages: dict[str, tuple[Storage, str, int]]
) -> None:
    """Find each storage in what follows the pickles: a count of 8 bytes and the values, by key."""
    if not isinstance(keys, list) or not all(type(key) is str for key in keys):
        raise TorchFileError("its list of storages is damaged")
    if len(set(keys)) != len(keys):
        raise TorchFileError("its list of storages names one twice")
    position = file.tell()
    for key in keys:
        if key not in storages:
            # Of a type that we do not know, so its size is unknown, and where the next one starts.
            raise TorchFileError(f"it holds a storage {brief(key)} that no known tensor uses")
        storage, dtype, count = storages[key]
        file.seek(position)
        if int.from_bytes(file.read(8), "little") != count:
            raise TorchFileError(
                f"storage {brief(key)} does not hold the {count} values expected; "
                "the file is truncated or damaged"
            )
        start, n_bytes = position + 8, count * DTYPES[dtype].itemsize
        position = start + n_bytes
        if position > size:
            raise TorchFileError(
                f"it ends at byte {size}, in the middle of storage {brief(key)}, which ends at "
                f"{position}; the file is truncated"
            )
        storage.load = _reader(file, start, n_bytes)


def _reader(file: BufferedReader, start: int, n_bytes: int) -> Callable[[], Bytes]:
    def read() -> Bytes:
        data = np.empty(n_bytes, np.uint8)
        file.seek(start)
        if file.readinto(data.data) != n_bytes:
            raise TorchFileError("it became shorter while it was read")
        return data

    return read
