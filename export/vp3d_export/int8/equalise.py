"""Make loud channels quieter, changing no answer.

A ReLU passes a positive factor through: whatever writes a channel may be divided by s if whatever
reads it is multiplied by s. Between a level's convolution and its mix every channel has an s of
its own; along the residuals all levels share one per channel. All channels that a product reads
share one step, so the loudest decides how coarse it is for the others.

Half the distance (in logarithms) between a loud channel and the typical one is taken: the rest
would only move to the weights, whose rows share a step as well. Quiet channels stay as they are:
one that hardly speaks on the calibration clips may on other motion, and would be cut off.

(The identity is that of Nagel et al., "Data-free quantization through weight equalization and bias
correction", ICCV 2019; the half is that of SmoothQuant, Xiao et al., ICML 2023.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import FoldedWeights

_SHARE = 0.5


def equalise(
    spec: ModelSpec,
    folded: FoldedWeights,
    level_inputs: Sequence[np.ndarray],
    mix_inputs: Sequence[np.ndarray],
) -> FoldedWeights:
    """`folded` with the same answers and channels of more equal size.

    level_inputs, mix_inputs: for levels 1 .. n the largest value (C,) of each channel that the
        level reads, and that its mix reads.
    """
    result = dict(folded)
    if level_inputs:
        # Each level has a step of its own, so only ratios between channels matter.
        logs = [np.log(_sizes(largest)) for largest in level_inputs]
        _scale_residuals(spec, result, np.exp(np.mean(logs, axis=0)))
    for level, largest in enumerate(mix_inputs, 1):
        size = _sizes(largest)
        _divide_rows(result, f"level{level}.conv", size)
        result[f"level{level}.mix.weight"] = result[f"level{level}.mix.weight"] * size
    return result


def _scale_residuals(spec: ModelSpec, result: FoldedWeights, size: np.ndarray) -> None:
    _divide_rows(result, "level0.conv", size)
    for level in range(1, len(spec.filter_widths)):
        _divide_rows(result, f"level{level}.mix", size)
        columns = np.tile(size, spec.filter_widths[level])
        result[f"level{level}.conv.weight"] = result[f"level{level}.conv.weight"] * columns
    result["shrink.weight"] = result["shrink.weight"] * size


def _divide_rows(result: FoldedWeights, name: str, size: np.ndarray) -> None:
    result[f"{name}.weight"] = result[f"{name}.weight"] / size[:, None]
    result[f"{name}.bias"] = result[f"{name}.bias"] / size


def _sizes(largest: np.ndarray) -> np.ndarray:
    """What to divide each channel by, 1 or more."""
    speaking = largest[largest > 0]
    if not len(speaking):
        return np.ones(largest.shape)
    return np.maximum(largest / np.median(speaking), 1.0) ** _SHARE
