"""A folded network in whole numbers: what `weights.int8.safetensors` holds, and how it is made.

For the convolution and the mix of each level K from 1 on the file holds

    levelK.conv.weight  (C, fK * C) int8, -127 .. 127     levelK.conv.scale        (C,) float32
    levelK.conv.bias    (C,) float32                      levelK.conv.input_scale  () float32

(and levelK.mix.* alike), which every engine computes as

    q = clip(round_half_even(x / input_scale), 0, 127)
    y = (weight @ q) * (scale * input_scale) + bias

Activations are never negative after a ReLU, so 0 .. 127 with zero point 0 wastes nothing, fits
signed and unsigned bytes alike, and lets two products be added in 16 bits without overflow. Level
0, shrink and the sums along the residuals stay float32, as in half precision.

The levels are done in their order. Each is given what the levels before it say once they are
rounded, beside what they ought to say, and is fitted to turn the one into the other: first its
weights, then their rounding, then its bias.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import FoldedWeights
from vp3d_export.int8.equalise import equalise
from vp3d_export.int8.ranges import (
    LARGEST,
    best_reach,
    best_row_steps,
    largest_row_steps,
)
from vp3d_export.int8.rounding import damped, round_nearest, round_with_feedback

Progress = Callable[[str], None]

# Rows of activations that reaches are chosen on; moments and means take all there are.
_SAMPLES = 4096


@dataclass(frozen=True)
class Method:
    """Which of the measures are taken; all of them by default. bench/results/int8_accuracy.json
    holds what each is worth."""

    equalise: bool = False
    clip_activations: bool = True
    clip_weights: bool = True
    feedback: bool = True
    refit: bool = True
    correct_bias: bool = True
    margin: float = 1.0
    damping: float = 0.01
    refit_damping: float = 0.1
    refit_shrink: bool = True
    mean_weight: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass
class _Clips:
    """A level's columns for every clip: `exact` in the network as trained, `rounded` as far as it
    is done. Arrays (T, C) float32, of which each level needs its taps."""

    exact: list[np.ndarray]
    rounded: list[np.ndarray]


def quantise(
    spec: ModelSpec,
    folded: FoldedWeights,
    clips: Sequence[np.ndarray],
    method: Method = Method(),
    progress: Progress = lambda step: None,
) -> dict[str, np.ndarray]:
    """Tensors as listed above, without a network's name before theirs.

    clips: keypoints (T, J_in, F), normalised screen units, T >= R: the motion that ranges and
        errors are measured on.
    progress is called with the name of each step before it starts.
    Raises ValueError for a network whose activations are not finite on the clips.
    """
    weights = folded
    if method.equalise and len(spec.filter_widths) > 1:
        progress("how far activations reach")
        weights = equalise(spec, folded, *_samples(spec, folded, clips))
    frames = [clip.reshape(len(clip), -1).astype(np.float32) for clip in clips]
    rows = [_taps(spec, 0, clip) for clip in frames]
    first = [_relu(_linear(weights, "level0.conv", r)) for r in rows]
    columns = _Clips(first, first)
    tensors = _stored(weights, ("level0.conv",))
    for level in range(1, len(spec.filter_widths)):
        progress(f"level {level} of {len(spec.filter_widths) - 1}")
        columns = _quantise_level(spec, level, weights, columns, method, tensors)
    exact, rounded = np.concatenate(columns.exact), np.concatenate(columns.rounded)
    shrunk = weights
    if len(spec.filter_widths) > 1:
        shrunk = _fitted(weights, "shrink", exact, rounded, method, method.refit_shrink)
    tensors.update(_stored(shrunk, ("shrink",)))
    return tensors


def _quantise_level(
    spec: ModelSpec,
    level: int,
    weights: FoldedWeights,
    columns: _Clips,
    method: Method,
    tensors: dict[str, np.ndarray],
) -> _Clips:
    """Adds the level's tensors; returns its columns."""
    exact = np.concatenate([_taps(spec, level, clip) for clip in columns.exact])
    rounded = np.concatenate([_taps(spec, level, clip) for clip in columns.rounded])
    for kind in ("conv", "mix"):
        name = f"level{level}.{kind}"
        made = _quantise_product(weights, name, exact, rounded, method)
        tensors.update({f"{name}.{tensor}": values for tensor, values in made.items()})
        exact = _relu(_linear(weights, name, exact))
        rounded = _relu(int8_product(made, rounded))
    return _Clips(
        _added(spec, level, columns.exact, exact), _added(spec, level, columns.rounded, rounded)
    )


def _quantise_product(
    weights: FoldedWeights, name: str, exact: np.ndarray, rounded: np.ndarray, method: Method
) -> dict[str, np.ndarray]:
    """weight, scale, bias and input_scale of one product.

    exact, rounded: (n, in) float32, its input in the network as trained and as it will be.
    """
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    importance = np.square(weight).sum(0)
    samples = _subset(rounded)
    if method.clip_activations:
        reach = best_reach(samples, importance)
    else:
        reach = float(rounded.max(initial=0))
    input_scale = np.float32((reach or 1.0) * method.margin / LARGEST)
    numbers = np.minimum(np.rint(rounded / input_scale), LARGEST)

    moments, mean = second_moments(numbers)
    moments -= (1 - method.mean_weight) * np.outer(mean, mean)
    fitted = weight * float(input_scale)
    wanted = exact @ weight.T.astype(np.float32)
    if method.refit:
        fitted = fitted + _refit(wanted, numbers, fitted, moments, method.refit_damping)
    steps = largest_row_steps(fitted)
    if method.clip_weights:
        steps = best_row_steps(fitted, np.diag(moments) + 1e-12)
    if method.feedback:
        whole = round_with_feedback(fitted, steps, damped(moments, method.damping))
    else:
        whole = round_nearest(fitted, steps)
    if method.correct_bias:
        found = (whole.astype(np.float64) * steps[:, None]) @ mean
        bias = bias + wanted.mean(0, dtype=np.float64) - found
    return {
        "weight": whole,
        "scale": (steps / float(input_scale)).astype(np.float32),
        "bias": bias.astype(np.float32),
        "input_scale": np.asarray(input_scale, np.float32),
    }


def _refit(
    wanted: np.ndarray, numbers: np.ndarray, weight: np.ndarray, moments: np.ndarray, part: float
) -> np.ndarray:
    """What to add to `weight` so that it makes the best of `numbers`: ridge regression of what
    is still wrong, means aside."""
    wrong = wanted - numbers @ weight.T.astype(np.float32)
    wrong -= wrong.mean(0)
    slope = wrong.T @ (numbers - numbers.mean(0)) / np.float32(len(numbers))
    return np.linalg.solve(damped(moments, part), slope.T.astype(np.float64)).T


def _fitted(
    weights: FoldedWeights,
    name: str,
    exact: np.ndarray,
    rounded: np.ndarray,
    method: Method,
    refit: bool,
) -> FoldedWeights:
    """A float product fitted to its rounded inputs."""
    weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
    wanted = exact @ weight.T.astype(np.float32)
    if refit:
        moments, mean = second_moments(rounded)
        moments -= np.outer(mean, mean)
        weight = weight + _refit(wanted, rounded, weight, moments, method.refit_damping)
    if method.correct_bias:
        found = rounded @ weight.T.astype(np.float32)
        bias = bias + (wanted - found).mean(0, dtype=np.float64)
    return {**weights, f"{name}.weight": weight, f"{name}.bias": bias}


def int8_product(made: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """(n, in) float32 -> (n, C) float32 before the ReLU, as engines do but for round-off."""
    scale = made["input_scale"]
    numbers = np.clip(np.rint(rows / scale), 0, LARGEST)
    return (numbers @ made["weight"].T.astype(np.float32)) * (made["scale"] * scale) + made["bias"]


def second_moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(n, in) -> E[x x.T] (in, in) and E[x] (in,), float64, summed in pieces."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), 2048):
        piece = rows[start : start + 2048]
        total += piece.T @ piece
    return total / len(rows), rows.mean(0, dtype=np.float64)


def _samples(
    spec: ModelSpec, folded: FoldedWeights, clips: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What each level's convolution and mix read, a part of the rows."""
    columns = [clip.reshape(len(clip), -1).astype(np.float32) for clip in clips]
    columns = [_relu(_linear(folded, "level0.conv", _taps(spec, 0, c))) for c in columns]
    level_inputs, mix_inputs = [], []
    for level in range(1, len(spec.filter_widths)):
        level_inputs.append(_subset(np.concatenate(columns)))
        rows = np.concatenate([_taps(spec, level, clip) for clip in columns])
        inner = _relu(_linear(folded, f"level{level}.conv", rows))
        mix_inputs.append(_subset(inner))
        columns = _added(spec, level, columns, _relu(_linear(folded, f"level{level}.mix", inner)))
    return level_inputs, mix_inputs


def _taps(spec: ModelSpec, level: int, clip: np.ndarray) -> np.ndarray:
    """(T, C) -> (T', width * C): what each output of the level reads, oldest tap first."""
    width, dilation = spec.filter_widths[level], spec.dilations[level]
    n_out = len(clip) - (width - 1) * dilation
    return np.concatenate([clip[t * dilation : t * dilation + n_out] for t in range(width)], axis=1)


def _added(
    spec: ModelSpec, level: int, columns: list[np.ndarray], branch: np.ndarray
) -> list[np.ndarray]:
    """The level's residuals with `branch` (n, C) of all clips end to end added."""
    start, results = 0, []
    skip = spec.residual_tap(level) * spec.dilations[level]
    lost = (spec.filter_widths[level] - 1) * spec.dilations[level]
    for clip in columns:
        n_out = len(clip) - lost
        results.append(clip[skip : skip + n_out] + branch[start : start + n_out])
        start += n_out
    return results


def _linear(weights: FoldedWeights, name: str, rows: np.ndarray) -> np.ndarray:
    weight = weights[f"{name}.weight"].astype(np.float32)
    return rows @ weight.T + weights[f"{name}.bias"].astype(np.float32)


def _relu(values: np.ndarray) -> np.ndarray:
    return np.maximum(values, 0)


def _subset(rows: np.ndarray) -> np.ndarray:
    return rows[:: max(1, len(rows) // _SAMPLES)]


def _stored(weights: FoldedWeights, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {
        f"{name}.{tensor}": weights[f"{name}.{tensor}"].astype(np.float32)
        for name in names
        for tensor in ("weight", "bias")
    }
