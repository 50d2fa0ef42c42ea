"""Tests on real hardware: `make gpu`, or `pytest -m gpu`. Elsewhere they are skipped, each with its
reason.

VP3D_GPU_FRAMES=1000000   how long the run for drift is (default: 3000 frames)
VP3D_GPU_BUNDLE=DIR       a bundle of the demo checkpoint in fp32, fp16 and int8 at lags 0, 5 and
                          full, for boards without PyTorch to export it with
VP3D_GPU_REHEARSE=10.3.0  over doubles: of TensorRT of this version, of pycuda and the CUDA driver,
                          with kernels on a simulated grid. It tests these tests, takes long with
                          large networks, and says nothing of any hardware
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from gpu.hardware import REHEARSED

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.gpu import GpuError, open_gpu
from vp3d_deploy.engines.tensorrt_api import import_tensorrt

DEMO = Path(__file__).resolve().parents[2] / "export/vp3d_export/assets/demo_27f.pth"
# CUDA's own memory comes in steps of this size; another program may take or give some too.
FREE_MEMORY_STEP = 4 << 20


@pytest.fixture(scope="session")
def gpu(rehearsal: Any) -> Any:
    """The first GPU, through pycuda."""
    try:
        return open_gpu()
    except (ImportError, GpuError) as error:
        pytest.skip(f"needs pycuda and a GPU: {error}")


@pytest.fixture(scope="session")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The doubles where this is a rehearsal, else None. Timing caches are this session's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield rehearse(patch)


def rehearse(patch: pytest.MonkeyPatch, *, hopper: bool = False) -> Any:
    """Put the doubles in place where this is a rehearsal, else None. hopper: of such a GPU."""
    if REHEARSED is None:
        return None
    from cuda_doubles import FATBIN
    from tensorrt_contract.gpu_double import FakeGpu
    from tensorrt_contract.installed import install

    from vp3d_deploy.engines import cuda_kernels

    patch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    device = None
    if hopper:
        device = FakeGpu("H200", (9, 0))
        device.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 227 << 10
    return install(patch, REHEARSED, device)


@pytest.fixture(scope="session")
def trt(rehearsal: Any) -> Any:
    """The module tensorrt, where it and a GPU are present."""
    try:
        module = import_tensorrt()
        open_gpu()
    except (ImportError, GpuError) as error:
        pytest.skip(f"needs TensorRT, pycuda and a GPU: {error}")
    return module


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle of the demo checkpoint without engines: fp32, fp16, int8; lags 0, 5 and 13."""
    path = tmp_path_factory.mktemp("demo") / "demo.vp3d"
    given = os.environ.get("VP3D_GPU_BUNDLE")
    if given is not None:
        shutil.copytree(given, path)
        return path
    pytest.importorskip("torch", reason="exporting the demo checkpoint needs PyTorch; "
                        "VP3D_GPU_BUNDLE names a bundle of it instead")  # fmt: skip
    from vp3d_export.cli import main

    arguments = ["--ckpt", str(DEMO), "--fp16", "--int8", "--lag", "0", "5", "full"]
    assert main([*arguments, "--no-engines", "--out", str(path)]) == 0
    return path


@pytest.fixture(scope="session")
def demo_bundle(demo: Path) -> Bundle:
    return Bundle.open(demo)


FreeMemory = Callable[[], int]


@pytest.fixture
def memory_comes_back(request: pytest.FixtureRequest) -> Any:
    """`with memory_comes_back():` what happens inside leaves as much device memory free as before,
    once it has happened once: CUDA keeps what it loads at first."""
    rehearsal = request.getfixturevalue("rehearsal")

    @contextmanager
    def block() -> Iterator[None]:
        before = free_memory(rehearsal)
        yield
        lost = before - free_memory(rehearsal)
        allowed = FREE_MEMORY_STEP if rehearsal is None else 0
        assert lost <= allowed, f"{lost / 1e6:.2f} MB of device memory were not given back"
        if rehearsal is not None:
            assert rehearsal.gpu.faults == []

    return block


def free_memory(rehearsal: Any) -> int:
    """Bytes of the GPU's memory that are free."""
    if rehearsal is not None:
        held = sum(len(memory) for memory in rehearsal.gpu.memory.values())
        return (1 << 40) - held
    import pycuda.driver

    with open_gpu().active():
        free: int = pycuda.driver.mem_get_info()[0]
    return free
