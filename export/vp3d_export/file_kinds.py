"""Say what a file is that is not a checkpoint, so that the message can help."""

from __future__ import annotations

from collections.abc import Sequence

_STARTS = (
    (b"\x93NUMPY", "a numpy array (.npy)"),
    (b"\x89HDF", "an HDF5 file (Keras?)"),
    (b"\x1f\x8b", "a gzip-compressed file; unpack it first"),
    (b"BZh", "a bzip2-compressed file; unpack it first"),
    (b"\xfd7zXZ", "an xz-compressed file; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd-compressed file; unpack it first"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"Rar!", "a rar archive; unpack it first"),
    (b"PK\x05\x06", "an empty zip archive"),
    (b"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (b"ftrt", "a TensorRT engine"),
    (b"\x80", "a pickle"),
    (b"\x7fELF", "a program or shared library"),
)


def describe_bytes(start: bytes) -> str:
    """What a file that starts with these bytes (512 are enough) is, in a few words."""
    if not start:
        return "empty"
    for prefix, kind in _STARTS:
        if start.startswith(prefix):
            return kind
    if start[257:262] == b"ustar":
        return (
            "a tar archive, which torch.save wrote before version 0.1.10; "
            "load and save it again with a torch of 0.4 to 2.5"
        )
    if start[8:9] == b"{" and int.from_bytes(start[:8], "little") < 1 << 32:
        return "a safetensors file"
    if start[:1] == b"\x08" and start[2:3] in (b"\x12", b"\x1a", b"\x22", b"\x3a"):
        return "an ONNX model"  # field 1, the version, then producer, domain or graph
    if start[4:8] == b"TFL3":
        return "a TensorFlow Lite model"
    if start.lstrip()[:1] == b"<":
        return "an HTML or XML page; the download may have failed"
    text = start.decode("utf-8", "ignore")
    whole = len(text.encode()) > len(start) - 4  # the last character may be cut
    if whole and all(char.isprintable() or char in "\t\r\n" for char in text):
        return f"text starting with {text[:24]!r}"
    return "of an unknown kind"


def describe_zip(names: Sequence[str]) -> str:
    """What a zip archive with these entries, but not torch.save's, is."""
    if any(name.endswith(".npy") for name in names):
        return "numpy arrays (.npz)"
    if any(name.endswith("/code/") or "/code/" in name for name in names):
        return "a TorchScript program"
    if any(name.endswith("mimetype") or name.endswith("[Content_Types].xml") for name in names):
        return "an office document"
    if any(name.endswith(("saved_model.pb", "variables.index")) for name in names):
        return "a zipped TensorFlow model"
    if any(name.endswith((".pth", ".pt", ".bin", ".tar")) for name in names):
        return "a zip archive with a checkpoint inside; unpack it first"
    return "a zip archive that torch.save did not write"
