"""What `LiveStream.push` adds to its engine's `step`, measured beside the network itself.

push_share.py measures the same beside an engine that answers at once, in many situations.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from vp3d_bench.clips import keypoints
from vp3d_bench.contenders.base import Contender
from vp3d_bench.statistics import Spread, spread
from vp3d_bench.subject import Subject
from vp3d_deploy import Lifter, ModelSpec
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.base import Engine, Output, StreamEngine

IMAGE_SIZE = (1000, 1000)
ROUNDS, WARM, REST_S = 20, 10, 0.01


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
    def __init__(self, engine: TimedEngine, stream: StreamEngine) -> None:
        self._engine = engine
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def step(self, frame: np.ndarray) -> Output:
        begin = time.perf_counter()
        output = self._stream.step(frame)
        self._engine.step_s = time.perf_counter() - begin
        return output


def pixels(bundle: Bundle, people: int, n_frames: int) -> np.ndarray:
    """(people, n_frames, J_in, 2 or 3) float32 pixels of an image of IMAGE_SIZE, and scores."""
    shown = keypoints(bundle, people, n_frames)[..., :3].copy()
    shown[..., :2] = (shown[..., :2] + 1) * (IMAGE_SIZE[0] / 2)
    return shown


class InstantEngine:
    """Answers zeros that were made beforehand. networks: a bundle's."""

    name, precision = "instant", "fp32"

    def __init__(self, networks: Mapping[str, ModelSpec]) -> None:
        self._networks = networks

    def open_stream(self, lag: int) -> InstantStream:
        return InstantStream(self._networks)


class InstantStream:
    def __init__(self, networks: Mapping[str, ModelSpec]) -> None:
        self._networks = networks
        self.n_rows = 0
        self.add_rows(0)

    def add_rows(self, count: int) -> None:
        self.n_rows += count
        arrays = [
            np.zeros((self.n_rows, spec.joints_out, 3), np.float32)
            for spec in self._networks.values()
        ]
        self._output = Output(arrays[0], arrays[1] if len(arrays) > 1 else None)

    def remove_rows(self, rows: list[int]) -> None:
        self.add_rows(-len(rows))

    def step(self, keypoints: np.ndarray) -> Output:
        return self._output

    def close(self) -> None:
        pass


def measure_push(subject: Subject, contender: Contender, pushes: int) -> dict[str, Any]:
    """Microseconds of one person's pushes at this contender's lag: beside the network, in its
    precision, and alone, beside an engine that answers at once."""
    bundle, lag = subject.bundle, contender.lag or 0
    engine = subject.engine(contender.family, contender.precision)
    beside, whole = _shares(bundle, engine, lag, pushes)
    instant: Any = InstantEngine(bundle.networks)
    alone, _ = _shares(bundle, instant, lag, pushes)
    return {
        "stream": contender.name,
        "python_share_alone": alone.to_dict(),
        "python_share_beside": beside.to_dict(),
        "push": whole.to_dict(),
    }


def _shares(bundle: Bundle, engine: Engine, lag: int, pushes: int) -> tuple[Spread, Spread]:
    """Microseconds of pushes without their engine's step, and with it."""
    timed: Any = TimedEngine(engine)
    clip = pixels(bundle, 1, 64)[0]
    shares: list[list[float]] = []
    wholes: list[list[float]] = []
    with Lifter(bundle, timed).stream(IMAGE_SIZE, lag) as stream:
        for count in range(lag + WARM):
            stream.push(clip[count % len(clip)])
        for _ in range(ROUNDS):
            time.sleep(REST_S)
            shares.append([])
            wholes.append([])
            for count in range(max(1, pushes // ROUNDS)):
                frame = clip[count % len(clip)]
                begin = time.perf_counter()
                stream.push(frame)
                whole = time.perf_counter() - begin
                wholes[-1].append(1e6 * whole)
                shares[-1].append(1e6 * (whole - timed.step_s))
    return spread(shares), spread(wholes)
