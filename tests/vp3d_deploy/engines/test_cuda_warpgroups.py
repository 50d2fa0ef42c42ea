"""Kernels for Hopper's warpgroups are taken where they are asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from cuda_doubles import FATBIN, Cuda, People, assert_close, opened_cuda, skip_without_grid
from stored_networks import random_clips, stored_networks
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install_gpu

from vp3d_deploy.engines import cuda_kernels, open_engine
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

# As many channels as a tile of these kernels has rows.
SPEC = ModelSpec((3, 3), 128, joints_in=7, joints_out=5)


def hopper() -> FakeGpu:
    gpu = FakeGpu("H200", (9, 0))
    gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 227 << 10
    return gpu


def run(cuda: Cuda, precision: str) -> set[str]:
    """A long clip and many people; which shapes of kernels ran for them."""
    cuda.engine.window(random_clips(SPEC, 1, SPEC.receptive_field))
    cuda.driver.launched.clear()
    clips = random_clips(SPEC, 2, 300)
    assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), precision)
    people = People(cuda, 0)
    people.come(90)
    for _ in range(4):
        people.step()
    assert people.stream.launch == "wide"
    return {name.split("_")[2] for name in cuda.kernels}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_they_are_taken_where_they_are_asked_for(precision: str) -> None:
    with opened_cuda(SPEC, precision, gpu=hopper(), warpgroups=True) as cuda:
        cuda.engine.window(random_clips(SPEC, 1, SPEC.receptive_field))
        assert not [name for name in cuda.kernels if "group" in name]
        assert "group" in run(cuda, precision)


def test_nobody_takes_them_unasked() -> None:
    with opened_cuda(SPEC, "fp16", gpu=hopper()) as cuda:
        assert "group" not in run(cuda, "fp16")


def test_they_are_refused_where_there_are_none() -> None:
    for gpu, precision, found in (
        (FakeGpu("B200", (10, 0)), "fp16", "B200 of compute capability 10.0 has no warpgroups"),
        (hopper(), "fp32", "has no warpgroups that multiply in fp32"),
    ):
        refused = pytest.raises(GpuError, match=found)
        with refused, opened_cuda(SPEC, precision, gpu=gpu, warpgroups=True):
            pass


def test_they_are_refused_where_only_ptx_was_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Which has them by name; nothing is left of an engine that was refused."""
    gpu = hopper()
    driver = install_gpu(monkeypatch, gpu)
    monkeypatch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    driver.plain_ptx = True
    bundle = stored_networks(tmp_path, SPEC, "fp16").bundle
    with pytest.raises(GpuError, match=r"no machine code of sm_90a.*90a-real, or take warpgroups="):
        open_engine(bundle, "cuda", "fp16", warpgroups=True)
    assert gpu.leaks == {}
    assert gpu.stack == []
    open_engine(bundle, "cuda", "fp16").close()


def test_another_fault_is_not_taken_for_a_lack_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = hopper()
    driver = install_gpu(monkeypatch, gpu)
    monkeypatch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    monkeypatch.setattr(driver, "cuModuleGetFunction", lambda *_: driver.INVALID)
    bundle = stored_networks(tmp_path, SPEC, "fp16").bundle
    with pytest.raises(GpuError, match="cuModuleGetFunction failed: CUDA_ERROR_INVALID_VALUE"):
        open_engine(bundle, "cuda", "fp16", warpgroups=True)
    assert gpu.leaks == {}
