"""The TensorRT engine over doubles of TensorRT and of the GPU, in every version's own words.

Its answers are held to ONNX Runtime's on the same graphs, which other tests hold to the definition.
Nothing here has run on a GPU.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import Installed, install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.bundle import MANIFEST, Bundle, BundleError
from vp3d_deploy.engines import gpu as gpu_module
from vp3d_deploy.engines import open_engine, warn_once
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import GpuError, open_gpu
from vp3d_deploy.engines.onnx import OnnxEngine
from vp3d_deploy.engines.tensorrt import TensorRTEngine
from vp3d_deploy.engines.tensorrt_api import TensorRTError
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.spec import ModelSpec
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.engines import record_engines
from vp3d_export.tensorrt.options import EngineOptions, Span

SPEC = ModelSpec(filter_widths=(3, 3), channels=12, joints_in=17, joints_out=17)
OPTIONS = EngineOptions(batch=Span(1, 2, 4), frames=Span(1, 8, 16), stream_rows=2)
NEWEST = tensorrt_versions()[-1]
every_version = pytest.mark.parametrize("version", tensorrt_versions())


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    path = tmp_path_factory.mktemp("tensorrt") / "net.vp3d"
    made = random_bundle(
        path, SPEC, trajectory=True, precisions=("fp32", "fp16", "int8"), lags=(0, SPEC.lookahead)
    )
    return made.bundle


Make = Callable[..., tuple[Installed, Bundle]]


@pytest.fixture
def built(plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Make:
    """make(version, options, forms, precision) -> the doubles, and a bundle with engines."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    def make(
        version: str = NEWEST,
        options: EngineOptions = OPTIONS,
        forms: tuple[str, ...] = ("window", "sequence", "stream"),
        precision: str = "fp32",
    ) -> tuple[Installed, Bundle]:
        installed = install(monkeypatch, version)
        return installed, with_engines(plain, installed, options, forms, precision)

    return make


def with_engines(
    bundle: Bundle,
    installed: Installed,
    options: EngineOptions = OPTIONS,
    forms: tuple[str, ...] = ("window", "sequence", "stream"),
    precision: str = "fp32",
) -> Bundle:
    gpu = open_gpu()
    graphs = [g for g in bundle.graphs if g.precision == precision and g.form in forms]
    with gpu.active():
        entries = [
            build_engine(installed.trt, gpu, bundle, graph, options, bundle.path)
            for graph in graphs
        ]
    return dataclasses.replace(bundle, engines=tuple(entries))


def keypoints(*leading: int, seed: int = 0) -> np.ndarray:
    shape = (*leading, SPEC.joints_in, SPEC.features)
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def assert_same(found: Output, expected: Output) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
@every_version
def test_every_form_answers_as_the_graph_does_and_all_memory_comes_back(
    version: str, precision: str, built: Make
) -> None:
    if precision == "int8" and version.startswith("8."):
        with pytest.raises(TensorRTError, match=f"{version} reads no weights of 8 bits"):
            built(version, precision=precision)
        return
    installed, bundle = built(version, precision=precision)
    onnx = OnnxEngine(bundle, precision, 1)
    engine = open_engine(bundle, "tensorrt", precision)
    assert (engine.name, engine.precision) == ("tensorrt", precision)
    assert engine.forms == ("window", "sequence", "stream")
    assert tuple(engine.lags) == (0, SPEC.lookahead)
    # More and fewer than the profile's largest batch; the same shape often enough to be captured.
    for batch in (1, 4, 7, 0, 2, 2, 2, 2, 1):
        x = keypoints(batch, SPEC.receptive_field, seed=batch)
        assert_same(engine.window(x), onnx.window(x))
    for people, answers in ((1, 3), (2, 50), (0, 5), (5, 16)):
        x = keypoints(people, answers + SPEC.receptive_field - 1)
        assert_same(engine.sequence(x), onnx.sequence(x))
    for lag in engine.lags:
        check_stream(engine, onnx, lag)
    engine.close()
    assert installed.gpu.leaks == {}
    assert installed.gpu.faults == []


def check_stream(engine: TensorRTEngine, onnx: OnnxEngine, lag: int) -> None:
    """People come and go; their rows are those of ONNX Runtime's stream, frame for frame."""
    ours, theirs = engine.open_stream(lag), onnx.open_stream(lag)
    for frame in range(40):
        for stream in (ours, theirs):
            if frame in (0, 11):
                stream.add_rows(3)
            if frame == 8:
                stream.remove_rows([0, 2])
            if frame == 20:
                stream.remove_rows([1])
        x = keypoints(ours.n_rows, seed=frame)
        assert ours.n_rows == theirs.n_rows
        assert_same(ours.step(x), theirs.step(x))
    ours.close()
    theirs.close()


def test_a_streams_state_is_swapped_on_the_device_and_never_copied(built: Make) -> None:
    installed, bundle = built(forms=("stream",))
    engine = open_engine(bundle, "tensorrt", "fp32")
    stream = engine.open_stream(0)
    stream.add_rows(1)
    calls = installed.gpu.module.calls
    # They take turns, and each has its addresses for good.
    contexts = [execution.context for execution in next(iter(stream._groups))._executions]
    seen = []
    for frame in range(2):
        calls.clear()
        stream.step(keypoints(1, seed=frame))
        seen.append(dict(contexts[frame].addresses))
        assert calls.count("memcpy_htod_async") == 1
        assert calls.count("memcpy_dtoh_async") == 2  # pose and trajectory
    states = [name.removesuffix("_in") for name in seen[0] if name.endswith("_in")]
    assert len(states) > 2
    for name in states:
        assert seen[0][f"{name}_out"] == seen[1][f"{name}_in"]
        assert seen[0][f"{name}_in"] == seen[1][f"{name}_out"]
        assert seen[0][f"{name}_in"] != seen[0][f"{name}_out"]
    assert seen[0]["keypoints"] == seen[1]["keypoints"]
    engine.close()


def test_the_steady_state_is_a_captured_graph_with_the_same_answers(built: Make) -> None:
    installed, bundle = built()
    onnx = OnnxEngine(bundle, "fp32", 1)
    engine = open_engine(bundle, "tensorrt", "fp32", timings=True)
    for run in range(5):
        x = keypoints(2, SPEC.receptive_field, seed=run)
        assert_same(engine.window(x), onnx.window(x))
    assert installed.gpu.n_launches == 3
    assert engine.gpu_ms is not None
    # Another shape: no captured graph until it has come again.
    engine.window(keypoints(1, SPEC.receptive_field))
    assert installed.gpu.n_launches == 3
    plain = open_engine(bundle, "tensorrt", "fp32", graphs=False)
    for _ in range(5):
        plain.window(keypoints(2, SPEC.receptive_field))
    assert installed.gpu.n_launches == 3
    assert plain.gpu_ms is None
    plain.close()
    engine.close()
    assert installed.gpu.leaks == {}


def test_where_capturing_fails_runs_go_on_without_and_say_so(built: Make) -> None:
    installed, bundle = built()
    installed.gpu.capture_fails = True
    onnx = OnnxEngine(bundle, "fp32", 1)
    engine = open_engine(bundle, "tensorrt", "fp32")
    x = keypoints(2, SPEC.receptive_field)
    runs = [engine.window(x), engine.window(x)]
    with pytest.warns(RuntimeWarning, match="without a CUDA graph.*CAPTURE_UNSUPPORTED"):
        runs.append(engine.window(x))
    for answer in (*runs, engine.window(x)):
        assert_same(answer, onnx.window(x))
    assert installed.gpu.n_launches == 0
    engine.close()
    assert installed.gpu.leaks == {}


def test_several_threads_have_a_context_each_and_an_ended_ones_memory_comes_back(
    built: Make,
) -> None:
    installed, bundle = built(forms=("window",))
    onnx = OnnxEngine(bundle, "fp32", 1)
    engine = open_engine(bundle, "tensorrt", "fp32")
    x = keypoints(3, SPEC.receptive_field)
    expected = onnx.window(x)
    problems: list[BaseException] = []
    ready = threading.Barrier(3, timeout=60)

    def work() -> None:
        try:
            ready.wait()
            for _ in range(6):
                assert_same(engine.window(x), expected)
            ready.wait()
        except BaseException as error:
            problems.append(error)
            ready.abort()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert installed.trt.calls.count("ICudaEngine.create_execution_context") >= 3
    held = len(installed.gpu.memory)
    engine.window(x)  # this thread's own, in place of the three
    assert len(installed.gpu.memory) == held // 3
    engine.close()
    assert installed.gpu.leaks == {}


def test_an_applications_own_context_is_current_again_after_every_call(built: Make) -> None:
    installed, bundle = built()
    mine = object()
    installed.gpu.stack.append(mine)
    engine = open_engine(bundle, "tensorrt", "fp32")
    engine.window(keypoints(1, SPEC.receptive_field))
    stream = engine.open_stream(0)
    stream.add_rows(1)
    stream.step(keypoints(1))
    with pytest.raises(ValueError, match="keypoints have shape"):
        stream.step(keypoints(2))
    assert installed.gpu.stack == [mine]
    engine.close()
    assert installed.gpu.stack == [mine]
    installed.gpu.stack.clear()


def test_closed_engines_and_streams_say_that_they_are(built: Make) -> None:
    _, bundle = built()
    engine = open_engine(bundle, "tensorrt", "fp32")
    stream = engine.open_stream(0)
    engine.close()
    engine.close()
    stream.close()
    with pytest.raises(RuntimeError, match="closed"):
        engine.window(keypoints(1, SPEC.receptive_field))
    with pytest.raises(RuntimeError, match="closed"):
        stream.add_rows(1)


@pytest.mark.parametrize(
    ("call", "value", "what"),
    [
        ("Runtime.deserialize_cuda_engine", None, "does not load .*engine"),
        ("ICudaEngine.create_execution_context", None, "no execution context"),
        ("IExecutionContext.set_input_shape", False, "refuses shape .* of keypoints"),
        ("IExecutionContext.set_tensor_address", False, "refuses the address of"),
        ("IExecutionContext.execute_async_v3", False, "refuses a run"),
    ],
)
def test_none_and_false_are_errors_with_the_loggers_words(
    call: str, value: object, what: str, built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, bundle = built()
    name, method = call.split(".")
    behaviour = getattr(installed.trt, name)

    def refuse(self: object, *args: object, **kwargs: object) -> object:
        return value

    monkeypatch.setattr(behaviour, f"do_{method}", refuse)
    engine = open_engine(bundle, "tensorrt", "fp32")
    with pytest.raises(TensorRTError, match=what):
        engine.window(keypoints(1, SPEC.receptive_field))


def test_engines_of_another_version_or_gpu_are_refused_naming_both(
    plain: Bundle, built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = built("10.3.0")
    install(monkeypatch, "11.4.0.106")
    with pytest.raises(BundleError, match=r"built by TensorRT 10\.3\.0, and this is TensorRT 11"):
        open_engine(bundle, "tensorrt", "fp32")
    install(monkeypatch, "10.3.0", FakeGpu("NVIDIA GeForce RTX 4090", (8, 9)))
    with pytest.raises(BundleError, match=r"GPU Orin of .* 8\.7, and this is a NVIDIA Ge.* 8\.9"):
        open_engine(bundle, "tensorrt", "fp32")
    with pytest.raises(BundleError, match="has no TensorRT engine in fp16"):
        open_engine(bundle, "tensorrt", "fp16")
    with pytest.raises(BundleError, match="has no TensorRT engine in fp32"):
        open_engine(plain, "tensorrt", "fp32")


def test_version_compatible_engines_run_in_newer_versions_if_the_caller_allows_it(
    plain: Bundle, built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = dataclasses.replace(OPTIONS, version_compatible=True)
    installed, bundle = built("10.3.0", options)
    newer = install(monkeypatch, "10.16.1.11", installed.gpu)
    with pytest.raises(BundleError, match="host_code_allowed=True"):
        open_engine(bundle, "tensorrt", "fp32")
    engine = open_engine(bundle, "tensorrt", "fp32", host_code_allowed=True)
    x = keypoints(2, SPEC.receptive_field)
    assert_same(engine.window(x), OnnxEngine(bundle, "fp32", 1).window(x))
    assert "Runtime.engine_host_code_allowed" in newer.trt.calls
    install(monkeypatch, "8.6.1", installed.gpu)
    with pytest.raises(BundleError, match="and this is TensorRT 8"):
        open_engine(bundle, "tensorrt", "fp32", host_code_allowed=True)


def test_hardware_compatible_engines_run_on_the_gpus_they_were_built_for(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = built(options=dataclasses.replace(OPTIONS, hardware_compatible="ampere_plus"))
    install(monkeypatch, NEWEST, FakeGpu("NVIDIA Thor", (11, 0)))
    assert open_engine(bundle, "tensorrt", "fp32").forms
    install(monkeypatch, NEWEST, FakeGpu("Xavier", (7, 2)))
    with pytest.raises(BundleError, match=r"8\.7, and this is a Xavier of 7\.2"):
        open_engine(bundle, "tensorrt", "fp32")


def test_without_a_wish_the_best_precision_that_runs_here_is_taken(
    plain: Bundle, built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, there = built("10.3.0", precision="fp16")
    here = install(monkeypatch, NEWEST)
    own = with_engines(plain, here, precision="fp32")
    both = dataclasses.replace(plain, engines=(*there.engines, *own.engines))
    assert open_engine(both, "tensorrt").precision == "fp32"
    assert (open_engine(both).name, open_engine(both).precision) == ("tensorrt", "fp32")
    with pytest.raises(BundleError, match=r"fp16.* was built by TensorRT 10\.3\.0"):
        open_engine(there, "tensorrt")


def test_an_engine_of_another_network_is_refused(built: Make, tmp_path: Path) -> None:
    _, bundle = built(forms=("window",))
    other = ModelSpec(filter_widths=(3, 3, 3), channels=12, joints_in=17, joints_out=17)
    foreign = random_bundle(tmp_path / "other.vp3d", other).bundle
    (entry,) = bundle.engines
    (foreign.path / entry.file).write_bytes(bundle.file(entry.file).read_bytes())
    engine = open_engine(dataclasses.replace(foreign, engines=(entry,)), "tensorrt", "fp32")
    with pytest.raises(BundleError, match="is not the window engine of this bundle's network"):
        engine.window(keypoints(1, other.receptive_field))
    (foreign.path / entry.file).write_bytes(b"no plan")
    engine = open_engine(dataclasses.replace(foreign, engines=(entry,)), "tensorrt", "fp32")
    with pytest.raises(TensorRTError, match="does not load .*magic tag"):
        engine.window(keypoints(1, other.receptive_field))


def test_auto_takes_tensorrt_only_where_an_engine_runs_and_says_why_not_once(
    plain: Bundle, built: Make, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    _, bundle = built("10.3.0")
    assert open_engine(bundle).name == "tensorrt"
    assert open_engine(plain).name == "native"
    assert not recwarn
    install(monkeypatch, "11.4.0.106")
    for _ in range(3):
        assert open_engine(bundle).name == "native"
    (warning,) = recwarn
    assert "TensorRT 10.3.0, and this is TensorRT 11.4.0.106" in str(warning.message)
    # A wish for another engine is one.
    assert open_engine(bundle, isa="portable").name == "native"


def test_auto_takes_no_engine_that_answers_in_fewer_forms_or_does_not_load(
    built: Make, recwarn: pytest.WarningsRecorder
) -> None:
    installed, bundle = built(forms=("window", "stream"))
    assert open_engine(bundle).name == "native"
    assert "has no TensorRT engine for sequence in fp32" in str(recwarn.pop().message)
    _, bundle = built()
    bundle.file(bundle.engines[0].file).write_bytes(b"no plan")
    assert open_engine(bundle).name == "native"
    assert "magic tag does not match" in str(recwarn.pop().message)
    assert installed.gpu.leaks == {}


def test_without_tensorrt_or_a_gpu_the_engine_fails_by_name_and_auto_falls_back(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, bundle = built()
    monkeypatch.undo()
    with pytest.raises(ImportError, match="TensorRT is not installed"):
        open_engine(bundle, "tensorrt", "fp32")
    with pytest.warns(RuntimeWarning, match='"auto" does not take TensorRT.*not installed'):
        assert open_engine(bundle).name == "native"


def test_a_missing_device_is_an_error(built: Make) -> None:
    _, bundle = built()
    with pytest.raises(GpuError, match="CUDA has no device 3"):
        open_engine(bundle, "tensorrt", "fp32", device=3)


def test_onnx_runtime_with_cuda_is_used_or_fails(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    with pytest.raises(ImportError, match="this ONNX Runtime has no CUDAExecutionProvider"):
        open_engine(plain, "onnx", provider="cuda")
    # As of onnxruntime-gpu on a machine whose driver does not load: it goes on with the CPU.
    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    session = onnxruntime.InferenceSession

    def fall_back(path: str, options: object, providers: list[str]) -> object:
        return session(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "InferenceSession", fall_back)
    engine = open_engine(plain, "onnx", provider="cuda")
    with pytest.raises(GpuError, match="does not run .* with CUDAExecutionProvider"):
        engine.window(keypoints(1, SPEC.receptive_field))


@pytest.fixture
def lifter(built: Make) -> Iterator[Lifter]:
    _, bundle = built()
    lifter = Lifter(bundle, open_engine(bundle, "tensorrt", "fp32"))
    yield lifter
    lifter.engine.close()


def test_people_live_and_recorded_are_lifted_as_with_onnx_runtime(lifter: Lifter) -> None:
    other = Lifter(lifter.bundle, OnnxEngine(lifter.bundle, "fp32", 1))
    clip = np.random.default_rng(3).uniform(100, 900, (30, 17, 2))
    ours, theirs = (one.lift(clip, (1000, 1000)) for one in (lifter, other))
    np.testing.assert_allclose(ours.joints_m, theirs.joints_m, rtol=0, atol=1e-6)
    lag = SPEC.lookahead
    streams = [one.stream(image_size=(1000, 1000), lag=lag) for one in (lifter, other)]
    for frame in clip:
        mine, its = (stream.push(frame) for stream in streams)
        assert (mine is None) == (its is None)
        if mine is not None and its is not None:
            np.testing.assert_allclose(mine.joints_m, its.joints_m, rtol=0, atol=1e-6)
    assert mine is not None
    for stream in streams:
        stream.close()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"form": "door"}, "unknown form or precision"),
        ({"precision": 16}, "unknown form or precision"),
        ({"file": "../../secret"}, "lists no file"),
        ({"file": "other.engine"}, "lists no file"),
        ({"rows": 3}, "has lag None and rows 3"),
        ({"form": "stream", "lag": 0, "rows": 10**9}, "has 1000000000 rows"),
        ({"gpu": None}, "does not say on which GPU"),
        ({"details": []}, "does not say on which GPU"),
        ({"plugin": "x.so"}, "unexpected keyword"),
    ],
)
def test_a_manifest_with_odd_engines_is_refused(
    change: dict[str, object], what: str, tmp_path: Path
) -> None:
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC).bundle
    (bundle.path / "a.engine").write_bytes(b"plan")
    entry = {"file": "a.engine", "form": "window", "precision": "fp32", "gpu": "Orin",
             "compute_capability": "8.7", "tensorrt": "10.3.0", "details": {}}  # fmt: skip
    manifest = json.loads((bundle.path / MANIFEST).read_text("utf-8"))
    digest = hashlib.sha256(b"plan").hexdigest()
    manifest["files"]["a.engine"] = {"bytes": 4, "sha256": digest}
    for entries in ([entry], [{**entry, **change}]):
        manifest["engines"] = entries
        (bundle.path / MANIFEST).write_text(json.dumps(manifest), "utf-8")
        if entries == [entry]:
            assert Bundle.open(bundle.path).engines[0].gpu == "Orin"
        else:
            with pytest.raises(BundleError, match=what):
                Bundle.open(bundle.path)


def test_cuda_that_refuses_a_call_while_capturing_is_no_end_either(
    built: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed, bundle = built(forms=("window",))
    onnx = OnnxEngine(bundle, "fp32", 1)
    engine = open_engine(bundle, "tensorrt", "fp32")
    x = keypoints(2, SPEC.receptive_field)
    module, upload = installed.gpu.module, engine.gpu.upload

    def refuse(buffer: object, array: np.ndarray, stream: object) -> None:
        if stream.capturing is not None:  # type: ignore[attr-defined]
            raise module.Error("cuMemcpyHtoDAsync failed: not permitted while capturing")
        upload(buffer, array, stream)  # type: ignore[arg-type]

    monkeypatch.setattr(engine.gpu, "upload", refuse)
    engine.window(x)
    engine.window(x)
    with pytest.warns(RuntimeWarning, match="not permitted while capturing"):
        answer = engine.window(x)
    assert_same(answer, onnx.window(x))
    assert_same(engine.window(x), onnx.window(x))
    engine.close()
    assert installed.gpu.leaks == {}


def test_the_command_says_in_one_sentence_what_a_gpu_lacks(
    built: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from vp3d_deploy.cli_lift import main

    installed, bundle = built("10.3.0")
    record_engines(bundle.path, list(bundle.engines), {}, open_gpu())
    command = [str(bundle.path), "builtin:walking", "-o", str(tmp_path / "out.npz")]
    assert main([*command, "--engine", "tensorrt", "--precision", "fp32"]) == 0
    module = installed.gpu.module
    monkeypatch.setattr(
        module.Device, "do_retain_primary_context", lambda self: _raise(module.Error("no memory"))
    )
    monkeypatch.setattr(gpu_module, "_OPEN", {})
    assert main([*command, "--engine", "tensorrt", "--precision", "fp32"]) == 1
    assert "vp3d-lift: CUDA has no device 0: no memory" in capsys.readouterr().err


def _raise(error: Exception) -> None:
    raise error


def onnx_runtime_with_cuda(monkeypatch: pytest.MonkeyPatch, gpus: int) -> None:
    """ONNX Runtime says that it has CUDA; what its sessions then do is its own."""
    import onnxruntime

    from vp3d_deploy.engines import onnx

    providers = ["CUDAExecutionProvider", "CPUExecutionProvider"]
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: providers)
    monkeypatch.setattr(onnx, "count_gpus", lambda: gpus)


def test_auto_prefers_onnx_runtime_on_a_gpu_to_engines_for_cpus(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(OnnxEngine, "load", lambda self: None)
    onnx_runtime_with_cuda(monkeypatch, gpus=0)
    assert open_engine(plain).name == "native"
    onnx_runtime_with_cuda(monkeypatch, gpus=1)
    engine = open_engine(plain)
    assert isinstance(engine, OnnxEngine)
    assert engine._provider == "CUDAExecutionProvider"
    # A wish for the native engine, by an option of its own, is one.
    assert open_engine(plain, pin_threads=False).name == "native"
    # So is one for ONNX Runtime.
    assert open_engine(plain, provider="cpu").name == "onnx"


def test_auto_leaves_a_gpu_that_onnx_runtime_cannot_use_and_says_so_once(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(warn_once, "_WARNED", set())
    onnx_runtime_with_cuda(monkeypatch, gpus=1)
    for _ in range(2):
        assert open_engine(plain).name == "native"
    ours = [str(w.message) for w in recwarn if '"auto" does not take' in str(w.message)]
    assert len(ours) == 1
    assert "ONNX Runtime does not run" in ours[0]
    # Asked for by name, or by an option that it alone has, it is used or the call fails.
    for name in ("onnx", "auto"):
        with pytest.raises(GpuError, match="with CUDAExecutionProvider, which was asked for"):
            open_engine(plain, name, provider="cuda").window(
                keypoints(1, plain.spec.receptive_field)
            )


def test_auto_refuses_options_that_no_engine_at_hand_has(plain: Bundle) -> None:
    for options in ({"timings": True}, {"isa": "auto", "provider": "cpu"}):
        with pytest.raises(ValueError, match=f"has the options? {', '.join(sorted(options))};"):
            open_engine(plain, **options)
