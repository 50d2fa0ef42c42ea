from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundles import random_bundle

from vp3d_deploy.bundle import MANIFEST, Bundle, BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 8)


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "net.vp3d"
    random_bundle(path, SPEC, precisions=("fp32", "fp16"), lags=(0, 4))
    return path


@pytest.fixture
def path(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "net.vp3d"))


def edit_manifest(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((path / MANIFEST).read_text())
    change(manifest)
    (path / MANIFEST).write_text(json.dumps(manifest))


def test_what_a_bundle_says_of_itself(path: Path) -> None:
    bundle = Bundle.open(path)
    assert bundle.spec == SPEC
    assert not bundle.has_trajectory
    assert bundle.forms == ("window", "sequence", "stream")
    assert bundle.precisions == ("fp32", "fp16")
    assert bundle.lags == (0, 4)
    assert bundle.fps == 50.0
    assert bundle.skeleton_in == H36M_17


def test_one_flipped_bit_in_any_file_is_found(path: Path) -> None:
    for file in sorted(path.iterdir()):
        if file.name == MANIFEST:
            continue
        content = file.read_bytes()
        damaged = bytearray(content)
        damaged[len(damaged) // 2] ^= 1
        file.write_bytes(damaged)
        with pytest.raises(BundleError, match=rf"{file.name} is damaged: its SHA-256"):
            Bundle.open(path)
        file.write_bytes(content)
    Bundle.open(path)


def test_truncated_missing_and_linked_files(path: Path) -> None:
    weights = path / "weights.fp32.safetensors"
    content = weights.read_bytes()
    weights.write_bytes(content[:-1])
    with pytest.raises(BundleError, match=rf"has {len(content) - 1} bytes, not {len(content)}"):
        Bundle.open(path)
    weights.unlink()
    with pytest.raises(BundleError, match="incomplete: weights.fp32.safetensors is missing"):
        Bundle.open(path)
    elsewhere = path.parent / "elsewhere"
    elsewhere.write_bytes(content)
    weights.symlink_to(elsewhere)
    with pytest.raises(BundleError, match="a link or a special file"):
        Bundle.open(path)


def test_a_manifest_cannot_reach_outside_its_directory(path: Path) -> None:
    entry = {"bytes": 1, "sha256": "0"}
    for name in ("../secret", "/etc/passwd", "a/b", "..", "", ".hidden", "x" * 300, MANIFEST):
        edit_manifest(path, lambda m, name=name: m["files"].update({name: entry}))
        with pytest.raises(BundleError, match="damaged: odd file name"):
            Bundle.open(path)
        edit_manifest(path, lambda m, name=name: m["files"].pop(name))
    Bundle.open(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(format="zip"), 'its "format" is not "vp3d-bundle"'),
        (lambda m: m.update(schema=99), "has schema 99, this version reads 1; upgrade"),
        (lambda m: m.update(schema="1"), "schema '1'.*export the checkpoint again"),
        (lambda m: m.pop("networks"), "damaged: it lacks 'networks'"),
        (lambda m: m.update(networks={}), 'not "pose" and perhaps "trajectory"'),
        (lambda m: m["networks"]["pose"].update(filter_widths=[2]), "odd and positive"),
        (lambda m: m["networks"]["pose"].update(joints_in=5), "do not have as many joints"),
        (
            lambda m: m["networks"].update(
                trajectory={**m["networks"]["pose"], "filter_widths": [3], "joints_out": 1}
            ),
            "do not read the same frames",
        ),
        (lambda m: m.update(fps=0), "fps is 0"),
        (lambda m: m.update(fps=float("nan")), "fps is nan"),
        (lambda m: m["graphs"][0].update(form="video"), "unknown form or precision 'video'"),
        (lambda m: m["graphs"][0].update(lag=3), "has lag 3"),
        (lambda m: m["graphs"][0].update(file="other.onnx"), "lists no file 'other.onnx'"),
        (lambda m: m["graphs"][0].update(extra=1), "unexpected keyword argument 'extra'"),
        (lambda m: m.update(files=[]), "damaged"),
        (lambda m: m["skeleton_in"].update(parents=[5] * 17), "damaged: parents"),
        (lambda m: m.update(graphs=None), "damaged"),
    ],
)
def test_a_damaged_manifest_is_refused_with_its_reason(
    path: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_manifest(path, change)
    with pytest.raises(BundleError, match=message):
        Bundle.open(path)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000, "\xff\xfe"])
def test_a_manifest_that_is_not_one(path: Path, text: str) -> None:
    (path / MANIFEST).write_bytes(text.encode("latin1"))
    with pytest.raises(BundleError, match="is damaged: it is not JSON|is not a bundle's"):
        Bundle.open(path)


def test_other_things_than_bundles(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="is not there; a bundle is a directory made by"):
        Bundle.open(tmp_path / "none")
    with pytest.raises(BundleError, match=r"holds no manifest\.json"):
        Bundle.open(tmp_path)
    file = tmp_path / "x.onnx"
    file.write_bytes(b"")
    with pytest.raises(BundleError, match="is a file; a bundle is a directory"):
        Bundle.open(file)


def test_what_a_bundle_lacks_is_said_with_what_it_holds(path: Path) -> None:
    bundle = Bundle.open(path)
    with pytest.raises(BundleError, match=r"no stream at lag 2 in fp32; it holds .*--lag 2"):
        bundle.graph("stream", "fp32", 2)
    with pytest.raises(BundleError, match="has no int8; it holds fp32, fp16"):
        open_engine(bundle, precision="int8")


def test_engines_are_chosen_by_name_or_refused(path: Path) -> None:
    bundle = Bundle.open(path)
    with pytest.raises(ValueError, match="engine 'tensorflow' is not known"):
        open_engine(bundle, "tensorflow")
    with pytest.raises(ValueError, match="threads must be a whole number from 1"):
        open_engine(bundle, threads=0)
    assert open_engine(bundle).precision == "fp16"
    assert open_engine(bundle).name == "native"
    assert open_engine(bundle, "onnx").precision == "fp32"
    with pytest.raises(ValueError, match="'onnx' has no option 'isa'; it has provider"):
        open_engine(bundle, "onnx", isa="avx2")
    with pytest.raises(ValueError, match="'native' has no option 'pin'; it has pin_threads, isa"):
        open_engine(bundle, pin=True)
    assert open_engine(bundle, "onnx", "fp16").precision == "fp16"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads files whatever their mode")
def test_an_unreadable_file_is_named(path: Path) -> None:
    (path / "weights.fp32.safetensors").chmod(0)
    with pytest.raises(BundleError, match="cannot be read: Permission denied"):
        Bundle.open(path)
