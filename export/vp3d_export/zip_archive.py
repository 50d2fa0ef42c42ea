"""The entries of a zip archive from a stranger, checked before they are trusted.

Only what torch.save writes is needed: named records, nearly always stored uncompressed. Nothing is
extracted to disk, so an entry's path is only a name.
"""

from __future__ import annotations

import struct
import zlib
from io import BufferedReader
from typing import Any, BinaryIO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np

# Python builds about 20 bytes of objects for each byte of directory; a checkpoint's takes 0.1 MB.
MAX_DIRECTORY_BYTES = 4 << 20
# Trained weights hardly compress and pickles to a tenth; a bomb reaches a thousandth. Small entries
# may be all zeros.
MAX_COMPRESSION = 20
FREE_BYTES = 1 << 20
_LOCAL_HEADER = struct.Struct("<4s5H3I2H")


class ZipError(ValueError):
    """A zip archive that is damaged, or whose directory does not describe its contents."""


class _DirectoryReader:
    """The file as `ZipFile` sees it: a claimed directory size may not allocate gigabytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.seek, self.tell = file.seek, file.tell

    def read(self, n_bytes: int = -1) -> bytes:
        if n_bytes > MAX_DIRECTORY_BYTES:
            raise BadZipFile(f"directory of {n_bytes} bytes")
        return self._file.read(n_bytes)


class ZipEntries:
    """The entries of the archive in `file`, which stays open for `read`.

    Raises ZipError if the directory at the end is missing (the file is truncated) or damaged, and
    if entries share a name or overlap.
    """

    def __init__(self, file: BufferedReader) -> None:
        self._file = file
        try:
            archive = ZipFile(_DirectoryReader(file))
        except (BadZipFile, NotImplementedError, OSError, ValueError, OverflowError) as error:
            raise ZipError(
                "it starts as a zip archive but the directory at its end is missing or damaged "
                f"({error}); the file is truncated or damaged"
            ) from None
        self._entries: dict[str, ZipInfo] = {}
        for entry in archive.infolist():
            if entry.filename in self._entries:
                raise ZipError(f"it has two entries named {entry.filename!r:.80}")
            self._entries[entry.filename] = entry
        self._check_layout(archive.start_dir)

    def __contains__(self, name: str) -> bool:
        return name in self._entries

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._entries)

    def n_bytes(self, name: str) -> int:
        """Size of an entry when read, as the directory claims; `read` makes sure of it."""
        return self._entries[name].file_size

    def read(self, name: str) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """The bytes of an entry, uint8, a new array.

        Raises ZipError if they are not there, or differ from the checksum in the directory.
        """
        entry = self._entries[name]
        packed = np.empty(entry.compress_size, np.uint8)
        self._file.seek(self._data_offset(entry))
        if self._file.readinto(packed.data) != packed.size:
            raise ZipError(f"entry {name!r:.80} ends beyond the file; the file is truncated")
        data = packed if entry.compress_type == ZIP_STORED else _inflate(packed, entry)
        # Zero is what torch writes when told to leave checksums out (set_crc32_options).
        if entry.CRC != 0 and zlib.crc32(data.data) != entry.CRC:
            raise ZipError(f"the checksum of entry {name!r:.80} is wrong; the file is damaged")
        return data

    def _check_layout(self, directory_offset: int) -> None:
        entries = sorted(self._entries.values(), key=lambda entry: entry.header_offset)
        ends = [entry.header_offset for entry in entries[1:]] + [directory_offset]
        for entry, end in zip(entries, ends, strict=True):
            name = f"{entry.filename!r:.80}"
            if entry.flag_bits & 1 or entry.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
                raise ZipError(f"entry {name} is encrypted or packed in an unusual way")
            start = entry.header_offset + _LOCAL_HEADER.size
            if entry.header_offset < 0 or start + entry.compress_size > end:
                raise ZipError(f"entry {name} overlaps what follows it; the file is damaged")
            if entry.compress_type == ZIP_STORED and entry.file_size != entry.compress_size:
                raise ZipError(f"entry {name} has two sizes; the file is damaged")
            if entry.file_size > MAX_COMPRESSION * entry.compress_size + FREE_BYTES:
                raise ZipError(
                    f"entry {name} claims to grow from {entry.compress_size} to "
                    f"{entry.file_size} bytes, more than weights ever do"
                )

    def _data_offset(self, entry: ZipInfo) -> int:
        self._file.seek(entry.header_offset)
        header = self._file.read(_LOCAL_HEADER.size)
        if len(header) != _LOCAL_HEADER.size or header[:4] != b"PK\x03\x04":
            raise ZipError(f"entry {entry.filename!r:.80} is not where the directory says")
        n_name, n_extra = _LOCAL_HEADER.unpack(header)[-2:]
        encoding = "utf-8" if entry.flag_bits & 0x800 else "cp437"
        if self._file.read(n_name).decode(encoding, "replace") != entry.orig_filename:
            raise ZipError(f"entry {entry.filename!r:.80} has another name in its own header")
        return entry.header_offset + _LOCAL_HEADER.size + int(n_name) + int(n_extra)


def _inflate(
    packed: np.ndarray[Any, np.dtype[np.uint8]], entry: ZipInfo
) -> np.ndarray[Any, np.dtype[np.uint8]]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        data = inflater.decompress(packed.data, entry.file_size + 1)
    except zlib.error:
        raise ZipError(
            f"entry {entry.filename!r:.80} does not unpack; the file is damaged"
        ) from None
    if len(data) != entry.file_size:
        raise ZipError(
            f"entry {entry.filename!r:.80} unpacks to another size than the {entry.file_size} "
            "bytes in the directory"
        )
    return np.frombuffer(bytearray(data), np.uint8)
