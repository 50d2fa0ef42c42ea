"""What the CUDA engine refuses, in one sentence each that says what is wrong and what to do; and
that nothing is left behind then."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from cuda_doubles import FATBIN, People, assert_close, opened_cuda, skip_without_grid
from stored_networks import random_clips, stored_networks
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install_gpu

from vp3d_deploy import _native
from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines import cuda_driver, cuda_kernels, open_engine
from vp3d_deploy.engines import gpu as gpu_module
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

Patch = pytest.MonkeyPatch
SPEC = ModelSpec((3, 3), 12, joints_in=7, joints_out=5)


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return stored_networks(tmp_path, SPEC, "fp32").bundle


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeGpu]:
    """An NVIDIA GPU that must be as it was in the end."""
    gpu = FakeGpu()
    install_gpu(monkeypatch, gpu)
    monkeypatch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    yield gpu
    assert gpu.leaks == {}
    assert gpu.stack == []


def test_without_pycuda(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_module, "_OPEN", {})
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    with pytest.raises(ImportError, match="run through pycuda, which does not load .*pip install"):
        open_engine(bundle, "cuda")


def test_without_such_a_gpu(bundle: Bundle, gpu: FakeGpu) -> None:
    with pytest.raises(GpuError, match="CUDA has no device 3"):
        open_engine(bundle, "cuda", device=3)


def test_without_the_native_module(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "vp3d_deploy._native", None)
    with pytest.raises(ImportError, match="installed without its native engine; install it again"):
        open_engine(bundle, "cuda")


def test_without_kernels(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(_native, "__file__", str(tmp_path / "_native.so"))
    with pytest.raises(
        ImportError, match="without its CUDA kernels; install it again where .*nvcc"
    ):
        cuda_kernels.fatbin()
    (tmp_path / cuda_kernels.FATBIN).write_bytes(b"kernels")
    assert cuda_kernels.fatbin() == b"kernels"


def test_a_gpu_that_is_too_old(bundle: Bundle, gpu: FakeGpu) -> None:
    gpu.name, gpu.compute_capability = "Tesla V100", (7, 0)
    with pytest.raises(GpuError, match=r"7.5 and later, and this Tesla V100 has 7.0; use another"):
        open_engine(bundle, "cuda")


def test_kernels_for_other_gpus(
    bundle: Bundle, gpu: FakeGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = install_gpu(monkeypatch, gpu)
    driver.foreign = FATBIN
    gpu.name, gpu.compute_capability = "Thing", (13, 0)
    wanted = (
        r"no code for this Thing of compute capability 13.0 under a driver for CUDA 12.6 .*"
        r"NO_BINARY_FOR_GPU.*CMAKE_CUDA_ARCHITECTURES=130"
    )
    with pytest.raises(GpuError, match=wanted):
        open_engine(bundle, "cuda")


@pytest.mark.parametrize(
    ("code", "name", "refused"),
    [
        (200, "CUDA_ERROR_INVALID_IMAGE", True),
        (221, "CUDA_ERROR_JIT_COMPILER_NOT_FOUND", True),
        (222, "CUDA_ERROR_UNSUPPORTED_PTX_VERSION", True),
        (2, "CUDA_ERROR_OUT_OF_MEMORY", False),
    ],
)
def test_kernels_that_this_driver_cannot_load(
    code: int, name: str, refused: bool, bundle: Bundle, gpu: FakeGpu, monkeypatch: Patch
) -> None:
    driver = install_gpu(monkeypatch, gpu)
    monkeypatch.setattr(driver, "cuModuleLoadData", lambda *_: code)
    monkeypatch.setitem(driver.NAMES, code, name.encode())
    with pytest.raises(GpuError, match=name) as told:
        open_engine(bundle, "cuda")
    assert ("install vp3d-deploy again on this device" in str(told.value)) == refused


def test_kernels_of_another_version() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        cuda.driver.without = "stream_step"
        with pytest.raises(GpuError, match=r"have no vp3d_stream_step .*NOT_FOUND.*install vp3d-d"):
            cuda.engine.open_stream(0)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_that_was_forked(bundle: Bundle, gpu: FakeGpu) -> None:
    """CUDA is of no use there, and both what was open and what would be opened say so."""
    engine = open_engine(bundle, "cuda")
    clips = random_clips(SPEC, 1, 9)
    engine.window(clips)
    child = os.fork()
    if child == 0:
        told = 0
        for use in (lambda: engine.window(clips), lambda: open_engine(bundle, "cuda")):
            try:
                use()
            except GpuError as error:
                told += "was forked after it was first used; open engines" in str(error)
        os._exit(told)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 2
    engine.window(clips)
    engine.close()


def test_no_driver_or_an_older_one(monkeypatch: pytest.MonkeyPatch) -> None:
    cuda_driver.driver.cache_clear()
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libcuda-of-nobody.so")
    with pytest.raises(cuda_driver.CudaDriverError, match="the CUDA driver does not load"):
        cuda_driver.driver()
    monkeypatch.setattr(cuda_driver, "LIBRARY", "libc.so.6")
    with pytest.raises(cuda_driver.CudaDriverError, match="has no cu.*; it is older than 11.4"):
        cuda_driver.driver()


def test_no_cooperative_launches(bundle: Bundle, gpu: FakeGpu) -> None:
    gpu.attributes["COOPERATIVE_LAUNCH"] = 0
    with pytest.raises(GpuError, match='no cooperative launches; take launch="phases"'):
        open_engine(bundle, "cuda", launch="step")


def test_names_that_are_not_known(bundle: Bundle, gpu: FakeGpu) -> None:
    with pytest.raises(ValueError, match="launch 'fast' is not known; choose one of auto, step"):
        open_engine(bundle, "cuda", launch="fast")
    with pytest.raises(ValueError, match="engine 'cuda' has no option 'isa'; it has launch"):
        open_engine(bundle, "cuda", isa="avx2")
    with pytest.raises(BundleError, match="has no fp16; it holds fp32"):
        open_engine(bundle, "cuda", "fp16")


@pytest.mark.parametrize("lag", [-1, 5, 1000])
def test_lags_that_no_stream_can_have(lag: int) -> None:
    with (
        opened_cuda(SPEC, "fp32") as cuda,
        pytest.raises(ValueError, match=f"lag {lag} is not one"),
    ):
        cuda.engine.open_stream(lag)


def test_weights_that_are_damaged(bundle: Bundle, gpu: FakeGpu) -> None:
    file = bundle.path / bundle.graphs[0].weights
    file.write_bytes(file.read_bytes()[:-8])
    engine = open_engine(bundle, "cuda")
    with pytest.raises(BundleError, match=str(file.name)):
        engine.open_stream(0)
    with pytest.raises(BundleError, match=str(file.name)):
        engine.window(random_clips(SPEC, 1, 9))
    engine.close()


def test_frames_of_another_shape_type_or_layout() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        people = People(cuda, 0)
        people.come(2)
        people.step()
        step = people.stream.step
        frame = np.zeros((2, 7, 2), np.float32)
        for wrong, why in (
            (frame[:1], r"shape \(1, 7, 2\); 2 open streams expect \(2, 7, 2\)"),
            (frame[..., :1].copy(), r"shape \(2, 7, 1\); 2 open"),
            (frame.astype(np.float64), "keypoints are float64; expected float32"),
            (np.zeros((2, 7, 4), np.float32)[..., ::2], "not C-contiguous"),
        ):
            with pytest.raises(ValueError, match=why):
                step(wrong)
        people.step()  # no frame was counted that was refused
        with pytest.raises(ValueError, match="row 2 is not one of the 2 open streams"):
            people.stream.remove_rows([2])
        with pytest.raises(ValueError, match="row -1 is not"):
            people.stream.remove_rows([-1])
        with pytest.raises(ValueError, match="-1 streams cannot be added"):
            people.stream.add_rows(-1)
        people.step()


def test_clips_of_another_shape_or_type() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        for call, clips, why in (
            (cuda.engine.window, random_clips(SPEC, 2, 8), r"a window is \(any number, 9, 7, 2\)"),
            (cuda.engine.window, random_clips(SPEC, 2, 10), r"shape \(2, 10, 7, 2\); a window"),
            (cuda.engine.sequence, random_clips(SPEC, 2, 8), r"\(any number, 9 or more, 7, 2\)"),
            (cuda.engine.sequence, random_clips(SPEC, 2, 9)[0], r"shape \(9, 7, 2\); a sequence"),
            (cuda.engine.window, random_clips(SPEC, 2, 9).astype(float), "float64; expected"),
        ):
            with pytest.raises(ValueError, match=why):
                call(clips)


@pytest.mark.parametrize("room", range(0, 80, 5))
def test_too_little_memory_leaves_all_as_it_was(room: int) -> None:
    """Wherever it ends: at weights, places, frames, or the workspace of clips."""
    gpu = FakeGpu()
    with opened_cuda(SPEC, "fp32", gpu=gpu) as cuda:
        gpu.memory_bytes = room << 10
        if room < 20:
            with pytest.raises(GpuError, match="out of memory"):
                People(cuda, 0).come(4)
        gpu.memory_bytes = 1 << 40
        people = People(cuda, 0)
        people.come(2)
        people.step()
        gpu.memory_bytes = sum(map(len, gpu.memory.values())) + (room << 10)
        with pytest.raises(GpuError, match="out of memory"):
            people.come(100)
        people.step()
        with pytest.raises(GpuError, match="out of memory"):
            cuda.engine.sequence(random_clips(SPEC, 40, 90))
        people.step()
        gpu.memory_bytes = 1 << 40
        people.come(100)
        people.step()
        clips = random_clips(SPEC, 2, 20)
        assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), "fp32")
