"""Which of a bundle's graphs are served, under which names, and what is refused."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
from bundles import random_bundle
from triton_server import Model, Request

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.spec import ModelSpec
from vp3d_export.triton.config import Serving, TritonError
from vp3d_export.triton.repository import model_prefix, write_repository


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("one") / "walker v2.vp3d"
    spec = ModelSpec((3, 3), 16)
    return random_bundle(path, spec, precisions=("fp32", "fp16", "int8")).bundle


def test_names_are_the_bundles(bundle: Bundle, tmp_path: Path) -> None:
    assert model_prefix(bundle) == "walker_v2"
    written = write_repository(bundle, tmp_path)
    assert [p.name for p in written] == ["walker_v2_window", "walker_v2_stream_lag0"]


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_any_precision_loads(bundle: Bundle, precision: str, tmp_path: Path) -> None:
    write_repository(bundle, tmp_path, precision=precision)
    model = Model(tmp_path / "walker_v2_stream_lag0")
    engine = open_engine(bundle, "onnx", precision)
    stream = engine.open_stream(0)
    stream.add_rows(1)
    for t, frame in enumerate(frames_of(bundle.spec, 12)):
        answer = model.infer([Request({"keypoints": frame[None]}, 1, t == 0)])[0]
        np.testing.assert_allclose(answer["pose"], stream.step(frame[None]).pose, rtol=0, atol=1e-6)


def test_what_the_bundle_lacks_is_said(bundle: Bundle, tmp_path: Path) -> None:
    with pytest.raises(TritonError, match="holds no TensorRT engine of the window"):
        write_repository(bundle, tmp_path / "new", Serving(platform="tensorrt"))
    assert not (tmp_path / "new").exists()


def test_a_graph_that_points_elsewhere_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    copy = tmp_path / "copy.vp3d"
    shutil.copytree(bundle.path, copy)
    path = copy / "window.fp32.onnx"
    model = onnx.load(path, load_external_data=False)
    for tensor in model.graph.initializer:
        for item in tensor.external_data:
            if item.key == "location":
                item.value = "../../secret"
    path.write_bytes(model.SerializeToString())
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["files"].pop("window.fp32.onnx")
    data = path.read_bytes()
    manifest["files"]["window.fp32.onnx"] = {
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(TritonError, match="reads weights from '../../secret'"):
        write_repository(Bundle.open(copy), tmp_path / "new")


def frames_of(spec: ModelSpec, n_frames: int) -> np.ndarray:
    shape = (n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(8).normal(0, 0.5, shape).astype(np.float32)
