"""Our engines: native and ONNX Runtime on the bundle's own graphs, in every form."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from vp3d_bench.contenders.base import Contender, Runner
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output

LABELS = {"native": "native", "onnx": "our ONNX"}


class FormRunner:
    """`window` or `sequence` of an engine."""

    def __init__(self, engine: str, form: str, precision: str, subject: Subject, people: int):
        opened = subject.engine(engine, precision)
        self._call = opened.window if form == "window" else opened.sequence
        if engine == "onnx" and form == "window":
            # Its graphs are loaded when first used, which belongs to opening.
            spec = subject.bundle.spec
            shape = (people, spec.receptive_field, spec.joints_in, spec.features)
            self._call(np.zeros(shape, np.float32))

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

    def __init__(self, engine: str, precision: str, lag: int, subject: Subject, people: int):
        self.stream: Any = subject.engine(engine, precision).open_stream(lag)
        self.stream.add_rows(people)

    def prepare(self, keypoints: np.ndarray) -> np.ndarray:
        return np.ascontiguousarray(keypoints)

    def run(self, prepared: np.ndarray) -> Output:
        return self.stream.step(prepared)

    def answer(self, result: Output) -> Output:
        return result.copied()

    def close(self) -> None:
        self.stream.close()


def window(engine: str, precision: str) -> Contender:
    return _form(engine, "window", precision)


def sequence(engine: str, precision: str) -> Contender:
    return _form(engine, "sequence", precision)


def stream(engine: str, precision: str, lag: int) -> Contender:
    def opener(subject: Subject, people: int) -> Runner:
        return StreamRunner(engine, precision, lag, subject, people)

    return Contender(
        name=f"{engine}-stream-{precision}@{lag}",
        label=f"{LABELS[engine]} stream {precision}, lag {lag}",
        family=engine,
        form="stream",
        precision=precision,
        opener=opener,
        lag=lag,
        ours=True,
    )


def _form(engine: str, form: str, precision: str) -> Contender:
    return Contender(
        name=f"{engine}-{form}-{precision}",
        label=f"{LABELS[engine]} {form} {precision}",
        family=engine,
        form=form,
        precision=precision,
        opener=partial(FormRunner, engine, form, precision),
        ours=True,
    )
