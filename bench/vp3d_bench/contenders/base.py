"""A contender: a name, what it computes, and how to open it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np

from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import BundleError
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.engines.tensorrt_api import TensorRTError

WINDOW, STREAM, SEQUENCE = "window", "stream", "sequence"


class Runner(Protocol):
    """An open contender, for so many people in one call.

    Forms "window" and "sequence" take (B, frames, J_in, F); "stream" takes the next frame of every
    person, (B, J_in, F), and has state.
    """

    def prepare(self, keypoints: np.ndarray) -> Any:
        """float32 keypoints as the library behind takes them; not timed."""
        ...

    def run(self, prepared: Any) -> Any:
        """One call; this is what is timed."""
        ...

    def answer(self, result: Any) -> Output:
        """What a call returned, as arrays that stay as they are; not timed."""
        ...

    def close(self) -> None: ...


class TimedRunner(Runner, Protocol):
    """A runner that says how long the GPU took."""

    @property
    def gpu_ms(self) -> float | None:
        """Of the last call, by CUDA events, copies included; None where it was not measured."""
        ...


@runtime_checkable
class PreparingRunner(Protocol):
    """A runner that works between two calls, in the time that a camera leaves."""

    def between(self) -> None:
        """What it does then; not timed."""
        ...


Opener = Callable[[Subject, tuple[int, ...]], Runner]
TimedOpener = Callable[[Subject, tuple[int, ...]], TimedRunner]


@dataclass(frozen=True)
class Contender:
    """name: unique and stable, for example "native-stream-fp16@0".

    family: who computes, for example "native" or "openvino"; label: for people.
    lag: of streams; None for windows, which answer at any lag, and for sequences.
    opener: (subject, shape) -> an open contender; shape is that of the keypoints of one call.
    prepared: it works between two calls, which is not timed (PreparingRunner).
    timed_opener: the same on a GPU with CUDA events around each call; None where it has none.
    """

    name: str
    label: str
    family: str
    form: str
    precision: str
    opener: Opener
    lag: int | None = None
    ours: bool = False
    prepared: bool = False
    timed_opener: TimedOpener | None = None

    def open(self, subject: Subject, people: int = 1, frames: int = 1) -> Runner:
        """Open it for calls of so many people, and of clips of so many frames ("sequence").

        Raises UnavailableError where it cannot run.
        """
        with _unavailable():
            return self.opener(subject, self.call_shape(subject, people, frames))

    def open_timed(self, subject: Subject, people: int = 1, frames: int = 1) -> TimedRunner:
        """The same, measuring the GPU's time; raises UnavailableError where it has no such way."""
        if self.timed_opener is None:
            raise UnavailableError(f"{self.name} does not measure the GPU's time")
        with _unavailable():
            return self.timed_opener(subject, self.call_shape(subject, people, frames))

    def call_shape(self, subject: Subject, people: int, frames: int) -> tuple[int, ...]:
        """Of the keypoints of one call."""
        spec = subject.bundle.spec
        joint = (spec.joints_in, spec.features)
        if self.form == STREAM:
            return (people, *joint)
        length = spec.receptive_field + (frames - 1 if self.form == SEQUENCE else 0)
        return (people, length, *joint)


class UnavailableError(Exception):
    """A contender that cannot take part here; the message says why."""


@contextmanager
def _unavailable() -> Iterator[None]:
    """What engines and libraries raise where they cannot be had here is a reason."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise UnavailableError(not_installed(error)) from error
    except (ImportError, BundleError, GpuError, TensorRTError) as error:
        raise UnavailableError(str(error)) from error


def not_installed(error: ModuleNotFoundError) -> str:
    return f"{error.name} is not installed"
