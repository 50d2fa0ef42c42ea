"""Mistakes that would be found on a GPU at the earliest, made on purpose: the doubles find them."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from tensorrt_contract.gpu_double import CudaFaultError
from tensorrt_contract.installed import Installed, install
from tensorrt_contract.inventory import ContractError, tensorrt_versions

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import gpu as gpu_module
from vp3d_deploy.engines import tensorrt_api, tensorrt_form, tensorrt_stream
from vp3d_deploy.engines.gpu import Gpu, open_gpu
from vp3d_deploy.engines.onnx import OnnxEngine
from vp3d_deploy.engines.tensorrt import TensorRTEngine
from vp3d_deploy.engines.tensorrt_api import Execution, TensorRTError
from vp3d_deploy.spec import ModelSpec
from vp3d_export.tensorrt import api as api_module
from vp3d_export.tensorrt import build as build_module
from vp3d_export.tensorrt.api import EngineBuilder, make_monitor
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions, Span

SPEC = ModelSpec(filter_widths=(3, 3), channels=12, joints_in=17, joints_out=17)
OPTIONS = EngineOptions(batch=Span(1, 2, 4), frames=Span(1, 8, 16), timing_cache=False)
EIGHT, TEN, ELEVEN = "8.6.1", "10.16.1.11", "11.4.0.106"
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("mistakes") / "net.vp3d"
    return random_bundle(path, SPEC, precisions=("fp32", "fp16"), lags=(0,)).bundle


def build(bundle: Bundle, installed: Installed, form: str, precision: str) -> Bundle:
    device = open_gpu()
    graph = next(g for g in bundle.graphs if (g.form, g.precision) == (form, precision))
    with device.active():
        built = build_engine(installed.trt, device, bundle, graph, OPTIONS, bundle.path)
    return dataclasses.replace(bundle, engines=(built,))


def run(bundle: Bundle, form: str, precision: str = "fp32") -> None:
    """Several windows, or several frames of a stream, as ONNX Runtime answers them."""
    engine, onnx = TensorRTEngine(bundle, precision), OnnxEngine(bundle, precision, 1)
    rng = np.random.default_rng(0)
    if form == "window":
        for _ in range(4):
            x = rng.normal(size=(2, SPEC.receptive_field, 17, 2)).astype(np.float32)
            np.testing.assert_allclose(engine.window(x).pose, onnx.window(x).pose, 0, 1e-6)
        return
    ours, theirs = engine.open_stream(0), onnx.open_stream(0)
    ours.add_rows(1)
    theirs.add_rows(1)
    for _ in range(8):
        x = rng.normal(size=(1, 17, 2)).astype(np.float32)
        np.testing.assert_allclose(ours.step(x).pose, theirs.step(x).pose, 0, 1e-6)


@pytest.mark.parametrize("form", ["window", "stream"])
@pytest.mark.parametrize("version", tensorrt_versions())
def test_without_a_mistake_all_is_well(
    version: str, form: str, bundle: Bundle, monkeypatch: Patch
) -> None:
    run(build(bundle, install(monkeypatch, version), form, "fp16"), form, "fp16")


def _address_swapped(self: Any, name: str, pointer: int) -> None:
    self.context.set_tensor_address(pointer, name)


def _address_missing(self: Any, name: str, pointer: int) -> None:
    if name != "pose":
        self.context.set_tensor_address(name, pointer)


def _address_in_bytes_object(self: Any, name: str, pointer: int) -> None:
    self.context.set_tensor_address(name, str(pointer))


def _stream_object(self: Any, stream: int) -> None:
    self.context.execute_async_v3(stream_handle=object())


def _old_call(self: Any, stream: int) -> None:
    self.context.execute_async_v2([], stream)


@pytest.mark.parametrize(
    ("method", "mistake", "error"),
    [
        ("set_address", _address_swapped, ContractError),
        ("set_address", _address_in_bytes_object, ContractError),
        ("set_address", _address_missing, TensorRTError),
        ("enqueue", _stream_object, ContractError),
        ("enqueue", _old_call, AttributeError),
    ],
)
def test_wrong_calls_while_running(
    method: str,
    mistake: Callable[..., None],
    error: type[Exception],
    bundle: Bundle,
    monkeypatch: Patch,
) -> None:
    built = build(bundle, install(monkeypatch, TEN), "window", "fp32")
    monkeypatch.setattr(Execution, method, mistake)
    with pytest.raises(error):
        run(built, "window")


@pytest.mark.parametrize(
    ("version", "flag", "error", "what"),
    [
        (EIGHT, None, TensorRTError, "explicit batch"),
        (EIGHT, "STRONGLY_TYPED", AttributeError, "has no NetworkDefinitionCreationFlag.STRONGLY"),
        (TEN, None, TensorRTError, "no layer computes in fp16: the builder chose fp32"),
        (TEN, "EXPLICIT_BATCH", ContractError, "EXPLICIT_BATCH is deprecated"),
        (ELEVEN, "STRONGLY_TYPED", ContractError, "STRONGLY_TYPED is deprecated"),
        (ELEVEN, "EXPLICIT_BATCH", AttributeError, "has no NetworkDefinitionCreationFlag.EXPL"),
    ],
)
def test_wrong_flags_of_a_network(
    version: str,
    flag: str | None,
    error: type[Exception],
    what: str,
    bundle: Bundle,
    monkeypatch: Patch,
) -> None:
    installed = install(monkeypatch, version)

    def flags(self: Any) -> int:
        if flag is None:
            return 0
        return 1 << int(getattr(installed.trt.NetworkDefinitionCreationFlag, flag))

    for earlier in bundle.path.glob("window.fp16.*.engine"):
        earlier.unlink()
    monkeypatch.setattr(EngineBuilder, "_network_flags", flags)
    with pytest.raises(error, match=what):
        build(bundle, installed, "window", "fp16")
    assert not list(bundle.path.glob("window.fp16.*.engine"))


@pytest.mark.parametrize(
    ("version", "error", "what"),
    [
        (TEN, ContractError, "BuilderFlag.FP16 is deprecated"),
        (ELEVEN, AttributeError, "has no BuilderFlag.FP16"),
        ("10.3.0", TensorRTError, "exclude each other"),
    ],
)
def test_the_fp16_flag_where_networks_are_strongly_typed(
    version: str, error: type[Exception], what: str, bundle: Bundle, monkeypatch: Patch
) -> None:
    installed = install(monkeypatch, version)
    with (
        _after_configure(monkeypatch, lambda b: b._config.set_flag(b._trt.BuilderFlag.FP16)),
        pytest.raises(error, match=what),
    ):
        build(bundle, installed, "window", "fp16")


def test_no_fp16_flag_where_types_are_hints(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, EIGHT)
    with (
        _after_configure(monkeypatch, lambda b: b._config.clear_flag(b._trt.BuilderFlag.FP16)),
        pytest.raises(TensorRTError, match="no layer computes in fp16"),
    ):
        build(bundle, installed, "window", "fp16")


def test_edges_stay_float32_where_types_are_hints(bundle: Bundle, monkeypatch: Patch) -> None:
    """A builder that may choose takes half precision wherever it is not told otherwise."""
    built = build(bundle, install(monkeypatch, EIGHT), "window", "fp16")
    layers = {name: kinds for name, _, kinds in built.engines[0].details["layers"]}
    for name in ("pose.level0.conv", "pose.level0.relu", "pose.level1.out", "pose.shrink"):
        assert layers[name] == "fp32"
    assert layers["pose.level1.conv"] == layers["pose.level1.mix"] == "fp16"
    with _after_configure(
        monkeypatch,
        lambda b: b._config.clear_flag(b._trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS),
    ):
        built = build(bundle, install(monkeypatch, EIGHT), "window", "fp16")
    layers = {name: kinds for name, _, kinds in built.engines[0].details["layers"]}
    assert layers["pose.shrink"] == "fp16"


def test_tf32_left_on_is_no_float32(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, TEN)
    with _after_configure(monkeypatch, lambda b: b._config.set_flag(b._trt.BuilderFlag.TF32)):
        built = build(bundle, installed, "window", "fp32")
    with pytest.raises(AssertionError, match="Mismatched elements"):
        run(built, "window")


def test_without_detailed_profiling_nobody_knows_the_precision(
    bundle: Bundle, monkeypatch: Patch
) -> None:
    installed = install(monkeypatch, TEN)

    def names_alone(builder: EngineBuilder) -> None:
        builder._config.profiling_verbosity = builder._trt.ProfilingVerbosity.LAYER_NAMES_ONLY

    with (
        _after_configure(monkeypatch, names_alone),
        pytest.raises(TensorRTError, match="names alone"),
    ):
        build(bundle, installed, "window", "fp16")


@pytest.mark.parametrize(
    ("profiles", "what"),
    [
        ({}, "free axes and no optimization profile"),
        ({"keypoints": ((4, 9, 17, 2), (2, 9, 17, 2), (1, 9, 17, 2))}, "does not fit"),
        ({"keypoints": ((1, 8, 17, 2), (2, 8, 17, 2), (4, 8, 17, 2))}, "does not fit"),
        ({"keypoints": ((1, 9, 17), (2, 9, 17), (4, 9, 17))}, "another number of axes"),
        ({"key_points": ((1, 9, 17, 2), (2, 9, 17, 2), (4, 9, 17, 2))}, "input keypoints has free"),
    ],
)
def test_wrong_profiles(
    profiles: dict[str, Any], what: str, bundle: Bundle, monkeypatch: Patch
) -> None:
    installed = install(monkeypatch, ELEVEN)
    monkeypatch.setattr(build_module, "shape_profiles", lambda *arguments: profiles)
    with pytest.raises(TensorRTError, match=f"cannot build window.fp32.onnx: .*{what}"):
        build(bundle, installed, "window", "fp32")


def test_a_stream_graph_with_free_axes(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, ELEVEN)
    monkeypatch.setattr(build_module, "with_fixed_axes", lambda model, sizes: model)
    with pytest.raises(TensorRTError, match="free axes and no optimization profile"):
        build(bundle, installed, "stream", "fp32")


def test_a_parser_that_is_let_go_before_the_build(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, TEN)
    parse = EngineBuilder.parse

    def forgetful(self: EngineBuilder, model: bytes, path: Path) -> None:
        parse(self, model, path)
        self._parser = None

    monkeypatch.setattr(EngineBuilder, "parse", forgetful)
    with pytest.raises(TensorRTError, match="the parser is gone"):
        build(bundle, installed, "window", "fp32")


def test_a_progress_monitor_for_a_version_without(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, EIGHT)
    with pytest.raises(AttributeError, match="IProgressMonitor"):
        make_monitor(installed.trt, lambda done, total: None)


def _no_swap(self: Any) -> None:
    self._runs[self._front].run()


def _in_place(self: Any, front: int) -> None:
    for name, buffers in self._state.items():
        self._state[name] = [buffers[0], buffers[0]]
    _SET_ADDRESSES(self, front)


_SET_ADDRESSES = tensorrt_stream._Group._set_addresses


@pytest.mark.parametrize(("method", "mistake"), [("run", _no_swap), ("_set_addresses", _in_place)])
def test_state_that_does_not_change_places(
    method: str, mistake: Callable[..., None], bundle: Bundle, monkeypatch: Patch
) -> None:
    built = build(bundle, install(monkeypatch, TEN), "stream", "fp32")
    monkeypatch.setattr(tensorrt_stream._Group, method, mistake)
    with pytest.raises(AssertionError, match="Mismatched elements|nan location mismatch"):
        run(built, "stream")


def test_state_that_is_not_cleared(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, TEN), "stream", "fp32")
    monkeypatch.setattr(tensorrt_stream._Group, "clear", lambda self, place: None)
    with pytest.raises(AssertionError, match="nan location mismatch"):
        run(built, "stream")


def test_answers_that_are_read_before_the_stream_is_done(
    bundle: Bundle, monkeypatch: Patch
) -> None:
    installed = install(monkeypatch, TEN)
    built = build(bundle, installed, "window", "fp32")
    monkeypatch.setattr(installed.gpu.module.Stream, "do_synchronize", lambda self: None)
    with pytest.raises(AssertionError):
        run(built, "window")


def test_host_memory_that_is_not_page_locked(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, TEN), "window", "fp32")
    ordinary = lambda self, shape: np.zeros(shape, np.float32)  # noqa: E731
    monkeypatch.setattr(Gpu, "page_locked", ordinary)
    with pytest.raises(CudaFaultError, match="not page-locked"):
        run(built, "window")


def test_work_outside_the_gpus_context(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, TEN), "window", "fp32")

    @contextlib.contextmanager
    def nothing(self: Any) -> Iterator[None]:
        yield

    monkeypatch.setattr(Gpu, "active", nothing)
    with pytest.raises(CudaFaultError, match="without a current context"):
        run(built, "window")


def test_the_default_stream(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, TEN), "window", "fp32")

    def upload(self: Any, buffer: Any, array: np.ndarray, stream: Any) -> None:
        self._driver.memcpy_htod_async(buffer.pointer, array)

    monkeypatch.setattr(gpu_module.Gpu, "upload", upload)
    with pytest.raises(CudaFaultError, match="default stream"):
        run(built, "window")


def test_a_second_context_without_a_profile(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, EIGHT), "window", "fp32")
    monkeypatch.setattr(Execution, "take_profile", lambda self, stream: None)
    engine = TensorRTEngine(built, "fp32")
    x = np.zeros((1, SPEC.receptive_field, 17, 2), np.float32)
    engine.window(x)
    problems: list[Exception] = []

    def work() -> None:
        try:
            engine.window(x)
        except TensorRTError as error:
            problems.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert "no optimization profile is chosen" in str(problems[0])


def test_a_logger_for_every_object(bundle: Bundle, monkeypatch: Patch) -> None:
    installed = install(monkeypatch, TEN)
    for module in (api_module, tensorrt_api):
        monkeypatch.setattr(module, "logger_of", tensorrt_api._make_logger)
    with pytest.raises(AssertionError, match="calls a logger that is gone"):
        run(build(bundle, installed, "window", "fp32"), "window")


def test_buffers_that_are_too_small(bundle: Bundle, monkeypatch: Patch) -> None:
    built = build(bundle, install(monkeypatch, TEN), "window", "fp32")
    monkeypatch.setattr(tensorrt_form, "_FLOAT_BYTES", 1)
    with pytest.raises(CudaFaultError, match="illegal memory access"):
        run(built, "window")


@contextlib.contextmanager
def _after_configure(patch: Patch, change: Callable[[EngineBuilder], None]) -> Iterator[None]:
    configure = EngineBuilder.configure

    def changed(self: EngineBuilder, precision: str, options: EngineOptions) -> None:
        configure(self, precision, options)
        change(self)

    with patch.context() as own:
        own.setattr(EngineBuilder, "configure", changed)
        yield
