"""Networks to measure: random weights, in the forms the contenders need.

python -m vp3d_bench.networks build/random.vp3d --widths 3 3 3 3 3 --channels 1024
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vp3d_deploy.bundle import PRECISIONS
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.calibration import built_in_calibration
from vp3d_export.fold import FoldedWeights, fold_batch_norm
from vp3d_export.graphs.write import write_graphs
from vp3d_export.int8.quantise import Method, quantise

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
    # Of some decimetres, as bodies are: what rounding moves is judged in millimetres.
    scale = 0.1 / np.sqrt(spec.channels)
    state["shrink.weight"] = rng.normal(0, scale, (spec.joints_out * 3, spec.channels, 1))
    state["shrink.bias"] = rng.normal(0, 0.1, spec.joints_out * 3)
    return {name: array.astype(np.float32) for name, array in state.items()}


def random_bundle(
    path: Path,
    spec: ModelSpec,
    state: dict[str, np.ndarray],
    precisions: Sequence[str] = ("fp32",),
    lags: tuple[int, ...] = (0,),
) -> None:
    """Write a bundle of these weights into the new directory `path`; nothing was compared."""
    path.mkdir()
    networks, folded = {"pose": spec}, fold_batch_norm(spec, state)
    graphs = []
    for precision in precisions:
        weights = {"pose": _whole_numbers(spec, folded) if precision == "int8" else folded}
        graphs += write_graphs(
            path, networks, weights, precision, ("window", "sequence", "stream"), lags
        )
    write_manifest(path, networks, H36M_17, H36M_17, H36M_FPS, graphs, {"weights": "random"})


def _whole_numbers(spec: ModelSpec, folded: FoldedWeights) -> dict[str, np.ndarray]:
    """Without the measures that cost minutes and suit trained weights."""
    clips = built_in_calibration(spec, H36M_17, H36M_17).few
    return quantise(spec, folded, clips, Method(feedback=False))


def main() -> int:
    parser = argparse.ArgumentParser(description="Write a bundle of random weights to measure.")
    parser.add_argument("bundle", type=Path, help="NAME.vp3d; what is there is kept")
    parser.add_argument("--widths", type=int, nargs="+", default=[3, 3, 3, 3, 3])
    parser.add_argument("--channels", type=int, default=1024)
    parser.add_argument("--causal", action="store_true")
    parser.add_argument("--precisions", nargs="+", default=PRECISIONS, choices=PRECISIONS)
    options = parser.parse_args()
    if options.bundle.exists():
        print(f"{options.bundle} is there already")
        return 0
    spec = ModelSpec(tuple(options.widths), options.channels, causal=options.causal)
    lags = tuple(sorted({0, spec.lookahead}))
    with tempfile.TemporaryDirectory(dir=options.bundle.parent, prefix=".random-") as folder:
        whole = Path(folder) / options.bundle.name
        random_bundle(whole, spec, random_state(spec, seed=0), options.precisions, lags)
        whole.rename(options.bundle)
    print(f"wrote {options.bundle}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
