"""What an engine is: arrays in, arrays out. Engines know nothing of files, pixels or people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np


class Output(NamedTuple):
    """What a network says: `pose` and, where there is a trajectory network, `trajectory`.

    pose: (..., J_out, 3) float32, metres, camera frame, root-relative.
    trajectory: (..., 1, 3) float32, metres, camera frame: where the root is; None without one.
    """

    pose: np.ndarray
    trajectory: np.ndarray | None

    def copied(self, index: Any = ()) -> Output:
        """Both arrays at `index` (by default whole), for keeping: engines may reuse theirs."""
        root = None if self.trajectory is None else np.array(self.trajectory[index])
        return Output(np.array(self.pose[index]), root)


class StreamEngine(Protocol):
    """Any number of live streams that advance together, one row each, from `Engine.open_stream`.

    All rows share each pass over the weights. A row that was just added starts as if its first
    frame had been shown forever. The first `lag` answers of a row are for frames before its first
    and are to be thrown away by the caller.
    """

    @property
    def n_rows(self) -> int: ...

    def add_rows(self, count: int) -> None:
        """Append `count` streams that have seen nothing yet."""
        ...

    def remove_rows(self, rows: list[int]) -> None:
        """Forget these streams; the later rows move up, in order."""
        ...

    def step(self, keypoints: np.ndarray) -> Output:
        """One frame of every stream.

        keypoints: (n_rows, J_in, F) float32, normalised screen units, finite.
        Returns the answers for the frame `lag` frames ago: pose (n_rows, J_out, 3). The arrays
        are valid until the next call.
        """
        ...

    def close(self) -> None: ...


@runtime_checkable
class PreparingStream(Protocol):
    """What a stream engine can do besides, of those that can use the time between two frames."""

    def prepare(self) -> None:
        """Compute what the next frame's answers need of the frames so far.

        `step` then has less to do, and answers as it would have, but for rounding. Not calling it,
        or rows that come or go afterwards, cost nothing but that gain.
        """
        ...


class Engine(Protocol):
    """Runs one bundle's network in one precision. Safe to call from several threads."""

    @property
    def name(self) -> str:
        """For example "onnx"."""
        ...

    @property
    def precision(self) -> str:
        """For example "fp32"."""
        ...

    @property
    def forms(self) -> Sequence[str]:
        """Which of `bundle.FORMS` it answers in."""
        ...

    @property
    def lags(self) -> Sequence[int]:
        """The lags that it can open streams at."""
        ...

    def window(self, keypoints: np.ndarray) -> Output:
        """(B, R, J_in, F) float32, normalised screen units -> pose (B, J_out, 3)."""
        ...

    def sequence(self, keypoints: np.ndarray) -> Output:
        """(B, T+R-1, J_in, F) float32, normalised screen units, padded -> pose (B, T, J_out, 3)."""
        ...

    def open_stream(self, lag: int) -> StreamEngine:
        """Streams whose answers trail by `lag` frames; raises ValueError for a lag not at hand."""
        ...

    def close(self) -> None: ...
