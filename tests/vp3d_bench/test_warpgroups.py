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


class Stream:
    gpu_ms = 0.5

    def __init__(self, off_m: float) -> None:
        self.off_m = off_m

    def add_rows(self, count: int) -> None:
        self.n_rows = count

    def step(self, keypoints: np.ndarray) -> Output:
        assert len(keypoints) == self.n_rows
        return Output(np.full((self.n_rows, 5, 3), self.off_m, np.float32), None)

    def close(self) -> None:
        pass


class Engine:
    """Answers zeros; with warpgroups, so many metres beside them."""

    gpu_ms = 1.5

    def __init__(self, off_m: float, stream_off_m: float = 0.0) -> None:
        self.off_m, self.stream_off_m, self.is_open = off_m, stream_off_m, True

    def open_stream(self, lag: int) -> Stream:
        return Stream(self.stream_off_m)

    def sequence(self, keypoints: np.ndarray) -> Output:
        return Output(np.full((len(keypoints), 4, 5, 3), self.off_m, np.float32), None)

    def close(self) -> None:
        self.is_open = False


@pytest.mark.parametrize(
    ("off_m", "stream_off_m", "code"),
    [(1e-4, 1e-4, 0), (1e-3, 0.0, 1), (0.0, 1e-3, 1), (0.0, float("nan"), 1)],
)
def test_distances_decide(
    off_m: float,
    stream_off_m: float,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[Engine] = []

    def open_engine(bundle: Any, name: str, precision: str, **options: Any) -> Engine:
        assert name == "cuda"
        opened.append(Engine(off_m, stream_off_m) if options["warpgroups"] else Engine(0.0))
        return opened[-1]

    monkeypatch.setattr(warpgroups, "open_engine", open_engine)
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    out = tmp_path / "out.json"
    assert warpgroups.main([str(path), "-o", str(out)], clips=1, frames=4, crowds=(2, 3)) == code
    found = json.loads(out.read_text())["fp16"]
    assert found["max_mm"] == pytest.approx(off_m * 3**0.5 * 1000, rel=1e-4)
    assert found["gpu_ms"] == {"tiles": 1.5, "warpgroups": 1.5}
    assert found["within_limit"] == (code == 0)
    for people in ("2", "3"):
        stream = found["streams"][people]
        expected = pytest.approx(stream_off_m * 3**0.5 * 1000, rel=1e-4, nan_ok=True)
        assert stream["mean_mm"] == expected
        assert stream["gpu_ms"] == {"tiles": 0.5, "warpgroups": 0.5}
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
        stream = {k: e.open_stream(0) for k, e in engines.items()}
        assert {s.launch for s in stream.values()} == {"wide"}
        monkeypatch.setattr(warpgroups, "keypoints", lambda _, *size: random_clips(spec, *size))
        wide = warpgroups.compare_streams(engines, "fp16", cuda.networks.bundle, 3)
        for opened in stream.values():
            opened.close()
        warpgroups.close(engines)
        assert any("group" in name for name in cuda.kernels)
        assert any("tile" in name or "wide" in name for name in cuda.kernels)
    assert found["within_limit"]
    assert wide["within_limit"]


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


@pytest.mark.parametrize("error", [GpuError("lost"), CudaDriverError("lost"), ValueError("lost")])
def test_a_stream_that_breaks_is_a_fault(
    error: Exception, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def step(self: Stream, keypoints: np.ndarray) -> Output:
        raise error

    monkeypatch.setattr(Stream, "step", step)
    monkeypatch.setattr(warpgroups, "open_engine", lambda *_, **__: Engine(0.0))
    path = tmp_path / "net.vp3d"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    out = tmp_path / "out.json"
    assert warpgroups.main([str(path), "-o", str(out)], clips=1, frames=4, crowds=(2,)) == 1
    found = json.loads(out.read_text())["fp16"]
    assert (found["failed"], found["within_limit"]) == ("lost", False)
