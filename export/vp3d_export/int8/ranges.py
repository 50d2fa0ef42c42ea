"""How far the whole numbers reach: a step for activations, and one for each row of weights.

A longer reach makes every step coarser; a shorter one cuts off the largest values. The best is
where the mean square of both errors together is least.
"""

from __future__ import annotations

import numpy as np

LARGEST = 127
# Reaches that are tried, as parts of the largest value.
_PARTS = np.linspace(0.25, 1.0, 31)
_WEIGHT_PARTS = np.linspace(0.5, 1.0, 26)


def best_reaches(samples: np.ndarray) -> np.ndarray:
    """(n, C) float32, not negative -> (C,) float64: for each channel the value that 127 stands for.

    0 for channels that are always 0.
    """
    largest = samples.max(0)
    best = largest.copy()
    least = np.full(samples.shape[1], np.inf)
    for part in _PARTS:
        reach = (largest * part).astype(np.float32)
        error = np.square(samples - _rounded(samples, reach)).mean(0, dtype=np.float64)
        better = error < least
        least[better], best[better] = error[better], reach[better]
    return best.astype(np.float64)


def best_reach(samples: np.ndarray, importance: np.ndarray) -> float:
    """(n, C) -> the one value that 127 stands for in all channels.

    importance: (C,) what an error in a channel counts.
    """
    largest = float(samples.max(initial=0))
    if largest == 0:
        return 0.0
    errors = []
    for part in _PARTS:
        reach = np.float32(largest * part)
        error = np.square(samples - _rounded(samples, reach)).mean(0, dtype=np.float64)
        errors.append(error @ importance)
    return float(largest * _PARTS[int(np.argmin(errors))])


def best_row_steps(weight: np.ndarray, importance: np.ndarray) -> np.ndarray:
    """(C, in) float64 -> (C,) what one step of each row is, more than 0.

    importance: (in,) what an error in a column counts.
    """
    largest = largest_row_steps(weight)
    best, least = largest, np.full(len(weight), np.inf)
    for part in _WEIGHT_PARTS:
        step = largest * part
        rounded = np.clip(np.rint(weight / step[:, None]), -LARGEST, LARGEST) * step[:, None]
        error = np.square(weight - rounded) @ importance
        best, least = np.where(error < least, step, best), np.minimum(error, least)
    return best


def largest_row_steps(weight: np.ndarray) -> np.ndarray:
    """(C, in) -> (C,) steps that reach the largest weight of each row; 1 for rows of zeros."""
    largest = np.abs(weight).max(1) / LARGEST
    return np.where(largest > 0, largest, 1.0)


def _rounded(samples: np.ndarray, reach: np.ndarray | np.float32) -> np.ndarray:
    """Through whole numbers and back."""
    step = np.maximum(reach / np.float32(LARGEST), np.float32(1e-30))
    return np.minimum(np.rint(samples / step), LARGEST) * step
