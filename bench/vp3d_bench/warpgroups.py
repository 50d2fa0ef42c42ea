"""What the CUDA engine's kernels for Hopper's warpgroups answer, and how long they take, beside the
engine's other kernels.

    python -m vp3d_bench.warpgroups net.vp3d -o warpgroups.json

In a process of its own: a fault in a kernel ends CUDA for the process that it happens in.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_bench.clips import keypoints, padded
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.cuda_driver import CudaDriverError
from vp3d_deploy.engines.gpu import GpuError
from vp3d_export.parity import DEFAULT_LIMITS

EXIT_RIGHT, EXIT_WRONG, EXIT_NONE = 0, 1, 2
MM = 1000.0
PRECISIONS = ("fp16", "int8")
KINDS = {"tiles": False, "warpgroups": True}  # the engine's option `warpgroups`
CLIPS, FRAMES, ROUNDS = 8, 4096, 20
CROWDS = (256, 1024)  # people of one stream


def main(
    arguments: Sequence[str] | None = None,
    *,
    clips: int = CLIPS,
    frames: int = FRAMES,
    crowds: Sequence[int] = CROWDS,
) -> int:
    """0 if all answers are within the limits of an export, 1 if not, 2 where there are no such
    kernels. clips, frames, crowds: for tests."""
    parser = argparse.ArgumentParser(description="Measure the CUDA engine's warpgroup kernels.")
    parser.add_argument("bundle", type=Path, help="NAME.vp3d")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.json")
    given = parser.parse_args(arguments)
    bundle = Bundle.open(given.bundle)
    shown = padded(bundle.spec, keypoints(bundle, clips, frames))
    found: dict[str, Any] = {"clips": clips, "frames": frames, "rounds": ROUNDS}
    for precision in (p for p in PRECISIONS if p in bundle.precisions):
        try:
            engines = opened(bundle, precision)
        except (ImportError, GpuError) as error:
            print(f"no warpgroups in {precision}: {error}", file=sys.stderr)
            if not any(p in found for p in PRECISIONS):
                return EXIT_NONE
            # They were there a moment ago.
            found[precision] = {"within_limit": False, "failed": f"{error}"}
            given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
            break
        try:
            found[precision] = compare(engines, precision, shown)
            streams = {str(n): compare_streams(engines, precision, bundle, n) for n in crowds}
            found[precision]["streams"] = streams
            found[precision]["within_limit"] &= all(s["within_limit"] for s in streams.values())
        except Exception as error:  # a kernel that breaks, by whatever it shows
            found[precision] = {"within_limit": False, "failed": f"{error}"}
        finally:
            close(engines)
        given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        print(f"{precision}: {json.dumps(found[precision])}", flush=True)
        if "failed" in found[precision]:
            break  # CUDA may be of no use to this process any more
    right = all(found[p]["within_limit"] for p in PRECISIONS if p in found)
    return EXIT_RIGHT if right else EXIT_WRONG


def opened(bundle: Bundle, precision: str) -> dict[str, Any]:
    """An engine with each kind of kernels; raises what `open_engine` raises."""
    engines: dict[str, Any] = {}
    try:
        for kind, warpgroups in KINDS.items():
            engines[kind] = open_engine(
                bundle, "cuda", precision, launch="wide", warpgroups=warpgroups, timings=True
            )
    except BaseException:
        close(engines)
        raise
    return engines


def close(engines: Mapping[str, Any]) -> None:
    """What a broken kernel leaves cannot always be given back."""
    for engine in engines.values():
        with contextlib.suppress(GpuError, CudaDriverError):
            engine.close()


def compare(engines: Mapping[str, Any], precision: str, shown: np.ndarray) -> dict[str, Any]:
    """`compared`, of a sequence."""

    def sequence(kind: str) -> tuple[np.ndarray, float]:
        output = engines[kind].sequence(shown)
        return output.pose, engines[kind].gpu_ms

    return compared(sequence, precision)


def compare_streams(
    engines: Mapping[str, Any], precision: str, bundle: Bundle, people: int
) -> dict[str, Any]:
    """`compared`, of frames of one wide stream of so many people."""
    clips = keypoints(bundle, people, ROUNDS + 1)
    streams = {kind: engine.open_stream(0) for kind, engine in engines.items()}
    seen = dict.fromkeys(streams, 0)
    for stream in streams.values():
        stream.add_rows(people)

    def step(kind: str) -> tuple[np.ndarray, float]:
        frame = np.ascontiguousarray(clips[:, seen[kind]])
        seen[kind] += 1
        output = streams[kind].step(frame)
        return output.pose, streams[kind].gpu_ms

    found = compared(step, precision)
    # Not where a step failed: what a broken kernel leaves goes with the process.
    for stream in streams.values():
        stream.close()
    return found


def compared(answer: Callable[[str], tuple[np.ndarray, float]], precision: str) -> dict[str, Any]:
    """Mean and largest distance of joints between both kinds of kernels, mm; milliseconds of the
    whole call and of the GPU, medians of runs that take turns.

    answer(kind) -> poses, valid until the next, and the GPU's milliseconds.
    """
    took: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    means, largest = [], 0.0
    for i in range(ROUNDS + 1):
        poses = {}
        for kind in KINDS:
            began = time.perf_counter()
            pose, gpu_ms = answer(kind)
            if i:  # the first call plans and compiles
                took[kind].append((MM * (time.perf_counter() - began), gpu_ms))
            poses[kind] = pose
        apart = MM * np.linalg.norm(poses["warpgroups"] - poses["tiles"], axis=-1)
        means.append(float(apart.mean()))
        largest = max(largest, float(apart.max()))
    worst = float(np.max(means))  # no number, where one of them is none
    medians = {kind: np.median(np.array(times), axis=0) for kind, times in took.items()}
    return {
        "mean_mm": worst,
        "max_mm": largest,
        "within_limit": bool(worst <= DEFAULT_LIMITS[precision].mean_distance),
        "host_ms": {kind: float(median[0]) for kind, median in medians.items()},
        "gpu_ms": {kind: float(median[1]) for kind, median in medians.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
