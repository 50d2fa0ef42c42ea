"""Networks to measure: random weights, in the forms the contenders need."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.fold import fold_batch_norm
from vp3d_export.graphs.write import write_graphs

H36M_FPS = 50.0


def random_state(spec: ModelSpec, seed: int) -> dict[str, np.ndarray]:
    """Canonical parameters that keep signals of one size from level to level, as trained ones do:
    a network whose answers vanish or explode would make comparisons in mm mean nothing."""
    rng = np.random.default_rng(seed)
    state: dict[str, np.ndarray] = {}

    def convolution(name: str, norm: str, inputs: int, taps: int) -> None:
        scale = np.sqrt(2.0 / (inputs * taps))
        state[f"{name}.weight"] = rng.normal(0, scale, (spec.channels, inputs, taps))
        for part, low, high in (
            ("weight", 0.5, 1.0),
            ("bias", -0.2, 0.2),
            ("running_mean", -0.2, 0.2),
            ("running_var", 0.5, 2.0),
        ):
            state[f"{norm}.{part}"] = rng.uniform(low, high, spec.channels)

    width = spec.filter_widths[0]
    convolution("expand.conv", "expand.bn", spec.joints_in * spec.features, width)
    for level, width in enumerate(spec.filter_widths[1:], 1):
        prefix = f"levels.{level}"
        convolution(f"{prefix}.conv", f"{prefix}.conv_bn", spec.channels, width)
        convolution(f"{prefix}.mix", f"{prefix}.mix_bn", spec.channels, 1)
    scale = 0.3 / np.sqrt(spec.channels)
    state["shrink.weight"] = rng.normal(0, scale, (spec.joints_out * 3, spec.channels, 1))
    state["shrink.bias"] = rng.normal(0, 0.1, spec.joints_out * 3)
    return {name: array.astype(np.float32) for name, array in state.items()}


def random_bundle(
    path: Path,
    spec: ModelSpec,
    state: dict[str, np.ndarray],
    precisions: tuple[str, ...] = ("fp32",),
    lags: tuple[int, ...] = (0,),
) -> None:
    """Write a bundle of these weights into the new directory `path`; nothing was compared."""
    path.mkdir()
    networks, folded = {"pose": spec}, {"pose": fold_batch_norm(spec, state)}
    graphs = []
    for precision in precisions:
        graphs += write_graphs(
            path, networks, folded, precision, ("window", "sequence", "stream"), lags
        )
    write_manifest(path, networks, H36M_17, H36M_17, H36M_FPS, graphs, {"weights": "random"})
