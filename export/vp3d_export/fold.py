"""Fold batch normalisation into the convolutions: canonical parameters -> matrices and biases.

A folded network holds, for `x @ W.T + b`,

    level0.conv.weight   (C, f0 * J_in*F)      level0.conv.bias   (C,)
    levelK.conv.weight   (C, fK * C)           levelK.conv.bias   (C,)      K = 1 .. n
    levelK.mix.weight    (C, C)                levelK.mix.bias    (C,)
    shrink.weight        (J_out*3, C)          shrink.bias        (J_out*3,)

Columns of a convolution's matrix run over taps first, oldest tap first, then over channels, so
that the frames a level reads, laid end to end, are one row of x. Every form of the network
(vp3d_export/graphs, kernels/) is an arrangement of these matrices. Outputs come first because one
layout then serves both operators that the graphs use: a product (Gemm) and, with two axes of
length 1 added, a convolution over single points.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from vp3d_deploy.spec import BATCH_NORM_EPS, ModelSpec

FoldedWeights = dict[str, np.ndarray]


def folded_shapes(spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a folded network, in the order in which a frame uses them."""
    shapes: dict[str, tuple[int, ...]] = {}
    for level, width in enumerate(spec.filter_widths):
        inputs = spec.channels if level else spec.joints_in * spec.features
        shapes[f"level{level}.conv.weight"] = (spec.channels, width * inputs)
        shapes[f"level{level}.conv.bias"] = (spec.channels,)
        if level:
            shapes[f"level{level}.mix.weight"] = (spec.channels, spec.channels)
            shapes[f"level{level}.mix.bias"] = (spec.channels,)
    shapes["shrink.weight"] = (spec.joints_out * 3, spec.channels)
    shapes["shrink.bias"] = (spec.joints_out * 3,)
    return shapes


def fold_batch_norm(spec: ModelSpec, tensors: Mapping[str, np.ndarray]) -> FoldedWeights:
    """Fold a network in training form, computing in float64.

    tensors: canonical names (vp3d_deploy/training/networks.py): convolution weights
        (C_out, C_in, taps) and batch-norm statistics (C,), as a checkpoint stores them.
    Returns the matrices listed above as float64.
    """
    folded: FoldedWeights = {}
    for target, weight, norm in _convolutions(spec):
        gain, mean = tensors[f"{norm}.weight"], tensors[f"{norm}.running_mean"]
        scale = gain.astype(np.float64) / np.sqrt(
            tensors[f"{norm}.running_var"].astype(np.float64) + BATCH_NORM_EPS
        )
        matrix = _matrix_from_convolution(tensors[weight])
        folded[f"{target}.weight"] = matrix * scale[:, None]
        folded[f"{target}.bias"] = tensors[f"{norm}.bias"].astype(np.float64) - mean * scale
    folded["shrink.weight"] = _matrix_from_convolution(tensors["shrink.weight"])
    folded["shrink.bias"] = tensors["shrink.bias"].astype(np.float64)

    expected = folded_shapes(spec)
    found = {name: array.shape for name, array in folded.items()}
    if found != expected:
        raise AssertionError(f"folding gave {found}, not {expected}")
    return folded


def _convolutions(spec: ModelSpec) -> Iterator[tuple[str, str, str]]:
    """(folded name, convolution weight, batch norm) of every convolution followed by a norm."""
    yield "level0.conv", "expand.conv.weight", "expand.bn"
    for level in range(1, len(spec.filter_widths)):
        for kind in ("conv", "mix"):
            prefix = f"levels.{level}.{kind}"
            yield f"level{level}.{kind}", f"{prefix}.weight", f"{prefix}_bn"


def _matrix_from_convolution(weight: np.ndarray) -> np.ndarray:
    """(C_out, C_in, taps) -> (C_out, taps * C_in) float64."""
    return weight.astype(np.float64).transpose(0, 2, 1).reshape(len(weight), -1)
