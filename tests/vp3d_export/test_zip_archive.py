"""Zip archives that lie: what the directory says is checked before anything is allocated."""

from __future__ import annotations

import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from io import BufferedReader, BytesIO
from pathlib import Path

import numpy as np
import pytest

from vp3d_export.zip_archive import MAX_DIRECTORY_BYTES, ZipEntries, ZipError

CONTENT = bytes(range(256)) * 8


def archive(*names: str, packed: int = zipfile.ZIP_STORED) -> bytearray:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", packed) as file:
        for name in names or ("a/one", "a/two"):
            file.writestr(name, CONTENT)
    return bytearray(stream.getvalue())


def entries(data: bytes) -> ZipEntries:
    return ZipEntries(BufferedReader(BytesIO(bytes(data))))  # type: ignore[arg-type]


def directory_field(
    data: bytearray, offset: int, code: str, value: int, entry: int = 0
) -> bytearray:
    """Overwrite a field of an entry in the directory."""
    at = -1
    for _ in range(entry + 1):
        at = data.index(b"PK\x01\x02", at + 1)
    struct.pack_into(code, data, at + offset, value)
    return data


@pytest.mark.parametrize("packed", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_entries_are_read(packed: int) -> None:
    archived = entries(archive("a/one", "b/é", packed=packed))
    assert archived.names == ("a/one", "b/é")
    assert "a/one" in archived
    assert "one" not in archived
    for name in archived.names:
        assert archived.n_bytes(name) == len(CONTENT)
        data = archived.read(name)
        assert data.dtype == np.uint8
        assert data.tobytes() == CONTENT
        data[0] = 7  # its own memory
        assert archived.read(name)[0] == CONTENT[0]


def test_checksums_of_zero_are_not_checked() -> None:
    """torch writes them when told to leave checksums out."""
    data = directory_field(archive(), 16, "<I", 0)
    assert entries(data).read("a/one").tobytes() == CONTENT


def _same_names() -> bytearray:
    return archive("a/one", "a/two").replace(b"a/two", b"a/one")


def _overlapping() -> bytearray:
    data = archive()
    return directory_field(data, 42, "<I", 10, entry=1)  # the second starts inside the first


def _bomb() -> bytearray:
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("bomb", bytes(100 << 20))
    return bytearray(stream.getvalue())


def _grows_beyond_its_claim() -> bytearray:
    data = archive("one", packed=zipfile.ZIP_DEFLATED)
    return directory_field(data, 24, "<I", 100)


def _shrinks_below_its_claim() -> bytearray:
    data = archive("one", packed=zipfile.ZIP_DEFLATED)
    return directory_field(data, 24, "<I", 1 << 20)


def _huge_directory() -> bytearray:
    data = archive()
    end = data.index(b"PK\x05\x06")
    struct.pack_into("<I", data, end + 12, MAX_DIRECTORY_BYTES + 1)
    return bytearray(bytes(MAX_DIRECTORY_BYTES + 10)) + data


HOSTILE: dict[str, tuple[Callable[[], bytearray], str]] = {
    "same names": (_same_names, "two entries named 'a/one'"),
    "overlapping": (_overlapping, "overlaps"),
    "bomb": (_bomb, "claims to grow"),
    "stored with two sizes": (lambda: directory_field(archive(), 24, "<I", 1 << 30), "two sizes"),
    "vast": (
        lambda: directory_field(directory_field(archive(), 20, "<I", 1 << 31), 24, "<I", 1 << 31),
        "overlaps",
    ),
    "grows": (_grows_beyond_its_claim, "another size"),
    "shrinks": (_shrinks_below_its_claim, "another size"),
    "encrypted": (lambda: directory_field(archive(), 8, "<H", 1), "encrypted"),
    "unusual packing": (lambda: directory_field(archive(), 10, "<H", 12), "unusual"),
    "huge directory": (_huge_directory, "directory at its end"),
    "wrong place": (lambda: directory_field(archive(), 42, "<I", 1), "not where the directory"),
    "other name inside": (
        lambda: archive().replace(b"a/one", b"a/eno", 1),
        "another name in its own header",
    ),
    "damaged": (lambda: archive().replace(b"\x05\x06\x07\x08", b"\x05\x06\x07\x09", 1), "checksum"),
    "does not unpack": (
        lambda: (
            archive("one", packed=zipfile.ZIP_DEFLATED).replace(b"one", b"one" + b"", 1)[:33]
            + b"\xff" * 5
            + archive("one", packed=zipfile.ZIP_DEFLATED)[38:]
        ),
        "does not unpack",
    ),
    "not a zip": (lambda: bytearray(b"PK\x03\x04 and no more"), "directory at its end"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_lies_are_refused_in_little_memory(name: str) -> None:
    make, reason = HOSTILE[name]
    data = bytes(make())
    tracemalloc.start()
    try:
        with pytest.raises(ZipError, match=reason):
            archived = entries(data)
            for entry in archived.names:
                archived.read(entry)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(data) + 8_000_000


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    data = archive()
    for length in range(0, len(data), 7):
        with pytest.raises(ZipError):
            entries(data[:length])


def test_every_damaged_byte_of_an_entry_is_noticed() -> None:
    data = archive()
    start = data.index(CONTENT)
    assert zlib.crc32(CONTENT) != 0
    for position in range(start, start + len(CONTENT), 97):
        damaged = bytearray(data)
        damaged[position] ^= 0x10
        with pytest.raises(ZipError, match="checksum of entry 'a/one'"):
            entries(damaged).read("a/one")
