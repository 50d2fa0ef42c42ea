"""The network by its definition, in float64: what every form, engine and lag is tested against.

Nothing here is shared with the product except ModelSpec's plain numbers: parameters are unfolded,
convolutions are loops over taps, and live answers are the full network on edited clips.
"""

from __future__ import annotations

import numpy as np

from vp3d_deploy.spec import ModelSpec

EPS = 1e-5


def random_parameters(spec: ModelSpec, seed: int) -> dict[str, np.ndarray]:
    """Canonical parameters with random batch-norm statistics, scaled so that signals neither die
    nor grow from level to level."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}

    def convolution(name: str, outputs: int, inputs: int, taps: int) -> None:
        scale = np.sqrt(2.0 / (inputs * taps))
        tensors[name] = rng.normal(0, scale, (outputs, inputs, taps)).astype(np.float32)

    def norm(name: str) -> None:
        c = spec.channels
        tensors[f"{name}.weight"] = rng.uniform(0.5, 1.5, c).astype(np.float32)
        tensors[f"{name}.bias"] = rng.normal(0, 0.3, c).astype(np.float32)
        tensors[f"{name}.running_mean"] = rng.normal(0, 0.3, c).astype(np.float32)
        tensors[f"{name}.running_var"] = rng.uniform(0.3, 3.0, c).astype(np.float32)

    convolution(
        "expand.conv.weight", spec.channels, spec.joints_in * spec.features, spec.filter_widths[0]
    )
    norm("expand.bn")
    for level in range(1, len(spec.filter_widths)):
        convolution(
            f"levels.{level}.conv.weight", spec.channels, spec.channels, spec.filter_widths[level]
        )
        norm(f"levels.{level}.conv_bn")
        convolution(f"levels.{level}.mix.weight", spec.channels, spec.channels, 1)
        norm(f"levels.{level}.mix_bn")
    outputs = spec.joints_out * 3
    tensors["shrink.weight"] = rng.normal(
        0, 0.3 / np.sqrt(spec.channels), (outputs, spec.channels, 1)
    ).astype(np.float32)
    tensors["shrink.bias"] = rng.normal(0, 0.3, outputs).astype(np.float32)
    return tensors


def dilated_network(
    spec: ModelSpec, tensors: dict[str, np.ndarray], keypoints: np.ndarray
) -> np.ndarray:
    """(T+R-1, J_in, F) -> (T, J_out, 3), the unfolded dilated network of DESIGN's section 2."""

    def convolve(x: np.ndarray, name: str, dilation: int) -> np.ndarray:
        weight = tensors[name].astype(np.float64)
        taps = weight.shape[2]
        n_out = x.shape[0] - (taps - 1) * dilation
        out = np.zeros((n_out, weight.shape[0]))
        for tap in range(taps):
            out += x[tap * dilation : tap * dilation + n_out] @ weight[:, :, tap].T
        return out

    def norm_relu(x: np.ndarray, name: str) -> np.ndarray:
        centred = (x - tensors[f"{name}.running_mean"]) / np.sqrt(
            tensors[f"{name}.running_var"].astype(np.float64) + EPS
        )
        return np.maximum(centred * tensors[f"{name}.weight"] + tensors[f"{name}.bias"], 0)

    x = keypoints.astype(np.float64).reshape(len(keypoints), -1)
    h = norm_relu(convolve(x, "expand.conv.weight", 1), "expand.bn")
    dilation = spec.filter_widths[0]
    for level in range(1, len(spec.filter_widths)):
        width = spec.filter_widths[level]
        prefix = f"levels.{level}"
        new = norm_relu(convolve(h, f"{prefix}.conv.weight", dilation), f"{prefix}.conv_bn")
        new = norm_relu(convolve(new, f"{prefix}.mix.weight", 1), f"{prefix}.mix_bn")
        skip = (width - 1 if spec.causal else width // 2) * dilation
        h = h[skip : skip + len(new)] + new
        dilation *= width
    out = convolve(h, "shrink.weight", 1) + tensors["shrink.bias"]
    return out.reshape(len(out), spec.joints_out, 3)


def padded(spec: ModelSpec, keypoints: np.ndarray) -> np.ndarray:
    """Repeat the first and last frame so that T frames in give T poses out."""
    span = spec.receptive_field - 1
    left, right = (span, 0) if spec.causal else (span // 2, span // 2)
    return np.concatenate(
        [np.repeat(keypoints[:1], left, 0), keypoints, np.repeat(keypoints[-1:], right, 0)]
    )


def live_answers(
    spec: ModelSpec, tensors: dict[str, np.ndarray], keypoints: np.ndarray, lag: int
) -> np.ndarray:
    """(T, J_in, F) -> (T, J_out, 3): the answer for frame s is the full network's when every frame
    after s + lag is replaced by frame s + lag (or by the clip's last frame, once it has ended)."""
    answers = []
    for s in range(len(keypoints)):
        seen = keypoints[: s + lag + 1]
        edited = np.concatenate([seen, np.repeat(seen[-1:], len(keypoints) - len(seen), 0)])
        answers.append(dilated_network(spec, tensors, padded(spec, edited))[s])
    return np.array(answers)
