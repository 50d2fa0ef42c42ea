"""Scale channels against each other so that one step fits all of them, changing no answer.

A ReLU passes a positive factor through: whatever writes a channel may be divided by s if whatever
reads it is multiplied by s. Between a level's convolution and its mix every channel has an s of
its own; along the residuals all levels share one per channel. The product then sees channels of
one size, and none is left with a few of the 128 numbers.
(As in Nagel et al., "Data-free quantization through weight equalization and bias correction",
ICCV 2019, here with measured ranges and across residuals.)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import FoldedWeights
from vp3d_export.int8.ranges import best_reaches

# Channels that hardly ever speak on the calibration clips are taken to reach this part of what
# channels typically do: elsewhere they may.
_QUIET = 0.1


def equalise(
    spec: ModelSpec,
    folded: FoldedWeights,
    level_inputs: Sequence[np.ndarray],
    mix_inputs: Sequence[np.ndarray],
) -> FoldedWeights:
    """`folded` with the same answers and channels of one size.

    level_inputs, mix_inputs: for levels 1 .. n samples (n, C) of what each reads.
    """
    result = dict(folded)
    _scale_residuals(spec, result, _shared_sizes([best_reaches(x) for x in level_inputs]))
    for level, samples in enumerate(mix_inputs, 1):
        size = _typical(best_reaches(samples))
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


def _shared_sizes(reaches: Sequence[np.ndarray]) -> np.ndarray:
    """One size per channel for all levels: the mean, level by level, of how a channel compares
    with the others. Each level has a step of its own, so only ratios between channels matter."""
    logs = [np.log(_typical(reach)) for reach in reaches]
    return np.exp(np.mean(logs, axis=0))


def _typical(reach: np.ndarray) -> np.ndarray:
    """Sizes around 1, none near 0."""
    speaking = reach[reach > 0]
    if not len(speaking):
        return np.ones_like(reach)
    relative = reach / np.median(speaking)
    return np.maximum(relative, _QUIET)
