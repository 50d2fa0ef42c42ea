"""The native engine as compiled from kernels/python; vp3d_deploy/engines/native.py is for users.

Arrays are dense float32; those of answers are written into, one per network.
"""

from collections.abc import Sequence
from os import PathLike

import numpy as np

from vp3d_deploy.spec import ModelSpec

class WeightsError(ValueError):
    """A weights file is damaged, or does not hold the network that was asked for."""

class Engine:
    def __init__(
        self,
        weights: str | PathLike[str],
        networks: dict[str, ModelSpec],
        precision: str,
        *,
        threads: int = 0,
        pin_threads: bool = False,
        isa: str = "auto",
    ) -> None: ...
    @property
    def isa(self) -> str: ...
    @property
    def threads(self) -> int: ...
    @property
    def weight_bytes(self) -> int: ...
    def window(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(B, R, J_in, F) -> (B, J_out, 3)."""

    def sequence(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(B, T+R-1, J_in, F) -> (B, T, J_out, 3)."""

    def open_stream(self, lag: int) -> Stream: ...
    def close(self) -> None: ...

class Stream:
    @property
    def n_rows(self) -> int: ...
    @property
    def lag(self) -> int: ...
    @property
    def bytes_per_row(self) -> int: ...
    def add_rows(self, count: int) -> None: ...
    def remove_rows(self, rows: Sequence[int]) -> None: ...
    def step(self, keypoints: np.ndarray, answers: tuple[np.ndarray, ...]) -> None:
        """(n_rows, J_in, F) -> (n_rows, J_out, 3)."""

    def close(self) -> None: ...

class MemoryReader:
    """Reads the same `n_bytes` of memory again and again, as a network's weights are read."""

    def __init__(self, n_bytes: int, threads: int) -> None: ...
    def read(self) -> float:
        """Seconds of one pass, all threads together."""

def multiply_add_rate(kind: str, threads: int) -> float:
    """Multiply-adds per second of all threads at best; kind: "fp32" or "int8"."""

def available_isas() -> list[str]:
    """Instruction sets that were built and that this processor runs, best first."""
