"""Live frames by the CUDA engine with one of its options and without, which take turns.

python -m vp3d_bench.cuda_options zero_copy net.vp3d -o zero_copy.json
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_bench.clips import keypoints
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.gpu import GpuError

EXIT_OK, EXIT_WRONG, EXIT_NONE = 0, 1, 2


@dataclass(frozen=True)
class Question:
    """kinds: options of the engine, whose answers are to be the same bits. people: of a stream."""

    kinds: Mapping[str, Mapping[str, Any]]
    people: tuple[int, ...]
    warm_up: int
    rounds: int


QUESTIONS = {
    # Without copies a frame is a single launch, which needs no graph.
    "zero_copy": Question(
        {
            "mapped": {"zero_copy": True},
            "mapped_no_graph": {"zero_copy": True, "graphs": False},
            "copied": {"zero_copy": False},
        },
        people=(1,),
        warm_up=50,
        rounds=1000,
    ),
    "overlap": Question(
        {
            "overlapping": {"launch": "wide", "overlap": True},
            "one_after_another": {"launch": "wide", "overlap": False},
        },
        people=(64, 256, 1024),
        warm_up=20,
        rounds=200,
    ),
}


def main(
    arguments: Sequence[str] | None = None, *, questions: Mapping[str, Question] = QUESTIONS
) -> int:
    """0 if all kinds answer alike, 1 if not, 2 where there is no such engine. questions: for
    tests."""
    parser = argparse.ArgumentParser(description="Measure an option of the CUDA engine.")
    parser.add_argument("option", choices=sorted(questions))
    parser.add_argument("bundle", type=Path, help="NAME.vp3d")
    parser.add_argument("-o", "--out", type=Path, required=True, metavar="FILE.json")
    given = parser.parse_args(arguments)
    question, bundle = questions[given.option], Bundle.open(given.bundle)
    found: dict[str, dict[str, Any]] = {}
    with ExitStack() as stack:
        for precision in bundle.precisions:
            try:
                engines = {
                    kind: stack.enter_context(
                        closing(open_engine(bundle, "cuda", precision, **options))
                    )
                    for kind, options in question.kinds.items()
                }
            except (ImportError, GpuError) as error:
                print(f"{given.option} in {precision}: {error}", file=sys.stderr)
                return EXIT_NONE
            found[precision] = {}
            for people in question.people:
                clips = keypoints(bundle, people, question.warm_up + question.rounds)
                found[precision][str(people)] = compare(engines, clips, question.warm_up)
                print(f"{precision}, people {people}: {found[precision][str(people)]}", flush=True)
                given.out.write_text(json.dumps(found, indent=2) + "\n", "utf-8")
    same = all(one["same"] for by_people in found.values() for one in by_people.values())
    return EXIT_OK if same else EXIT_WRONG


def compare(engines: Mapping[str, Any], clips: np.ndarray, warm_up: int) -> dict[str, Any]:
    """Microseconds of a frame of all people of `clips`, host to host, medians and 99th percentiles
    of frames that take turns; whether all answers are the same."""
    took: dict[str, list[float]] = {kind: [] for kind in engines}
    same = True
    with ExitStack() as stack:
        streams = {
            kind: stack.enter_context(closing(engine.open_stream(0)))
            for kind, engine in engines.items()
        }
        for stream in streams.values():
            stream.add_rows(len(clips))
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
