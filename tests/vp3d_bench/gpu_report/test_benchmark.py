"""The benchmark of `make gpu`: what is called with what, and what becomes of failures."""

from __future__ import annotations

import inspect
import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from gpu_report_doubles import H200, fake_run

from vp3d_bench import stage
from vp3d_bench.contenders.line_up import GPU_FAMILIES
from vp3d_bench.gpu_report import benchmark
from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED

GOOD = {"latency_ms": {"1": {"cuda-stream-fp16@0": {}, "native-stream-fp16@0": {}}}}


def writes_a_result(command: Sequence[str]) -> int:
    if "-o" in command:
        path = Path(command[command.index("-o") + 1])
        path.write_text(json.dumps(GOOD))
        (path.with_suffix("")).mkdir(exist_ok=True)
        (path.with_suffix("") / "latency.png").touch()
    return 0


def test_everybody_on_the_gpu_is_measured_with_one_to_1024_people(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path, {"vp3d_bench": writes_a_result})
    (tmp_path / "243f_1024_rows256.vp3d").mkdir()
    found = benchmark.measure(run)
    assert (found.status, found.reason) == (PASSED, "")
    assert set(found.found["results"]) == {"243f_1024", "243f_1024_rows256"}
    assert "243f_1024/latency.png" in found.found["plots"]
    everybody, crowd = shell.called("-o")
    assert {f"{family}-*" for family in GPU_FAMILIES} <= set(everybody)
    assert everybody[everybody.index("--people") + 1 :][:6] == ["1", "4", "16", "64", "256", "1024"]
    assert "--power" in everybody
    assert crowd[crowd.index("--people") + 1 :] == ["256", "--contenders", "tensorrt-stream-*"]


def test_energy_that_cannot_be_measured_is_left_out_and_said(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path, {"vp3d_bench": writes_a_result, "open_source": 1})
    found = benchmark.measure(run)
    assert found.status == PASSED
    assert found.reason == "no energy: what went wrong"
    assert not shell.called("--power")


def test_of_several_gpus_the_first_ones_energy_is_read(tmp_path: Path) -> None:
    run, _ = fake_run(tmp_path, gpus=[H200, H200])
    assert benchmark.power_options(run) == (["--power-gpu", "0"], "")


def test_a_benchmark_that_fails_is_a_failure_and_the_others_are_kept(tmp_path: Path) -> None:
    def fails_for_crowds(command: Sequence[str]) -> int:
        if any("rows" in part for part in command):
            return 2
        return writes_a_result(command)

    run, _ = fake_run(tmp_path, {"vp3d_bench": fails_for_crowds})
    (tmp_path / "243f_1024_rows64.vp3d").mkdir()
    found = benchmark.measure(run)
    assert found.status == FAILED
    assert "vp3d-bench 243f_1024_rows64: exit code 2: what went wrong" in found.reason
    assert set(found.found["results"]) == {"243f_1024"}


def test_an_older_result_is_not_taken_for_this_one(tmp_path: Path) -> None:
    (tmp_path / "243f_1024.json").write_text("{}")
    run, _ = fake_run(tmp_path, {"vp3d_bench": 2})
    found = benchmark.measure(run)
    assert found.status == FAILED
    assert found.found["results"] == {}


def test_without_matplotlib_nothing_is_drawn(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path, {"vp3d_bench": writes_a_result}, {"import matplotlib": None})
    benchmark.measure(run)
    assert "--no-plots" in shell.called("-o")[0]


def test_engines_are_built_for_one_person_and_for_crowds(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path)
    assert benchmark.build_engines(run).status == PASSED
    rows = [call[call.index("--stream-rows") + 1] for call in shell.called("--stream-rows")]
    assert rows == ["16", "64", "256", "1024"]
    assert len(shell.calls) == 5


def test_a_bundle_of_ones_own_is_measured_as_it_is(tmp_path: Path) -> None:
    run, shell = fake_run(tmp_path, bundle=tmp_path / "walker.vp3d")
    assert benchmark.make_network(run).status == PASSED
    benchmark.build_engines(run)
    assert all("--out" in call for call in shell.calls)
    assert benchmark.bundle_of(run).name == "walker.vp3d"


@pytest.mark.parametrize(("code", "status"), [(1, FAILED), (2, SKIPPED)])
def test_engines_that_fail_differ_from_those_that_cannot_be(
    code: int, status: str, tmp_path: Path
) -> None:
    run, shell = fake_run(tmp_path, {"gpu_engines": code})
    assert benchmark.build_engines(run).status == status
    assert len(shell.calls) == (5 if status == FAILED else 1)


def test_a_benchmark_without_anybody_on_the_gpu_is_none() -> None:
    assert benchmark.faults({"latency_ms": {"1": {"native-stream-fp16@0": {}}}}) == [
        "nobody on the GPU was timed"
    ]
    assert benchmark.faults({}) == ["nobody on the GPU was timed"]
    assert benchmark.faults(GOOD) == []


def test_wrong_answers_of_ours_fail_and_absent_peers_do_not() -> None:
    unavailable = {
        "tensorrt-window-fp32": "TensorRT is not installed",
        "torchcuda-compiled-half": "does not open for 1 person: no C++ compiler",
        "cuda-stream-int8@0": "wrong: its joints lie 10 mm from the definition",
    }
    crowd = {"64": {"cuda-stream-fp32@0": "fails for 64 people: CUDA: out of memory"}}
    found = benchmark.faults({**GOOD, "unavailable": unavailable, "refused_with_people": crowd})
    assert found == [
        "cuda-stream-int8@0: wrong: its joints lie 10 mm from the definition",
        "cuda-stream-fp32@0 (64 people): fails for 64 people: CUDA: out of memory",
    ]


def test_a_fault_in_the_result_fails_the_part(tmp_path: Path) -> None:
    def writes_a_fault(command: Sequence[str]) -> int:
        if "-o" in command:
            path = Path(command[command.index("-o") + 1])
            path.write_text(json.dumps({**GOOD, "unavailable": {"cuda-x": "wrong: far off"}}))
        return 0

    run, _ = fake_run(tmp_path, {"vp3d_bench": writes_a_fault})
    found = benchmark.measure(run)
    assert (found.status, found.reason) == (FAILED, "243f_1024: cuda-x: wrong: far off")


def test_the_words_are_those_of_the_benchmark_itself() -> None:
    """What it says where a contender is wrong, breaks, or does not open."""
    source = inspect.getsource(stage)
    for words in benchmark._FAULTS:
        assert f'"{words}' in source
    assert set(benchmark._ON_GPU) == {f"{family}-" for family in GPU_FAMILIES}
