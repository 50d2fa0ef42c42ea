"""The program that is busy beside the measured one."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest
from bundles import random_bundle

from vp3d_bench.beside import be_busy, busy_beside
from vp3d_bench.cli import main
from vp3d_deploy.spec import ModelSpec


@pytest.mark.parametrize("percent", [10, 50, 80])
def test_so_much_of_the_time_is_busy(percent: float) -> None:
    now, slept, left = 0.0, 0.0, 200

    def clock() -> float:
        nonlocal now
        now += 1e-6
        return now

    def sleep(seconds: float) -> None:
        nonlocal now, slept
        now += seconds
        slept += seconds

    def wanted() -> bool:
        nonlocal left
        left -= 1
        return left >= 0

    be_busy(percent, wanted, clock=clock, sleep=sleep)
    assert 1 - slept / now == pytest.approx(percent / 100, abs=0.02)


def children() -> set[int]:
    """This process's, that are busy beside it."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = (folder / "cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):  # it has just ended
            continue
        if parent == os.getpid() and b"vp3d_bench.beside" in command:
            found.add(int(folder.name))
    return found


def test_the_process_is_there_meanwhile_and_gone_afterwards() -> None:
    with busy_beside(None):
        assert children() == set()
    with busy_beside(30):
        assert len(children()) == 1
    assert children() == set()


def test_a_process_that_ends_early_is_said() -> None:
    ended = pytest.raises(ChildProcessError, match="--beside 30 ended with code -9")
    with ended, busy_beside(30):
        (child,) = children()
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)


@pytest.mark.parametrize("value", ["0", "100", "much"])
def test_impossible_shares(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["some.vp3d", "--beside", value])
    assert repr(value) in capsys.readouterr().err


def test_results_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle, out = tmp_path / "small.vp3d", tmp_path / "small.json"
    spec = ModelSpec((3, 3), 16)
    random_bundle(bundle, spec, precisions=("fp32",), lags=(0, spec.lookahead))
    options = ["--beside", "40", "--quick", "--people", "1", "--frames", "40", "--rounds", "2"]
    options += ["--no-plots", "--contenders", "onnx-stream-fp32@0", "-o", str(out)]
    assert main([str(bundle), *options]) == 0
    assert "another program takes 40 % of a core" in " ".join(capsys.readouterr().out.split())
    assert json.loads(out.read_text())["settings"]["beside"] == 40
    assert children() == set()


def test_there_is_no_soak_beside(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["some.vp3d", "--soak", "5", "--beside", "40"])
    assert "--soak times none" in capsys.readouterr().err
