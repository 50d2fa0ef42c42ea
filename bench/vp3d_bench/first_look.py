"""First benchmark: ONNX Runtime on our graphs beside a plain export of the strided network.

    python -m vp3d_bench.first_look [--out bench/results/first_look.json]

A 243-frame network of 1024 channels with random weights, fp32, batch 1, two threads. Answers are
compared in mm before anything is timed; contenders take turns within one run; figures are medians,
with minimum and 90th percentile beside them, and ratios come from the same run.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_bench.machine import describe_machine
from vp3d_bench.networks import random_bundle, random_state
from vp3d_bench.onnx_session import INPUT, onnxruntime_session
from vp3d_bench.operators import LAYERS, chain
from vp3d_bench.peers import StridedConvolutions, plain_onnx_export
from vp3d_deploy import Lifter, ModelSpec
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine

SPEC = ModelSpec((3, 3, 3, 3, 3), 1024)
IMAGE_SIZE = (1000, 1000)
THREADS = 2
LONG_CLIP_FRAMES = 10_000
REST_S = 0.05
# Of the short contenders, per turn.
CALLS, SETTLE = 40, 10
# Targets of the comparison, as ratios of medians: what is measured over what it is held to.
TARGETS = {
    "window / plain export": 0.85,
    "window / stream lag 0": 1.5,
    "lift / one sequence call": 1.1,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    parser.add_argument("--rounds", type=int, default=10, help="turns of the short contenders")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "random.vp3d"
        state = random_state(SPEC, seed=0)
        random_bundle(path, SPEC, state, lags=(0, SPEC.lookahead))
        result = {
            "command": "python -m vp3d_bench.first_look",
            "network": {**SPEC.to_dict(), "receptive_field": SPEC.receptive_field},
            "precision": "fp32",
            "batch": 1,
            "threads": THREADS,
            "machine": describe_machine(),
            "load_average_before": os.getloadavg()[0],
            **_short_calls(path, state, options.rounds),
            "few_rows": _few_rows(options.rounds),
            **_long_clip(path),
            **_opening(path),
        }
    print(_table(result))
    if options.out:
        options.out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"wrote {options.out}")
    return 0


def _short_calls(path: Path, state: dict[str, np.ndarray], rounds: int) -> dict[str, Any]:
    bundle = Bundle.open(path)
    engine = open_engine(bundle, "onnx", "fp32", THREADS)
    session = onnxruntime_session(plain_onnx_export(StridedConvolutions(SPEC, state)), THREADS)
    window = np.random.default_rng(0).normal(0, 0.3, (1, SPEC.receptive_field, 17, 2))
    window = window.astype(np.float32)
    accuracy = _accuracy(engine, session, window)

    frame = window[:, -1]
    live = Lifter(bundle, engine).stream(IMAGE_SIZE, 0)
    frame_px = (frame[0] + 1) * 500
    streams = {lag: engine.open_stream(lag) for lag in bundle.lags}
    for stream in streams.values():
        stream.add_rows(1)
    timings = take_turns(
        {
            "plain export": lambda: session.run(None, {INPUT: window}),
            "window": lambda: engine.window(window),
            "stream lag 0": lambda: streams[0].step(frame),
            f"stream lag {SPEC.lookahead}": lambda: streams[SPEC.lookahead].step(frame),
            "push lag 0": lambda: live.push(frame_px),
        },
        rounds,
        calls=CALLS,
        settle=SETTLE,
    )
    ratios = {
        "window / plain export": _ratio(timings, "window", "plain export"),
        "window / stream lag 0": _ratio(timings, "window", "stream lag 0"),
        f"window / stream lag {SPEC.lookahead}": _ratio(
            timings, "window", f"stream lag {SPEC.lookahead}"
        ),
    }
    return {
        "max_distance_to_plain_export_mm": accuracy,
        "milliseconds": timings,
        "ratios": ratios,
        "push_adds_ms": _push_overhead(bundle),
    }


def _few_rows(rounds: int) -> dict[str, Any]:
    """The product of three rows that a stream at lag 0 needs, by two operators."""
    rows = np.random.default_rng(0).normal(0, 1, (3, 3 * SPEC.channels)).astype(np.float32)
    points = np.ascontiguousarray(rows.T)[None, :, None]
    sessions = {name: chain(name, 3, SPEC.channels, THREADS) for name in ("Gemm", "Conv")}
    product = sessions["Gemm"].run(None, {"x": rows})[0]
    convolution = sessions["Conv"].run(None, {"x": points})[0]
    difference = float(np.abs(product - convolution[0, :, 0].T).max())
    if difference > 1e-3 * np.abs(product).max():
        raise SystemExit(f"the two operators differ by {difference}")
    timings = take_turns(
        {
            "Gemm": lambda: sessions["Gemm"].run(None, {"x": rows}),
            "Conv": lambda: sessions["Conv"].run(None, {"x": points}),
        },
        rounds,
        calls=CALLS,
        settle=SETTLE,
    )
    return {
        "layers": LAYERS,
        "milliseconds": timings,
        "ratios": {"Gemm / Conv": _ratio(timings, "Gemm", "Conv")},
    }


def _accuracy(engine: Any, session: Any, window: np.ndarray) -> dict[str, float]:
    """Largest distance of each contender's answer to the plain export's, mm; they must agree."""
    expected = session.run(None, {INPUT: window})[0]
    stream = engine.open_stream(SPEC.lookahead)
    stream.add_rows(1)
    # A stream that has seen the whole window has its centre's answer.
    for frame in window[0]:
        answer = stream.step(frame[None]).pose
    found = {"window": engine.window(window).pose, "stream": answer}
    distances = {
        name: float(1e3 * np.linalg.norm(pose - expected, axis=-1).max())
        for name, pose in found.items()
    }
    if max(distances.values()) > 0.1:
        raise SystemExit(f"the contenders do not agree: {distances} mm; nothing was timed")
    return distances


def _push_overhead(bundle: Bundle) -> float:
    """What `push` adds to its engine: the median over an engine that answers at once, ms."""
    from vp3d_deploy.engines.base import Output

    class Instant:
        """Engine and stream in one, answering zeros."""

        name, precision, n_rows = "instant", "fp32", 0
        answer = Output(np.zeros((1, 17, 3), np.float32), None)

        def open_stream(self, lag: int) -> Instant:
            return self

        def add_rows(self, count: int) -> None:
            self.n_rows += count

        def step(self, keypoints: np.ndarray) -> Output:
            return self.answer

    live = Lifter(bundle, Instant()).stream(IMAGE_SIZE, 0)  # type: ignore[arg-type]
    keypoints = np.random.default_rng(0).uniform(0, 1000, (17, 2)).astype(np.float32)
    return take_turns({"push": lambda: live.push(keypoints)}, 20, calls=200)["push"]["median"]


def _long_clip(path: Path) -> dict[str, Any]:
    """lift() of a long clip beside ONNX Runtime's own single call, and its peak memory."""
    bundle = Bundle.open(path)
    engine = open_engine(bundle, "onnx", "fp32", THREADS)
    # An engine of its own: the memory that one keeps for its calls is laid out for their shapes.
    lifter = Lifter(bundle, open_engine(bundle, "onnx", "fp32", THREADS))
    keypoints = np.random.default_rng(1).uniform(0, 1000, (LONG_CLIP_FRAMES, 17, 2))
    keypoints = keypoints.astype(np.float32)
    padded = np.pad(
        (keypoints - 500) / 500, ((SPEC.pad_left, SPEC.pad_right), (0, 0), (0, 0)), mode="edge"
    ).astype(np.float32)[None]
    one_call = engine.sequence(padded).pose[0]
    lifted = lifter.lift(keypoints, IMAGE_SIZE).joints_m
    distance = float(1e3 * np.linalg.norm(lifted - one_call, axis=-1).max())
    if distance > 0.1:
        raise SystemExit(f"lift() and one sequence call differ by {distance} mm")
    timings = take_turns(
        {
            "one sequence call": lambda: engine.sequence(padded),
            "lift": lambda: lifter.lift(keypoints, IMAGE_SIZE),
        },
        5,
    )
    # getrusage would report the peak of this process, which a new one takes over on Linux.
    code = (
        "import numpy; from vp3d_deploy import Lifter;"
        f"k = numpy.random.default_rng(1).uniform(0, 1000, ({LONG_CLIP_FRAMES}, 17, 2));"
        f"Lifter.open({str(path)!r}, threads={THREADS}).lift(k, {IMAGE_SIZE});"
        "status = open('/proc/self/status').read();"
        "print(int(status.split('VmHWM:')[1].split()[0]) / 1024)"
    )
    return {
        "long_clip": {
            "frames": LONG_CLIP_FRAMES,
            "max_distance_mm": distance,
            "milliseconds": timings,
            "ratios": {"lift / one sequence call": _ratio(timings, "lift", "one sequence call")},
            "peak_memory_of_lift_mb": float(_python(code)),
        }
    }


def _opening(path: Path) -> dict[str, Any]:
    """Opening in a fresh process: the import, then verification and a live stream's session."""
    code = (
        "import time; start = time.perf_counter(); from vp3d_deploy import Lifter;"
        "imported = time.perf_counter();"
        f"stream = Lifter.open({str(path)!r}, threads={THREADS}).stream({IMAGE_SIZE}, 0);"
        "print(imported - start, time.perf_counter() - imported)"
    )
    runs = np.array([[float(part) for part in _python(code).split()] for _ in range(7)])
    imports, opens = (_spread(1e3 * column) for column in runs.T)
    return {"milliseconds_to_import": imports, "milliseconds_to_open_a_stream": opens}


def _python(code: str) -> str:
    command = [sys.executable, "-c", code]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def take_turns(
    contenders: dict[str, Callable[[], Any]], rounds: int, calls: int = 1, settle: int = 1
) -> dict[str, Any]:
    """A warm-up, then `calls` calls of each contender in turn, `rounds` times; milliseconds.

    Worker threads of the contender before spin on for a while, on cores that the next one needs,
    and cores that rested need some calls to come back to speed: each turn begins with a rest and
    `settle` calls that do not count.
    """
    for call in contenders.values():
        call()
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in range(rounds):
        for name, call in contenders.items():
            time.sleep(REST_S)
            for _ in range(settle):
                call()
            for _ in range(calls):
                start = time.perf_counter()
                call()
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: _spread(np.array(values)) for name, values in times.items()}


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "min": round(float(values.min()), 4),
        "median": round(float(np.median(values)), 4),
        "p90": round(float(np.percentile(values, 90)), 4),
    }


def _ratio(timings: dict[str, Any], one: str, other: str) -> dict[str, float]:
    return {k: round(timings[one][k] / timings[other][k], 3) for k in ("min", "median")}


def _table(result: dict[str, Any]) -> str:
    lines = ["milliseconds                 min   median      p90"]
    timings = {**result["milliseconds"], **result["long_clip"]["milliseconds"]}
    timings.update(result["few_rows"]["milliseconds"])
    timings["import"] = result["milliseconds_to_import"]
    timings["open a stream"] = result["milliseconds_to_open_a_stream"]
    for name, spread in timings.items():
        figures = "".join(f"{spread[key]:9.3f}" for key in ("min", "median", "p90"))
        lines.append(f"{name:22s}{figures}")
    parts = (result, result["long_clip"], result["few_rows"])
    for name, ratio in ((n, r) for part in parts for n, r in part["ratios"].items()):
        target = f"  (target {TARGETS[name]})" if name in TARGETS else ""
        lines.append(f"{name:26s} min {ratio['min']}  median {ratio['median']}{target}")
    lines.append(f"push() adds {result['push_adds_ms']} ms")
    lines.append(f"peak memory of lift() {result['long_clip']['peak_memory_of_lift_mb']:.0f} MB")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
