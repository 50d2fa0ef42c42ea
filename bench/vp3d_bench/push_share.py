"""Python's share of `LiveStream.push`: what it costs beside the network itself.

    python -m vp3d_bench.push_share [--out bench/results/push_share.json]

The engine's `step` hands out arrays that were made beforehand (push.py), so that nearly
all of a push is the runtime's own: checks, screen coordinates, gaps, rows, poses. What `step` still
costs is measured beside it and taken off. Each figure is the minimum over many short runs: other
work on the machine can only add to it.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from vp3d_bench.machine import describe_machine
from vp3d_bench.push import InstantEngine, InstantStream
from vp3d_deploy import Lifter, ModelSpec
from vp3d_deploy.skeleton import H36M_17

IMAGE_SIZE = (1920, 1080)
NETWORK_FPS = 50.0
RUNS, PUSHES = 60, 200
SPEC = ModelSpec((3, 3, 3, 3, 3), 1024)


def keypoints_px(person: int, columns: int, dtype: type = np.float32) -> np.ndarray:
    """(17, columns) of somebody in the image; a third column holds scores."""
    rng = np.random.default_rng(person)
    points = rng.uniform(200, 1000, (17, columns))
    points[:, 2:] = rng.uniform(0.3, 0.9, (17, columns - 2))
    return points.astype(dtype)


def opened(*, trajectory: bool = False, features: int = 2, lag: int = 0, **options: Any) -> Any:
    """A live stream on an engine that answers at once."""
    spec = replace(SPEC, features=features)
    networks = {"pose": spec}
    if trajectory:
        networks["trajectory"] = replace(spec, joints_out=1)
    bundle: Any = SimpleNamespace(
        path=Path("instant"),
        spec=spec,
        networks=networks,
        fps=NETWORK_FPS,
        lags=(0, spec.lookahead),
        has_trajectory=trajectory,
        skeleton_in=H36M_17,
        skeleton_out=H36M_17,
    )
    engine: Any = InstantEngine(networks)
    return Lifter(bundle, engine).stream(IMAGE_SIZE, lag, **options)


def one(columns: int = 2, dtype: type = np.float32, **options: Any) -> Callable[[], Any]:
    """A push of one person."""
    stream, frame = opened(**options), keypoints_px(0, columns, dtype)
    return lambda: stream.push(frame)


def one_timed() -> Callable[[], Any]:
    """One person seen by a camera of 60 Hz that tells the time of each frame."""
    stream, frame, clock = opened(), keypoints_px(0, 2), iter(range(10**9))
    return lambda: stream.push(frame, next(clock) / 60)


def one_hidden() -> Callable[[], Any]:
    """One person, one of whose joints is never seen."""
    stream, frame = opened(), keypoints_px(0, 2)
    frame[13] = np.nan
    return lambda: stream.push(frame)


def many(count: int, columns: int = 2, **options: Any) -> Callable[[], Any]:
    """A push of several people."""
    stream = opened(**options)
    people = {person: keypoints_px(person, columns) for person in range(count)}
    return lambda: stream.push(people)


def many_hidden(count: int) -> Callable[[], Any]:
    """Several people, each without one joint, and one who is away in every second frame."""
    stream = opened()
    people = {person: keypoints_px(person, 2) for person in range(count)}
    for person, frame in people.items():
        frame[person % 17] = np.nan
    fewer = {person: frame for person, frame in people.items() if person}
    turns = iter(range(10**9))
    return lambda: stream.push(people if next(turns) % 2 else fewer)


CASES: dict[str, tuple[int, Callable[[], Callable[[], Any]]]] = {
    "one person": (1, one),
    "with scores": (1, lambda: one(3)),
    "float64": (1, lambda: one(dtype=np.float64)),
    "whole pixels": (1, lambda: one(dtype=np.int64)),
    "COCO to Human3.6M": (1, lambda: one(skeleton="coco")),
    "COCO, scores": (1, lambda: one(3, skeleton="coco")),
    "3 features, scores": (1, lambda: one(3, features=3)),
    "full lag, trajectory": (1, lambda: one(lag=121, trajectory=True)),
    "60 Hz, timed": (1, one_timed),
    "one joint unseen": (1, one_hidden),
    "one in a dict": (1, lambda: many(1)),
    "8 people": (8, lambda: many(8)),
    "64 people": (64, lambda: many(64)),
    "64 people, scores": (64, lambda: many(64, 3)),
    "64 people, COCO": (64, lambda: many(64, 3, skeleton="coco")),
    "64 people, full lag, trajectory": (64, lambda: many(64, lag=121, trajectory=True)),
    "64 people, joints unseen": (64, lambda: many_hidden(64)),
}


def shortest_us(call: Callable[[], Any], pushes: int) -> float:
    """Microseconds of one call: the mean of a short run, the least over the runs."""
    best = float("inf")
    for _ in range(RUNS):
        begin = time.perf_counter()
        for _ in range(pushes):
            call()
        best = min(best, time.perf_counter() - begin)
    return best / pushes * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    stream, frame = InstantStream({"pose": SPEC}), np.zeros((1, 17, 2), np.float32)
    stream.add_rows(1)
    step_us = shortest_us(lambda: stream.step(frame), PUSHES)
    rows = {}
    print(f"{'':34}{'push, us':>10}{'per person':>12}")
    for name, (people, case) in CASES.items():
        call = case()
        for _ in range(130):  # beyond the full lag, so that every push has its answer
            call()
        share_us = shortest_us(call, max(PUSHES // people, 10)) - step_us
        rows[name] = {"people": people, "push_us": round(share_us, 2)}
        print(f"{name:34}{share_us:10.1f}{share_us / people:12.2f}")
    if options.out:
        result = {
            "command": "python -m vp3d_bench.push_share",
            "figure": "push() less step(), minimum over short runs, microseconds",
            "machine": describe_machine(),
            "step_us": round(step_us, 3),
            "cases": rows,
        }
        options.out.write_text(json.dumps(result, indent=2) + "\n")
        print(f"wrote {options.out}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
