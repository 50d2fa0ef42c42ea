"""The tests for real GPUs, tested over the doubles of TensorRT and CUDA: they run, and they fail
where the product is broken."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from tensorrt_contract.inventory import tensorrt_versions

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
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "tests/gpu/test_tensorrt.py", "-q", "-p",
         "no:cacheprovider", *more],
        cwd=ROOT,
        env={**os.environ, "VP3D_GPU_REHEARSE": version, "VP3D_GPU_BUNDLE": str(demo)},
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
