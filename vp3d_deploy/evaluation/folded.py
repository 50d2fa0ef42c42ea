"""A bundle's folded weights as parameters of the network they were folded from.

vp3d_export/fold.py writes them: one matrix (C_out, taps * C_in) and one bias per convolution,
batch normalisation included. Here that is undone as far as it can be: the matrices become
convolutions, and batch norms that add the bias and do nothing else.
"""

from __future__ import annotations

import numpy as np

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.spec import BATCH_NORM_EPS, ModelSpec

PRECISION = "fp32"


def folded_parameters(bundle: Bundle) -> dict[str, np.ndarray]:
    """The pose network's parameters, in the names of vp3d_deploy/training/networks.py.

    Raises BundleError if the bundle has no single-precision weights.
    """
    from safetensors.numpy import load_file

    entry = next((g for g in bundle.graphs if g.precision == PRECISION), None)
    if entry is None:
        raise BundleError(f"{bundle.path} holds no {PRECISION} weights to run in PyTorch")
    stored = load_file(bundle.file(entry.weights))
    folded = {
        name.removeprefix("pose."): array
        for name, array in stored.items()
        if name.startswith("pose.")
    }
    return unfold(bundle.spec, folded)


def unfold(spec: ModelSpec, folded: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Folded weights of one network -> parameters of a network that gives the same answers."""
    tensors = {}
    for level, width in enumerate(spec.filter_widths):
        convolution = f"levels.{level}.conv" if level else "expand.conv"
        norm = f"levels.{level}.conv_bn" if level else "expand.bn"
        tensors[f"{convolution}.weight"] = _convolution(folded[f"level{level}.conv.weight"], width)
        tensors.update(_norm(norm, folded[f"level{level}.conv.bias"]))
        if level:
            mix = f"levels.{level}.mix"
            tensors[f"{mix}.weight"] = _convolution(folded[f"level{level}.mix.weight"], 1)
            tensors.update(_norm(f"{mix}_bn", folded[f"level{level}.mix.bias"]))
    tensors["shrink.weight"] = _convolution(folded["shrink.weight"], 1)
    tensors["shrink.bias"] = folded["shrink.bias"]
    return tensors


def _convolution(matrix: np.ndarray, width: int) -> np.ndarray:
    """(C_out, taps * C_in), oldest tap first -> (C_out, C_in, taps)."""
    return matrix.reshape(len(matrix), width, -1).transpose(0, 2, 1)


def _norm(name: str, bias: np.ndarray) -> dict[str, np.ndarray]:
    ones = np.ones_like(bias)
    return {
        f"{name}.weight": ones,
        f"{name}.bias": bias,
        f"{name}.running_mean": np.zeros_like(bias),
        # In float64 this and what the norm adds to it would be 1; in float32 it is off by 6e-8.
        f"{name}.running_var": ones - np.float32(BATCH_NORM_EPS),
    }
