"""What `LiveStream.push` adds to its engine's `step`, measured beside the network itself.

push_share.py measures the same beside an engine that answers at once, in many situations.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from vp3d_bench.clips import keypoints
from vp3d_bench.contenders.base import Contender
from vp3d_bench.statistics import spread
from vp3d_bench.subject import Subject
from vp3d_deploy import Lifter
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.base import Engine, Output

IMAGE_SIZE = (1000, 1000)
ROUNDS = 20


class TimedEngine:
    """An engine that remembers how long the last `step` of its stream took, in seconds."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.step_s = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open_stream(self, lag: int) -> TimedStream:
        return TimedStream(self, self._engine.open_stream(lag))


class TimedStream:
    def __init__(self, engine: TimedEngine, stream: Any) -> None:
        self._engine = engine
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def step(self, frame: np.ndarray) -> Output:
        begin = time.perf_counter()
        output: Output = self._stream.step(frame)
        self._engine.step_s = time.perf_counter() - begin
        return output


def pixels(bundle: Bundle, people: int, n_frames: int) -> np.ndarray:
    """(people, n_frames, J_in, 2 or 3) float32 pixels of an image of IMAGE_SIZE, and scores."""
    shown = keypoints(bundle, people, n_frames)[..., :3].copy()
    shown[..., :2] = (shown[..., :2] + 1) * (IMAGE_SIZE[0] / 2)
    return shown


def measure_push(subject: Subject, contender: Contender, pushes: int) -> dict[str, Any]:
    """Microseconds of one person's pushes at this contender's precision and lag."""
    engine = TimedEngine(subject.engine(contender.family, contender.precision))
    lifter = Lifter(subject.bundle, engine)  # type: ignore[arg-type]
    lag = contender.lag or 0
    clip = pixels(subject.bundle, 1, 64)[0]
    shares: list[list[float]] = []
    totals: list[list[float]] = []
    with lifter.stream(IMAGE_SIZE, lag) as stream:
        for count in range(lag + 10):
            stream.push(clip[count % len(clip)])
        per_round = max(1, pushes // ROUNDS)
        for _ in range(ROUNDS):
            time.sleep(0.01)
            shares.append([])
            totals.append([])
            for count in range(per_round):
                frame = clip[count % len(clip)]
                begin = time.perf_counter()
                stream.push(frame)
                whole = time.perf_counter() - begin
                totals[-1].append(1e6 * whole)
                shares[-1].append(1e6 * (whole - engine.step_s))
    return {
        "stream": contender.name,
        "python_share": spread(shares).to_dict(),
        "push": spread(totals).to_dict(),
    }
