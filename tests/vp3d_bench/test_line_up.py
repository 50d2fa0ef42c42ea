"""Who takes part: names, patterns, and reasons where somebody cannot."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

import pytest
from bundles import random_bundle

from vp3d_bench import live
from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.contenders.line_up import LineUp, line_up, select
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.onnx import PROVIDERS, OnnxEngine
from vp3d_deploy.spec import ModelSpec


@pytest.fixture
def everybody(tmp_path: Path) -> LineUp:
    bundle = random_bundle(tmp_path / "net.vp3d", ModelSpec((3, 3), 4)).bundle
    return line_up(bundle, (0, 4))


def test_names_are_those_of_the_contenders(everybody: LineUp) -> None:
    mine = [name for name in everybody if name.startswith(("native-", "onnx-"))]
    assert mine == [
        "onnx-window-fp32", "onnx-sequence-fp32", "onnx-stream-fp32@0", "onnx-stream-fp32@4",
        "native-window-fp32", "native-sequence-fp32", "native-stream-fp32@0",
        "native-stream-fp32@4", "native-stream-fp32@0-prepared", "native-stream-fp32@4-prepared",
    ]  # fmt: skip
    assert [everybody[name]().name for name in mine] == mine


def test_peers_are_called_what_the_line_up_calls_them(everybody: LineUp) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("openvino")
    for name in everybody:
        # OpenVINO's default may be no other than f32.
        with suppress(UnavailableError):
            assert everybody[name]().name == name


def test_patterns_keep_the_order_of_the_line_up(everybody: LineUp) -> None:
    names = list(everybody)
    assert select(names, []) == names
    chosen = select(names, ["native-stream-*@?", "openvino-f32"])
    assert chosen == ["openvino-f32", "native-stream-fp32@0", "native-stream-fp32@4"]


def test_a_name_that_means_nobody_is_refused_with_those_there_are(everybody: LineUp) -> None:
    with pytest.raises(ValueError, match=r"--contenders tensorflow: .*native-stream-fp32@4") as no:
        select(list(everybody), ["openvino-f32", "tensorflow"])
    assert "\n" not in str(no.value)


def test_a_library_that_is_missing_is_a_reason(
    everybody: LineUp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "vp3d_bench.contenders.openvino", raising=False)
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(UnavailableError, match="openvino"):
        everybody["openvino-f32"]()


def test_peers_need_the_weights_that_pytorch_computes_with(tmp_path: Path) -> None:
    pytest.importorskip("openvino")
    bundle = random_bundle(
        tmp_path / "half.vp3d", ModelSpec((3, 3), 4), precisions=("fp16",)
    ).bundle
    contender = line_up(bundle, (0,))["openvino-f32"]()
    with pytest.raises(UnavailableError, match="holds no fp32 weights"):
        contender.open(Subject(bundle, 1, tmp_path))


def test_what_auto_opens_is_found_in_the_line_up(
    everybody: LineUp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime on a GPU is not ONNX Runtime on the processor."""
    bundle = random_bundle(tmp_path / "one.vp3d", ModelSpec((3, 3), 4)).bundle
    engine = OnnxEngine(bundle, "fp32")
    monkeypatch.setattr(live, "open_engine", lambda *_, **__: engine)
    subject = Subject(bundle, 1, tmp_path)
    (on_processor,) = live.choose_streams(subject, everybody, [], (0,))
    assert on_processor.name == "onnx-stream-fp32@0"
    engine._provider = PROVIDERS["cuda"]
    (on_gpu,) = live.choose_streams(subject, everybody, [], (0,))
    assert on_gpu.name == "onnxcuda-stream-fp32@0"


def test_a_lag_without_a_graph_is_a_reason(everybody: LineUp, tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "one.vp3d", ModelSpec((3, 3), 4)).bundle
    with pytest.raises(UnavailableError, match="no stream at lag 4"):
        everybody["onnx-stream-fp32@4"]().open(Subject(bundle, 1, tmp_path))
