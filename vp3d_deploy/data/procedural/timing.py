"""Reproducible random numbers and smooth functions of time, the clay that the motions are made of.

Everything here is a function of time in seconds, never of a frame number, so that a clip of 25
frames per second is every second frame of the same clip at 50; and every random table is drawn
row by row, so that a longer clip begins with the shorter one.
"""

from __future__ import annotations

from dataclasses import dataclass
from zlib import crc32

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray = NDArray[np.float64]


class Draws:
    """Uniform random numbers that depend on a seed, a scope and a label, and on nothing else.

    They are made from the raw output of PCG64, which numpy promises to keep
    (NEP 19; the distributions of `Generator` carry no such promise). Each label has its own
    stream: asking for one more table leaves all others as they were.
    """

    def __init__(self, seed: int, scope: str = "") -> None:
        self._seed = seed
        self._scope = scope

    def __call__(
        self, label: str, low: float, high: float, shape: int | tuple[int, ...] = ()
    ) -> FloatArray:
        """Float64 numbers in [low, high) of the shape asked for.

        Filled row by row: a table of more rows begins with the rows of a smaller one.
        """
        shape = (shape,) if isinstance(shape, int) else shape
        count = int(np.prod(shape, dtype=np.int64))
        name = crc32(f"{self._scope}/{label}".encode())
        stream = np.random.PCG64(np.random.SeedSequence((self._seed, name)))
        raw = np.asarray(stream.random_raw(count), dtype=np.uint64)
        unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        return low + (high - low) * unit.reshape(shape)

    def one(self, label: str, low: float, high: float) -> float:
        """One number in [low, high)."""
        return float(self(label, low, high))


class Wander:
    """Smooth noise: `channels` independent sums of sine waves, each within -1 .. 1.

    `period_s` is the range of the waves' periods. Typical size (RMS) is about 0.35.
    """

    WAVES = 4

    def __init__(
        self, draws: Draws, label: str, channels: int, period_s: tuple[float, float]
    ) -> None:
        shape = (self.WAVES, channels)
        self._omega = 2 * np.pi / draws(f"{label} period", *period_s, shape)
        self._phase = draws(f"{label} phase", 0.0, 2 * np.pi, shape)
        weight = draws(f"{label} weight", 0.5, 1.0, shape)
        self._weight = weight / weight.sum(axis=0)

    def __call__(self, time_s: FloatArray) -> FloatArray:
        """time_s (T,) to (T, channels)."""
        noise = np.zeros((len(time_s), self._omega.shape[1]))
        for omega, phase, weight in zip(self._omega, self._phase, self._weight, strict=True):
            noise += weight * np.sin(time_s[:, None] * omega + phase)
        return noise


def ease(x: ArrayLike) -> FloatArray:
    """Minimum-jerk step from 0 (x <= 0) to 1 (x >= 1), with two continuous derivatives.

    The path of human point-to-point movements: T. Flash and N. Hogan, "The coordination of arm
    movements", Journal of Neuroscience 5(7), 1985.
    """
    x = np.clip(x, 0.0, 1.0)
    return x * x * x * (10.0 + x * (6.0 * x - 15.0))


def glide(x: ArrayLike, ramp: float = 0.4) -> FloatArray:
    """A step from 0 to 1 with a steady middle: speed rises over `ramp`, holds, falls over `ramp`.

    Its highest speed is 1 / (1 - ramp), lower than the 1.875 of `ease`; two continuous
    derivatives. A swinging foot moves more like this than like a reaching hand.
    """
    x = np.clip(np.asarray(x, dtype=np.float64), 0.0, 1.0)
    mirrored = np.minimum(x, 1.0 - x)
    early = np.minimum(mirrored / ramp, 1.0)
    # The integral of the speed 3 e^2 - 2 e^3 over the ramp, then of the steady speed 1.
    travelled = ramp * early**3 * (1.0 - early / 2.0) + np.maximum(mirrored - ramp, 0.0)
    travelled /= 1.0 - ramp
    return np.where(x <= 0.5, travelled, 1.0 - travelled)


def bump(x: ArrayLike) -> FloatArray:
    """0 outside 0 .. 1 and 1 in its middle, with two continuous derivatives."""
    x = np.clip(np.asarray(x, dtype=np.float64), 0.0, 1.0)
    return 64.0 * (x * (1.0 - x)) ** 3


def soft_min(values: FloatArray, softness: float) -> FloatArray:
    """Smooth lower bound of the minimum over the last axis, within `softness` * log(count)."""
    lowest = values.min(axis=-1, keepdims=True)
    spread = np.exp((lowest - values) / softness).sum(axis=-1)
    return lowest[..., 0] - softness * np.log(spread)


@dataclass(frozen=True)
class Blend:
    """For each moment, the key it has come from and how far it is on its way to the next one."""

    index: NDArray[np.intp]
    amount: FloatArray

    def __call__(self, keys: FloatArray) -> FloatArray:
        """keys (K + 1, ...) to the values (T, ...) at the moments asked for."""
        start, end = keys[self.index], keys[self.index + 1]
        amount = self.amount.reshape(-1, *(1,) * (keys.ndim - 1))
        return start + amount * (end - start)


class Timeline:
    """Keys held for `hold_s` (K,) seconds each, then left for the next within `move_s` (K,)."""

    def __init__(self, hold_s: FloatArray, move_s: FloatArray) -> None:
        self.move_s = move_s
        self.start_s = np.cumsum(hold_s + move_s) - move_s

    @property
    def n_moves(self) -> int:
        return len(self.start_s)

    @classmethod
    def random(
        cls,
        draws: Draws,
        label: str,
        duration_s: float,
        hold_s: tuple[float, float],
        move_s: tuple[float, float],
    ) -> Timeline:
        """A timeline that lasts at least `duration_s`, holds and moves drawn from two ranges."""
        moves = int(duration_s / (hold_s[0] + move_s[0])) + 2
        return cls(draws(f"{label} hold", *hold_s, moves), draws(f"{label} move", *move_s, moves))

    def locate(self, time_s: FloatArray) -> tuple[NDArray[np.intp], FloatArray]:
        """The move (T,) that was begun last (the first one before any) and its progress 0 .. 1."""
        index = np.maximum(np.searchsorted(self.start_s, time_s, side="right") - 1, 0)
        return index, np.clip((time_s - self.start_s[index]) / self.move_s[index], 0.0, 1.0)

    def at(self, time_s: FloatArray) -> Blend:
        """How to blend any table of K + 1 keys at the moments time_s (T,)."""
        index, progress = self.locate(time_s)
        return Blend(index, ease(progress))
