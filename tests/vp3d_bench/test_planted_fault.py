"""The fault that compute-sanitizer is to find, as far as that shows without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install_gpu

from vp3d_bench import planted_fault

PTXAS = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")


@pytest.mark.skipif(PTXAS is None, reason="needs CUDA's ptxas")
@pytest.mark.parametrize("architecture", ["sm_75", "sm_90a", "sm_120"])
def test_drivers_can_compile_it(architecture: str, tmp_path: Path) -> None:
    source = tmp_path / "planted.ptx"
    source.write_bytes(planted_fault.PTX)
    command = [PTXAS, f"-arch={architecture}", str(source), "-o", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # type: ignore[arg-type]
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("tool", planted_fault.TOOLS)
def test_its_kernel_is_launched_on_memory_of_its_own(
    tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gpu = FakeGpu()
    driver = install_gpu(monkeypatch, gpu)
    launched: list[Any] = []

    def found(function: Any, module: ctypes.c_void_p, name: bytes) -> int:
        assert b".entry " + name + b"(" in gpu.modules[module.value or 0]
        function._obj.value = 7
        return 0

    def launch(function: ctypes.c_void_p, *rest: Any) -> int:
        *shape, stream, addresses, more = rest
        at = ctypes.cast(addresses[0], ctypes.POINTER(ctypes.c_uint64)).contents.value
        assert gpu.stream(stream) is not None
        launched.append((function.value, shape, len(gpu.memory[at]), more))
        return 0

    monkeypatch.setattr(driver, "cuModuleGetFunction", found)
    monkeypatch.setattr(driver, "cuLaunchKernel", launch)
    assert planted_fault.main([tool, "--here"]) == 0
    assert launched == [(7, [1, 1, 1, 64, 1, 1, 0], 256, None)]
    assert gpu.leaks == {}


def test_it_runs_in_a_process_that_another_one_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def run(command: list[str], check: bool) -> Any:
        started.append(command)
        return subprocess.CompletedProcess(command, 5)

    monkeypatch.setattr(subprocess, "run", run)
    assert planted_fault.main(["racecheck"]) == 5
    assert started == [[sys.executable, "-m", "vp3d_bench.planted_fault", "racecheck", "--here"]]


def test_without_a_gpu_none_is_planted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setattr("vp3d_deploy.engines.gpu._OPEN", {})
    assert planted_fault.main(["memcheck", "--here"]) == 2
