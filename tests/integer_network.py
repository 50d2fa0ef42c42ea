"""The int8 network by its definition, in whole numbers: what every int8 engine is tested against.

`weights.int8.safetensors` holds, for every convolution and mix of level 1 and up, a matrix W of
whole numbers with a scale per row, a bias, and the scale of what it reads:

    q = clip(round_half_even(x / input_scale), 0, 127)
    y = (W @ q) * (scale * input_scale) + bias

Products and their sums are exact here, everything else is float64. An engine's float32 may put an
activation that lies halfway between two whole numbers on the other side, so answers agree to
round-off nearly everywhere and to a few millimetres where that happened: see `assert_same_answers`.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vp3d_deploy.spec import ModelSpec

Tensors = Mapping[str, np.ndarray]

LARGEST = 127


def integer_network(
    spec: ModelSpec, tensors: Tensors, prefix: str, keypoints: np.ndarray, lean: float = 0.0
) -> np.ndarray:
    """(T, J_in, F), normalised screen units, T >= R -> (T-R+1, J_out*3) float64, metres.

    tensors: as stored, called PREFIX.levelK.conv.weight and so on; prefix: "pose" for example.
    lean: added to what is rounded, in steps: answers that a little of it does not move depend on
    no value that lies halfway between two whole numbers.
    """
    at = f"{prefix}."
    h = keypoints.astype(np.float64).reshape(len(keypoints), -1)
    for level, (width, dilation) in enumerate(zip(spec.filter_widths, spec.dilations, strict=True)):
        n_out = len(h) - (width - 1) * dilation
        taps = [h[tap * dilation : tap * dilation + n_out] for tap in range(width)]
        rows = np.concatenate(taps, axis=1)
        if level == 0:
            h = np.maximum(_exact(tensors, f"{at}level0.conv", rows), 0)
        else:
            inner = np.maximum(quantised_product(tensors, f"{at}level{level}.conv", rows, lean), 0)
            outer = np.maximum(quantised_product(tensors, f"{at}level{level}.mix", inner, lean), 0)
            h = taps[width - 1 if spec.causal else width // 2] + outer
    return _exact(tensors, f"{at}shrink", h)


def integer_sequence(
    spec: ModelSpec, tensors: Tensors, prefix: str, keypoints: np.ndarray, lean: float = 0.0
) -> np.ndarray:
    """As `integer_network`, for clips: (B, T, J_in, F) -> (B, T-R+1, J_out, 3)."""
    answers = np.stack([integer_network(spec, tensors, prefix, clip, lean) for clip in keypoints])
    return answers.reshape(*answers.shape[:2], spec.joints_out, 3)


def integer_live(
    spec: ModelSpec, tensors: Tensors, prefix: str, keypoints: np.ndarray, lag: int
) -> np.ndarray:
    """(T, J_in, F) -> (T, J_out, 3): live answers by their definition, as tests/reference.py's."""
    around = np.arange(spec.receptive_field) - (spec.receptive_field - 1 - spec.lookahead)
    last = len(keypoints) - 1
    windows = [
        keypoints[np.clip(frame + around, 0, min(frame + lag, last))] for frame in range(last + 1)
    ]
    return integer_sequence(spec, tensors, prefix, np.stack(windows))[:, 0]


def quantise(values: np.ndarray, input_scale: np.ndarray, lean: float = 0.0) -> np.ndarray:
    """Activations -> whole numbers 0 .. 127, int64; numpy rounds halves to even."""
    rounded = np.round(values / input_scale.astype(np.float64) + lean)
    return np.clip(rounded, 0, LARGEST).astype(np.int64)


def quantised_product(
    tensors: Tensors, name: str, rows: np.ndarray, lean: float = 0.0
) -> np.ndarray:
    """(n, in) float64 -> (n, C) float64, before the ReLU."""
    weight, input_scale = tensors[f"{name}.weight"], tensors[f"{name}.input_scale"]
    assert weight.dtype == np.int8
    # Whole numbers in float64, whose products numpy computes a hundred times faster: sums of them
    # stay far below 2**53, so they are exact.
    sums = quantise(rows, input_scale, lean).astype(np.float64) @ weight.astype(np.float64).T
    scale = tensors[f"{name}.scale"].astype(np.float64) * input_scale.astype(np.float64)
    return sums * scale + tensors[f"{name}.bias"].astype(np.float64)


def assert_same_answers(found: np.ndarray, expected: np.ndarray) -> None:
    """Metres. Round-off in at least nine answers of ten, a step or two of rounding in the others.

    A wrong tap, scale, bias or rounding moves all answers by centimetres.
    """
    assert found.shape == expected.shape
    error = np.abs(found - expected)
    assert not np.isnan(error).any()
    assert error.max(initial=0) < 1e-2
    assert np.quantile(error, 0.9) < 2e-5


def random_int8_tensors(spec: ModelSpec, prefix: str, seed: int) -> dict[str, np.ndarray]:
    """Random weights as `weights.int8.safetensors` holds them; answers of about a metre.

    Scales are set on random keypoints of deviation 0.5, so that signals neither die nor grow, all
    of 0 .. 127 is used, and the largest activations are cut off. Every row's weights reach 127 or
    -127, so that arithmetic which saturates in between shows.
    """
    rng = np.random.default_rng(seed)
    keypoints = rng.normal(0, 0.5, (spec.receptive_field + 40, spec.joints_in * spec.features))
    tensors: dict[str, np.ndarray] = {}
    h = keypoints
    for level, (width, dilation) in enumerate(zip(spec.filter_widths, spec.dilations, strict=True)):
        n_out = len(h) - (width - 1) * dilation
        taps = [h[tap * dilation : tap * dilation + n_out] for tap in range(width)]
        rows = np.concatenate(taps, axis=1)
        name = f"{prefix}.level{level}"
        if level == 0:
            _random_exact(tensors, f"{name}.conv", rows, spec.channels, rng)
            h = np.maximum(_exact(tensors, f"{name}.conv", rows), 0)
        else:
            for kind in ("conv", "mix"):
                _random_quantised(tensors, f"{name}.{kind}", rows, spec.channels, rng)
                rows = np.maximum(quantised_product(tensors, f"{name}.{kind}", rows), 0)
            h = taps[width - 1 if spec.causal else width // 2] + 0.5 * rows
            _halve(tensors, f"{name}.mix")
    _random_exact(tensors, f"{prefix}.shrink", h, spec.joints_out * 3, rng)
    return tensors


def _random_exact(
    tensors: dict[str, np.ndarray],
    name: str,
    rows: np.ndarray,
    outputs: int,
    rng: np.random.Generator,
) -> None:
    weight = rng.normal(0, 1, (outputs, rows.shape[1]))
    weight /= np.std(rows @ weight.T) + 1e-9
    tensors[f"{name}.weight"] = weight.astype(np.float32)
    tensors[f"{name}.bias"] = rng.normal(0, 0.3, outputs).astype(np.float32)


def _random_quantised(
    tensors: dict[str, np.ndarray],
    name: str,
    rows: np.ndarray,
    outputs: int,
    rng: np.random.Generator,
) -> None:
    weight = rng.integers(-LARGEST, LARGEST, (outputs, rows.shape[1]), endpoint=True)
    weight[np.arange(outputs), rng.integers(rows.shape[1], size=outputs)] = rng.choice(
        [-LARGEST, LARGEST], outputs
    )
    input_scale = np.float32(max(0.8 * rows.max(), 1e-3) / LARGEST)
    deviation = np.std(quantise(rows, input_scale) @ weight.T, axis=0) * input_scale
    scale = rng.uniform(0.5, 1.5, outputs) / np.maximum(deviation, 1e-3)
    tensors[f"{name}.weight"] = weight.astype(np.int8)
    tensors[f"{name}.scale"] = scale.astype(np.float32)
    tensors[f"{name}.bias"] = np.zeros(outputs, np.float32)
    tensors[f"{name}.input_scale"] = np.asarray(input_scale, np.float32)
    # The mean goes, as batch normalisation would take it off.
    mean = quantised_product(tensors, name, rows).mean(0)
    tensors[f"{name}.bias"] = (rng.normal(0.3, 0.3, outputs) - mean).astype(np.float32)


def _halve(tensors: dict[str, np.ndarray], name: str) -> None:
    """What a level adds, so that the sums along the residuals do not grow from level to level."""
    for tensor in ("scale", "bias"):
        tensors[f"{name}.{tensor}"] = tensors[f"{name}.{tensor}"] / np.float32(2)


def _exact(tensors: Tensors, name: str, rows: np.ndarray) -> np.ndarray:
    weight, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
    assert weight.dtype == np.float32
    return rows @ weight.astype(np.float64).T + bias.astype(np.float64)
