"""The CUDA engine over doubles of pycuda and of the CUDA driver, whose launches run the kernels on
a simulated grid; and what it should answer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_networks import Defined, StoredNetworks, live_window, stored_networks
from tensorrt_contract import simulated_kernels
from tensorrt_contract.driver_double import FakeCudaDriver
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install_gpu

from vp3d_deploy import _native
from vp3d_deploy.engines import cuda_kernels, cuda_program
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda import CudaEngine
from vp3d_deploy.engines.cuda_program import planned_for
from vp3d_deploy.spec import ModelSpec

FATBIN = b"kernels for every GPU"
# In half precision activations are rounded too, which the definition does not do. In 8 bits answers
# agree where no activation may be rounded either way (stored_networks.py).
TOLERANCES_M = {"fp32": 1e-5, "fp16": 1e-2, "int8": 2e-5}
UNSURE_M = 0.1


def skip_without_grid() -> None:
    """To be called when a module of tests is imported."""
    if simulated_kernels.compiler() is None:
        pytest.skip("the CUDA kernels were not simulated: no C++ compiler", allow_module_level=True)
    assert _native.CudaImage is not None


@dataclass
class Cuda:
    """An engine, what it runs on, and the definition of what it should answer."""

    engine: CudaEngine
    networks: StoredNetworks
    gpu: FakeGpu
    driver: FakeCudaDriver

    @property
    def kernels(self) -> set[str]:
        """Names of all that were launched."""
        return {launched.kernel for launched in self.driver.launched}


def hopper(cuda_version: int = 12060) -> FakeGpu:
    """One that has launches that overlap; CUDA's version as cuDriverGetVersion gives it."""
    gpu = FakeGpu("H200", (9, 0))
    gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 227 << 10
    gpu.cuda_version = cuda_version
    return gpu


@contextmanager
def opened_cuda(
    spec: ModelSpec,
    precision: str,
    *,
    gpu: FakeGpu | None = None,
    trajectory: bool = False,
    seed: int = 1,
    splits: int = 0,
    **options: Any,
) -> Iterator[Cuda]:
    """After the engine is closed, nothing may be left of it. splits: of products of "wide" frames,
    where they may have some; so small networks have none by themselves."""
    gpu = gpu or FakeGpu()
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        driver = install_gpu(patch, gpu)
        if splits:
            patch.setattr(cuda_program, "planned_for", partial(planned_for, splits=splits))
        patch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
        networks = stored_networks(
            Path(directory), spec, precision, trajectory=trajectory, seed=seed
        )
        engine = CudaEngine(networks.bundle, precision, **options)
        yield Cuda(engine, networks, gpu, driver)
        engine.close()
        assert gpu.leaks == {}
        assert gpu.faults == []


def assert_close(found: Output, expected: tuple[Defined, ...], precision: str) -> None:
    arrays = [array for array in found if array is not None]
    assert len(arrays) == len(expected)
    for ours, (theirs, sure) in zip(arrays, expected, strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        error = np.abs(ours - theirs)
        assert np.isfinite(error).all()
        assert error[sure].max(initial=0) <= TOLERANCES_M[precision]
        assert error[~sure].max(initial=0) < UNSURE_M


class People:
    """Live streams and everything that each was shown."""

    def __init__(self, cuda: Cuda, lag: int, seed: int = 0) -> None:
        self.cuda, self.lag = cuda, lag
        self.spec = cuda.networks.bundle.spec
        self.stream = cuda.engine.open_stream(lag)
        self.seen: list[list[np.ndarray]] = []
        self.random = np.random.default_rng(seed)

    def come(self, count: int) -> None:
        self.stream.add_rows(count)
        self.seen += [[] for _ in range(count)]

    def go(self, *rows: int) -> None:
        self.stream.remove_rows(list(rows))
        self.seen = [frames for row, frames in enumerate(self.seen) if row not in rows]

    def next_frame(self) -> np.ndarray:
        """(n_rows, J_in, F) float32, and from now on seen."""
        shape = (len(self.seen), self.spec.joints_in, self.spec.features)
        frame = self.random.normal(0, 0.5, shape).astype(np.float32)
        for frames, own in zip(self.seen, frame, strict=True):
            frames.append(own.copy())
        return frame

    def check(self, found: Output, seen: list[list[np.ndarray]] | None = None) -> None:
        """Answers after rows have seen this, by default all so far. Those before a stream's first
        frame are nobody's."""
        seen = self.seen if seen is None else seen
        due = [row for row, frames in enumerate(seen) if len(frames) > self.lag]
        if due:
            windows = [live_window(self.spec, seen[row], self.lag) for row in due]
            expected = self.cuda.networks.windows(np.stack(windows))
            assert_close(found.copied(due), expected, self.cuda.networks.precision)

    def step(self) -> Output:
        found = self.stream.step(self.next_frame())
        self.check(found)
        return found
