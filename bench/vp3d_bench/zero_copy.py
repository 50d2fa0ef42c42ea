"""One person's live frame by the CUDA engine, read and answered in the host's memory, and copied.

python -m vp3d_bench.zero_copy net.vp3d -o zero_copy.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_bench.clips import keypoints
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.gpu import GpuError

EXIT_OK, EXIT_WRONG, EXIT_NONE = 0, 1, 2
# Options of the engine. Without copies a frame is a single launch, which needs no graph.
KINDS: dict[str, dict[str, bool]] = {
    "mapped": {"zero_copy": True},
    "mapped_no_graph": {"zero_copy": True, "graphs": False},
    "copied": {"zero_copy": False},
}
WARM_UP, ROUNDS = 50, 1000


def main(
    arguments: Sequence[str] | None = None, *, warm_up: int = WARM_UP, rounds: int = ROUNDS
) -> int:
    """0 if both answer alike, 1 if not, 2 where there is no such engine. warm_up, rounds: for
    tests."""
    parser = argparse.ArgumentParser(description="Measure the CUDA engine's option zero_copy.")
    parser.add_argument("bundle", type=Path, help="NAME.vp3d")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.json")
    given = parser.parse_args(arguments)
    bundle = Bundle.open(given.bundle)
    found: dict[str, Any] = {}
    with ExitStack() as stack:
        for precision in bundle.precisions:
            try:
                engines = {
                    kind: stack.enter_context(
                        closing(open_engine(bundle, "cuda", precision, **options))
                    )
                    for kind, options in KINDS.items()
                }
            except (ImportError, GpuError) as error:
                print(f"no CUDA engine in {precision}: {error}", file=sys.stderr)
                return EXIT_NONE
            frames = keypoints(bundle, 1, warm_up + rounds)
            found[precision] = compare(engines, frames, warm_up)
            print(f"{precision}: {json.dumps(found[precision])}", flush=True)
            given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    return EXIT_OK if all(one["same"] for one in found.values()) else EXIT_WRONG


def compare(engines: dict[str, Any], clips: np.ndarray, warm_up: int) -> dict[str, Any]:
    """Microseconds of a frame, host to host, medians and 99th percentiles of frames that take
    turns; whether all answers are the same."""
    took: dict[str, list[float]] = {kind: [] for kind in engines}
    same = True
    with ExitStack() as stack:
        streams = {
            kind: stack.enter_context(closing(engine.open_stream(0)))
            for kind, engine in engines.items()
        }
        for stream in streams.values():
            stream.add_rows(1)
        for i in range(clips.shape[1]):
            frame = np.ascontiguousarray(clips[:, i])
            poses = []
            for kind, stream in streams.items():
                began = time.perf_counter()
                output = stream.step(frame)
                if i >= warm_up:
                    took[kind].append(1e6 * (time.perf_counter() - began))
                poses.append(output.pose)
            same = same and all(np.array_equal(poses[0], other) for other in poses[1:])
    return {
        "same": same,
        "median_us": {kind: float(np.median(times)) for kind, times in took.items()},
        "p99_us": {kind: float(np.percentile(times, 99)) for kind, times in took.items()},
    }


if __name__ == "__main__":
    raise SystemExit(main())
