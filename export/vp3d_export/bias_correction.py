"""Take the mean error that rounding the weights leaves off the last bias.

Rounding a weight moves every answer that it takes part in the same way, since activations after a
ReLU are never negative: much of the error of a half-precision network is one constant per output.
It is measured on motion, and subtracted from `shrink.bias`, which is float32 in every precision.
(Bias correction: Nagel et al., "Data-free quantization through weight equalization and bias
correction", ICCV 2019, here for the last layer alone.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import FoldedWeights
from vp3d_export.weights import stored_dtype


def correct_last_bias(
    spec: ModelSpec, folded: FoldedWeights, clips: Sequence[np.ndarray], precision: str
) -> FoldedWeights:
    """`folded` with the `shrink.bias` that suits its other tensors once they are rounded.

    clips: keypoints (T, J_in, F), normalised screen units, T >= R; not the ones that the export
        is checked on afterwards.
    """
    # Weights or activations that overflow have no mean error: writing the weights refuses the
    # ones, the comparison with PyTorch the others.
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = {
            name: values.astype(stored_dtype(name, precision)).astype(np.float32)
            for name, values in folded.items()
        }
        exact = {name: values.astype(np.float32) for name, values in folded.items()}
        errors = [
            folded_network(spec, rounded, clip) - folded_network(spec, exact, clip)
            for clip in clips
        ]
        mean = np.concatenate(errors).mean(0, dtype=np.float64)
    mean = np.where(np.isfinite(mean), mean, 0)
    return {**folded, "shrink.bias": folded["shrink.bias"] - mean}


def folded_network(
    spec: ModelSpec, weights: Mapping[str, np.ndarray], keypoints: np.ndarray
) -> np.ndarray:
    """(T, J_in, F) -> (T-R+1, J_out*3), the folded network in plain numpy, in the weights' type."""
    h = keypoints.reshape(len(keypoints), -1).astype(weights["shrink.bias"].dtype)
    for level, (width, dilation) in enumerate(zip(spec.filter_widths, spec.dilations, strict=True)):
        n_out = len(h) - (width - 1) * dilation
        taps = [h[tap * dilation : tap * dilation + n_out] for tap in range(width)]
        out = _activated(np.concatenate(taps, axis=1), weights, f"level{level}.conv")
        if level:
            out = taps[spec.residual_tap(level)] + _activated(out, weights, f"level{level}.mix")
        h = out
    return h @ weights["shrink.weight"].T + weights["shrink.bias"]


def _activated(rows: np.ndarray, weights: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.maximum(rows @ weights[f"{name}.weight"].T + weights[f"{name}.bias"], 0)
