"""A plugin of pytest that tests tests/gpu/test_cuda.py without a GPU: the native engine stands in
for the CUDA engine. It says nothing of any hardware.

    pytest -p gpu_stand_in tests/gpu/test_cuda.py -k "not memory_back"

VP3D_STAND_IN_BREAKS=rows      mixes up the rows of crowds
VP3D_STAND_IN_BREAKS=state     forgets, now and then, what a stream has seen
"""

from __future__ import annotations

import os
from typing import Any

import gpu.hardware
import numpy as np

from vp3d_deploy import engines
from vp3d_deploy.engines import gpu as gpu_module
from vp3d_deploy.engines.base import Output

BREAKS = os.environ.get("VP3D_STAND_IN_BREAKS")
FORGETS_AT = 9
_open_engine = engines.open_engine


class StandInStream:
    """What a stream of the CUDA engine has beside the native one's."""

    gpu_ms = 1.0

    def __init__(self, engine: Any, lag: int) -> None:
        self._engine, self._lag = engine, lag
        self._stream = engine.open_stream(lag)
        self._pushed: list[Output] = []
        self._n_steps = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def step(self, keypoints: np.ndarray) -> Output:
        self._n_steps += 1
        if BREAKS == "state" and self._n_steps == FORGETS_AT:
            rows = self._stream.n_rows
            self._stream = self._engine.open_stream(self._lag)
            self._stream.add_rows(rows)
        output = self._stream.step(keypoints).copied()
        return output._replace(pose=output.pose[::-1].copy()) if BREAKS == "rows" else output

    def push_async(self, keypoints: np.ndarray) -> None:
        self._pushed.append(self.step(keypoints))

    def result(self) -> Output:
        return self._pushed.pop(0)


class StandIn:
    gpu_ms = 1.0

    def __init__(self, engine: Any) -> None:
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def open_stream(self, lag: int) -> StandInStream:
        return StandInStream(self._engine, lag)


def open_with_stand_in(
    bundle: Any, engine: str = "auto", precision: Any = None, threads: Any = None, **options: Any
) -> Any:
    if engine == "cuda":
        return StandIn(_open_engine(bundle, "native", precision, 1))
    return _open_engine(bundle, engine, precision, threads, **options)


engines.open_engine = open_with_stand_in
gpu_module.open_gpu = lambda ordinal=0: object()  # type: ignore[assignment,return-value]
gpu.hardware.count_gpus = lambda: 1
