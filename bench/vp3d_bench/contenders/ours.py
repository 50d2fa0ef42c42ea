"""Our engines in every form: on processors, and on NVIDIA GPUs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vp3d_bench.contenders.base import STREAM, WINDOW, Contender
from vp3d_bench.our_engines import OUR_ENGINES
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output


class FormRunner:
    """`window` or `sequence` of an engine."""

    def __init__(
        self,
        family: str,
        form: str,
        precision: str,
        subject: Subject,
        shape: tuple[int, ...],
        timings: bool = False,
    ) -> None:
        self._engine: Any = subject.engine(family, precision, timings)
        self._call = self._engine.window if form == WINDOW else self._engine.sequence
        if family != "native":
            # Graphs and GPU programs are loaded when first used, which belongs to opening.
            frames = subject.bundle.spec.receptive_field
            self._call(np.zeros((1, frames, *shape[2:]), np.float32))

    @property
    def gpu_ms(self) -> float | None:
        return self._engine.gpu_ms

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
        self,
        family: str,
        precision: str,
        lag: int,
        subject: Subject,
        shape: tuple[int, ...],
        timings: bool = False,
    ) -> None:
        self.stream: Any = subject.engine(family, precision, timings).open_stream(lag)
        self.stream.add_rows(shape[0])

    @property
    def gpu_ms(self) -> float | None:
        return self.stream.gpu_ms

    def prepare(self, keypoints: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keypoints)

    def run(self, prepared: np.ndarray) -> Output:
        return self.stream.step(prepared)

    def answer(self, result: Output) -> Output:
        return result.copied()

    def close(self) -> None:
        self.stream.close()


class PreparedRunner(StreamRunner):
    """The same, each frame prepared for in the time before it."""

    def between(self) -> None:
        self.stream.prepare()


def form(family: str, form: str, precision: str) -> Contender:
    """A "window" or "sequence" of an engine."""
    ours = OUR_ENGINES[family]
    opener = partial(FormRunner, family, form, precision)
    return Contender(
        name=f"{family}-{form}-{precision}",
        label=f"{ours.label} {form}, {precision}",
        family=family,
        form=form,
        precision=precision,
        opener=opener,
        ours=True,
        timed_opener=partial(opener, timings=True) if ours.timed else None,
    )


def stream(family: str, precision: str, lag: int, prepared: bool = False) -> Contender:
    ours = OUR_ENGINES[family]
    opener = partial(PreparedRunner if prepared else StreamRunner, family, precision, lag)
    return Contender(
        name=stream_name(family, precision, lag, prepared),
        label=f"{ours.label} stream, {precision}, lag {lag}{', prepared' if prepared else ''}",
        family=family,
        form=STREAM,
        precision=precision,
        opener=opener,
        lag=lag,
        ours=True,
        prepared=prepared,
        timed_opener=partial(opener, timings=True) if ours.timed else None,
    )


def stream_name(family: str, precision: str, lag: int, prepared: bool = False) -> str:
    return f"{family}-stream-{precision}@{lag}{'-prepared' if prepared else ''}"
