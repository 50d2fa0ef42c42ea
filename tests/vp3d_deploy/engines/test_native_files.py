"""Weights files that are damaged, hostile or no files at all: the native engine opens what is whole
and refuses the rest with one exception that names the file. It is used in another process, so that
a crash is seen as one.

Engines read a file once, when they open it. What happens to it while they do is out of scope here:
a file that shrinks at that moment ends the process (SIGBUS), as it does any program that maps one.
"""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from bundles import random_bundle
from stored_networks import PRECISIONS, random_clips, stored_networks

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 8, joints_in=3, joints_out=2)
FUZZ_SECONDS = 4.0

Tensors = dict[str, np.ndarray]


def fate(path: Path | str, precision: str) -> str:
    """Open an engine on a weights file and take a frame: "opened", or what refused it."""
    from vp3d_deploy import _native

    try:
        engine = _native.Engine(path, {"pose": SPEC}, precision, threads=1)
    except _native.WeightsError as error:
        return str(error)
    stream = engine.open_stream(0)
    stream.add_rows(1)
    answers = np.empty((1, SPEC.joints_out, 3), np.float32)
    stream.step(np.ones((1, SPEC.joints_in, SPEC.features), np.float32), (answers,))
    return "opened"


def in_a_child(call: str, arguments: object) -> list[str]:
    """The lines that CALL(*arguments), a function of this file, prints in another process."""
    code = (
        "import json, sys; from tests.vp3d_deploy.engines import test_native_files as own; "
        f"own.{call}(*json.loads(sys.argv[1]))"
    )
    root = Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root), str(root / "tests")])}
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(arguments)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    last = done.stdout.splitlines()[-1:]
    assert done.returncode == 0, f"ended with {done.returncode} after {last}: {done.stderr[-2000:]}"
    return done.stdout.splitlines()


def print_fates(paths: list[str], precision: str) -> None:
    for path in paths:
        print(json.dumps(fate(path, precision)), flush=True)


def fates(paths: list[Path], precision: str = "fp32") -> list[str]:
    lines = in_a_child("print_fates", [[str(path) for path in paths], precision])
    assert len(lines) == len(paths)
    return [json.loads(line) for line in lines]


def whole_file(directory: Path, precision: str = "fp32") -> Path:
    return stored_networks(directory, SPEC, precision).file


def changed_bytes(data: bytes) -> dict[str, tuple[bytes, str]]:
    """Damage by name, and what the refusal says."""
    header = int.from_bytes(data[:8], "little")
    text = data[8 : 8 + header]
    return {
        "empty": (b"", "is empty"),
        "short": (data[:7], "it has 7 bytes"),
        "length alone": (data[:8], "its header should take"),
        "half a header": (data[: 8 + header // 2], "its header should take"),
        "no data": (data[: 8 + header], "bytes"),
        "half the data": (data[: (8 + header + len(data)) // 2], "bytes"),
        "one byte less": (data[:-1], "bytes"),
        "one byte more": (data + b"\0", "bytes"),
        "twice": (data + data, "bytes"),
        "largest length": (b"\xff" * 8 + data[8:], "its header should take"),
        "length zero": (bytes(8) + data[8:], "the text ends"),
        "length one less": (
            (header - 1).to_bytes(8, "little") + data[8:],
            "damaged or no safetensors file",
        ),
        "zeros": (bytes(len(data)), "damaged or no safetensors file"),
        "text": (b"no weights at all, but text" * 20, "its header should take"),
        "not JSON": (data[:8] + b"?" * header + data[8 + header :], "at byte"),
        "not UTF-8": (data[:8] + text.replace(b"pose", b"p\xffse") + data[8 + header :], "at byte"),
        "another type": (data.replace(b'"F32"', b'"I32"'), "I32"),
        "unknown type": (data.replace(b'"F32"', b'"F31"', 1), 'unknown type "F31"'),
        "another name": (data.replace(b"level0", b"level9"), 'holds no tensor "pose.level0'),
        "another offset": (data.replace(b'"data_offsets":[0,', b'"data_offsets":[4,'), "bytes"),
    }


def test_damaged_bytes(tmp_path: Path) -> None:
    data = whole_file(tmp_path).read_bytes()
    cases = changed_bytes(data)
    paths = []
    for index, (damaged, _) in enumerate(cases.values()):
        assert damaged != data
        paths.append(tmp_path / f"{index}.safetensors")
        paths[-1].write_bytes(damaged)
    for (name, (_, expected)), path, found in zip(cases.items(), paths, fates(paths), strict=True):
        assert str(path) in found, name
        assert expected in found, (name, found)


def without(name: str) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {key: value for key, value in tensors.items() if key != name}


def put(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Tensors], Tensors]:
    return lambda tensors: {**tensors, name: np.array(change(tensors[name]), order="C")}


def spoilt(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array = np.array(array)
        array.reshape(-1)[-1] = value
        return array

    return change


CONV, MIX = "pose.level1.conv", "pose.level1.mix"


@pytest.mark.parametrize(
    ("precision", "change", "expected"),
    [
        ("fp32", without("pose.shrink.bias"), 'holds no tensor "pose.shrink.bias"'),
        ("fp16", without(f"{MIX}.weight"), f'holds no tensor "{MIX}.weight"'),
        ("int8", without(f"{MIX}.scale"), f'holds no tensor "{MIX}.scale"'),
        ("int8", without(f"{CONV}.input_scale"), f'holds no tensor "{CONV}.input_scale"'),
        ("fp32", put(f"{CONV}.weight", np.transpose), "has shape (24, 8), and this network's has"),
        ("fp32", put(f"{CONV}.weight", np.ravel), "has shape (192,), and this network's has"),
        ("fp32", put(f"{CONV}.bias", lambda a: a[:-1]), "has shape (7,), and this network's has"),
        ("fp32", put(f"{CONV}.bias", lambda a: a[:, None]), "has shape (8, 1)"),
        ("int8", put(f"{CONV}.input_scale", np.atleast_1d), "has shape (1,)"),
        ("int8", put(f"{CONV}.scale", lambda a: a[:1]), "has shape (1,)"),
        ("fp32", put(f"{CONV}.weight", np.float16), "is of another type"),
        ("fp16", put("pose.level0.conv.weight", np.float16), "is of another type"),
        ("fp16", put(f"{CONV}.weight", np.int8), "is of another type"),
        ("fp32", put(f"{CONV}.weight", np.float64), "is F64; weights are F32, F16 or I8"),
        ("int8", put(f"{CONV}.weight", np.uint8), "is U8; weights are F32, F16 or I8"),
        ("int8", put(f"{CONV}.bias", np.int8), "must be F32 or F16"),
        ("int8", put(f"{CONV}.scale", np.int32), "is I32; weights are"),
        ("fp32", put(f"{CONV}.bias", spoilt(np.nan)), "not a finite number"),
        ("fp16", put(f"{CONV}.bias", spoilt(np.inf)), "not a finite number"),
        ("int8", put(f"{CONV}.scale", spoilt(-np.inf)), "not a finite number"),
        ("int8", put(f"{CONV}.input_scale", spoilt(np.nan)), "not a finite number"),
        ("int8", put(f"{CONV}.input_scale", spoilt(0)), "must be positive"),
        ("int8", put(f"{MIX}.input_scale", spoilt(-1)), "must be positive"),
        ("fp32", lambda tensors: {}, "holds no tensor"),
    ],
)
def test_tensors_of_another_network(
    tmp_path: Path, precision: str, change: Callable[[Tensors], Tensors], expected: str
) -> None:
    path = whole_file(tmp_path, precision)
    safetensors.numpy.save_file(change(safetensors.numpy.load_file(path)), path)
    with pytest.raises(BundleError) as caught:
        NativeEngine(stored_bundle(tmp_path, precision), precision, 1)
    assert str(path) in str(caught.value)
    assert expected in str(caught.value)


def stored_bundle(directory: Path, precision: str) -> Bundle:
    """A bundle around the weights file that lies in `directory` as it is."""
    other = directory / "other"
    other.mkdir()
    return Bundle(**{**vars(stored_networks(other, SPEC, precision).bundle), "path": directory})


def test_what_is_no_plain_file(tmp_path: Path) -> None:
    data = whole_file(tmp_path).read_bytes()
    names = ("directory", "absent", "dangling", "loop", "pipe", "good\udcff", "link", "socket")
    paths = {name: tmp_path / name for name in names}
    paths["directory"].mkdir()
    paths["dangling"].symlink_to(tmp_path / "absent")
    paths["loop"].symlink_to(paths["loop"])
    paths["link"].symlink_to(paths["good\udcff"])
    paths["good\udcff"].write_bytes(data)
    os.mkfifo(paths["pipe"])
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(paths["socket"]))
    paths["device"] = Path("/dev/zero")
    paths["below a file"] = paths["link"] / "weights"
    found = dict(zip(paths, fates(list(paths.values())), strict=True))
    assert found.pop("link") == found.pop("good\udcff") == "opened"
    assert found["directory"].endswith("directory is not a plain file")
    assert found["absent"].endswith("cannot be read: No such file or directory")
    assert all("is not a plain file" in text or "cannot be read" in text for text in found.values())


def test_paths_that_no_file_has() -> None:
    assert "cannot be read: No such file" in fate("", "fp32")
    assert "cannot be read: File name too long" in fate("x" * 5000, "fp32")
    with pytest.raises(ValueError, match="null"):
        fate("a\0b", "fp32")


def test_a_header_with_many_tensors_and_names(tmp_path: Path) -> None:
    """Time and memory stay bounded, whatever a header holds."""
    entries = {f"t{i}": {"dtype": "I8", "shape": [0], "data_offsets": [0, 0]} for i in range(9000)}
    header = json.dumps(entries).encode()
    paths = [tmp_path / name for name in ("many", "long", "deep", "large")]
    paths[0].write_bytes(len(header).to_bytes(8, "little") + header)
    long = json.dumps({"x" * 500_000: 1}).encode()
    paths[1].write_bytes(len(long).to_bytes(8, "little") + long)
    deep = b'{"a":' + b"[" * 400_000
    paths[2].write_bytes(len(deep).to_bytes(8, "little") + deep)
    with paths[3].open("wb") as file:  # 1 TB of nothing, if the file system has such files
        file.write((1 << 39).to_bytes(8, "little") + b"{}")
        file.truncate(1 << 40)
    begun = time.monotonic()
    for path, text in zip(paths, fates(paths), strict=True):
        assert str(path) in text
        assert len(text) < len(str(path)) + 400
    assert time.monotonic() - begun < 60  # 2 s; a header that costs minutes would be an attack


class Damage:
    """Changes bytes as disks, transfers and strangers do; most of them in the header."""

    PIECES = (
        b"0",
        b"-1",
        b"9223372036854775807",
        b"1e9",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b'"',
        b"I8",
    )

    def __init__(self, seed: int) -> None:
        self.rng = random.Random(seed)

    def __call__(self, data: bytes) -> bytes:
        header = data.rindex(b"}", 0, 8 + int.from_bytes(data[:8], "little")) + 1
        changed = bytearray(data)
        for _ in range(self.rng.randint(1, 4)):
            end = header if self.rng.random() < 0.8 else len(data)
            self._change(changed, self.rng.randrange(min(end, len(changed)) or 1))
        return bytes(changed)

    def _change(self, data: bytearray, at: int) -> None:
        rng, kind = self.rng, self.rng.randrange(7)
        if kind == 0 and data:
            data[min(at, len(data) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 1 and data:
            data[min(at, len(data) - 1)] = rng.randrange(256)
        elif kind == 2:
            del data[at : at + rng.randint(1, 12)]
        elif kind == 3:
            data[at:at] = rng.choice(self.PIECES)
        elif kind == 4:
            self._change_digit(data, at)
        elif kind == 5:
            data[at:at] = data[rng.randrange(len(data) or 1) :][: rng.randint(1, 60)]
        elif rng.random() < 0.3:
            del data[at:]

    def _change_digit(self, data: bytearray, at: int) -> None:
        """A number becomes another one, and the JSON stays whole."""
        for place in range(at, min(at + 100, len(data))):
            if data[place : place + 1].isdigit():
                data[place] = ord("0") + self.rng.randrange(10)
                return


def fuzz(path: str, precision: str, seed: int, seconds: float) -> None:
    """Prints each file's number before it is opened, so that one that crashes can be made again."""
    whole, damaged = Path(path).read_bytes(), Path(path).with_suffix(".damaged")
    end, number, damage = time.monotonic() + seconds, 0, Damage(seed)
    opened = 0
    while time.monotonic() < end:
        number += 1
        damaged.write_bytes(damage(whole))
        print(f"seed {seed}, file {number}", flush=True)
        found = fate(damaged, precision)
        if found == "opened":
            opened += 1
        else:
            assert str(damaged) in found, found
    print(f"{number} {opened}")


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_fuzzer_on_weights_files(tmp_path: Path, precision: str) -> None:
    """Every file is opened or refused. kernels/tests/fuzz_engine.cpp looks further."""
    path = whole_file(tmp_path, precision)
    lines = in_a_child("fuzz", [str(path), precision, 1, FUZZ_SECONDS])
    files, opened = map(int, lines[-1].split())
    # Some are still taken and most refused: otherwise the damage would test nothing.
    assert files > 50
    assert 0 < opened < files * 0.9


def test_any_flipped_byte_of_a_bundles_weights_is_noticed(tmp_path: Path) -> None:
    """Not by the engine, for which other weights are weights, but by the bundle's SHA-256."""
    path = random_bundle(tmp_path / "net.vp3d", SPEC, forms=("window",)).bundle.path
    weights = path / "weights.fp32.safetensors"
    data = weights.read_bytes()
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(data), 20):
        damaged = bytearray(data)
        damaged[at] ^= 1 << rng.integers(8)
        weights.write_bytes(damaged)
        with pytest.raises(BundleError, match=r"weights\.fp32\.safetensors"):
            Lifter.open(path, engine="native")
    weights.write_bytes(data)
    Lifter.open(path, engine="native")


def test_the_file_is_not_needed_once_the_engine_is_open(tmp_path: Path) -> None:
    networks = stored_networks(tmp_path, SPEC, "fp32")
    engine = NativeEngine(networks.bundle, "fp32", 1)
    clips = random_clips(SPEC, 2, 9)
    expected = engine.window(clips).pose
    with networks.file.open("r+b") as file:
        file.truncate(10)
    np.testing.assert_array_equal(engine.window(clips).pose, expected)
    networks.file.unlink()
    np.testing.assert_allclose(engine.sequence(clips).pose[:, 0], expected, rtol=0, atol=1e-6)
