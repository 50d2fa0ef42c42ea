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
from collections.abc import Mapping, Sequence
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


def main(
    arguments: Sequence[str] | None = None, *, clips: int = CLIPS, frames: int = FRAMES
) -> int:
    """0 if all answers are within the limits of an export, 1 if not, 2 where there are no such
    kernels. clips, frames: for tests."""
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
            return EXIT_NONE
        try:
            found[precision] = compare(engines, precision, shown)
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
                bundle, "cuda", precision, warpgroups=warpgroups, timings=True
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
    """Mean and largest distance of joints between both kinds of kernels, mm; milliseconds of the
    whole call and of the GPU, medians of runs that take turns."""
    poses = {kind: engine.sequence(shown).copied().pose for kind, engine in engines.items()}
    took: dict[str, list[tuple[float, float]]] = {kind: [] for kind in engines}
    for _ in range(ROUNDS):
        for kind, engine in engines.items():
            began = time.perf_counter()
            engine.sequence(shown)
            took[kind].append((MM * (time.perf_counter() - began), engine.gpu_ms))
    apart = MM * np.linalg.norm(poses["warpgroups"] - poses["tiles"], axis=-1)
    medians = {kind: np.median(np.array(times), axis=0) for kind, times in took.items()}
    return {
        "mean_mm": float(apart.mean()),
        "max_mm": float(apart.max()),
        "within_limit": bool(apart.mean() <= DEFAULT_LIMITS[precision].mean_distance),
        "host_ms": {kind: float(median[0]) for kind, median in medians.items()},
        "gpu_ms": {kind: float(median[1]) for kind, median in medians.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
