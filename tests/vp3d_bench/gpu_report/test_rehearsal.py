"""The tests for real GPUs, tested without one, over the doubles of TensorRT, of CUDA and of a grid:
they pass there, and fail where the product is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_contract import simulated_kernels
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_export.cli import main

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the tests would export themselves, once for all of them."""
    path = tmp_path_factory.mktemp("demo") / "demo.vp3d"
    checkpoint = ROOT / "export/vp3d_export/assets/demo_27f.pth"
    arguments = ["--ckpt", str(checkpoint), "--fp16", "--int8", "--lag", "0", "5", "full"]
    assert main([*arguments, "--no-engines", "--out", str(path)]) == 0
    return path


def rehearse(demo: Path, version: str, *more: str) -> tuple[int, str]:
    return pytest_of("test_tensorrt.py", demo, {"VP3D_GPU_REHEARSE": version}, *more)


def pytest_of(file: str, demo: Path, env: dict[str, str], *more: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", f"tests/gpu/{file}", "-q", "-p", "no:cacheprovider",
         *more],
        cwd=ROOT,
        env={**os.environ, "VP3D_GPU_BUNDLE": str(demo), **env},
        capture_output=True,
        text=True,
        check=False,
    )  # fmt: skip
    return done.returncode, done.stdout


@pytest.mark.parametrize("version", ["8.6.1", tensorrt_versions()[-1]])
def test_they_pass_over_the_doubles(demo: Path, version: str) -> None:
    code, said = rehearse(demo, version)
    assert code == 0, said
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) >= 35
    # What is skipped, and nothing else.
    reasons = {line.split(": ", 1)[1] for line in said.splitlines() if line.startswith("SKIPPED")}
    known = {"needs a PyTorch that sees the GPU"}
    if version.startswith("8."):
        known.add("TensorRT 8.6.1 reads no weights of 8 bits")
    assert reasons == known


@pytest.mark.parametrize(
    ("broken", "tests"),
    [
        # A stream whose state does not change places answers as if it saw its first frames only.
        ("tensorrt_stream._Group.run = lambda self: self._runs[0].run()", "chained_streams"),
        # An engine that keeps its buffers.
        ("tensorrt_form.FormRunner.close = lambda self: None", "memory_back"),
    ],
)
def test_they_fail_where_the_product_is_broken(
    demo: Path, broken: str, tests: str, tmp_path: Path
) -> None:
    plugin = tmp_path / "broken_product.py"
    plugin.write_text("from vp3d_deploy.engines import tensorrt_form, tensorrt_stream\n" + broken)
    code, said = rehearse(
        demo, tensorrt_versions()[-1], "-p", "broken_product", "-k", tests,
        "-o", f"pythonpath=. tests {tmp_path}",
    )  # fmt: skip
    assert code == 1, said
    assert "failed" in said.splitlines()[-1]


# The quick ones of each kind.
CUDA_TESTS = "3-5-3 or causal-5-3 or come_and_go or another_skeleton"


def test_those_of_the_cuda_engine_pass_over_the_doubles(demo: Path) -> None:
    if simulated_kernels.compiler() is None:
        pytest.skip("the CUDA kernels were not simulated: no C++ compiler")
    code, said = rehearse_cuda(demo, "VP3D_GPU_REHEARSE", tensorrt_versions()[-1], CUDA_TESTS)
    assert code == 0, said
    passed = re.search(r"(\d+) passed", said)
    assert passed is not None
    assert int(passed[1]) > 20


def test_those_of_its_processing_pass_over_the_doubles(demo: Path) -> None:
    if simulated_kernels.compiler() is None:
        pytest.skip("the CUDA kernels were not simulated: no C++ compiler")
    env = {"VP3D_GPU_REHEARSE": tensorrt_versions()[-1]}
    code, said = pytest_of("test_cuda_processing.py", demo, env)
    assert code == 0, said
    assert said.splitlines()[-1].startswith("6 passed")


@pytest.mark.parametrize(
    ("breaks", "tests"),
    [("rows", "shares_a_launch and 7-fp16"), ("state", "every_lag and 3-5-3-fp32")],
)
def test_those_of_the_cuda_engine_fail_where_it_is_broken(
    demo: Path, breaks: str, tests: str
) -> None:
    """The native engine stands in for it, which is quick also for larger networks."""
    try:
        open_engine(Bundle.open(demo), "native").close()
    except ImportError:
        pytest.skip("needs the native engine")
    code, said = rehearse_cuda(demo, "VP3D_STAND_IN_BREAKS", "", tests, "-p", "gpu_stand_in")
    assert code == 0, said
    code, said = rehearse_cuda(demo, "VP3D_STAND_IN_BREAKS", breaks, tests, "-p", "gpu_stand_in")
    assert code == 1, said
    assert "failed" in said.splitlines()[-1]


def rehearse_cuda(demo: Path, variable: str, value: str, tests: str, *more: str) -> tuple[int, str]:
    env = {variable: value, "PYTHONPATH": f"{ROOT / 'tests'}", "VP3D_GPU_FRAMES": "300"}
    return pytest_of("test_cuda.py", demo, env, "-k", tests, *more)
