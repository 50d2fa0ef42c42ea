"""The tests marked `gpu`, and those marked `sanitizer` under compute-sanitizer."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from vp3d_bench.gpu_report.environment import cuda_root
from vp3d_bench.gpu_report.junit import outcome_of_tests
from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome, Run

# What compute-sanitizer returns when it has found something.
FOUND_SOMETHING = 86
_PROGRAM = "compute-sanitizer"
# Of a Python whose packages are seen too, plugins of pytest are not wanted.
ALONE = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
# "ERROR SUMMARY: 2 errors"; "RACECHECK SUMMARY: 1 hazard displayed (1 error, 0 warnings)".
_SUMMARY = re.compile(r"(?:ERROR|RACECHECK) SUMMARY: (\d+) (?:errors?|hazards?)")


def run_tests(run: Run) -> Outcome:
    report = run.output / "tests.xml"
    report.unlink(missing_ok=True)
    env = {**ALONE, "VP3D_GPU_FRAMES": str(run.options.drift_frames)}
    ended = run.shell.call(_pytest(run, "gpu", report), "tests", env=env)
    return outcome_of_tests(ended, report)


def memcheck(run: Run) -> Outcome:
    return _sanitized(run, "memcheck")


def racecheck(run: Run) -> Outcome:
    return _sanitized(run, "racecheck")


def _sanitized(run: Run, tool: str) -> Outcome:
    program = find_sanitizer()
    if program is None:
        return Outcome(SKIPPED, f"{_PROGRAM} was not found on the PATH nor in the CUDA toolkit")
    report, said = run.output / f"{tool}.xml", run.shell.logs / f"{tool}-says.log"
    planted = run.shell.logs / f"{tool}-planted.log"
    for path in (report, said, planted):
        path.unlink(missing_ok=True)
    run.shell.logs.mkdir(parents=True, exist_ok=True)
    fault = [*_under(program, tool, planted), *run.module("vp3d_bench.planted_fault", tool)]
    planting = run.shell.call(fault, f"{tool}-plants", show=False)
    command = [*_under(program, tool, said), *_pytest(run, "gpu and sanitizer", report)]
    ended = run.shell.call(command, tool, env=ALONE)
    counts = summaries(said)
    outcome = outcome_of_tests(ended, report)
    found = {"errors": sum(counts), "summaries": len(counts),
             "planted_errors": sum(summaries(planted)), **outcome.found}  # fmt: skip
    if sum(counts) or ended.code == FOUND_SOMETHING:
        return Outcome(
            FAILED, f"{tool} found {sum(counts) or 'some'} errors; see {said.name}", found
        )
    if outcome.status == PASSED and not counts:
        return Outcome(FAILED, f"{tool} printed no summary: {ended.reason()}", found)
    if outcome.status == PASSED and not found["planted_errors"]:
        return Outcome(
            FAILED,
            f"{tool} found nothing in the tests, and not the fault either that was planted for it "
            f"({planting.reason()}): it does not look at kernels here",
            found,
        )
    return Outcome(outcome.status, outcome.reason, found)


def _under(program: str, tool: str, log: Path) -> list[str]:
    """What goes before a command, of which all processes are looked at: some tests start others. It
    is an error if none of them begins with CUDA."""
    return [program, "--tool", tool, "--target-processes", "all", "--require-cuda-init", "yes",
            "--error-exitcode", str(FOUND_SOMETHING), "--log-file", str(log)]  # fmt: skip


def find_sanitizer() -> str | None:
    """compute-sanitizer's path."""
    root = cuda_root()
    places = [root / "bin", root / "compute-sanitizer"] if root is not None else []
    found = [shutil.which(_PROGRAM), *(shutil.which(_PROGRAM, path=str(p)) for p in places)]
    return next((path for path in found if path is not None), None)


def summaries(path: Path) -> list[int]:
    """How many errors or hazards each process's summary counts."""
    try:
        text = path.read_text("utf-8", "replace")
    except OSError:
        return []
    return [int(count) for count in _SUMMARY.findall(text)]


def _pytest(run: Run, marks: str, report: Path) -> list[str]:
    return run.module("pytest", "tests/gpu", "-m", marks, "-q", "-p", "no:cacheprovider",
                      f"--junitxml={report}")  # fmt: skip
