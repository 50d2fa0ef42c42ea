"""`make gpu` from end to end over parts that do nothing: order, failures, the file, exit codes."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from gpu_report_doubles import H200

from vp3d_bench.gpu_report import command
from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome, Part, Run

ROOT = Path(__file__).resolve().parents[3]
SKIPPED_TEST = {"name": "gpu.test_x::test_y", "reason": "needs TensorRT: it is not installed"}


def parts_of(**outcomes: Outcome | Exception | type[BaseException]) -> tuple[Part, ...]:
    """A part for each, in order; every one needs the first."""
    first = next(iter(outcomes))

    def work(outcome: Any) -> Callable[[Run], Outcome]:
        def run(_: Run) -> Outcome:
            if isinstance(outcome, Outcome):
                return outcome
            raise outcome

        return run

    return tuple(
        Part(name, f"the part {name}", work(outcome), () if name == first else (first,))
        for name, outcome in outcomes.items()
    )


def make_gpu(folder: Path, parts: Sequence[Part], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = command.main(["--output", str(folder), *arguments], parts=parts, gpus=lambda: [H200])
    return code, json.loads((folder / "result.json").read_text("utf-8"))


def statuses(result: dict[str, Any]) -> dict[str, str]:
    return {part["name"]: part["status"] for part in result["parts"]}


def test_all_parts_run_and_one_file_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tests = Outcome(PASSED, "3 passed, 1 skipped", {"skipped_tests": [SKIPPED_TEST]})
    code, result = make_gpu(tmp_path, parts_of(setup=Outcome(PASSED), tests=tests))
    assert code == 0
    assert (result["format"], result["version"], result["ok"]) == ("vp3d-gpu", 1, True)
    assert result["gpus"] == [H200]
    assert result["commit"] is None or len(result["commit"]) == 40
    assert statuses(result) == {"setup": PASSED, "tests": PASSED}
    said = capsys.readouterr().out
    assert str(tmp_path / "result.json") in said
    assert "skipped 1 test: needs TensorRT: it is not installed" in said
    assert "[2/2] tests" in said
    assert "To send it" in said


def test_a_part_that_fails_or_breaks_is_recorded_and_the_next_one_runs(tmp_path: Path) -> None:
    parts = parts_of(
        setup=Outcome(PASSED),
        pycuda=Outcome(FAILED, "compiling pycuda: exit code 1"),
        tests=ZeroDivisionError("of our own making"),
        network=Outcome(PASSED),
    )
    code, result = make_gpu(tmp_path, parts)
    assert code == 1
    assert not result["ok"]
    assert statuses(result) == {
        "setup": PASSED, "pycuda": FAILED, "tests": FAILED, "network": PASSED,
    }  # fmt: skip
    assert result["parts"][2]["reason"] == "ZeroDivisionError: of our own making"


def test_what_needs_a_part_that_failed_is_skipped_and_says_so(tmp_path: Path) -> None:
    parts = parts_of(setup=Outcome(FAILED, "no pip"), tests=Outcome(PASSED))
    code, result = make_gpu(tmp_path, parts)
    assert code == 1
    assert result["parts"][1] == {
        "name": "tests", "status": SKIPPED, "reason": "needs setup, which did not pass",
        "seconds": 0.0, "found": {},
    }  # fmt: skip


def test_tests_that_were_all_skipped_are_no_success(tmp_path: Path) -> None:
    parts = parts_of(setup=Outcome(PASSED), tests=Outcome(SKIPPED, "no test ran"))
    code, result = make_gpu(tmp_path, parts)
    assert code == 1
    assert not result["ok"]


def test_other_parts_may_be_skipped(tmp_path: Path) -> None:
    parts = parts_of(setup=Outcome(PASSED), memcheck=Outcome(SKIPPED, "no compute-sanitizer"))
    assert make_gpu(tmp_path, parts)[0] == 0


def test_an_interrupted_run_leaves_what_it_has(tmp_path: Path) -> None:
    parts = parts_of(setup=Outcome(PASSED), tests=KeyboardInterrupt, network=Outcome(PASSED))
    code, result = make_gpu(tmp_path, parts)
    assert code == 1
    assert statuses(result) == {"setup": PASSED, "tests": FAILED}


def test_parts_are_chosen_and_added_to_what_is_there(tmp_path: Path) -> None:
    before = parts_of(setup=Outcome(PASSED), tests=Outcome(FAILED, "then"), network=Outcome(PASSED))
    assert make_gpu(tmp_path, before)[0] == 1
    now = parts_of(setup=Outcome(PASSED), tests=Outcome(PASSED, "now"), network=Outcome(PASSED))
    code, result = make_gpu(tmp_path, now, "--only", "tests", "--add")
    assert code == 0
    assert statuses(result) == {"setup": PASSED, "tests": PASSED, "network": PASSED}
    _, result = make_gpu(tmp_path, now, "--only", "network")
    assert statuses(result) == {"network": PASSED}


def test_what_is_learnt_of_the_gpus_later_is_kept(tmp_path: Path) -> None:
    full = [{**H200, "clock_mhz": 1980}]
    parts = parts_of(setup=Outcome(PASSED, found={"gpus": full}), network=Outcome(PASSED))
    assert make_gpu(tmp_path, parts)[1]["gpus"] == full
    assert make_gpu(tmp_path, parts, "--only", "network", "--add")[1]["gpus"] == full


def test_without_a_gpu_one_sentence_and_nothing_is_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_of(setup=ZeroDivisionError())
    folder = tmp_path / "gpu"
    assert command.main(["--output", str(folder)], parts=parts, gpus=list) == 2
    said = capsys.readouterr().err
    assert said.startswith("make gpu: error: there is no NVIDIA GPU here")
    assert said.count("\n") == 1
    assert not folder.exists()


def test_the_standard_library_is_enough_to_start(tmp_path: Path) -> None:
    """The Python that runs it has nothing installed: not numpy, not this project."""
    done = subprocess.run(
        [sys.executable, "-S", "-m", "vp3d_bench.gpu_report", "--output", str(tmp_path / "gpu")],
        env={**os.environ, "PYTHONPATH": str(ROOT / "bench")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    from vp3d_deploy.engines.gpu import count_gpus

    if count_gpus():
        pytest.skip("this machine has a GPU, and would begin")
    assert done.returncode == 2
    assert "no NVIDIA GPU" in done.stderr


def test_make_hands_its_variables_on() -> None:
    if shutil.which("make") is None:
        pytest.skip("needs make")
    given = ["WHEELHOUSE=my wheels", "SYSTEM_TORCH=1", "GPU_ARGS=--quick --add", "PYTHON=python9"]
    # As from a shell, also where make runs these tests.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))
    }
    said = subprocess.run(
        ["make", "--dry-run", "--no-print-directory", "gpu", *given],
        cwd=ROOT, env=environment, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    words = shlex.split(said.replace("\\\n", " "))
    assert words == [
        "PYTHONPATH=bench", "python9", "-m", "vp3d_bench.gpu_report", "--wheelhouse", "my wheels",
        "--system-torch", "--quick", "--add",
    ]  # fmt: skip


def test_parts_follow_each_other_in_this_order() -> None:
    assert [part.name for part in command.PARTS] == [
        "setup", "pycuda", "tests", "memcheck", "racecheck", "network", "engines", "benchmark",
        "zero_copy", "overlap", "warpgroups",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "frames"),
    [
        ((), 1_000_000),
        (("--quick",), 100_000),
        (("--quick", "--drift-frames", "7"), 7),
        (("--drift-frames", "7"), 7),
    ],
)
def test_a_short_run_has_a_shorter_run_for_drift(
    arguments: tuple[str, ...], frames: int, tmp_path: Path
) -> None:
    asked: list[int] = []

    def work(run: Run) -> Outcome:
        asked.append(run.options.drift_frames)
        return Outcome(PASSED)

    make_gpu(tmp_path, (Part("tests", "the tests", work),), *arguments)
    assert asked == [frames]
