"""The ONNX Runtime engine's streams: rows that come and go must not disturb one another."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import random_bundle
from onnx import numpy_helper

from vp3d_deploy.bundle import BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.onnx import OnnxEngine
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3, 3), 16)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> OnnxEngine:
    path = tmp_path_factory.mktemp("onnx") / "net.vp3d"
    made = random_bundle(path, SPEC, trajectory=True, lags=(0, 6))
    opened = open_engine(made.bundle, "onnx", threads=1)
    assert isinstance(opened, OnnxEngine)
    return opened


def clips(count: int, n_frames: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 0.5, (count, n_frames, 17, 2)).astype(np.float32)


def alone(engine: OnnxEngine, clip: np.ndarray, lag: int) -> np.ndarray:
    stream = engine.open_stream(lag)
    stream.add_rows(1)
    return np.array([stream.step(frame[None]).pose[0].copy() for frame in clip])


@pytest.mark.parametrize("lag", [0, 6])
def test_rows_that_come_and_go_answer_as_if_alone(engine: OnnxEngine, lag: int) -> None:
    a, b, c = clips(3, 40)
    stream = engine.open_stream(lag)
    stream.add_rows(1)
    found: dict[str, list[np.ndarray]] = {"a": [], "b": [], "c": []}
    rows = ["a"]
    frames = {"a": iter(a), "b": iter(b), "c": iter(c)}
    for t in range(40):
        if t == 5:
            stream.add_rows(2)
            rows += ["b", "c"]
        if t == 25:
            stream.remove_rows([1])
            rows.remove("b")
        poses = stream.step(np.stack([next(frames[row]) for row in rows])).pose
        for row, pose in zip(rows, poses, strict=True):
            found[row].append(pose.copy())
    for name, clip in (("a", a), ("b", b), ("c", c)):
        expected = alone(engine, clip, lag)[: len(found[name])]
        np.testing.assert_allclose(np.array(found[name]), expected, rtol=0, atol=1e-5)


def test_no_rows_and_wrong_shapes(engine: OnnxEngine) -> None:
    stream = engine.open_stream(0)
    assert stream.step(np.zeros((0, 17, 2), np.float32)).pose.shape == (0, 17, 3)
    stream.add_rows(2)
    with pytest.raises(ValueError, match=r"shape \(1, 17, 2\); 2 open streams expect \(2, 17, 2\)"):
        stream.step(np.zeros((1, 17, 2), np.float32))
    stream.close()
    assert stream.n_rows == 0


def test_several_threads_share_an_engine(engine: OnnxEngine) -> None:
    windows = clips(16, 27)
    expected = [engine.window(window[None]).pose for window in windows]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda window: engine.window(window[None]).pose, windows))
    np.testing.assert_array_equal(np.array(found), np.array(expected))


@pytest.mark.parametrize(
    ("form", "as_form", "lag", "message"),
    [
        ("window", "sequence", None, "not the sequence graph.*keypoints should be"),
        ("sequence", "window", None, "not the window graph"),
        ("window", "stream", 0, "not the stream graph"),
        ("stream", "window", None, "not the window graph"),
    ],
)
def test_a_graph_in_anothers_place_is_refused(
    form: str, as_form: str, lag: int | None, message: str, tmp_path: Path
) -> None:
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC).bundle
    source = bundle.graph(form, "fp32", 0 if form == "stream" else None)
    target = bundle.graph(as_form, "fp32", lag)
    bundle.file(target.file).write_bytes(bundle.file(source.file).read_bytes())
    engine = OnnxEngine(bundle, "fp32")
    with pytest.raises(BundleError, match=message):
        if lag is None:
            getattr(engine, as_form)(np.zeros((1, 27, 17, 2), np.float32))
        else:
            engine.open_stream(lag)


def test_a_bundle_whose_network_was_edited_is_refused(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC).bundle
    edited = replace(bundle, networks={"pose": ModelSpec((3, 3), 16)})
    with pytest.raises(BundleError, match="not the stream graph of this bundle's network"):
        OnnxEngine(edited, "fp32").open_stream(0)


def test_a_closed_engine_says_so(tmp_path: Path) -> None:
    engine = OnnxEngine(random_bundle(tmp_path / "net.vp3d", SPEC).bundle, "fp32")
    stream = engine.open_stream(0)
    stream.add_rows(1)
    engine.close()
    with pytest.raises(RuntimeError, match="closed; open its bundle again"):
        engine.window(np.zeros((1, 27, 17, 2), np.float32))
    assert np.isfinite(stream.step(np.zeros((1, 17, 2), np.float32)).pose).all()


def test_a_graph_that_fails_when_it_runs_is_named(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC).bundle
    path = bundle.file(bundle.graph("stream", "fp32", 0).file)
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        if tensor.name.endswith("level1.taps.at"):
            outside = np.full(tensor.dims, 999, np.int32)
            tensor.CopyFrom(numpy_helper.from_array(outside, tensor.name))
    path.write_bytes(model.SerializeToString())
    stream = OnnxEngine(bundle, "fp32").open_stream(0)
    stream.add_rows(1)
    with pytest.raises(BundleError, match=r"ONNX Runtime fails on \S+stream\.lag0\.fp32\.onnx"):
        stream.step(np.zeros((1, 17, 2), np.float32))
