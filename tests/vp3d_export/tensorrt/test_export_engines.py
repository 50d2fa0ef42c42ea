"""vp3d-export where TensorRT is there (a double of it), where it is not, and later on a device."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpoint_files import write_checkpoint
from reference import random_parameters
from tensorrt_contract.installed import install
from tensorrt_contract.inventory import tensorrt_versions

from vp3d_deploy import Bundle, Lifter
from vp3d_deploy.bundle import PARITY
from vp3d_deploy.spec import ModelSpec
from vp3d_export import compare, evaluation
from vp3d_export.cli import main
from vp3d_export.entry import main as entry
from vp3d_export.tensorrt.recorded import RECORDED

SPEC = ModelSpec((3, 3), 16)
NEWEST = tensorrt_versions()[-1]
# Random weights magnify half precision more than trained ones.
LOOSE = ["--fp16-mean-distance", "5", "--fp16-mpjpe-change", "5"]


@pytest.fixture(autouse=True)
def _short_clips(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The comparisons are the same on fewer frames; only the time they take is not."""
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 60)
    monkeypatch.setattr(compare, "STREAM_ANSWERS", (8, 20))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    write_checkpoint(tmp_path / "x.pth", "videopose3d", random_parameters(SPEC, 1), spec=SPEC)
    return tmp_path / "x.pth"


@pytest.mark.parametrize("version", ["8.6.1", "10.3.0", NEWEST])
def test_an_export_with_a_gpu_builds_engines_and_compares_them_with_pytorch(
    version: str,
    checkpoint: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    install(monkeypatch, version)
    assert main(["--ckpt", str(checkpoint), "--fp16", "--json", *LOOSE]) == 0
    values = json.loads(capsys.readouterr().out)
    bundle = Bundle.open(checkpoint.with_suffix(".vp3d"))
    assert values["tensorrt"]["engines"] == [entry.file for entry in bundle.engines]
    assert len(bundle.engines) == len(bundle.graphs) == 6
    assert values["tensorrt"]["failures"] == []
    rows = json.loads(bundle.file(PARITY).read_text("utf-8"))["rows"]
    assert sum(row["engine"] == "tensorrt" for row in rows) == 6
    lifter = Lifter.open(bundle.path)
    assert (lifter.engine.name, lifter.engine.precision) == ("tensorrt", "fp16")
    lifter.engine.close()


def test_an_engine_that_fails_is_left_out_and_the_exit_code_says_so(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from vp3d_export.tensorrt.api import EngineBuilder

    install(monkeypatch, NEWEST)
    monkeypatch.setattr(EngineBuilder, "build", lambda self: b"no plan")
    assert main(["--ckpt", str(checkpoint), "--forms", "window"]) == 1
    out = capsys.readouterr().out
    assert "TensorRT engine left out" in out
    bundle = Bundle.open(checkpoint.with_suffix(".vp3d"))
    assert bundle.engines == ()
    assert bundle.forms == ("window",)


def test_without_a_gpu_all_else_is_written_and_the_export_says_so(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--ckpt", str(checkpoint), "--lag", "0", "full"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "TensorRT engines were not built (TensorRT is not installed" in out
    bundle = Bundle.open(checkpoint.with_suffix(".vp3d"))
    assert RECORDED in bundle.manifest["files"]
    assert bundle.engines == ()
    assert main(["--ckpt", str(checkpoint), "--no-engines", "--forms", "window"]) == 0
    assert "TensorRT" not in capsys.readouterr().out


def test_engines_that_are_built_later_need_neither_the_checkpoint_nor_torch(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--ckpt", str(checkpoint), "--fp16", *LOOSE]) == 0
    checkpoint.unlink()
    path = checkpoint.with_suffix(".vp3d")
    install(monkeypatch, NEWEST)
    monkeypatch.setattr(sys, "argv", ["vp3d-export", f"--resume-engines={path}"])
    capsys.readouterr()
    assert entry() == 0  # within the limits of that export, not the default ones
    bundle = Bundle.open(path)
    assert len(bundle.engines) == len(bundle.graphs)
    shown = np.random.default_rng(0).uniform(100, 400, (20, 17, 2))
    lifter = Lifter.open(path, "tensorrt", "fp32")
    assert lifter.lift(shown, (640, 480)).joints_m.shape == (20, 17, 3)
    lifter.engine.close()


def test_resuming_imports_no_torch_and_no_onnx(checkpoint: Path) -> None:
    assert main(["--ckpt", str(checkpoint), "--forms", "window"]) == 0
    path = checkpoint.with_suffix(".vp3d")
    program = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'rich', 'onnxruntime'):\n"
        "    sys.modules[name] = None\n"
        "from vp3d_export.entry import main\n"
        f"sys.argv = ['vp3d-export', '--resume-engines', {str(path)!r}]\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "no engines were built: TensorRT is not installed" in done.stderr


def test_trtexec_commands_are_printed_for_every_graph(
    checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--ckpt", str(checkpoint), "--trtexec", "--batch", "1:2:8"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line for line in lines if line.startswith("trtexec ")]
    assert len(commands) == 3
    assert "--maxShapes=keypoints:8x9x17x2" in commands[0]
