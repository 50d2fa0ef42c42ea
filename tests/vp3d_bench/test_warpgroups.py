"""Kernels for Hopper's warpgroups beside the others, over the doubles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from cuda_doubles import opened_cuda, skip_without_grid
from stored_networks import random_clips
from tensorrt_contract.gpu_double import FakeGpu

from vp3d_bench import warpgroups
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_driver import CudaDriverError
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()


class Engine:
    """Answers zeros; with warpgroups, so many metres beside them."""

    gpu_ms = 1.5

    def __init__(self, off_m: float) -> None:
        self.off_m, self.is_open = off_m, True

    def sequence(self, keypoints: np.ndarray) -> Output:
        return Output(np.full((len(keypoints), 4, 5, 3), self.off_m, np.float32), None)

    def close(self) -> None:
        self.is_open = False


@pytest.mark.parametrize(("off_m", "code"), [(1e-4, 0), (1e-3, 1)])
def test_distances_decide(
    off_m: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[Engine] = []

    def open_engine(bundle: Any, name: str, precision: str, **options: Any) -> Engine:
        assert name == "cuda"
        opened.append(Engine(off_m if options["warpgroups"] else 0.0))
        return opened[-1]

    monkeypatch.setattr(warpgroups, "open_engine", open_engine)
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    out = tmp_path / "out.json"
    assert warpgroups.main([str(path), "-o", str(out)], clips=1, frames=4) == code
    found = json.loads(out.read_text())["fp16"]
    assert found["max_mm"] == pytest.approx(off_m * 3**0.5 * 1000, rel=1e-4)
    assert found["gpu_ms"] == {"tiles": 1.5, "warpgroups": 1.5}
    assert not any(engine.is_open for engine in opened)


def test_the_engine_takes_both_kinds_on_hopper(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(warpgroups, "ROUNDS", 1)
    gpu = FakeGpu("H200", (9, 0))
    gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 227 << 10
    spec = ModelSpec((3, 3), 128, joints_in=7, joints_out=5)
    with opened_cuda(spec, "fp16", gpu=gpu) as cuda:
        shown = random_clips(spec, 2, 300)
        engines = warpgroups.opened(cuda.networks.bundle, "fp16")
        found = warpgroups.compare(engines, "fp16", shown)
        warpgroups.close(engines)
        assert any("group" in name for name in cuda.kernels)
        assert any("tile" in name or "wide" in name for name in cuda.kernels)
    assert found["within_limit"]


def test_no_such_kernels_are_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def open_engine(*_: Any, **__: Any) -> Engine:
        raise GpuError("no warpgroups here")

    monkeypatch.setattr(warpgroups, "open_engine", open_engine)
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    assert warpgroups.main([str(path), "-o", str(tmp_path / "o")], clips=1, frames=4) == 2


@pytest.mark.parametrize("error", [GpuError("lost"), CudaDriverError("lost"), ValueError("lost")])
def test_kernels_that_break_are_a_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime says GpuError of whatever the GPU refuses, as of one that is not there."""

    def sequence(self: Engine, keypoints: np.ndarray) -> Output:
        raise error

    monkeypatch.setattr(Engine, "sequence", sequence)
    monkeypatch.setattr(warpgroups, "open_engine", lambda *_, **__: Engine(0.0))
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    out = tmp_path / "out.json"
    assert warpgroups.main([str(path), "-o", str(out)], clips=1, frames=4) == 1
    assert json.loads(out.read_text())["fp16"]["failed"] == "lost"
