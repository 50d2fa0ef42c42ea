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
rounded, beside what they ought to say, so that the rounding of its weights and its bias make up
for as much of the difference as they can.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import FoldedWeights
from vp3d_export.int8.equalise import equalise
from vp3d_export.int8.rounding import (
    LARGEST,
    damped,
    round_nearest,
    round_with_feedback,
    row_steps,
)

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Method:
    """Which measures are taken; without any, weights and activations are rounded to the nearest
    of numbers that reach their largest values."""

    equalise: bool = True
    feedback: bool = True
    correct_bias: bool = True


PLAIN = Method(equalise=False, feedback=False, correct_bias=False)


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
    Raises ValueError for a network whose activations on the clips are not finite numbers.
    """
    weights = folded
    n_levels = len(spec.filter_widths) - 1
    if method.equalise and n_levels:
        progress("how loud channels are")
        weights = equalise(spec, folded, *_largest(spec, folded, clips))
    frames = [clip.reshape(len(clip), -1).astype(np.float32) for clip in clips]
    rows = [_taps(spec, 0, clip) for clip in frames]
    first = [_relu(_linear(weights, "level0.conv", r)) for r in rows]
    columns = _Clips(first, first)
    tensors = _stored(weights, ("level0.conv",))
    for level in range(1, n_levels + 1):
        progress(f"level {level} of {n_levels}")
        columns = _quantise_level(spec, level, weights, columns, method, tensors)
    tensors.update(_stored(weights, ("shrink",)))
    if method.correct_bias:
        exact, rounded = (np.concatenate(side) for side in (columns.exact, columns.rounded))
        change = _linear(weights, "shrink", exact) - _linear(weights, "shrink", rounded)
        tensors["shrink.bias"] += change.mean(0)
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
    # A shorter reach, with finer steps, would be better on average and cut off what is rare: a
    # person who crouches may then be wrong by centimetres. What is always 0 may have any step.
    reach = float(rounded.max(initial=0)) or 1.0
    if not np.isfinite([reach, exact.max(initial=0)]).all():
        raise ValueError(
            f"{name} reads values that are not finite numbers; export this network without int8"
        )
    input_scale = np.float32(reach / LARGEST)
    numbers = np.minimum(np.rint(rounded / input_scale), LARGEST)

    steps = row_steps(weight)
    whole = round_nearest(weight, steps)
    mean = numbers.mean(0, dtype=np.float64)
    if method.feedback:
        moments = second_moments(numbers) - np.outer(mean, mean)
        whole = round_with_feedback(weight, steps, damped(moments))
    if method.correct_bias:
        wanted = weight @ exact.mean(0, dtype=np.float64)
        found = (whole * steps[:, None]) @ mean * float(input_scale)
        bias = bias + wanted - found
    return {
        "weight": whole,
        "scale": steps.astype(np.float32),
        "bias": bias.astype(np.float32),
        "input_scale": np.asarray(input_scale),
    }


def int8_product(made: dict[str, np.ndarray], rows: np.ndarray) -> np.ndarray:
    """(n, in) float32 -> (n, C) float32 before the ReLU, as engines do but for round-off."""
    scale = made["input_scale"]
    numbers = np.clip(np.rint(rows / scale), 0, LARGEST)
    return (numbers @ made["weight"].T.astype(np.float32)) * (made["scale"] * scale) + made["bias"]


def second_moments(rows: np.ndarray) -> np.ndarray:
    """(n, in) -> E[x x.T] (in, in), float64, summed in pieces."""
    total = np.zeros((rows.shape[1], rows.shape[1]))
    for start in range(0, len(rows), 2048):
        piece = rows[start : start + 2048]
        total += piece.T @ piece
    return total / len(rows)


def _largest(
    spec: ModelSpec, folded: FoldedWeights, clips: Sequence[np.ndarray]
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For each level the largest value (C,) of every channel that it reads, and its mix."""
    columns = [clip.reshape(len(clip), -1).astype(np.float32) for clip in clips]
    columns = [_relu(_linear(folded, "level0.conv", _taps(spec, 0, c))) for c in columns]
    level_inputs, mix_inputs = [], []
    for level in range(1, len(spec.filter_widths)):
        level_inputs.append(np.max([clip.max(0) for clip in columns], axis=0))
        rows = np.concatenate([_taps(spec, level, clip) for clip in columns])
        inner = _relu(_linear(folded, f"level{level}.conv", rows))
        mix_inputs.append(inner.max(0))
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


def _stored(weights: FoldedWeights, names: tuple[str, ...]) -> dict[str, np.ndarray]:
    return {
        f"{name}.{tensor}": weights[f"{name}.{tensor}"].astype(np.float32)
        for name in names
        for tensor in ("weight", "bias")
    }
