"""Reading .npy and .npz: everything numpy writes, and nothing that a liar claims."""

from __future__ import annotations

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vp3d_deploy.data import npy
from vp3d_deploy.data.npy import DataFileError, load_npy, load_npz, mapping_in

T = TypeVar("T")

ARRAYS = {
    "float32": np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4),
    "float64": np.array([np.nan, np.inf, -0.0, 1e300]),
    "float16": np.arange(5, dtype=np.float16),
    "big_endian": np.arange(6, dtype=">f8").reshape(2, 3),
    "fortran": np.asfortranarray(np.arange(6, dtype=np.int32).reshape(2, 3)),
    "int64": np.arange(-3, 3),
    "uint8": np.arange(256, dtype=np.uint8),
    "bool": np.array([[True, False], [False, True]]),
    "complex": np.array([1 + 2j]),
    "unicode": np.array(["S9/a.jpg", "æ", ""]),
    "bytes": np.array([b"abc", b""]),
    "scalar": np.array(3.5),
    "empty": np.zeros((0, 17, 3), np.float32),
    "one": np.array([7], np.uint16),
}
NESTED = {"S9": {"Walking 1": [ARRAYS["float32"], ARRAYS["int64"]]}, "n": 17}


def assert_same(found: np.ndarray, expected: np.ndarray) -> None:
    assert found.dtype == expected.dtype
    assert found.shape == expected.shape
    np.testing.assert_array_equal(found, expected)


def npy_bytes(array: np.ndarray, **kwargs: object) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **kwargs)  # type: ignore[arg-type]
    return file.getvalue()


def with_header(header: str, payload: bytes = b"", version: int = 1) -> bytes:
    text = header.encode("latin1")
    length = struct.pack("<H" if version == 1 else "<I", len(text))
    return npy.MAGIC + bytes([version, 0]) + length + text + payload


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", ARRAYS)
def test_npy_as_numpy_writes_it(name: str, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", ARRAYS[name])
    found = load_npy(tmp_path / "a.npy")
    assert_same(found, ARRAYS[name])
    assert found.flags.writeable


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_npz_as_numpy_writes_it(save, tmp_path: Path) -> None:
    save(tmp_path / "a.npz", **ARRAYS)
    found = load_npz(str(tmp_path / "a.npz"))
    assert set(found) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert_same(found[name], array)


def test_only_the_named_arrays_are_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", wanted=np.arange(3), damaged=np.array([b"original"]))
    data = (tmp_path / "a.npz").read_bytes().replace(b"original", b"modified")
    written(tmp_path / "a.npz", data)
    assert set(load_npz(tmp_path / "a.npz", ["wanted"])) == {"wanted"}
    with pytest.raises(DataFileError, match="CRC"):
        load_npz(tmp_path / "a.npz", ["damaged"])
    with pytest.raises(DataFileError, match=r"lacks the arrays \['S'\]; it holds \['damaged', 'wa"):
        load_npz(tmp_path / "a.npz", ["S"])


def test_objects_come_through_the_safe_unpickler(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", positions=NESTED)  # type: ignore[arg-type]
    arrays = load_npz(tmp_path / "a.npz")
    found = mapping_in(arrays, "positions", "a.npz")
    assert found["n"] == 17
    first, second = found["S9"]["Walking 1"]
    assert_same(first, ARRAYS["float32"])
    assert_same(second, ARRAYS["int64"])
    ragged = np.empty(2, object)
    ragged[:] = [np.arange(2), np.arange(3)]
    np.save(tmp_path / "b.npy", ragged, allow_pickle=True)
    assert [part.tolist() for part in load_npy(tmp_path / "b.npy")] == [[0, 1], [0, 1, 2]]


class Runs:
    """Pickles to a call that leaves a file behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_code_in_an_object_array_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    np.savez(tmp_path / "a.npz", x=np.array({"S9": Runs(marker)}, dtype=object))
    with pytest.raises(ValueError, match=r"a\.npz.*mkdir"):
        load_npz(tmp_path / "a.npz")
    assert not marker.exists()
    pickle.loads(pickle.dumps(Runs(marker)))
    assert marker.exists()  # the trap works


@pytest.mark.parametrize("version", [1, 2, 3])
def test_all_header_versions(version: int, tmp_path: Path) -> None:
    header = "{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }\n"
    path = written(tmp_path / "a.npy", with_header(header, b"\x01\x00\x02\x00", version))
    assert load_npy(path).tolist() == [1, 2]


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<i2', 'fortran_order': False, 'shape': (2L, 1L), }",  # Python 2
        "{'shape': (2, 1), 'fortran_order': False, 'descr': '<i2'}",
        "{'descr':'<i2','fortran_order':True,'shape':(2,1)}   \n",
    ],
)
def test_headers_of_other_writers(header: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", with_header(header, b"\x01\x00\x02\x00"))
    assert load_npy(path).tolist() == [[1], [2]]


def test_a_boolean_is_zero_or_one(tmp_path: Path) -> None:
    header = "{'descr': '|b1', 'fortran_order': False, 'shape': (3,), }"
    path = written(tmp_path / "a.npy", with_header(header, b"\x00\x01\x02"))
    assert load_npy(path).view(np.uint8).tolist() == [0, 1, 1]


PLAIN = "'descr': '<f4', 'fortran_order': False, 'shape'"


@pytest.mark.parametrize(
    ("header", "says"),
    [
        (f"{{{PLAIN}: (1000000000000,)}}", "cut short or damaged"),
        (f"{{{PLAIN}: (3,)}}", r"claims \(3,\) items of float32, 12 bytes, but 8 bytes follow"),
        (f"{{{PLAIN}: (1,)}}", "4 bytes, but 8"),
        (f"{{{PLAIN}: (99999999999999, 99999999999999, 0)}}", "hostile"),
        (f"{{{PLAIN}: (9999999999999999999999,)}}", "which is none"),
        (f"{{{PLAIN}: (-2,)}}", "describes no array"),
        (f"{{{PLAIN}: (2.0,)}}", "describes no array"),
        (f"{{{PLAIN}: ({'1,' * 33})}}", "which is none"),
        (f"{{{PLAIN}: (1 2,)}}", "which is none"),
        (f"{{{PLAIN}: (2,), 'more': 1}}", "describes no array"),
        (f"{{{PLAIN}: __import__('os').getpid()}}", "describes no array"),
        ("{'descr': '<f4', 'descr': '<f4', 'shape': (2,)}", "describes no array"),
        ("{'descr': [('x', '<f4')], 'fortran_order': False, 'shape': (2,)}", "no array"),
        ("{'descr': '<M8[ns]', 'fortran_order': False, 'shape': (1,)}", "'<M8.ns.'; expected"),
        ("{'descr': 'f4,f4', 'fortran_order': False, 'shape': (1,)}", "expected booleans"),
        ("{'descr': '|V8', 'fortran_order': False, 'shape': (1,)}", "expected booleans"),
        ("{'descr': '<U0', 'fortran_order': False, 'shape': (1,)}", "expected booleans"),
        ("", "describes no array"),
        ("(" * 5000, "describes no array"),
        ("{" + " " * 9000 + "x", "describes no array"),
    ],
)
def test_headers_that_lie_are_refused(header: str, says: str, tmp_path: Path) -> None:
    path = written(tmp_path / "a.npy", with_header(header, b"\0" * 8))
    with pytest.raises(DataFileError, match=f"a\\.npy.*{says}"):
        load_npy(path)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not a .npy array"),
        (b"\x93NUMPY", "not a .npy array"),
        (b"\x93NUMPY\x09\x00v\x00" + b" " * 118, "version 9"),
        (b"\x93NUMPY\x02\x00\xff\xff\xff\x7f{}", "2147483647 bytes; refused as hostile"),
        (b"\x93NUMPY\x01\x00v\x00{'descr'", "describes no array"),
        (b"PK\x03\x04rest of an archive", "rename it to .npz"),
        (b"x,y\n1,2\n", "starts with b'x,y"),
        (npy_bytes(np.arange(9.0))[:-1], "cut short or damaged"),
        (npy_bytes(np.arange(9.0)) + b"\0", "cut short or damaged"),
    ],
)
def test_files_that_are_no_npy(data: bytes, says: str, tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=says):
        load_npy(written(tmp_path / "a.npy", data))


def test_objects_must_be_what_the_header_says(tmp_path: Path) -> None:
    header = "{'descr': '|O', 'fortran_order': False, 'shape': (2,), }"
    for value in ([1, 2], np.arange(2), np.array([1, 2, 3], dtype=object)):
        path = written(tmp_path / "a.npy", with_header(header, pickle.dumps(value)))
        with pytest.raises(DataFileError, match=r"claims objects of shape \(2,\), but holds"):
            load_npy(path)


def test_bytes_after_the_objects_are_refused(tmp_path: Path) -> None:
    data = npy_bytes(np.array(NESTED, object), allow_pickle=True) + b"more"
    with pytest.raises(DataFileError, match=r"a\.npy goes on after its array"):
        load_npy(written(tmp_path / "a.npy", data))
    with pytest.raises(DataFileError, match=r"a\.npz: x\.npy goes on after its array"):
        load_npz(archive(tmp_path / "a.npz", **{"x.npy": data}))


def test_missing_files_are_the_systems_errors(tmp_path: Path) -> None:
    for load in (load_npy, load_npz):
        with pytest.raises(FileNotFoundError, match="nothing"):
            load(tmp_path / "nothing")


# Archives


def archive(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def test_an_array_is_no_archive(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"rename it to \.npy"):
        load_npz(written(tmp_path / "a.npz", npy_bytes(np.arange(3))))
    with pytest.raises(DataFileError, match=r"not a sound \.npz archive"):
        load_npz(written(tmp_path / "a.npz", b"neither"))


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match=r"'readme.txt', which is no .npy"):
        load_npz(archive(tmp_path / "a.npz", **{"readme.txt": b"hello"}))
    with pytest.raises(DataFileError, match=r"a\.npz: x\.npy is not a \.npy array"):
        load_npz(archive(tmp_path / "a.npz", **{"x.npy": b"hello"}))


def test_two_arrays_of_one_name(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("x.npy", npy_bytes(np.arange(3)))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("x.npy", npy_bytes(np.arange(4)))
    with pytest.raises(DataFileError, match="there twice"):
        load_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("cut", [1, 30, 200, 400])
def test_a_truncated_archive(cut: int, tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(30))
    data = (tmp_path / "a.npz").read_bytes()
    with pytest.raises(DataFileError, match=r"not a sound \.npz archive"):
        load_npz(written(tmp_path / "a.npz", data[:-cut]))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_flipped_bit_is_noticed(save, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=1000)
    save(tmp_path / "a.npz", x=values)
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[4000] ^= 1
    with pytest.raises(DataFileError, match=r"not a sound .npz archive: .*CRC|decompress"):
        load_npz(written(tmp_path / "a.npz", bytes(data)))


def edited(path: Path, offset_in_entry: int, value: bytes) -> Path:
    """The archive with bytes of its only directory entry replaced."""
    data = bytearray(path.read_bytes())
    at = data.rindex(b"PK\x01\x02") + offset_in_entry
    data[at : at + len(value)] = value
    return written(path, bytes(data))


def test_a_directory_that_lies_about_sizes(tmp_path: Path) -> None:
    """File size is at 24 and packed size at 20 of a directory entry (APPNOTE.TXT 4.3.12)."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, x=np.zeros(100))
    edited(path, 24, struct.pack("<I", 0x7FFFFFFF))
    with pytest.raises(DataFileError, match="which no compression does"):
        load_npz(path)
    np.savez_compressed(path, x=np.zeros(100))
    edited(path, 24, struct.pack("<I", 5000))
    with pytest.raises(DataFileError, match="cut short or damaged"):
        load_npz(path)
    np.savez(path, x=np.zeros(100))
    edited(path, 20, struct.pack("<I", 0x7FFFFFFF))
    with pytest.raises(DataFileError, match="hostile"):
        load_npz(path)


def test_header_and_directory_that_lie_together(tmp_path: Path) -> None:
    """Both say 10 000 numbers; the stream ends after ten."""
    header = f"{{{PLAIN}: (10000,)}}"
    path = archive(tmp_path / "a.npz", **{"x.npy": with_header(header, bytes(40))})
    edited(path, 24, struct.pack("<I", len(with_header(header)) + 40_000))
    edited(path, 20, struct.pack("<I", len(with_header(header)) + 40))
    with pytest.raises(DataFileError, match="cut short|Overlapped"):
        load_npz(path)


def test_a_member_that_goes_on_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.npz", **{"x.npy": npy_bytes(np.arange(4)) + b"more"})
    with pytest.raises(DataFileError, match="damaged"):
        load_npz(path)


def test_zip_bombs_are_refused_before_they_expand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    zeros = np.zeros(4_000_000, np.uint8)
    np.savez_compressed(tmp_path / "a.npz", x=zeros)
    assert_same(load_npz(tmp_path / "a.npz")["x"], zeros)  # small enough to be meant well
    monkeypatch.setattr(npy, "_BOMB_BYTES", 1_000_000)
    tracemalloc.start()
    with pytest.raises(DataFileError, match="4000128 bytes; refused as hostile"):
        load_npz(tmp_path / "a.npz")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1_000_000


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions_are_refused(method: int, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.npz", "w", method) as file:
        file.writestr("x.npy", npy_bytes(np.zeros(1000)))
    with pytest.raises(DataFileError, match=f"compressed by method {method}"):
        load_npz(tmp_path / "a.npz")


def test_encrypted_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(DataFileError, match="encrypted"):
        load_npz(edited(tmp_path / "a.npz", 8, b"\x01\x00"))


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_a_big_array_is_in_memory_once(save, tmp_path: Path) -> None:
    values = np.random.default_rng(0).normal(size=3_000_000).astype(np.float32)
    save(tmp_path / "a.npz", x=values)
    tracemalloc.start()
    found = load_npz(tmp_path / "a.npz")["x"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert_same(found, values)
    assert peak < values.nbytes + 8 * (1 << 20)  # buffers of 1 MiB; twice would be 12 MB


def outcome(load: Callable[[], T]) -> T | str:
    """What `load` returns, or what its ValueError says; nothing else may be raised."""
    try:
        return load()
    except ValueError as error:
        return str(error)


@given(position=st.integers(0, 2**31), value=st.integers(0, 255), compressed=st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_answered_with_one_error_or_the_data(
    position: int, value: int, compressed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.getbasetemp()
    arrays = {"x": ARRAYS["float32"], "names": ARRAYS["unicode"], "nested": NESTED}
    (np.savez_compressed if compressed else np.savez)(folder / "a.npz", **arrays)  # type: ignore[arg-type]
    data = bytearray((folder / "a.npz").read_bytes())
    data[position % len(data)] = value
    path = written(folder / "a.npz", bytes(data))
    answer = outcome(lambda: load_npz(path))
    if isinstance(answer, str):
        assert str(path) in answer
    else:
        assert all(isinstance(array, np.ndarray) for array in answer.values())


@given(position=st.integers(0, 2**31), value=st.integers(0, 255), kind=st.sampled_from("xno"))
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_of_an_npy(
    position: int, value: int, kind: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    array = {"x": ARRAYS["float32"], "n": ARRAYS["unicode"], "o": np.array(NESTED, object)}[kind]
    data = bytearray(npy_bytes(array, allow_pickle=True))
    data[position % len(data)] = value
    path = written(tmp_path_factory.getbasetemp() / "a.npy", bytes(data))
    answer = outcome(lambda: load_npy(path))
    assert isinstance(answer, np.ndarray) or str(path) in answer


def test_a_mapping_must_be_one() -> None:
    arrays = {"x": np.arange(3), "y": np.array(None, dtype=object)}
    for name, says in (("x", r"int64 of shape \(3,\)"), ("y", "object"), ("z", "nothing")):
        with pytest.raises(DataFileError, match=f"a.npz: '{name}' must hold a dictionary.*{says}"):
            mapping_in(arrays, name, "a.npz")
