"""Contenders on GPUs: TensorRT's over the doubles of TensorRT and CUDA, PyTorch's over a double of
torch.cuda. Their answers are held to the definition in millimetres; nothing here runs on a GPU."""

from __future__ import annotations

import dataclasses
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bundles import random_bundle
from cuda_doubles import FATBIN
from reference import dilated_network
from tensorrt_contract import simulated_kernels
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install, install_gpu
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_bench import gpu_rates
from vp3d_bench.accuracy import Expected, check
from vp3d_bench.clips import keypoints
from vp3d_bench.contenders import torch_cuda
from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.contenders.line_up import LineUp, line_up, on_gpu
from vp3d_bench.contenders.strided_products import StridedProducts
from vp3d_bench.device_times import device_times
from vp3d_bench.stage import Stage
from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import cuda_kernels
from vp3d_deploy.engines.gpu import open_gpu
from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import fold_batch_norm
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions, Span

SPEC = ModelSpec((3, 3), 12)
OPTIONS = EngineOptions(batch=Span(1, 1, 4), frames=Span(1, 8, 64), stream_rows=2)
LAGS = (0, SPEC.lookahead)
NEWEST = tensorrt_versions()[-1]


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("gpu") / "net.vp3d"
    return random_bundle(folder, SPEC, precisions=("fp32", "fp16"), lags=LAGS).bundle


def subject_with_engines(
    plain: Bundle, patch: pytest.MonkeyPatch, folder: Path, precisions: tuple[str, ...]
) -> Subject:
    """With TensorRT engines of these precisions, built by the double."""
    patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
    installed = install(patch, NEWEST)
    gpu = open_gpu()
    with gpu.active():
        entries = [
            build_engine(installed.trt, gpu, plain, graph, OPTIONS, plain.path)
            for graph in plain.graphs
            if graph.precision in precisions
        ]
    return Subject(dataclasses.replace(plain, engines=tuple(entries)), 1, folder)


def expected_of(subject: Subject, people: int = 1, n_frames: int = 30) -> Expected:
    clips = keypoints(subject.bundle, people, n_frames)
    return Expected(subject.definitions, clips, (0, 7, n_frames - 1))


def tensorrt_names(everybody: LineUp, precision: str) -> list[str]:
    found = [name for name in everybody if name.startswith("tensorrt-") and precision in name]
    assert len(found) == 2 + len(LAGS)
    return found


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("people", [1, 3])
def test_tensorrt_contenders_answer_as_the_definition_does(
    people: int, precision: str, plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = subject_with_engines(plain, monkeypatch, tmp_path, ("fp32", "fp16"))
    everybody = line_up(subject.bundle, LAGS)
    expected = expected_of(subject, people)
    frames = expected.clips.shape[1]
    for name in tensorrt_names(everybody, precision):
        contender = everybody[name]()
        runner = contender.open(subject, people, frames)
        accuracy = check(contender, runner, expected)
        assert accuracy.mean_mm < (0.01 if precision == "fp32" else 5), name
        assert accuracy.answers == people * 3 * SPEC.joints_out
        runner.close()
    subject.close()


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_contenders_of_the_cuda_engine_answer_as_the_definition_does(
    precision: str, plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Their kernels run on the simulated grid."""
    if simulated_kernels.compiler() is None:
        pytest.skip("the CUDA kernels were not simulated: no C++ compiler")
    install_gpu(monkeypatch, FakeGpu())
    monkeypatch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    subject = Subject(plain, 1, tmp_path)
    everybody = line_up(plain, LAGS)
    expected = expected_of(subject, people=3, n_frames=20)
    names = [name for name in everybody if name.startswith("cuda-") and precision in name]
    assert len(names) == 2 + len(LAGS)
    for name in names:
        contender = everybody[name]()
        runner = contender.open(subject, 3, 20)
        accuracy = check(contender, runner, expected)
        assert accuracy.mean_mm < (0.01 if precision == "fp32" else 5), name
        runner.close()
    timed = device_times(subject, [everybody[name]() for name in names], expected, 2, settle=1)
    assert list(timed) == names
    subject.close()


def test_a_wrong_answer_of_a_gpu_contender_is_seen(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from vp3d_deploy.engines.tensorrt_stream import TensorRTStream

    subject = subject_with_engines(plain, monkeypatch, tmp_path, ("fp32",))
    contender = line_up(subject.bundle, LAGS)["tensorrt-stream-fp32@0"]()
    right = TensorRTStream.step

    def off_by_a_centimetre(self: TensorRTStream, frame: np.ndarray) -> Any:
        output = right(self, frame)
        return output._replace(pose=output.pose + np.float32([0.01, 0, 0]))

    monkeypatch.setattr(TensorRTStream, "step", off_by_a_centimetre)
    stage = Stage(subject)
    assert stage.ready([contender], expected_of(subject)) == {}
    assert "its joints lie 10 mm from the definition" in stage.refused[contender.name]
    subject.close()


def test_the_gpus_time_is_measured_apart_by_those_who_can(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = subject_with_engines(plain, monkeypatch, tmp_path, ("fp32",))
    everybody = line_up(subject.bundle, LAGS)
    names = ["tensorrt-window-fp32", "tensorrt-stream-fp32@0", "onnx-window-fp32"]
    found = device_times(
        subject, [everybody[name]() for name in names], expected_of(subject), calls=5, settle=2
    )
    assert list(found) == names[:2]
    for spread in found.values():
        assert spread.calls == 5
        assert spread.min > 0
    subject.close()


def test_engines_that_the_bundle_lacks_are_a_reason(
    plain: Bundle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    subject = subject_with_engines(plain, monkeypatch, tmp_path, ("fp16",))
    everybody = line_up(subject.bundle, LAGS)
    with pytest.raises(UnavailableError, match="no TensorRT engine in fp32"):
        everybody["tensorrt-window-fp32"]().open(subject)
    everybody["tensorrt-window-fp16"]().open(subject).close()
    subject.close()


def test_a_machine_without_a_gpu_has_reasons_for_all_of_them(plain: Bundle, tmp_path: Path) -> None:
    subject = Subject(plain, 1, tmp_path)
    everybody = line_up(plain, LAGS)
    names = [name for name in everybody if on_gpu(name)]
    assert {name.split("-")[0] for name in names} == {"torchcuda", "onnxcuda", "tensorrt", "cuda"}
    for name in names:
        with pytest.raises(UnavailableError) as raised:
            everybody[name]().open(subject)
        assert str(raised.value)
        assert "\n" not in str(raised.value)


def test_the_network_as_products_is_the_network() -> None:
    from reference import random_parameters

    spec = ModelSpec((3, 5, 3), 16, causal=True)
    state = random_parameters(spec, 3)
    shape = (4, spec.receptive_field, spec.joints_in, spec.features)
    windows = np.random.default_rng(0).normal(0, 0.4, shape).astype(np.float32)
    network = StridedProducts(spec, fold_batch_norm(spec, state))
    with torch.inference_mode():
        found = network(torch.from_numpy(windows)).numpy()
    expected = np.stack([dilated_network(spec, state, window)[0] for window in windows])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


class FakeCuda:
    """What torch_cuda.py calls of torch.cuda. Work runs at once; a graph runs it again."""

    def __init__(self) -> None:
        self.work: Any = None
        self.synchronised = 0
        self.replayed = 0
        outer = self

        class Event:
            def __init__(self, enable_timing: bool) -> None:
                assert enable_timing

            def record(self, stream: Any) -> None:
                pass

            def elapsed_time(self, other: Any) -> float:
                return 0.25

        class Stream:
            def wait_stream(self, other: Any) -> None:
                pass

            def synchronize(self) -> None:
                outer.synchronised += 1

        class CUDAGraph:
            def replay(self) -> None:
                outer.replayed += 1
                outer.work()

        self.Event, self.Stream, self.CUDAGraph = Event, Stream, CUDAGraph

    def is_available(self) -> bool:
        return True

    def current_stream(self) -> Any:
        return self.Stream()

    def synchronize(self) -> None:
        pass

    @contextmanager
    def stream(self, stream: Any) -> Any:
        yield

    @contextmanager
    def graph(self, graph: Any, stream: Any) -> Any:
        yield


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> FakeCuda:
    fake = FakeCuda()

    class Torch:
        """torch itself, whose GPU is the processor."""

        cuda = fake

        def __getattr__(self, name: str) -> Any:
            return getattr(torch, name)

        def zeros(self, shape: Any, device: str = "cpu") -> Any:
            return torch.zeros(shape)

    monkeypatch.setattr(torch_cuda, "torch", Torch())
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    monkeypatch.setattr(
        torch_cuda, "_on_gpu", lambda network, precision: network.to(torch_cuda.TYPES[precision])
    )
    right = torch_cuda.CudaRunner._work

    def remembered(self: torch_cuda.CudaRunner) -> None:
        fake.work = lambda: right(self)
        right(self)

    monkeypatch.setattr(torch_cuda.CudaRunner, "_work", remembered)
    return fake


def test_pytorchs_windows_and_clips_go_from_host_to_host(
    cuda: FakeCuda, plain: Bundle, tmp_path: Path
) -> None:
    subject = Subject(plain, 1, tmp_path)
    everybody = line_up(plain, LAGS)
    expected = expected_of(subject, people=2)
    names = [name for name in everybody if name.startswith("torchcuda-") and "compiled" not in name]
    assert len(names) == 7
    for name in names:
        contender = everybody[name]()
        cuda.synchronised = cuda.replayed = 0
        runner = contender.open(subject, 2, expected.clips.shape[1])
        accuracy = check(contender, runner, expected)
        calls = 1 if contender.form == "sequence" else 3
        assert accuracy.mean_mm < (0.01 if contender.precision == "fp32" else 5), name
        # An answer that nobody waited for may be the one before.
        assert cuda.synchronised == calls
        assert cuda.replayed == (calls if "graph" in name else 0)
        runner.close()
    timed = device_times(subject, [everybody[names[0]]()], expected, calls=2, settle=1)
    assert timed[names[0]].p50 == 0.25


def test_without_a_gpu_nothing_is_said_of_its_rates() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert gpu_rates.gpu_rates() == {}
