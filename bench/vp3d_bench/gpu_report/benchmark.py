"""The benchmark: one network of random weights, everybody who runs on the GPU, many people."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome, Run

CONTENDERS = ("cuda-*", "tensorrt-*", "onnxcuda-*", "torchcuda-*", "native-stream-*")
PEOPLE = (1, 4, 16, 64, 256, 1024)
# So many poses at once fill any GPU.
CLIP_FRAMES = 50_000
# People that one run of a TensorRT stream advances, in bundles beside the one with single rows.
STREAM_ROWS = (16, 64, 256, 1024)
QUICK_PEOPLE, QUICK_STREAM_ROWS = (1, 64, 1024), (1024,)
_NO_ENGINES = 2
_WARPGROUPS = "9.0"
# As nvidia-smi numbers GPUs, so that power is read of the one that computes.
_SAME_NUMBERS = {"CUDA_DEVICE_ORDER": "PCI_BUS_ID"}
# Beginnings of names: contenders on the GPU, and those of them that are ours.
_ON_GPU = ("cuda-", "tensorrt-", "onnxcuda-", "torchcuda-")
_OURS = ("cuda-", "tensorrt-", "onnxcuda-")
# Beginnings of reasons that vp3d-bench gives for what should have worked.
_FAULTS = ("wrong: ", "fails for ", "does not open for ")


def make_network(run: Run) -> Outcome:
    """The bundle to measure: by default 243 frames, 1024 channels, every precision."""
    given = run.options.bundle
    if given is not None:
        return Outcome(PASSED, f"{given} is measured")
    command = run.module("vp3d_bench.networks", str(bundle_of(run)))
    return Outcome.of(run.shell.call(command, "network"))


def build_engines(run: Run) -> Outcome:
    """TensorRT engines: of every graph for one person a run, and of streams for crowds."""
    bundle = bundle_of(run)
    commands = [[str(bundle)]] if run.options.bundle is None else []
    for rows in stream_rows(run):
        commands.append([str(bundle), "--out", str(crowd_bundle(run, rows)), "--forms", "stream",
                         "--stream-rows", str(rows)])  # fmt: skip
    problems = []
    for arguments in commands:
        ended = run.shell.call(run.module("vp3d_bench.gpu_engines", *arguments), "engines")
        if ended.code == _NO_ENGINES:
            return Outcome(SKIPPED, ended.reason())
        if not ended.ok:
            problems.append(f"{Path(arguments[-1]).name}: {ended.reason()}")
    return Outcome(FAILED, "; ".join(problems)) if problems else Outcome(PASSED)


def measure(run: Run) -> Outcome:
    """vp3d-bench on the network, and on its copies whose TensorRT streams take crowds."""
    people = [str(count) for count in (QUICK_PEOPLE if run.options.quick else PEOPLE)]
    results: dict[str, Any] = {}
    problems, notes = [], []
    power, why = power_options(run)
    if why:
        notes.append(f"no energy: {why}")
    arguments = ["--people", *people, "--frames", str(CLIP_FRAMES), "--contenders", *CONTENDERS]
    arguments += power
    problems += _bench(run, bundle_of(run), arguments, results)
    for rows in stream_rows(run):
        if crowd_bundle(run, rows).exists():
            crowd = ["--people", str(rows), "--contenders", "tensorrt-stream-*"]
            problems += _bench(run, crowd_bundle(run, rows), crowd, results)
    found = {"results": results, "plots": plots(run)}
    if problems:
        return Outcome(FAILED, "; ".join(problems), found)
    return Outcome(PASSED, "; ".join(notes), found)


def measure_warpgroups(run: Run) -> Outcome:
    """Kernels that one kind of GPU has, and nobody takes unasked: are they right, and how fast."""
    if not any(gpu["compute_capability"] == _WARPGROUPS for gpu in run.gpus):
        return Outcome(SKIPPED, f"needs a GPU of compute capability {_WARPGROUPS}")
    return _of_its_own(run, "warpgroups", "warpgroups")


def measure_zero_copy(run: Run) -> Outcome:
    """Whether one person's frames are answered sooner without copies."""
    return _of_its_own(run, "zero_copy", "cuda_options", "zero_copy")


def measure_overlap(run: Run) -> Outcome:
    """Whether frames of many people are answered sooner where their launches overlap."""
    return _of_its_own(run, "overlap", "cuda_options", "overlap")


def _of_its_own(run: Run, name: str, module: str, *arguments: str) -> Outcome:
    """A measurement by a program, in a process of its own."""
    output = run.output / f"{name}.json"
    output.unlink(missing_ok=True)
    more = (*arguments, str(bundle_of(run)), "-o", str(output))
    command = run.module(f"vp3d_bench.{module}", *more)
    ended = run.shell.call(command, name, env=_SAME_NUMBERS)
    if ended.code == _NO_ENGINES:
        return Outcome(SKIPPED, ended.reason())
    found = json.loads(output.read_text("utf-8")) if output.exists() else {}
    return Outcome.of(ended, {name: found})


def bundle_of(run: Run) -> Path:
    """The bundle that is measured."""
    given: Path | None = run.options.bundle
    return given if given is not None else run.output / "243f_1024.vp3d"


def crowd_bundle(run: Run, rows: int) -> Path:
    return run.output / f"{bundle_of(run).stem}_rows{rows}.vp3d"


def stream_rows(run: Run) -> tuple[int, ...]:
    return QUICK_STREAM_ROWS if run.options.quick else STREAM_ROWS


def plots(run: Run) -> list[str]:
    """Pictures in the folder of results, by their paths in it."""
    found = [path for suffix in ("png", "svg") for path in run.output.glob(f"*/*.{suffix}")]
    return sorted(str(path.relative_to(run.output)) for path in found)


def power_options(run: Run) -> tuple[list[str], str]:
    """Options of vp3d-bench that measure energy, or none and why."""
    number = ["--power-gpu", "0"] if len(run.gpus) > 1 else ["--power"]
    opened = "open_source(0)" if len(run.gpus) > 1 else "open_source()"
    program = f"from vp3d_bench.power import open_source; {opened}.close()"
    ended = run.shell.call([run.python, "-c", program], "power", show=False)
    if ended.ok:
        return number, ""
    _, _, said = ended.tail[-1].rpartition("PowerError: ") if ended.tail else ("", "", "")
    return [], said or ended.reason()


def _bench(run: Run, bundle: Path, arguments: list[str], results: dict[str, Any]) -> list[str]:
    """One run of vp3d-bench, its result into `results`; what went wrong."""
    name = bundle.stem
    output = run.output / f"{name}.json"
    output.unlink(missing_ok=True)
    command = run.module("vp3d_bench", str(bundle), "-o", str(output), *arguments)
    if run.options.quick:
        command += ["--quick", "--rounds", "10"]
    if not run.can_import("matplotlib"):
        command.append("--no-plots")
    ended = run.shell.call(command, f"bench-{name}", env=_SAME_NUMBERS)
    try:
        results[name] = json.loads(output.read_text("utf-8"))
    except (OSError, ValueError) as error:
        return [f"vp3d-bench {name}: {ended.reason()}" if not ended.ok else f"{name}: {error}"]
    if not ended.ok:
        return [f"vp3d-bench {name}: {ended.reason()}"]
    return [f"{name}: {problem}" for problem in faults(results[name])]


def faults(result: dict[str, Any]) -> list[str]:
    """What is wrong with a benchmark that came to its end: nobody on the GPU was timed, or one of
    ours had wrong answers or broke."""
    timed = result.get("latency_ms", {}).get("1", {})
    if not any(name.startswith(_ON_GPU) for name in timed):
        return ["nobody on the GPU was timed"]
    reasons = dict(result.get("unavailable", {}))
    for people, refused in result.get("refused_with_people", {}).items():
        reasons |= {f"{name} ({people} people)": reason for name, reason in refused.items()}
    return [
        f"{name}: {reason}"
        for name, reason in reasons.items()
        if name.startswith(_OURS) and reason.startswith(_FAULTS)
    ]
