"""A benchmark with contenders on the GPU, from engines to pictures: TensorRT over its double, and
the native engine in place of the CUDA engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from tensorrt_contract.installed import install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_bench import cli, gpu_engines, measure, subject
from vp3d_bench.cli import main
from vp3d_bench.contenders.line_up import line_up, on_gpu
from vp3d_bench.document import Document
from vp3d_bench.networks import random_bundle, random_state
from vp3d_bench.our_engines import open_ours
from vp3d_bench.ratios import all_ratios
from vp3d_bench.report import by_reason
from vp3d_bench.settings import FULL
from vp3d_bench.statistics import spread
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.gpu import count_gpus
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 16)
NEWEST = tensorrt_versions()[-1]


@pytest.fixture
def bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "net.vp3d"
    random_bundle(path, SPEC, random_state(SPEC, 0), ("fp32", "fp16"), (0, SPEC.lookahead))
    return path


def test_engines_of_random_weights_are_built_and_listed(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install(monkeypatch, NEWEST)
    assert gpu_engines.main([str(bundle)]) == 0
    opened = Bundle.open(bundle)
    assert len(opened.engines) == len(opened.graphs) == 8
    crowd = tmp_path / "crowd.vp3d"
    arguments = ["--out", str(crowd), "--forms", "stream", "--stream-rows", "16"]
    assert gpu_engines.main([str(bundle), *arguments]) == 0
    rows = {e.rows for e in Bundle.open(crowd).engines if e.form == "stream"}
    assert rows == {16}
    assert {e.rows for e in Bundle.open(bundle).engines} == {None, 1}


def test_without_tensorrt_none_are_built_and_one_sentence_says_so(
    bundle: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert gpu_engines.main([str(bundle)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("no engines were built: TensorRT is not installed")
    assert said.count("\n") == 1


def test_an_engine_that_fails_is_said_and_the_others_are_built(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vp3d_deploy.engines.tensorrt_api import TensorRTError

    install(monkeypatch, NEWEST)
    right = gpu_engines.build_engine

    def without_windows(trt: Any, gpu: Any, bundle: Any, graph: Any, *more: Any) -> Any:
        if graph.form == "window":
            raise TensorRTError("no kernel for this")
        return right(trt, gpu, bundle, graph, *more)

    monkeypatch.setattr(gpu_engines, "build_engine", without_windows)
    assert gpu_engines.main([str(bundle)]) == 1
    assert "failed: no kernel for this" in capsys.readouterr().out
    assert {e.form for e in Bundle.open(bundle).engines} == {"sequence", "stream"}


class StandIn:
    """The native engine, with the time that a GPU would have taken."""

    gpu_ms = 0.02

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)


def open_with_stand_in(
    bundle: Bundle, family: str, precision: str, threads: int, timings: bool = False
) -> Any:
    if family != "cuda":
        return open_ours(bundle, family, precision, threads, timings)
    engine = StandIn(NativeEngine(bundle, precision, threads))
    engine.open_stream = lambda lag: StandIn(engine._engine.open_stream(lag))
    return engine


def test_int8_is_compared_with_fp16(tmp_path: Path) -> None:
    path, precisions = tmp_path / "net.vp3d", ("fp16", "int8")
    random_bundle(path, SPEC, random_state(SPEC, 0), precisions, (0,))
    document = Document(Bundle.open(path), 1, {}, "", (0,), {})
    document.latency[64] = {
        f"cuda-stream-{precision}@0": spread([[took, took]])
        for precision, took in (("fp16", 0.06), ("int8", 0.05))
    }
    found = all_ratios(document)
    assert set(found) == {"64 people cuda int8@0 cuda fp16"}
    assert found["64 people cuda int8@0 cuda fp16"].p50 == 1.2


def test_a_benchmark_on_a_gpu_has_times_ratios_and_pictures(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    try:
        NativeEngine(Bundle.open(bundle), "fp32").close()
    except ImportError:
        pytest.skip("needs the native engine")
    install(monkeypatch, NEWEST)
    assert gpu_engines.main([str(bundle)]) == 0
    monkeypatch.setattr(subject, "open_ours", open_with_stand_in)
    rates = {"fp16_tera_per_s": 0.5, "fp32_tera_per_s": 0.25, "memory_gb_s": 4000.0}
    monkeypatch.setattr(measure, "gpu_rates", lambda: rates)
    output = tmp_path / "gpu.json"
    arguments = [str(bundle), "--quick", "--people", "1", "3", "--frames", "40", "--rounds", "2",
                 "--threads", "1", "-o", str(output), "--contenders", "cuda-*", "tensorrt-*",
                 "torchcuda-graph-half"]  # fmt: skip
    assert main(arguments) == 0
    result = json.loads(output.read_text())
    assert set(result["unavailable"]) == {"torchcuda-graph-half"}
    for people in ("1", "3"):
        timed = set(result["gpu_ms"][people])
        assert {"cuda-stream-fp16@0", "tensorrt-stream-fp16@4"} <= timed
        assert timed <= set(result["latency_ms"][people])
    assert result["gpu_ms"]["1"]["cuda-window-fp32"]["p50"] == 0.02
    assert set(result["throughput"]["gpu_ms"]) == {
        f"{family}-sequence-{precision}"
        for family in ("cuda", "tensorrt")
        for precision in ("fp32", "fp16")
    }
    alone = result["latency_ms"]["1"]
    ratio = result["ratios"]["1 person cuda fp16@0 tensorrt fp16"]
    assert ratio["min"] == pytest.approx(
        alone["tensorrt-stream-fp16@0"]["min"] / alone["cuda-stream-fp16@0"]["min"], rel=1e-3
    )
    assert "3 people cuda fp32@4 tensorrt fp32" in result["ratios"]
    for name in ("latency", "accuracy", "people", "gpu"):
        assert "CUDA engine" in (tmp_path / f"gpu/{name}.svg").read_text()
    assert result["gpu_rates"] == rates
    # Columns of both levels and of the output layer: taps x inputs x outputs of each.
    per_frame = 3 * 34 * 16 + 3 * 16 * 16 + 16 * 16 + 16 * 51
    share = result["ratios"]["clip cuda-sequence-fp16 rate"]["p50"]
    assert share == pytest.approx(2 * 40 * per_frame / 0.5e12 / 0.02e-3, rel=1e-2)
    said = capsys.readouterr().out
    assert "the GPU does at most fp16 0.5 tera-operations/s" in said
    assert "Of this on the GPU, by CUDA events" in said
    assert "not timed: torchcuda-graph-half: PyTorch has no CUDA here" in said


def test_reasons_are_told_once_and_many_names_are_counted() -> None:
    many = dict.fromkeys([f"cuda-{n}" for n in range(5)] + ["tensorrt-a", "tensorrt-b"], "no GPU")
    told = dict(by_reason({"openvino-f32": "missing", "openvino-default": "missing", **many}))
    assert told == {
        "openvino-f32, openvino-default": "missing",
        "7 of cuda-*, tensorrt-*": "no GPU",
    }


def test_a_machine_without_a_gpu_leaves_them_out_by_itself(
    bundle: Path,
) -> None:
    if count_gpus():
        pytest.skip("this machine has a GPU")
    names = list(line_up(Bundle.open(bundle), (0,)))
    left_out = cli._left_out(names, FULL)
    assert set(left_out.values()) == {"the CUDA driver sees no GPU here"}
    assert {name for name in names if on_gpu(name)} == set(left_out)
