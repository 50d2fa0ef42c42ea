"""A contender: a name, what it computes, and how to open it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import BundleError
from vp3d_deploy.engines.base import Output

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


@dataclass(frozen=True)
class Contender:
    """name: unique and stable, for example "native-stream-fp16@0".

    family: who computes, for example "native" or "openvino"; label: for people.
    lag: of streams; None for windows, which answer at any lag, and for sequences.
    opener: (subject, shape) -> an open contender; shape is that of the keypoints of one call.
    """

    name: str
    label: str
    family: str
    form: str
    precision: str
    opener: Callable[[Subject, tuple[int, ...]], Runner]
    lag: int | None = None
    ours: bool = False

    def open(self, subject: Subject, people: int = 1, frames: int = 1) -> Runner:
        """Open it for calls of so many people, and of clips of so many frames ("sequence").

        Raises UnavailableError where it cannot run.
        """
        try:
            return self.opener(subject, self.call_shape(subject, people, frames))
        except ModuleNotFoundError as error:
            raise UnavailableError(not_installed(error)) from error
        except (ImportError, BundleError) as error:
            raise UnavailableError(str(error)) from error

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


def not_installed(error: ModuleNotFoundError) -> str:
    return f"{error.name} is not installed"
