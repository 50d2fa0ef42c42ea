"""Energy per frame: its arithmetic, and `vp3d-bench --power` beside a script called tegrastats."""

from __future__ import annotations

import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bundles import random_bundle
from rich.console import Console

from vp3d_bench.cli import main
from vp3d_bench.power import Energy, PowerMeter
from vp3d_bench.power.frames import FrameEnergy, PowerResult, energy_of_steps
from vp3d_bench.power.report import energy_table
from vp3d_bench.power.tegrastats import Tegrastats
from vp3d_deploy.spec import ModelSpec

LINE = (
    "05-20-2025 12:00:01 RAM 1830/7620MB (lfb 2x4MB) CPU [4%@1344,88%@1728] GR3D_FREQ 55%@[918] "
    "cpu@50.187C gpu@51.031C tj@51.031C VDD_IN 6904mW/6677mW VDD_CPU_GPU_CV 2109mW/1985mW"
)


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Programs of a Jetson, first on the PATH."""
    programs = {
        "tegrastats": f"while :; do echo '{LINE}'; sleep 0.01; done",
        "nvpmodel": "printf 'NV Power Mode: 25W\\n1\\n'",
    }
    for name, body in programs.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "small.vp3d"
    return random_bundle(folder, ModelSpec((3, 3), 16)).bundle.path


def test_per_frame_and_above_idle() -> None:
    """20 frames in 2 s at 7 W beside 4 W at rest: 0.7 J a frame, of which 0.3 J is the work."""
    energy = Energy(2.0, 14_000.0, {}, {}, {}, 20, False)
    found = FrameEnergy(20, energy, idle_mw=4000.0)
    assert found.per_frame_mj == pytest.approx(700)
    assert found.above_idle_mj == pytest.approx(300)
    assert found.to_dict()["mean_mw"] == pytest.approx(7000)


@pytest.mark.parametrize("source", ["nvml", "tegrastats"])
def test_the_table_says_what_the_figures_leave_out(source: str) -> None:
    energy = Energy(2.0, 14_000.0, {}, {"gpu": 51.2}, {"gpu": 918.0}, 20, False)
    result = PowerResult({"name": source, "covers": "the GPU alone (X)"}, energy)
    result.frames["a"] = FrameEnergy(20, energy, idle_mw=4000.0)
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(energy_table(result, {"a": "contender [a]"}, "One person"))
    shown = console.export_text()
    assert "One person: millijoules per frame, of the GPU alone (X)" in shown
    row = next(line for line in shown.splitlines() if "contender [a]" in line)
    assert row.split()[2:] == ["700.0", "300.0", "7.00", "10", "918", "–", "51"]
    assert ("The processor's energy is not in these figures" in shown) == (source == "nvml")


def test_steps_run_one_after_the_other(board: Path) -> None:
    calls: list[str] = []

    def step(name: str) -> None:
        time.sleep(0.01)
        calls.append(name)

    steps = {name: lambda name=name: step(name) for name in ("a", "b")}
    with PowerMeter(Tegrastats()) as meter:
        result = energy_of_steps(steps, meter, 0.3)
    assert "".join(calls).lstrip("a").strip("b") == "", "they did not run one after the other"
    assert result.source["power_mode"] == {"name": "25W", "number": 1}
    assert result.idle.mean_mw == pytest.approx(6904)
    for found in result.frames.values():
        assert found.energy.seconds == pytest.approx(0.3, abs=0.1)
        # A fifth of the calls was for settling and is not counted.
        assert 0 < found.frames < len(calls) / 2
        assert found.per_frame_mj == pytest.approx(6904 * found.energy.seconds / found.frames)


def run(arguments: list[str], output: Path) -> dict[str, Any]:
    assert main([*arguments, "-o", str(output), "--no-plots"]) == 0
    return dict(json.loads(output.read_text()))


def test_a_benchmark_with_power(
    board: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(small), "--quick", "--people", "1", "--frames", "40", "--rounds", "2"]
    arguments += ["--contenders", "onnx-window-fp32", "onnx-stream-fp32@0", "--power"]
    power = run(arguments, board / "result.json")["power"]
    assert power["source"]["covers"] == "the module (VDD_IN)"
    assert set(power["frames"]) == {"onnx-window-fp32", "onnx-stream-fp32@0"}
    for found in power["frames"].values():
        assert found["mean_mw"] == pytest.approx(6904)
        assert found["above_idle_mj"] == pytest.approx(0, abs=1e-3 * found["per_frame_mj"])
        assert found["clocks_mhz"] == {"cpu": 1728, "gpu": 918}
    shown = capsys.readouterr().out
    assert "millijoules per frame, of the module (VDD_IN)" in shown
    assert "At rest: 6.90 W, in power mode 25W" in shown


def test_a_camera_with_power(
    board: Path, small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("vp3d_bench.live.IDLE_S", 0.2)
    arguments = [str(small), "--paced", "100", "--seconds", "0.5", "--power"]
    result = run([*arguments, "--contenders", "onnx-stream-fp32@0"], board / "paced.json")
    found = result["power"]["frames"]["onnx-stream-fp32@0"]
    assert found["frames"] == 50
    # A frame every 10 ms costs at least what the machine uses in that time.
    assert found["per_frame_mj"] == pytest.approx(69.04, rel=0.2)
    assert "The same frames: millijoules per frame" in capsys.readouterr().out


def test_without_sensors_it_is_refused_before_the_work(
    small: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert main([str(small), "--power"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("vp3d-bench: error: power cannot be measured on this machine: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize("other", [["--soak", "3000"], ["--list"]])
def test_it_measures_frames_alone(
    small: Path, other: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(small), "--power", *other])
    assert f"--power measures the energy of frames; {other[0]}" in capsys.readouterr().err
