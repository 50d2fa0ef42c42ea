"""vp3d-bench from end to end on a small bundle."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bundles import random_bundle

from vp3d_bench.cli import main
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 16)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench") / "small.vp3d"
    made = random_bundle(
        folder, SPEC, precisions=("fp32", "fp16"), lags=(0, SPEC.lookahead), trajectory=True
    )
    try:
        NativeEngine(made.bundle, "fp32").close()
    except ImportError:
        pytest.skip("needs the native engine")
    return folder


@pytest.fixture(scope="module")
def benchmark(small: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The result of a whole run of a few contenders, and where it is."""
    output = tmp_path_factory.mktemp("result") / "small.json"
    contenders = ["native-*-fp32*", "onnx-*-fp32*", "onnx-stream-fp16@0", "onnxruntime-plain"]
    arguments = [str(small), "--quick", "--people", "3", "--frames", "40", "--rounds", "2"]
    arguments += ["--threads", "1", "-o", str(output), "--contenders", *contenders]
    assert main(arguments) == 0
    return output, json.loads(output.read_text())


def test_everybody_is_held_to_the_definition_and_timed(
    benchmark: tuple[Path, dict[str, Any]],
) -> None:
    _, result = benchmark
    assert result["unavailable"] == {}
    for name, contender in result["contenders"].items():
        limit = 0.3 if contender["precision"] == "fp16" else 0.01
        assert 0 < contender["accuracy"]["mean_mm"] < limit, name
        assert contender["accuracy"]["trajectory_mean_mm"] is not None
    alone = result["latency_ms"]["1"]
    assert {"native-stream-fp32@0", "native-stream-fp32@4", "onnx-window-fp32",
            "onnxruntime-plain", "memory-read-fp32", "arithmetic-fp32@0"} <= set(alone)  # fmt: skip
    for spread in alone.values():
        assert 0 < spread["min"] <= spread["p50"] <= spread["p95"] <= spread["worst"]
        assert len(spread["rounds"]) == 2
    assert "native-stream-fp32@4" in result["latency_ms"]["3"]
    assert set(result["throughput"]["milliseconds"]) == {
        "onnx-sequence-fp32", "native-sequence-fp32", "arithmetic-fp32",
    }  # fmt: skip
    assert result["throughput"]["frames"] == 40


def test_ratios_follow_from_the_times_in_the_same_file(
    benchmark: tuple[Path, dict[str, Any]],
) -> None:
    _, result = benchmark
    alone, crowd = result["latency_ms"]["1"], result["latency_ms"]["3"]
    ours = alone["native-stream-fp32@0"]
    faster = result["ratios"]["1 person fp32@0 plain export"]
    assert faster["better"] == "higher"
    assert faster["min"] == pytest.approx(alone["onnxruntime-plain"]["min"] / ours["min"], rel=1e-3)
    read = result["ratios"]["1 person fp32@0 read"]
    assert read["p50"] == pytest.approx(ours["p50"] / alone["memory-read-fp32"]["p50"], rel=1e-3)
    prepared = alone["native-stream-fp32@4-prepared"]
    faster = result["ratios"]["1 person fp32@4-prepared plain export"]
    assert faster["p50"] == pytest.approx(
        alone["onnxruntime-plain"]["p50"] / prepared["p50"], rel=1e-3
    )
    # It does not read the weights once, and with several people it is not timed.
    assert "1 person fp32@4-prepared read" not in result["ratios"]
    assert "native-stream-fp32@4-prepared" not in crowd
    floor = result["ratios"]["3 people fp32@4 arithmetic"]
    assert floor["min"] == pytest.approx(
        crowd["native-stream-fp32@4"]["min"] / crowd["arithmetic-fp32@4"]["min"], rel=1e-2
    )


def test_opening_is_measured_in_fresh_processes(benchmark: tuple[Path, dict[str, Any]]) -> None:
    _, result = benchmark
    # In a hurry, the first of each family and form.
    assert set(result["opening"]) == {
        "onnxruntime-plain", "onnx-window-fp32", "onnx-sequence-fp32", "onnx-stream-fp32@0",
        "native-window-fp32", "native-sequence-fp32", "native-stream-fp32@0",
    }  # fmt: skip
    for name, found in result["opening"].items():
        assert "failure" not in found, (name, found)
        assert found["open_ms"] > 0
    native = result["opening"]["native-stream-fp32@0"]
    # A ring of 3 columns of the input and 6 of level 0, in two networks, and little else.
    assert 2 * 4 * 16 * 6 < native["bytes_per_stream"] < 20_000


def test_the_result_says_what_it_is_of(benchmark: tuple[Path, dict[str, Any]]) -> None:
    _, result = benchmark
    assert (result["format"], result["version"], result["kind"]) == ("vp3d-bench", 1, "benchmark")
    assert result["command"].startswith("vp3d-bench small.vp3d --quick")
    assert result["networks"]["pose"]["receptive_field"] == 9
    assert set(result["networks"]) == {"pose", "trajectory"}
    assert result["threads"] == 1
    assert result["machine"]["cores"] >= 1
    for figure in ("python_share_alone", "python_share_beside", "push"):
        assert result["push_us"][figure]["p50"] > 0


def test_pictures_lie_beside_the_result(benchmark: tuple[Path, dict[str, Any]]) -> None:
    output, _ = benchmark
    folder = output.with_suffix("")
    names = ("latency", "accuracy", "people")
    wanted = {f"{name}{suffix}" for name in names for suffix in (".png", ".svg")}
    assert {path.name for path in folder.iterdir()} == wanted
    for path in folder.glob("*.png"):
        assert path.read_bytes().startswith(b"\x89PNG")
    for path in folder.glob("*.svg"):
        assert "native" in path.read_text()
    # Streams that are prepared for are timed for one person alone, and have no line of their own.
    shown = (folder / "people.svg").read_text()
    assert shown.count("<!-- native, fp32 -->") == 1
    assert "prepared" in (folder / "latency.svg").read_text()


def test_a_result_compares_with_itself(
    benchmark: tuple[Path, dict[str, Any]], capsys: pytest.CaptureFixture[str]
) -> None:
    output, _ = benchmark
    assert main(["--compare", str(output), str(output)]) == 0
    text = capsys.readouterr().out
    assert "native fp32, lag 0" in text
    assert "1.00" in text


def test_a_camera_is_fed(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "paced.json"
    arguments = ["--paced", "200", "--seconds", "0.2", "--people", "2", "-o", str(output)]
    assert main([str(small), *arguments, "--contenders", "onnx-stream-fp32@*"]) == 0
    result = json.loads(output.read_text())
    assert (result["kind"], result["frames"], result["people"]) == ("paced", 40, 2)
    assert set(result["streams"]) == {"onnx-stream-fp32@0", "onnx-stream-fp32@4"}
    for found in result["streams"].values():
        assert found["answer"]["calls"] == 40
        assert 0 <= found["missed"] <= 40
    assert "our ONNX stream, fp32, lag 4" in capsys.readouterr().out


@pytest.mark.parametrize("lag", [0, 4])
def test_many_frames_leave_no_trace(
    lag: int, small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "soak.json"
    arguments = ["--soak", "3000", "-o", str(output), "--contenders", f"native-stream-fp16@{lag}"]
    assert main([str(small), *arguments]) == 0
    (found,) = json.loads(output.read_text())["streams"].values()
    assert found["difference_mm"] == 0
    assert found["frames"] == 3000
    assert "equal a fresh stream's" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--contenders", "tensorflow"], "no contender is called that; there are pytorch-dilated"),
        (["--lags", "5"], "this network can trail the camera by 0 to 4 frames"),
        (["--soak", "12"], "expected at least"),
        (["--paced", "50", "--contenders", "openvino-f32"], "no contender is called that"),
        (["-o", "nowhere/x.json"], "the folder nowhere does not exist"),
    ],
)
def test_bad_input_gets_one_sentence(
    small: Path, arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small), *arguments]) == 2
    said = capsys.readouterr().err
    assert reason in said
    assert said.startswith("vp3d-bench: error: ")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "which bundle is to be measured"),
        (["a.vp3d", "--paced", "50", "--soak", "9"], "--paced and --soak are two different things"),
        (["a.vp3d", "--compare", "a", "b"], "--compare reads two results and no bundle"),
        (["a.vp3d", "--seconds", "3"], "--seconds belongs to --paced HZ"),
        (["a.vp3d", "--paced", "0"], "expected a number above 0"),
        (["a.vp3d", "--paced", "9", "--people", "1", "2"], "one number of --people"),
        (["a.vp3d", "-o", "x.txt"], "results are written as .json"),
        (["a.vp3d", "--people", "0"], "expected a whole number from 1 on"),
    ],
)
def test_options_that_do_not_fit_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert reason in capsys.readouterr().err


def test_no_bundle_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "no.vp3d")]) == 2
    assert "no.vp3d is not there" in capsys.readouterr().err


def test_names_are_listed(small: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(small), "--list", "--contenders", "native-stream-*@?"]) == 0
    assert capsys.readouterr().out.split() == [
        "native-stream-fp32@0", "native-stream-fp32@4", "native-stream-fp16@0",
        "native-stream-fp16@4",
    ]  # fmt: skip
