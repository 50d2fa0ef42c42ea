"""Our engines: native and ONNX Runtime on the bundle's own graphs, in every form."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vp3d_bench.contenders.base import STREAM, WINDOW, Contender
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output

# Those for CPUs, by what people call them.
LABELS = {"onnx": "our ONNX", "native": "native"}


class FormRunner:
    """`window` or `sequence` of an engine."""

    def __init__(
        self, engine: str, form: str, precision: str, subject: Subject, shape: tuple[int, ...]
    ) -> None:
        opened = subject.engine(engine, precision)
        self._call = opened.window if form == WINDOW else opened.sequence
        if engine == "onnx":
            # Its graphs are loaded when first used, which belongs to opening.
            frames = subject.bundle.spec.receptive_field
            self._call(np.zeros((1, frames, *shape[2:]), np.float32))

    def prepare(self, keypoints: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keypoints)

    def run(self, prepared: np.ndarray) -> Output:
        return self._call(prepared)

    def answer(self, result: Output) -> Output:
        return result.copied()

    def close(self) -> None:
        pass


class StreamRunner:
    """Live streams at one lag, a row for each person."""

    def __init__(
        self, engine: str, precision: str, lag: int, subject: Subject, shape: tuple[int, ...]
    ) -> None:
        self.stream: Any = subject.engine(engine, precision).open_stream(lag)
        self.stream.add_rows(shape[0])

    def prepare(self, keypoints: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keypoints)

    def run(self, prepared: np.ndarray) -> Output:
        return self.stream.step(prepared)

    def answer(self, result: Output) -> Output:
        return result.copied()

    def close(self) -> None:
        self.stream.close()


def form(engine: str, form: str, precision: str) -> Contender:
    """A "window" or "sequence" of an engine."""
    return Contender(
        name=f"{engine}-{form}-{precision}",
        label=f"{LABELS[engine]} {form}, {precision}",
        family=engine,
        form=form,
        precision=precision,
        opener=partial(FormRunner, engine, form, precision),
        ours=True,
    )


def stream(engine: str, precision: str, lag: int) -> Contender:
    return Contender(
        name=stream_name(engine, precision, lag),
        label=f"{LABELS[engine]} stream, {precision}, lag {lag}",
        family=engine,
        form=STREAM,
        precision=precision,
        opener=partial(StreamRunner, engine, precision, lag),
        lag=lag,
        ours=True,
    )


def stream_name(engine: str, precision: str, lag: int) -> str:
    return f"{engine}-stream-{precision}@{lag}"
