"""What TensorRT or the GPU refuses, and what is left afterwards, over the doubles."""

from __future__ import annotations

import dataclasses
import gc
import json
import threading
import weakref
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import Installed, install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines import open_engine, tensorrt, tensorrt_api
from vp3d_deploy.engines.gpu import GpuError, open_gpu
from vp3d_deploy.engines.onnx import OnnxEngine
from vp3d_deploy.engines.tensorrt_api import Plan, Tensor, TensorRTError
from vp3d_deploy.spec import ModelSpec
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions, Span

SPEC = ModelSpec((3, 3), 16)
OPTIONS = EngineOptions(
    batch=Span(1, 2, 4), frames=Span(1, 8, 16), stream_rows=1, timing_cache=False
)
NEWEST = tensorrt_versions()[-1]
Make = Callable[..., tuple[Installed, Bundle]]


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """make(version, gpu, **options) -> the doubles, and a bundle with engines of every form."""

    def make(
        version: str = NEWEST, gpu: FakeGpu | None = None, **options: object
    ) -> tuple[Installed, Bundle]:
        installed = install(monkeypatch, version, gpu)
        bundle = random_bundle(tmp_path / "net.vp3d", SPEC, lags=(0,)).bundle
        wanted = dataclasses.replace(OPTIONS, **options)  # type: ignore[arg-type]
        device = open_gpu()
        with device.active():
            entries = tuple(
                build_engine(installed.trt, device, bundle, graph, wanted, bundle.path)
                for graph in bundle.graphs
            )
        return installed, dataclasses.replace(bundle, engines=entries)

    return make


def numbers(*leading: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*leading, 17, 2)).astype(np.float32)


@pytest.mark.parametrize("version", tensorrt_versions())
def test_a_driver_that_is_too_old_is_one_sentence(version: str, built: Make) -> None:
    installed, bundle = built(version)
    installed.gpu.driver_too_old = True
    with pytest.raises(TensorRTError, match="does not start its Runtime .*nullptr.*error: 35"):
        open_engine(bundle, "tensorrt", "fp32").window(numbers(1, SPEC.receptive_field))
    with pytest.warns(RuntimeWarning, match='"auto" does not take TensorRT: .* error: 35'):
        assert open_engine(bundle).name == "native"
    refused = pytest.raises(TensorRTError, match=r"does not start its Builder .*error: 35")
    gpu, graph = open_gpu(), bundle.graphs[0]
    with refused, gpu.active():
        build_engine(installed.trt, gpu, bundle, graph, OPTIONS, bundle.path)


@pytest.mark.parametrize("room", [0.0, 0.5, 1.0, 1.9, 2.5])
def test_streams_that_find_no_room_leave_all_as_it_was(room: float, built: Make) -> None:
    """room: memory for so many people more; three are to come."""
    installed, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    stream, onnx = engine.open_stream(0), OnnxEngine(bundle, "fp32", 1).open_stream(0)
    onnx.add_rows(1)
    before = sum(map(len, installed.gpu.memory.values()))
    stream.add_rows(1)
    each = sum(map(len, installed.gpu.memory.values())) - before
    installed.gpu.memory_bytes = before + each + int(room * each)
    for frame in range(9):
        x = numbers(1, seed=frame)
        np.testing.assert_allclose(stream.step(x).pose, onnx.step(x).pose, 0, 1e-6)
        if frame % 3 == 1:
            held = len(installed.gpu.memory), len(installed.gpu.locked)
            with pytest.raises(GpuError, match="out of memory"):
                stream.add_rows(3)
            assert stream.n_rows == 1
            assert (len(installed.gpu.memory), len(installed.gpu.locked)) == held
    engine.close()
    assert installed.gpu.leaks == {}
    assert installed.gpu.faults == []


def test_a_form_that_finds_no_room_leaves_nothing(built: Make) -> None:
    installed, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    # The input has room, the answers have none.
    installed.gpu.memory_bytes = 4 * 4 * SPEC.receptive_field * 17 * 2 + 100
    with pytest.raises(GpuError, match="out of memory"):
        engine.window(numbers(1, SPEC.receptive_field))
    assert installed.gpu.leaks == {}
    installed.gpu.memory_bytes = 1 << 40
    engine.window(numbers(1, SPEC.receptive_field))
    engine.close()
    assert installed.gpu.leaks == {}


def test_many_groups_keep_their_graphs_apart(built: Make) -> None:
    """A captured graph is launched only while its context is as it was captured."""
    installed, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    stream, onnx = engine.open_stream(0), OnnxEngine(bundle, "fp32", 1).open_stream(0)
    for frame in range(12):
        if frame in (0, 5, 8):
            stream.add_rows(2)
            onnx.add_rows(2)
        x = numbers(stream.n_rows, seed=frame)
        np.testing.assert_allclose(stream.step(x).pose, onnx.step(x).pose, 0, 1e-6)
    assert installed.gpu.n_launches > 6
    engine.close()


def test_a_second_context_whose_profile_is_refused(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    engine.window(numbers(1, SPEC.receptive_field))
    monkeypatch.setattr(
        installed.trt.IExecutionContext,
        "do_set_optimization_profile_async",
        lambda self, profile_index, stream_handle: False,
    )
    errors: list[BaseException] = []

    def work() -> None:
        try:
            engine.window(numbers(1, SPEC.receptive_field))
        except TensorRTError as error:
            errors.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(60)
    assert "refuses its optimisation profile" in str(errors[0])


def test_host_code_that_a_manifest_hides_is_not_run(built: Make) -> None:
    """A stranger's manifest may say what it likes; TensorRT itself is told to refuse."""
    _, bundle = built(version_compatible=True)
    lying = tuple(dataclasses.replace(e, version_compatible=False) for e in bundle.engines)
    bundle = dataclasses.replace(bundle, engines=lying)
    with pytest.raises(TensorRTError, match="host code, which is not allowed"):
        open_engine(bundle, "tensorrt", "fp32").window(numbers(1, SPEC.receptive_field))


@pytest.mark.parametrize(
    ("built_by", "here", "runs"),
    [
        ("8.6.1", "8.6.3", True),
        ("8.6.1", "10.3.0", True),
        ("8.6.1", "11.0.0", False),
        ("10.3.0", "10.16.1", True),
        ("10.3.0", "11.4.0", True),
        ("10.16.1", "10.3.0", False),
        ("11.4.0", "10.16.1", False),
    ],
)
def test_version_compatible_engines_run_where_nvidia_says(
    built_by: str, here: str, runs: bool, built: Make
) -> None:
    _, bundle = built(version_compatible=True)
    entry = dataclasses.replace(bundle.engines[0], tensorrt=built_by)
    reason = tensorrt.why_unusable(entry, open_gpu(), here, True)
    assert (reason is None) == runs
    if reason:
        assert built_by in reason
        assert here in reason


def test_engines_of_another_gpu_or_platform_are_refused_naming_both(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, bundle = built(gpu=FakeGpu("NVIDIA GeForce RTX 3090", (8, 6)))
    # Of the same compute capability, and yet another GPU.
    install(monkeypatch, NEWEST, FakeGpu("NVIDIA RTX A6000", (8, 6)))
    with pytest.raises(BundleError, match=r"RTX 3090 of .* this is a NVIDIA RTX A6000 of"):
        open_engine(bundle, "tensorrt", "fp32")
    install(monkeypatch, NEWEST, installed.gpu)
    monkeypatch.setattr(tensorrt_api.platform, "machine", lambda: "another")
    with pytest.raises(BundleError, match=r"built on Linux \w+, and this is Linux another"):
        open_engine(bundle, "tensorrt", "fp32")
    # A manifest from before platforms were written down says nothing.
    plain = tuple(dataclasses.replace(entry, platform="") for entry in bundle.engines)
    open_engine(dataclasses.replace(bundle, engines=plain), "tensorrt", "fp32").close()


def test_the_manifest_says_the_platform(built: Make) -> None:
    _, bundle = built()
    values = json.loads(json.dumps([dataclasses.asdict(entry) for entry in bundle.engines]))
    assert {value["platform"] for value in values} == {tensorrt_api.this_platform()}


def test_the_loggers_errors_come_before_its_warnings_and_are_told_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trt = install(monkeypatch, NEWEST).trt
    logger, severities = tensorrt_api.logger_of(trt), trt.ILogger.Severity
    for severity, text in (
        (severities.WARNING, "careful"),
        (severities.ERROR, " wrong\n"),
        (severities.INFO, "by the way"),
        (severities.INTERNAL_ERROR, "worse"),
    ):
        logger.log(severity, text)
    assert tensorrt_api.complaint(logger) == "wrong; worse"
    assert tensorrt_api.complaint(logger) == "TensorRT gives no reason"
    logger.log(severities.WARNING, "careful")
    assert tensorrt_api.complaint(logger) == "careful"


def test_streams_that_go_before_their_first_frame_free_nothing_that_is_still_cleared(
    built: Make,
) -> None:
    installed, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    stream, onnx = engine.open_stream(0), OnnxEngine(bundle, "fp32", 1).open_stream(0)
    stream.add_rows(2)
    stream.remove_rows([0])
    onnx.add_rows(1)
    for frame in range(4):
        x = numbers(1, seed=frame)
        np.testing.assert_allclose(stream.step(x).pose, onnx.step(x).pose, 0, 1e-6)
    engine.close()
    assert installed.gpu.leaks == {}


def test_engines_for_one_compute_capability_run_on_every_gpu_of_it_and_on_no_other(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = built(hardware_compatible="same_compute_capability")
    install(monkeypatch, NEWEST, FakeGpu("another Orin", (8, 7)))
    open_engine(bundle, "tensorrt", "fp32").close()
    install(monkeypatch, NEWEST, FakeGpu("NVIDIA RTX A6000", (8, 6)))
    with pytest.raises(BundleError, match=r"8\.7, and this is a NVIDIA RTX A6000 of 8\.6"):
        open_engine(bundle, "tensorrt", "fp32")


@pytest.mark.parametrize(
    ("form", "change"),
    [
        ("window", lambda t: t._replace(dtype="HALF") if t.name == "pose" else t),
        ("window", lambda t: t._replace(is_input=True) if t.name == "pose" else t),
        ("window", lambda t: t._replace(shape=(1, *t.shape[1:])) if t.name == "pose" else t),
        ("stream", lambda t: t._replace(shape=(2, *t.shape[1:]))),
        ("stream", lambda t: t._replace(dtype="HALF") if t.name.endswith("_in") else t),
    ],
)
def test_an_engine_whose_tensors_are_others_is_refused(
    form: str,
    change: Callable[[Tensor], Tensor],
    built: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By type, direction and shape: its buffers would be too small, or hold other numbers."""
    _, bundle = built()
    tensors = Plan.tensors
    changed = property(lambda self: [change(tensor) for tensor in tensors.fget(self)])
    monkeypatch.setattr(Plan, "tensors", changed)
    engine = open_engine(bundle, "tensorrt", "fp32")
    with pytest.raises(BundleError, match=f"is not the {form} engine of this bundle's network"):
        engine.load([(form, 0 if form == "stream" else None)])


def test_tensorrts_engines_are_gone_once_ours_is_closed(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing counts the memory of a deserialised engine but TensorRT itself."""
    installed, bundle = built()
    made: list[weakref.ref[object]] = []
    for name in ("ICudaEngine", "IExecutionContext"):
        double = getattr(installed.trt, name)
        start = double.start

        def noted(self: object, start: Callable[..., None] = start, **arguments: object) -> None:
            made.append(weakref.ref(self))
            start(self, **arguments)

        monkeypatch.setattr(double, "start", noted)
    engine = open_engine(bundle, "tensorrt", "fp32")
    engine.window(numbers(1, SPEC.receptive_field))
    engine.sequence(numbers(1, SPEC.receptive_field + 3))
    stream = engine.open_stream(0)
    stream.add_rows(2)
    stream.step(numbers(2))
    assert len(made) == 3 + 2 + 2 * 2
    engine.close()
    gc.collect()
    assert [ref() for ref in made if ref() is not None] == []


def test_a_runs_time_is_its_own_and_that_of_all_its_pieces(built: Make) -> None:
    _, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32", timings=True, graphs=False)
    one = []
    for _ in range(3):
        engine.window(numbers(4, SPEC.receptive_field))
        one.append(engine.gpu_ms)
    assert one[0] is not None
    assert one == [one[0]] * 3
    engine.window(numbers(12, SPEC.receptive_field))
    assert engine.gpu_ms == pytest.approx(3 * one[0])
    for _ in range(2):
        engine.sequence(numbers(1, SPEC.receptive_field + 3))
        assert engine.gpu_ms == pytest.approx(one[0])
    engine.close()
