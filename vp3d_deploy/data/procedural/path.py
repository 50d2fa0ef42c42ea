"""The curves along which people walk."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vp3d_deploy.data.procedural.timing import Draws, FloatArray

ComplexArray = NDArray[np.complex128]

# Mean distance of the places where arc length is tabulated; between them a cubic is good to a
# thousandth of a millimetre.
_SPACING_M = 0.04


class Path:
    """A smooth endless loop about the origin.

    Points of the plane are complex numbers x + i y. The curve is a sum of turning arrows
    c exp(i w u) of its parameter u, so that place, direction and curvature are exact.
    """

    def __init__(self, draws: Draws, length_m: float) -> None:
        """Tabulates the first `length_m` metres."""
        self._terms = _terms(draws)
        self._direction = 1.0 if draws.one("path direction", 0.0, 1.0) < 0.5 else -1.0
        start = draws.one("path start", 0.0, 2 * np.pi)
        step = self._direction * _SPACING_M
        count = int(length_m / _SPACING_M) + 2
        while True:
            u = start + step * np.arange(count, dtype=np.float64)
            speed = np.abs(self._derivative(u, 1))
            pieces = _SPACING_M * (speed[1:] + speed[:-1]) / 2
            length = np.concatenate([[0.0], np.cumsum(pieces)])
            if length[-1] > length_m:
                break
            count *= 2
        self._u, self._length, self._slope = u, length, self._direction / speed

    def at(self, length_m: FloatArray) -> tuple[ComplexArray, ComplexArray, FloatArray]:
        """After walking length_m (T,): the point, the unit direction of travel, the curvature.

        Curvature is 1/m, positive in a left turn. Raises nothing: lengths must lie within the
        tabulated ones.
        """
        u = self._parameter(length_m)
        velocity = self._direction * self._derivative(u, 1)
        speed = np.abs(velocity)
        turn = (np.conj(velocity) * self._derivative(u, 2)).imag
        return self._derivative(u, 0), velocity / speed, turn / speed**3

    def _parameter(self, length_m: FloatArray) -> FloatArray:
        """Cubic Hermite interpolation of u over arc length."""
        i = np.clip(np.searchsorted(self._length, length_m, "right") - 1, 0, len(self._u) - 2)
        piece = self._length[i + 1] - self._length[i]
        x = (length_m - self._length[i]) / piece
        back = 1.0 - x
        ends = self._u[i] * (1 + 2 * x) * back * back + self._u[i + 1] * x * x * (3 - 2 * x)
        slopes = self._slope[i] * x * back * back - self._slope[i + 1] * x * x * back
        return ends + piece * slopes

    def _derivative(self, u: FloatArray, order: int) -> ComplexArray:
        value = np.zeros(u.shape, dtype=np.complex128)
        for omega, arrow in self._terms:
            value += arrow * (1j * omega) ** order * np.exp(1j * omega * u)
        return value


def _terms(draws: Draws) -> list[tuple[float, complex]]:
    """(w, c) of each arrow."""
    across, along = draws.one("path across", 0.84, 0.94), draws.one("path along", 1.0, 1.15)
    # x = across cos(u), y = along sin(u)
    terms = [(1.0, complex(across + along) / 2), (-1.0, complex(across - along) / 2)]
    # Small arrows beside the main ones: no lap is like the one before.
    for name, omega, size in (("slow", 0.85, 0.07), ("fast", 1.2, 0.03), ("corner", -1.9, 0.02)):
        omega *= draws.one(f"path {name}", 0.92, 1.08)
        angle = draws.one(f"path {name} angle", 0.0, 2 * np.pi)
        terms.append((omega, size * complex(np.exp(1j * angle))))
    return terms
