"""torch_file: both formats of torch.save, tensor by tensor, and files that are neither."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from hostile_pickles import EXHAUSTING, FORGED_ARRAYS, RUNS_CODE, marker
from safetensors.numpy import save_file

from vp3d_deploy.safe_pickle import Placeholder
from vp3d_export.torch_file import (
    LEGACY_MAGIC,
    LEGACY_PROTOCOL,
    TorchFileError,
    open_torch_file,
)
from vp3d_export.torch_tensors import StoredTensor

FORMATS = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
DTYPES = [
    *(torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
]


def save(value: object, path: Path, legacy: bool) -> Path:
    torch.save(value, path, _use_new_zipfile_serialization=not legacy)
    return path


def read(path: Path) -> Any:
    """The contents with all tensors read."""
    with open_torch_file(path) as contents:
        return _read_all(contents)


def _read_all(value: Any) -> Any:
    if isinstance(value, StoredTensor):
        return value.read()
    if isinstance(value, dict):
        return type(value)((key, _read_all(item)) for key, item in value.items())
    return [_read_all(item) for item in value] if isinstance(value, list) else value


def expect(read_array: np.ndarray, tensor: torch.Tensor) -> None:
    wide = tensor.float() if tensor.dtype == torch.bfloat16 else tensor
    wanted = wide.detach().resolve_conj().numpy()
    assert read_array.dtype == wanted.dtype
    assert read_array.shape == wanted.shape
    assert read_array.flags.c_contiguous
    assert read_array.tobytes() == np.ascontiguousarray(wanted).tobytes()


@FORMATS
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_dtypes(dtype: torch.dtype, legacy: bool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    tensor = (torch.randn(3, 4, 5) * 50).to(dtype)
    expect(read(save(tensor, tmp_path / "x.pt", legacy)), tensor)


@pytest.mark.parametrize("dtype", [torch.uint16, torch.uint32, torch.uint64], ids=str)
def test_dtypes_without_a_storage_class(dtype: torch.dtype, tmp_path: Path) -> None:
    tensor = torch.arange(12).reshape(3, 4).to(dtype)[1:]
    expect(read(save(tensor, tmp_path / "x.pt", False)), tensor)


BASE = torch.arange(120.0).reshape(4, 5, 6)
VIEWS = {
    "whole": BASE,
    "transposed": BASE.permute(2, 0, 1),
    "rows": BASE[1:3],
    "columns": BASE[:, 2:4, ::2],
    "one value": BASE[2, 3, 4],
    "scalar": torch.tensor(2.5),
    "empty": BASE[:0],
    "empty inside": torch.zeros(3, 0, 2),
    "odd stride on one": BASE.as_strided((1, 6), (10_000, 1), 7),
    "overlapping windows": BASE.as_strided((20, 3), (1, 1), 5),
}


@FORMATS
@pytest.mark.parametrize("name", VIEWS)
def test_views(name: str, legacy: bool, tmp_path: Path) -> None:
    expect(read(save(VIEWS[name], tmp_path / "x.pt", legacy)), VIEWS[name])


@FORMATS
def test_containers_and_shared_storages(legacy: bool, tmp_path: Path) -> None:
    module = torch.nn.Sequential(torch.nn.Conv1d(3, 4, 5), torch.nn.BatchNorm1d(4))
    contents = {
        "state": module.state_dict(),
        "views": [BASE, BASE[1:], BASE.transpose(0, 1)],
        "parameter": torch.nn.Parameter(torch.ones(2, 3)),
        "size": torch.Size([2, 3]),
        "plain": {"epoch": 3, "lr": 0.1, "names": ("a", "b"), "none": None},
        "array": np.arange(3),
        "state of random": np.random.RandomState(3),
        "dtype": torch.float32,
        "device": torch.device("cpu"),
    }
    loaded = read(save(contents, tmp_path / "x.pt", legacy))
    assert isinstance(loaded["state"], OrderedDict)
    assert list(loaded["state"]) == list(module.state_dict())
    for key, tensor in module.state_dict().items():
        expect(loaded["state"][key], tensor)
    for array, tensor in zip(loaded["views"], contents["views"], strict=True):
        expect(array, tensor)
    assert np.shares_memory(loaded["views"][0], loaded["views"][1])
    expect(loaded["parameter"], contents["parameter"])
    assert loaded["size"] == (2, 3)
    assert loaded["plain"] == contents["plain"]
    assert loaded["array"].tolist() == [0, 1, 2]
    assert isinstance(loaded["state of random"], Placeholder)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@FORMATS
def test_pickle_protocols(legacy: bool, protocol: int, tmp_path: Path) -> None:
    torch.save(
        {"a": BASE, "n": [1, "é"]},
        tmp_path / "x.pt",
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=not legacy,
    )
    loaded = read(tmp_path / "x.pt")
    expect(loaded["a"], BASE)
    assert loaded["n"] == [1, "é"]


def test_files_without_checksums(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        path = save(BASE, tmp_path / "x.pt", False)
    finally:
        torch.serialization.set_crc32_options(True)
    expect(read(path), BASE)


def test_deflated_archives(tmp_path: Path) -> None:
    noise = torch.rand(100, 100)
    stored = save(noise, tmp_path / "x.pt", False)
    with zipfile.ZipFile(stored) as old, zipfile.ZipFile(tmp_path / "y.pt", "w", 8) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    expect(read(tmp_path / "y.pt"), noise)


@FORMATS
def test_tensors_that_nobody_asks_for_stay_on_disk(legacy: bool, tmp_path: Path) -> None:
    """An optimizer's state is damaged here, and nobody notices, because nobody reads it."""
    weights, state = torch.full((50,), 2.0), torch.full((1000,), 3.0)
    path = save({"weights": weights, "optimizer": state}, tmp_path / "x.pt", legacy)
    data = path.read_bytes()
    path.write_bytes(data.replace(struct.pack("<2f", 3, 3), struct.pack("<2f", 3, 4), 1))
    with open_torch_file(path) as contents:
        assert isinstance(contents, dict)
        expect(contents["weights"].read(), weights)
    if not legacy:  # the older format has no checksums
        with pytest.raises(TorchFileError, match=r"checksum of entry 'x/data/1' is wrong"):
            read(path)


def test_reading_needs_no_torch(tmp_path: Path) -> None:
    path = save({"a": BASE}, tmp_path / "x.pt", False)
    script = (
        "import sys; from vp3d_export.checkpoint import load_checkpoint, CheckpointError\n"
        "from vp3d_export.torch_file import open_torch_file\n"
        f"with open_torch_file({str(path)!r}) as c: print(c['a'].read().sum())\n"
        "assert not {'torch', 'mmengine', 'mmcv'} & set(sys.modules)\n"
    )
    root = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "PYTHONPATH": f"{root}:{root / 'export'}"}
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True
    )
    assert float(result.stdout) == BASE.sum().item()


# -- files made by hand -------------------------------------------------------------------------


class Storage:
    """Pickled as a reference to a storage."""

    def __init__(self, *key: object) -> None:
        self.key = key


class Rebuilt:
    """Pickled as torch pickles a tensor, whatever the arguments are."""

    def __init__(self, storage: object, offset: object, shape: object, strides: object) -> None:
        self.arguments = (storage, offset, shape, strides, False, OrderedDict())

    def __reduce__(self) -> Any:
        return torch._utils._rebuild_tensor_v2, self.arguments


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> Any:
        return value.key if isinstance(value, Storage) else None


def pickled(value: object) -> bytes:
    stream = BytesIO()
    _Pickler(stream, 2).dump(value)
    return stream.getvalue()


def write_zip(path: Path, pickle_bytes: bytes, **storages: bytes) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickle_bytes)
        file.writestr("x/byteorder", "little")
        file.writestr("x/version", "3\n")
        for name, data in storages.items():
            file.writestr(f"x/data/{name[1:]}", data)
    return path


def legacy_bytes(contents: bytes, keys: object, *storages: tuple[int, bytes]) -> bytes:
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    head = [pickle.dumps(value, 2) for value in (LEGACY_MAGIC, LEGACY_PROTOCOL, system)]
    tail = [struct.pack("<q", count) + data for count, data in storages]
    return b"".join([*head, contents, pickle.dumps(keys, 2), *tail])


def floats(n: int) -> bytes:
    return np.arange(n, dtype="<f4").tobytes()


def tensor_of(
    count: object = 12, offset: object = 0, shape: object = (3, 4), strides: object = (4, 1)
) -> Rebuilt:
    return Rebuilt(
        Storage("storage", torch.FloatStorage, "0", "cuda:0", count), offset, shape, strides
    )


def test_the_files_made_by_hand_are_like_torchs(tmp_path: Path) -> None:
    expected = np.arange(12, dtype=np.float32).reshape(3, 4)
    path = write_zip(tmp_path / "x.pt", pickled(tensor_of()), _0=floats(12))
    np.testing.assert_array_equal(read(path), expected)
    assert torch.equal(
        torch.load(path, map_location="cpu", weights_only=True), torch.from_numpy(expected)
    )
    old = Storage("storage", torch.FloatStorage, "0", "cuda:0", 12, None)
    data = legacy_bytes(pickled(Rebuilt(old, 0, (3, 4), (4, 1))), ["0"], (12, floats(12)))
    path.write_bytes(data)
    np.testing.assert_array_equal(read(path), expected)
    assert torch.equal(
        torch.load(path, map_location="cpu", weights_only=True), torch.from_numpy(expected)
    )


def test_views_of_storages_as_torch_0_3_wrote_them(tmp_path: Path) -> None:
    view = Storage("storage", torch.FloatStorage, "0", "cpu", 12, ("view", 4, 6))
    data = legacy_bytes(pickled(Rebuilt(view, 1, (2, 2), (2, 1))), ["0"], (12, floats(12)))
    (tmp_path / "x.pt").write_bytes(data)
    np.testing.assert_array_equal(read(tmp_path / "x.pt"), [[5, 6], [7, 8]])


IMPOSSIBLE_TENSORS = {
    "beyond its storage": (tensor_of(offset=1), "13 values into a storage of 12"),
    "strides beyond": (tensor_of(strides=(5, 1)), "14 values into a storage of 12"),
    "repeated values": (tensor_of(shape=(10**9, 4), strides=(0, 1)), "repeats 12 values"),
    "negative offset": (tensor_of(offset=-1), "offset -1"),
    "negative stride": (tensor_of(strides=(-4, 1)), r"strides \(-4, 1\)"),
    "negative shape": (tensor_of(shape=(-3, 4)), r"shape \(-3, 4\)"),
    "overflowing shape": (tensor_of(shape=(2**33, 2**33)), "into a storage"),
    "overflowing strides": (tensor_of(strides=(2**61, 1)), "into a storage"),
    "empty and vast": (tensor_of(shape=(0, 2**61, 2**61), strides=(1, 1, 1)), "impossible shape"),
    "too many dimensions": (tensor_of(shape=(1,) * 40, strides=(1,) * 40), "impossible shape"),
    "shape without strides": (tensor_of(shape=(12,), strides=()), "impossible shape"),
    "shape of text": (tensor_of(shape="34"), "impossible shape"),
    "boolean shape": (tensor_of(shape=(True, True), strides=(1, 1)), "impossible shape"),
    "larger storage than stored": (tensor_of(count=13), "48 bytes, expected 13 values"),
    "smaller storage than stored": (tensor_of(count=11), "48 bytes, expected 11 values"),
    "huge storage": (tensor_of(count=2**61), "expected 2305843009213693952 values"),
    "negative storage": (tensor_of(count=-1), "refers to a tuple"),
    "storage of text": (tensor_of(count="12"), "refers to a tuple"),
    "no storage": (Rebuilt(None, 0, (1,), (1,)), "in a way that torch does not"),
    "missing storage": (
        Rebuilt(Storage("storage", torch.FloatStorage, "7", "cpu", 3), 0, (3,), (1,)),
        "storage '7' is missing",
    ),
    "storage by path": (
        Rebuilt(Storage("storage", torch.FloatStorage, "../byteorder", "cpu", 1), 0, (1,), (1,)),
        "is missing",
    ),
    "something else": (Storage("file", "/etc/passwd"), "expected a storage"),
}


@pytest.mark.parametrize("name", IMPOSSIBLE_TENSORS)
def test_impossible_tensors_are_refused(name: str, tmp_path: Path) -> None:
    value, reason = IMPOSSIBLE_TENSORS[name]
    path = write_zip(tmp_path / "x.pt", pickled([value]), _0=floats(12))
    with pytest.raises(TorchFileError, match=rf"^{path}: .*{reason}"):
        read(path)


def _old(count: int = 12, view: object = None, name: object = "0") -> bytes:
    storage = Storage("storage", torch.FloatStorage, name, "cpu", count, view)
    return pickled(Rebuilt(storage, 0, (2,), (1,)))


LEGACY_DAMAGE = {
    "other count": (legacy_bytes(_old(), ["0"], (11, floats(12))), "does not hold the 12 values"),
    "huge count": (
        legacy_bytes(_old(1 << 60), ["0"], (1 << 60, floats(12))),
        "in the middle of storage '0'",
    ),
    "truncated": (legacy_bytes(_old(), ["0"], (12, floats(11))), "in the middle of storage '0'"),
    "no storages": (legacy_bytes(_old(), ["0"]), "does not hold the 12 values"),
    "not listed": (legacy_bytes(_old(), []), "storage '0' is not in the file"),
    "listed twice": (legacy_bytes(_old(), ["0", "0"], (12, floats(12))), "names one twice"),
    "unknown storage": (legacy_bytes(_old(), ["0", "1"], (12, floats(12))), "'1' that no known"),
    "list of lists": (legacy_bytes(_old(), [[]]), "list of storages is damaged"),
    "no list": (legacy_bytes(_old(), "0"), "list of storages is damaged"),
    "view outside": (legacy_bytes(_old(view=("v", 10, 5)), ["0"], (12, floats(12))), "view"),
    "negative view": (legacy_bytes(_old(view=("v", -1, 5)), ["0"], (12, floats(12))), "view"),
    "view of text": (legacy_bytes(_old(view="v"), ["0"], (12, floats(12))), "view"),
    "other protocol": (
        pickle.dumps(LEGACY_MAGIC, 2) + pickle.dumps(1002, 2),
        "file protocol 1002, expected 1001",
    ),
    "big-endian": (
        b"".join(
            pickle.dumps(value, 2)
            for value in (LEGACY_MAGIC, LEGACY_PROTOCOL, {"little_endian": False})
        ),
        "little-endian",
    ),
    "another pickle": (pickle.dumps({"state_dict": {}}), "a pickle that torch.save did not write"),
}


@pytest.mark.parametrize("name", LEGACY_DAMAGE)
def test_damaged_legacy_files_are_refused(name: str, tmp_path: Path) -> None:
    data, reason = LEGACY_DAMAGE[name]
    path = tmp_path / "x.pt"
    path.write_bytes(data)
    with pytest.raises(TorchFileError, match=rf"^{path}: .*{reason}"):
        read(path)


def test_big_endian_archives_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", pickled([1]))
        file.writestr("x/byteorder", "big")
    with pytest.raises(TorchFileError, match="big-endian"):
        read(path)


# The two that take seconds are left to the tests of safe_pickle.
HOSTILE = sorted({*RUNS_CODE, *EXHAUSTING, *FORGED_ARRAYS} - {"marks", "empty sets"})


@FORMATS
@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickles_are_refused(name: str, legacy: bool, tmp_path: Path) -> None:
    trace = marker(tmp_path)
    data, wanted = RUNS_CODE.get(name, ((EXHAUSTING | FORGED_ARRAYS).get(name, b""), ""))
    path = tmp_path / "x.pt"
    if legacy:
        path.write_bytes(legacy_bytes(data, []))
    else:
        write_zip(path, data)
    if name == "import only":  # an unknown name is not hostile: it is not imported either
        assert read(path).name == "antigravity.fly"
        assert "antigravity" not in sys.modules
        return
    with pytest.raises(TorchFileError, match=rf"^{path}: ") as error:
        read(path)
    assert wanted in str(error.value)
    assert "\n" not in str(error.value)
    assert not trace.exists()


# -- files of other kinds -----------------------------------------------------------------------


def _onnx(path: Path) -> None:
    graph = onnx.helper.make_graph([], "empty", [], [])
    onnx.save(onnx.helper.make_model(graph, producer_name="test"), path)


def _torchscript(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        for name in ("m/data.pkl", "m/constants.pkl", "m/code/__torch__.py", "m/version"):
            file.writestr(name, b"")


def _tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.add(__file__, "tensors")


def _zipped_checkpoint(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("best.pth", b"")


KINDS = {
    "directory": (lambda path: path.mkdir(), "a directory"),
    "nothing": (lambda path: None, "No such file"),
    "empty": (lambda path: path.write_bytes(b""), "this is empty"),
    "text": (lambda path: path.write_text("epoch: 3\n"), "text starting with 'epoch: 3"),
    "page": (lambda path: path.write_text("<!DOCTYPE html>"), "download may have failed"),
    "pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\n"),
        "git lfs pull",
    ),
    "onnx": (_onnx, "an ONNX model"),
    "safetensors": (lambda path: save_file({"a": np.ones(3)}, path), "a safetensors file"),
    "npy": (lambda path: path.write_bytes(b"\x93NUMPY\x01\x00"), "numpy array"),
    "npz": (lambda path: np.savez(path.open("wb"), a=1), "numpy arrays"),
    "pickle": (
        lambda path: path.write_bytes(pickle.dumps([1])),
        "a pickle that torch.save did not",
    ),
    "torchscript": (_torchscript, "a TorchScript program"),
    "tar": (_tar, "a tar archive"),
    "zip": (_zipped_checkpoint, "a checkpoint inside"),
    "gzip": (lambda path: path.write_bytes(b"\x1f\x8b\x08\x00"), "unpack it first"),
    "hdf5": (lambda path: path.write_bytes(b"\x89HDF\r\n"), "HDF5"),
    "noise": (lambda path: path.write_bytes(bytes(range(200, 256))), "of an unknown kind"),
    "pipe": (lambda path: os.mkfifo(path), "not a regular file"),
}


@pytest.mark.parametrize("name", KINDS)
def test_files_of_other_kinds_are_named(name: str, tmp_path: Path) -> None:
    make, kind = KINDS[name]
    path = tmp_path / "model.pth"
    make(path)
    with pytest.raises(TorchFileError) as error:
        read(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert kind in message
    assert "expected a checkpoint written by torch.save" in message


def test_a_sparse_file_is_not_believed(tmp_path: Path) -> None:
    path = tmp_path / "x.pt"
    path.write_bytes(legacy_bytes(_old(1 << 40), ["0"], (1 << 40, b"")))
    os.truncate(path, 1 << 43)
    with pytest.raises(TorchFileError, match="8796093022208 bytes, expected 8589934592 at most"):
        read(path)
