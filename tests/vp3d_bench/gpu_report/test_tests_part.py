"""What `make gpu` makes of pytest's report and of compute-sanitizer's words."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from gpu_report_doubles import fake_run

from vp3d_bench.gpu_report import tests_part
from vp3d_bench.gpu_report.junit import outcome_of_tests
from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome
from vp3d_bench.gpu_report.shell import Ended

PASSING = "def test_good():\n    pass\n"
FAILING = "def test_bad():\n    assert 1 == 2, 'one is not two'\n"
SKIPPING = "import pytest\ndef test_absent():\n    pytest.skip('needs TensorRT: it is missing')\n"
BROKEN_FIXTURE = (
    "import pytest\n@pytest.fixture\ndef gpu():\n    raise RuntimeError('no device')\n"
    "def test_x(gpu):\n    pass\n"
)
MODULE_SKIPPED = "import pytest\npytest.skip('needs a GPU', allow_module_level=True)\n"


def report_of(folder: Path, *modules: str) -> tuple[Ended, Path]:
    """pytest's own report of modules of tests, as this version of pytest writes it."""
    for number, source in enumerate(modules):
        (folder / f"test_{number}.py").write_text(source)
    path = folder / "report.xml"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
               f"--junitxml={path}", "--rootdir", str(folder), str(folder)]  # fmt: skip
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    tail = tuple(done.stdout.splitlines()[-3:])
    return Ended(done.returncode, 1.0, tail, folder / "log"), path


def outcome(folder: Path, *modules: str) -> Outcome:
    return outcome_of_tests(*report_of(folder, *modules))


def test_passes_and_skips_are_counted_apart(tmp_path: Path) -> None:
    found = outcome(tmp_path, PASSING, SKIPPING)
    assert (found.status, found.reason) == (PASSED, "1 passed, 1 skipped")
    assert found.found["skipped_tests"] == [
        {"name": "test_1::test_absent", "reason": "needs TensorRT: it is missing"}
    ]
    assert [test["outcome"] for test in found.found["tests"]] == [PASSED, SKIPPED]


def test_one_failure_fails_and_is_named(tmp_path: Path) -> None:
    found = outcome(tmp_path, PASSING, FAILING)
    assert found.status == FAILED
    assert "1 failed, the first test_1::test_bad: AssertionError: one is not two" in found.reason


def test_a_fixture_that_breaks_is_a_failure(tmp_path: Path) -> None:
    found = outcome(tmp_path, BROKEN_FIXTURE)
    assert found.status == FAILED
    assert "no device" in found.reason


def test_a_module_that_does_not_load_is_a_failure(tmp_path: Path) -> None:
    found = outcome(tmp_path, PASSING, "import no_such_module_anywhere\n")
    assert found.status == FAILED
    assert "No module named 'no_such_module_anywhere'" in found.reason


@pytest.mark.parametrize("source", [SKIPPING, MODULE_SKIPPED])
def test_where_all_are_skipped_nothing_passed(source: str, tmp_path: Path) -> None:
    found = outcome(tmp_path, source)
    assert found.status == SKIPPED
    assert found.reason.startswith("no test ran: needs ")
    assert found.found[PASSED] == 0


def test_a_report_that_is_missing_or_cut_off_is_a_failure(tmp_path: Path) -> None:
    died = Ended(-11, 1.0, ("Fatal Python error: Segmentation fault",), tmp_path / "log")
    path = tmp_path / "report.xml"
    assert outcome_of_tests(died, path).status == FAILED
    path.write_text("<testsuites><testsuite>")
    found = outcome_of_tests(died, path)
    assert found.status == FAILED
    assert "Segmentation fault" in found.reason


def test_a_process_that_dies_after_its_tests_passed_is_a_failure(tmp_path: Path) -> None:
    ended, path = report_of(tmp_path, PASSING)
    died = Ended(-11, 1.0, ("Segmentation fault",), ended.log)
    assert outcome_of_tests(died, path).status == FAILED


GOOD_XML = (
    '<testsuites><testsuite><testcase classname="gpu" name="test_a"/></testsuite></testsuites>'
)


def sanitized(
    folder: Path,
    tool: str,
    log: str | None,
    code: int,
    xml: str = GOOD_XML,
    planted: str | None = "ERROR SUMMARY: 1 error\n",
) -> Outcome:
    """The part, where compute-sanitizer leaves this log of the tests and returns this code, and
    that log of the fault that is planted for it."""

    def answer(command: Sequence[str]) -> int:
        assert command[command.index("--tool") + 1] == tool
        # Of some tests, the kernels run in a child.
        assert command[command.index("--target-processes") + 1] == "all"
        assert command[command.index("--require-cuda-init") + 1] == "yes"
        at = Path(command[command.index("--log-file") + 1])
        if "vp3d_bench.planted_fault" in command:
            assert command[-1] == tool
            if planted is not None:
                at.write_text(planted)
            return 86 if planted else 0
        assert "gpu and sanitizer" in command
        if log is not None:
            at.write_text(log)
        report = next(part for part in command if part.startswith("--junitxml="))
        Path(report.partition("=")[2]).write_text(xml)
        return code

    run, _ = fake_run(folder, {"compute-sanitizer": answer})
    return {"memcheck": tests_part.memcheck, "racecheck": tests_part.racecheck}[tool](run)


@pytest.fixture
def sanitizer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tests_part, "find_sanitizer", lambda: "/opt/cuda/bin/compute-sanitizer")


CLEAN = "========= COMPUTE-SANITIZER\n========= ERROR SUMMARY: 0 errors\n"
CLEAN_RACES = "========= RACECHECK SUMMARY: 0 hazards displayed (0 errors, 0 warnings)\n"


@pytest.mark.usefixtures("sanitizer")
def test_a_clean_run_passes(tmp_path: Path) -> None:
    assert sanitized(tmp_path, "memcheck", CLEAN, 0).status == PASSED
    found = sanitized(tmp_path, "racecheck", CLEAN_RACES, 0)
    assert found.status == PASSED
    assert (found.found["errors"], found.found["summaries"]) == (0, 1)
    assert found.found["planted_errors"] == 1


@pytest.mark.usefixtures("sanitizer")
@pytest.mark.parametrize("planted", [CLEAN, "", None])
def test_a_sanitizer_that_sees_no_kernel_does_not_pass(planted: str | None, tmp_path: Path) -> None:
    """It has nothing to say of the tests' kernels, nor of one that is known to be wrong."""
    found = sanitized(tmp_path, "memcheck", CLEAN, 0, planted=planted)
    assert found.status == FAILED
    assert "not the fault either that was planted" in found.reason


@pytest.mark.usefixtures("sanitizer")
@pytest.mark.parametrize(
    ("tool", "log", "code"),
    [
        ("memcheck", "========= ERROR SUMMARY: 3 errors\n", 86),
        # The tests themselves pass, and so would their exit code.
        ("memcheck", "========= ERROR SUMMARY: 1 error\n", 0),
        ("racecheck", "========= RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)\n", 0),
        ("memcheck", CLEAN, 86),
        ("memcheck", "", 0),
        ("memcheck", None, 0),
        ("memcheck", CLEAN, 1),
    ],
)
def test_whatever_is_not_clean_fails(tool: str, log: str | None, code: int, tmp_path: Path) -> None:
    assert sanitized(tmp_path, tool, log, code).status == FAILED


@pytest.mark.usefixtures("sanitizer")
def test_where_every_test_was_skipped_the_sanitizer_has_seen_nothing(tmp_path: Path) -> None:
    xml = GOOD_XML.replace('name="test_a"/>', 'name="a"><skipped message="no engine"/></testcase>')
    found = sanitized(tmp_path, "memcheck", CLEAN, 0, xml)
    assert (found.status, found.reason) == (SKIPPED, "no test ran: no engine")


def test_without_compute_sanitizer_the_part_is_skipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tests_part, "find_sanitizer", lambda: None)
    run, shell = fake_run(tmp_path)
    found = tests_part.memcheck(run)
    assert found.status == SKIPPED
    assert "compute-sanitizer was not found" in found.reason
    assert shell.calls == []


def test_compute_sanitizer_is_found_in_the_toolkit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "bin" / "compute-sanitizer"
    for folder in ("bin", "include"):
        (tmp_path / folder).mkdir()
    (tmp_path / "include/cuda.h").touch()
    program.touch(mode=0o755)
    monkeypatch.setenv("CUDA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", "")
    assert tests_part.find_sanitizer() == str(program)


def test_the_run_for_drift_is_as_long_as_asked(tmp_path: Path) -> None:
    def answer(command: Sequence[str]) -> int:
        report = next(part for part in command if part.startswith("--junitxml="))
        Path(report.partition("=")[2]).write_text(GOOD_XML)
        return 0

    run, shell = fake_run(tmp_path, {"pytest": answer}, drift_frames=1_000_000)
    assert tests_part.run_tests(run).status == PASSED
    (environment,) = shell.environments
    assert environment["VP3D_GPU_FRAMES"] == "1000000"
