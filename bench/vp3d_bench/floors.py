"""What no program on this machine could beat: reading the weights once, and the arithmetic.

Both are measured in the same rounds as the contenders.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.subject import Subject
from vp3d_bench.turns import Probe, Step

# What the arithmetic of a precision is made of: fp16 weights are widened to float32.
ARITHMETIC = {"fp32": "fp32", "fp16": "fp32", "int8": "int8"}


@dataclass(frozen=True)
class WeightsRead:
    """Reading as many bytes as a live frame reads of the weights, by all threads."""

    precision: str
    n_bytes: int
    step: Step

    @property
    def name(self) -> str:
        return read_name(self.precision)


def read_name(precision: str) -> str:
    return f"memory-read-{precision}"


def arithmetic_name(kind: str) -> str:
    return f"arithmetic-{kind}"


def weights_read(subject: Subject, precision: str) -> WeightsRead:
    """Raises UnavailableError without the native engine, which has the reader."""
    native = _native()
    engine = subject.native(precision)
    reader = native.MemoryReader(engine.weight_bytes, subject.threads)
    return WeightsRead(precision, engine.weight_bytes, reader.read)


def arithmetic(subject: Subject, kind: str, multiply_adds: int) -> Probe:
    """A probe: milliseconds that so many multiply-adds take at the rates measured just then.

    kind: "fp32" or "int8". Raises UnavailableError without the native engine.
    """
    native = _native()
    threads = subject.threads
    rates: Callable[[str, int], list[float]] = native.multiply_add_rates
    return lambda: [1e3 * multiply_adds / rate for rate in rates(kind, threads)]


def _native() -> Any:
    try:
        import vp3d_deploy._native as native
    except ImportError as error:
        raise UnavailableError(f"floors are measured by the native engine: {error}") from error
    return native
