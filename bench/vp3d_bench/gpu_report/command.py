"""The command line of `make gpu`, and its parts in their order."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report import benchmark, environment, tests_part
from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome, Part, Run
from vp3d_bench.gpu_report.result import NAME, Result, earlier_parts
from vp3d_bench.gpu_report.shell import Shell
from vp3d_bench.gpus import describe_gpus

EXIT_OK, EXIT_FAILED, EXIT_NO_GPU = 0, 1, 2
ROOT = Path(__file__).resolve().parents[3]
OLDEST_PYTHON = (3, 10)
DRIFT_FRAMES, QUICK_DRIFT_FRAMES = 1_000_000, 100_000
NO_GPU = (
    "make gpu: error: there is no NVIDIA GPU here that the CUDA driver sees, and nothing was done; "
    "run it on a Jetson or on a machine whose nvidia-smi lists a GPU"
)

INTERRUPTED = Outcome(FAILED, "interrupted; nothing after it was run")

PARTS = (
    Part("setup", "the virtual environment, and this project compiled into it",
         environment.set_up),
    Part("pycuda", "pycuda, compiled where it is not there yet", environment.set_up_pycuda,
         needs=("setup",)),
    Part("tests", "the tests on the GPU", tests_part.run_tests, needs=("setup",)),
    Part("memcheck", "a few of them under compute-sanitizer: memory", tests_part.memcheck,
         needs=("setup",)),
    Part("racecheck", "a few of them under compute-sanitizer: races", tests_part.racecheck,
         needs=("setup",)),
    Part("network", "a network to measure", benchmark.make_network, needs=("setup",)),
    Part("engines", "its TensorRT engines", benchmark.build_engines, needs=("network",)),
    Part("benchmark", "how fast it is, beside what one would use instead", benchmark.measure,
         needs=("network",)),
    Part("zero_copy", "one person's frames by the CUDA engine, with copies and without",
         benchmark.measure_zero_copy, needs=("network",)),
    Part("overlap", "many people's frames by the CUDA engine, whose launches overlap, and not",
         benchmark.measure_overlap, needs=("network",)),
    Part("warpgroups", "kernels for Hopper alone, beside the others",
         benchmark.measure_warpgroups, needs=("network",)),
)  # fmt: skip


def main(
    arguments: Sequence[str] | None = None,
    *,
    parts: Sequence[Part] = PARTS,
    gpus: Callable[[], list[dict[str, Any]]] = describe_gpus,
) -> int:
    """0 if nothing failed and tests ran, 1 if something failed, 2 without a GPU.

    parts, gpus: for tests.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser(parts).parse_args(given)
    if options.drift_frames is None:
        options.drift_frames = QUICK_DRIFT_FRAMES if options.quick else DRIFT_FRAMES
    if sys.version_info < OLDEST_PYTHON:
        print(f"make gpu: error: this is Python {sys.version.split()[0]}, and the project needs "
              "3.10 or newer: make gpu PYTHON=python3.12", file=sys.stderr)  # fmt: skip
        return EXIT_NO_GPU
    found = gpus()
    if not found:
        print(NO_GPU, file=sys.stderr)
        return EXIT_NO_GPU
    output: Path = options.output.resolve()
    output.mkdir(parents=True, exist_ok=True)
    shell = Shell(ROOT, output / "logs", 60 * options.timeout)
    run = Run(ROOT, output, shell, options, found)
    keep = earlier_parts(output / NAME) if options.add else []
    run.done.update({part["name"]: _outcome(part) for part in keep})
    result = Result(run, " ".join(["make gpu", *given]), keep)
    _run_parts(
        run, [part for part in parts if part.name in (options.only or _names(parts))], result
    )
    shell.say(f"\n{result.summary()}")
    return EXIT_OK if result.ok else EXIT_FAILED


def _run_parts(run: Run, parts: Sequence[Part], result: Result) -> None:
    """One after the other, whatever becomes of them."""
    for number, part in enumerate(parts, 1):
        run.shell.say(f"\n[{number}/{len(parts)}] {part.name}: {part.what}")
        began = time.monotonic()
        outcome = _outcome_of(run, part)
        seconds = time.monotonic() - began
        run.done[part.name] = outcome
        result.take(part.name, outcome, seconds)
        reason = f": {outcome.reason}" if outcome.reason else ""
        run.shell.say(f"    {outcome.status} after {seconds:.0f} s{reason}")
        if outcome is INTERRUPTED:
            return


def _outcome_of(run: Run, part: Part) -> Outcome:
    # A part that was not asked for this time may have been run before: it is not waited for.
    missing = [name for name in part.needs if name in run.done and run.done[name].status != PASSED]
    if missing:
        return Outcome(SKIPPED, f"needs {missing[0]}, which did not pass")
    try:
        return part.work(run)
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:  # the next parts are to run, and the file to be written
        return Outcome(FAILED, f"{type(error).__name__}: {error}")


def _outcome(part: dict[str, Any]) -> Outcome:
    return Outcome(part["status"], part["reason"], part["found"])


def _names(parts: Sequence[Part]) -> list[str]:
    return [part.name for part in parts]


def _parser(parts: Sequence[Part]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make gpu",
        description="Set up, test and measure on this machine's NVIDIA GPU, and write one file.",
    )
    add = parser.add_argument
    add("--output", type=Path, default=ROOT / "build/gpu", metavar="DIR", help="for the result, "
        "plots and logs (default: build/gpu)")  # fmt: skip
    add("--wheelhouse", type=_folder, metavar="DIR", help="install from this folder of wheels "
        "(scripts/wheelhouse.py fills one) and from no network")  # fmt: skip
    add("--system-torch", action="store_true", help="use the packages of the Python that runs "
        "this: its PyTorch for the GPU, its TensorRT")  # fmt: skip
    add("--only", nargs="+", choices=_names(parts), metavar="PART", help="these parts alone: "
        f"{' '.join(_names(parts))}")  # fmt: skip
    add("--add", action="store_true", help="keep the other parts of the result that is there")
    add("--quick", action="store_true", help="a short benchmark, and a shorter run for drift")
    add("--bundle", type=_folder, metavar="NAME.vp3d", help="measure this one")
    add("--drift-frames", type=int, metavar="N", help="how long the run for drift is (default: "
        f"{DRIFT_FRAMES}, and {QUICK_DRIFT_FRAMES} with --quick)")  # fmt: skip
    add("--timeout", type=float, default=60.0, metavar="MINUTES", help="end a command that takes "
        "longer (default: 60)")  # fmt: skip
    return parser


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        raise argparse.ArgumentTypeError(f"{text} is no folder")
    return path.resolve()
