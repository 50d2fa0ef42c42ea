"""vp3d-export --triton, after an export and of a bundle that is there."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bundles import random_bundle
from checkpoint_files import write_checkpoint
from reference import random_parameters
from triton_server import Model, read_config

from vp3d_deploy.spec import ModelSpec
from vp3d_export import compare, evaluation
from vp3d_export.cli import main as export
from vp3d_export.triton.command import main

SPEC = ModelSpec((3, 3), 16)


@pytest.fixture(scope="module")
def walker(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundle") / "walker.vp3d"
    return random_bundle(path, SPEC, precisions=("fp32", "fp16"), lags=(0, 4)).bundle.path


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 60)
    monkeypatch.setattr(compare, "STREAM_ANSWERS", (5, 10))
    path = tmp_path / "net.pth"
    write_checkpoint(path, "videopose3d", random_parameters(SPEC, 1), spec=SPEC)
    return path


def test_a_bundle_is_served_as_told(
    walker: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "models"
    given = ["--bundle", str(walker), "--triton", str(directory), "--triton-precision", "fp16"]
    given += ["--triton-batch", "4", "--triton-streams", "9", "--triton-idle", "2.5"]
    assert main(given) == 0
    config = read_config(directory / "walker_stream_lag4")
    assert config.max_batch_size == 4
    assert config.sequence_batching.oldest.max_candidate_sequences == 9
    assert config.sequence_batching.max_sequence_idle_microseconds == 2_500_000
    assert config.parameters["vp3d_precision"].string_value == "fp16"
    assert f"wrote {directory / 'walker_window'}\n" in capsys.readouterr().err


def test_after_an_export(checkpoint: Path, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    assert export(["--ckpt", str(checkpoint), "--triton", str(directory)]) == 0
    assert {p.name for p in directory.iterdir()} == {"net_window", "net_stream_lag0"}
    Model(directory / "net_stream_lag0")


def test_an_export_that_fails_its_check_is_not_served(checkpoint: Path, tmp_path: Path) -> None:
    directory = tmp_path / "models"
    given = ["--ckpt", str(checkpoint), "--triton", str(directory), "--fp16", "--no-fp32"]
    assert export([*given, "--fp16-mean-distance", "0"]) == 1
    assert not directory.exists()


def test_neither_torch_nor_onnx_is_needed_for_a_bundle(walker: Path, tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules.update(torch=None, onnx=None, rich=None); "
        "from vp3d_export.entry import main; sys.exit(main())"
    )
    given = [f"--bundle={walker}", "--triton", str(tmp_path / "models")]
    subprocess.run([sys.executable, "-c", code, *given], check=True)
    assert (tmp_path / "models" / "walker_window" / "config.pbtxt").exists()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--triton-precision", "int8"], "walker.vp3d has no int8; it holds fp32, fp16"),
        (["--triton-platform", "tensorrt"], "holds no TensorRT engine of the window"),
    ],
)
def test_what_cannot_be_served_gets_one_sentence(
    walker: Path,
    tmp_path: Path,
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = ["--bundle", str(walker), "--triton", str(tmp_path / "models"), *arguments]
    assert main(given) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.count("\n") == 1
    assert not (tmp_path / "models").exists()


def test_a_bundle_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--bundle", str(tmp_path / "no"), "--triton", str(tmp_path / "models")]) == 2
    assert "no is not there" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--triton-batch", "0"], "--triton-batch must be from 1 to 4096, not 0"),
        (["--triton-streams", "5000"], "--triton-streams must be from 1 to 4096"),
        (["--triton-idle", "nan"], "--triton-idle must be a number of seconds"),
        (["--triton-idle", "0"], "--triton-idle must be a number of seconds"),
        (["--triton-gpu", "Orin"], "goes with --triton-platform tensorrt"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command, first in ((main, "--bundle"), (export, "--ckpt")):
        with pytest.raises(SystemExit):
            command([first, "x", "--triton", "models", *arguments])
        assert reason in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--triton-batch", "4"], "say how to serve with --triton DIR"),
        (["--triton", "m", "--forms", "sequence"], "both of which --forms leaves out"),
        (["--triton", "m", "--triton-precision", "int8"], "int8 is not exported: fp32 would be"),
    ],
)
def test_exports_that_could_not_be_served(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        export(["--ckpt", "x", *arguments])
    assert reason in capsys.readouterr().err


def test_a_bundle_alone_is_no_task(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["--bundle", "x"])
    assert "--bundle is for --triton DIR" in capsys.readouterr().err
