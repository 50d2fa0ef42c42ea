"""Round a matrix to whole numbers so that the errors of its columns make up for each other.

Rounding each weight to the nearest number is best only where inputs have nothing to do with each
other. They do: so the columns are rounded one after another, and each takes in, before it is
rounded, what the errors of those before it do to the output as far as its own input follows
theirs. (As in GPTQ, Frantar et al., ICLR 2023, in the form of LDLQ, Chee et al., NeurIPS 2023,
which shows the two to be the same.)
"""

from __future__ import annotations

import numpy as np

LARGEST = 127

# Columns whose corrections are worked out together: one matrix product instead of many vectors.
_BLOCK = 64
# Added to the diagonal of the inputs' moments, as a part of its mean: keeps weights for inputs
# that hardly vary on the calibration clips near what they were.
DAMPING = 0.01


def row_steps(weight: np.ndarray) -> np.ndarray:
    """(C, in) -> (C,) steps that reach the largest weight of each row; 1 for rows of zeros."""
    largest = np.abs(weight).max(1) / LARGEST
    return np.where(largest > 0, largest, 1.0)


def round_nearest(weight: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """(C, in) weights and (C,) steps -> (C, in) int8."""
    return np.clip(np.rint(weight / steps[:, None]), -LARGEST, LARGEST).astype(np.int8)


def round_with_feedback(weight: np.ndarray, steps: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """As `round_nearest`, with the least error for inputs of these second moments.

    moments: (in, in) float64, symmetric; damped (`damped`).
    """
    # The largest inputs first: their errors have the most columns left to make up for them.
    order = np.argsort(-np.diag(moments), kind="stable")
    ordered = moments[np.ix_(order, order)]
    # moments = U D U.T with U upper triangular and ones on its diagonal. The squared output error
    # is the sum over columns k of D[k] * |(errors @ U)[:, k]|^2: what is rounded in column k is
    # the weight less what earlier errors contribute to it.
    root = np.linalg.cholesky(ordered[::-1, ::-1])[::-1, ::-1]
    mixing = root / np.diag(root)
    scaled = weight[:, order] / steps[:, None]
    numbers = np.zeros_like(scaled)
    errors = np.zeros_like(scaled)
    for start in range(0, scaled.shape[1], _BLOCK):
        end = min(start + _BLOCK, scaled.shape[1])
        wanted = scaled[:, start:end] - errors[:, :start] @ mixing[:start, start:end]
        for column in range(start, end):
            earlier = errors[:, start:column] @ mixing[start:column, column]
            number = np.rint(wanted[:, column - start] - earlier)
            numbers[:, column] = np.clip(number, -LARGEST, LARGEST)
            errors[:, column] = numbers[:, column] - scaled[:, column]
    result = np.empty(weight.shape, np.int8)
    result[:, order] = numbers
    return result


def damped(moments: np.ndarray) -> np.ndarray:
    """`moments` with `DAMPING` of the mean of its diagonal added to it; positive definite."""
    extra = DAMPING * float(np.diag(moments).mean())
    return moments + np.eye(len(moments)) * max(extra, 1e-12)
