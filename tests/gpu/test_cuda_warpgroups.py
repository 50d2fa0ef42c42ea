"""Kernels for Hopper's warpgroups on real hardware, in a process of their own: a fault in a kernel
ends CUDA for the process that it happens in."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from gpu.answers import LIMITS_MM
from gpu.hardware import REHEARSED, skip_module_without_gpu

from vp3d_deploy.engines.cuda_kernels import has_warpgroups

skip_module_without_gpu(rehearsable=True)
pytestmark = pytest.mark.gpu

PROGRAM = Path(__file__).parent / "warpgroups_alone.py"


@pytest.mark.sanitizer
@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_they_answer_as_the_definition(precision: str, gpu: Any, tmp_path: Path) -> None:
    if REHEARSED is None and not has_warpgroups(gpu, precision):
        pytest.skip("needs a GPU of compute capability 9.0, whose warpgroups multiply together")
    command = [sys.executable, str(PROGRAM), str(tmp_path), precision]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    found = [line.split() for line in ended.stdout.splitlines()]
    assert [form for form, _ in found] == ["sequence"] * 3 + ["stream", "splits"]
    assert all(float(mm) < LIMITS_MM[precision] for _, mm in found), found
