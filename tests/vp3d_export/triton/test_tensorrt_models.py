"""Engines are files that only a GPU can open: here they are a few bytes with entries in the
manifest, and what is checked is which one is served and how it is described."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from bundles import random_bundle
from reference import live_answers
from triton_server import Model, Request, read_config

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.onnx_interface import stream_state_shapes
from vp3d_deploy.spec import ModelSpec
from vp3d_export.triton.config import Serving, TritonError
from vp3d_export.triton.repository import write_repository

ORIN = {"gpu": "Orin", "compute_capability": "8.7", "tensorrt": "10.3.0"}
THOR = {"gpu": "Thor", "compute_capability": "11.0", "tensorrt": "10.13.3"}
PROFILE = {"keypoints": [[1, 9, 17, 2], [1, 9, 17, 2], [8, 9, 17, 2]]}
WINDOW = {"form": "window", "precision": "fp16", "details": {"profile": PROFILE}}
STREAM = {"form": "stream", "precision": "fp16", "lag": 0, "rows": 1}
TENSORRT = Serving(platform="tensorrt")


def bundle_with(path: Path, *engines: dict[str, Any]) -> Bundle:
    random_bundle(path, ModelSpec((3, 3), 16), precisions=("fp32", "fp16"))
    return with_engines(path, *((e, f"engine {i}".encode()) for i, e in enumerate(engines)))


def with_engines(path: Path, *engines: tuple[dict[str, Any], bytes]) -> Bundle:
    """Put files and their entries into the bundle at `path`."""
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["engines"] = []
    for number, (engine, data) in enumerate(engines):
        file = f"{number}.engine"
        (path / file).write_bytes(data)
        digest = hashlib.sha256(data).hexdigest()
        manifest["files"][file] = {"bytes": len(data), "sha256": digest}
        manifest["engines"].append({"file": file, **engine})
    (path / "manifest.json").write_text(json.dumps(manifest))
    return Bundle.open(path)


def test_engines_are_served(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "walker.vp3d", {**WINDOW, **ORIN}, {**STREAM, **ORIN})
    directory = tmp_path / "models"
    write_repository(bundle, directory, TENSORRT)
    assert {p.relative_to(directory).as_posix() for p in directory.rglob("*") if p.is_file()} == {
        "walker_window/config.pbtxt",
        "walker_window/1/model.plan",
        "walker_stream_lag0/config.pbtxt",
        "walker_stream_lag0/1/model.plan",
    }
    assert (directory / "walker_stream_lag0/1/model.plan").read_bytes() == b"engine 1"
    window = read_config(directory / "walker_window")
    assert (window.platform, window.backend) == ("tensorrt_plan", "tensorrt")
    assert window.max_batch_size == 8, "no more than the engine takes"
    assert list(window.input[0].dims) == [9, 17, 2]
    assert "10.3.0" in window.parameters["vp3d_tensorrt"].string_value


def test_a_stream_engine_has_its_batch_of_one_in_its_dims(tmp_path: Path) -> None:
    """Its shapes are fixed, which the server is told by a max_batch_size of 0."""
    bundle = bundle_with(tmp_path / "walker.vp3d", {**WINDOW, **ORIN}, {**STREAM, **ORIN})
    write_repository(bundle, tmp_path / "models", TENSORRT)
    config = read_config(tmp_path / "models" / "walker_stream_lag0")
    assert config.max_batch_size == 0
    assert list(config.input[0].dims) == [1, 17, 2]
    states = {s.input_name: s for s in config.sequence_batching.state}
    for name, shape in stream_state_shapes(bundle.networks, 0).items():
        state = states[f"{name}_in"]
        assert list(state.dims) == [1, *shape[1:]]
        assert list(state.initial_state[0].dims) == list(state.dims)
        assert state.initial_state[0].zero_data


@pytest.mark.parametrize("lag", [0, 2, 4])
def test_a_stream_of_fixed_shapes_carries_its_state(tmp_path: Path, lag: int) -> None:
    """The graph that a stream's engine is built from, in the engine's place, under the server's
    rules for models without batches."""
    path = tmp_path / "walker.vp3d"
    made = random_bundle(path, ModelSpec((3, 3), 16), lags=(lag,))
    graph = onnx.load(path / f"stream.lag{lag}.fp32.onnx", load_external_data=False)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    bundle = with_engines(
        path,
        ({**WINDOW, **ORIN, "precision": "fp32"}, b"not run"),
        ({**STREAM, **ORIN, "precision": "fp32", "lag": lag}, graph.SerializeToString()),
    )
    write_repository(bundle, tmp_path / "models", TENSORRT)
    directory = tmp_path / "models" / f"walker_stream_lag{lag}"
    # An engine holds its weights; this graph points to them.
    shutil.copy(path / "weights.fp32.safetensors", directory / "1")
    model = Model(directory)
    clips = np.random.default_rng(4).normal(0, 0.5, (2, 20, 17, 2)).astype(np.float32)
    found: list[list[np.ndarray]] = [[], []]
    for t in range(20 + lag):
        for person, clip in enumerate(clips):
            frame = {"keypoints": clip[min(t, 19)][None]}
            answer = model.infer([Request(frame, 5 + person, t == 0, t == 19 + lag)])[0]
            found[person].append(answer["pose"][0])
    for person, clip in enumerate(clips):
        expected = live_answers(bundle.spec, made.parameters["pose"], clip, lag)
        np.testing.assert_allclose(np.array(found[person][lag:]), expected, rtol=0, atol=5e-5)


def test_engines_of_several_gpus_need_a_choice(tmp_path: Path) -> None:
    engines = [{**form, **gpu} for gpu in (ORIN, THOR) for form in (WINDOW, STREAM)]
    bundle = bundle_with(tmp_path / "walker.vp3d", *engines)
    with pytest.raises(TritonError, match=r"Orin \(8.7\).*Thor \(11.0\).*--triton-gpu"):
        write_repository(bundle, tmp_path / "models", TENSORRT)
    for gpu in ("Thor", "11.0"):
        serving = Serving(platform="tensorrt", gpu=gpu)
        write_repository(bundle, tmp_path / "models", serving)
        served = tmp_path / "models" / "walker_window" / "1" / "model.plan"
        assert served.read_bytes() == b"engine 2"
    with pytest.raises(TritonError, match="for GPU Xavier"):
        write_repository(bundle, tmp_path / "new", Serving(platform="tensorrt", gpu="Xavier"))


def test_an_engine_of_many_rows_is_not_one_stream(tmp_path: Path) -> None:
    crowd = {**STREAM, **ORIN, "rows": 8}
    bundle = bundle_with(tmp_path / "walker.vp3d", {**WINDOW, **ORIN}, crowd)
    with pytest.raises(TritonError, match="advance 8 streams at once"):
        write_repository(bundle, tmp_path / "models", TENSORRT)
    assert not (tmp_path / "models").exists()


def test_a_window_whose_profile_is_not_told_is_refused(tmp_path: Path) -> None:
    odd = {**WINDOW, **ORIN, "details": {"profile": {"keypoints": [[1, 9, 17, 2]]}}}
    bundle = bundle_with(tmp_path / "walker.vp3d", odd, {**STREAM, **ORIN})
    with pytest.raises(TritonError, match="optimisation profile of 0.engine"):
        write_repository(bundle, tmp_path / "models", TENSORRT)


def test_a_window_engine_must_take_one(tmp_path: Path) -> None:
    fixed = {"profile": {"keypoints": [[8, 9, 17, 2]] * 3}}
    bundle = bundle_with(
        tmp_path / "walker.vp3d", {**WINDOW, **ORIN, "details": fixed}, {**STREAM, **ORIN}
    )
    with pytest.raises(TritonError, match="0.engine takes 8 to 8 windows at once"):
        write_repository(bundle, tmp_path / "models", TENSORRT)


def test_missing_engines_are_named(tmp_path: Path) -> None:
    bundle = bundle_with(tmp_path / "walker.vp3d", {**WINDOW, **ORIN})
    with pytest.raises(TritonError, match="no TensorRT engine of the stream at lag 0"):
        write_repository(bundle, tmp_path / "models", TENSORRT)
    with pytest.raises(TritonError, match="no TensorRT engine of the window in fp32"):
        write_repository(bundle, tmp_path / "models", TENSORRT, precision="fp32")
