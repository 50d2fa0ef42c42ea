"""Small bundles with random weights, for tests that need one but not its making."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from reference import random_parameters

from vp3d_deploy.bundle import FORMS, Bundle
from vp3d_deploy.skeleton import H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.fold import FoldedWeights, fold_batch_norm
from vp3d_export.graphs.write import write_graphs
from vp3d_export.int8.quantise import quantise


@dataclass(frozen=True)
class RandomBundle:
    """parameters: canonical, unfolded, by network name."""

    bundle: Bundle
    parameters: dict[str, dict[str, np.ndarray]]


def trajectory_spec(spec: ModelSpec) -> ModelSpec:
    return ModelSpec.from_dict({**spec.to_dict(), "joints_out": 1})


def random_bundle(
    directory: Path,
    spec: ModelSpec,
    *,
    trajectory: bool = False,
    precisions: tuple[str, ...] = ("fp32",),
    forms: tuple[str, ...] = FORMS,
    lags: tuple[int, ...] = (0,),
    fps: float = 50.0,
    seed: int = 1,
) -> RandomBundle:
    """Write a bundle of random parameters into `directory`, which must be new."""
    networks = {"pose": spec}
    if trajectory:
        networks["trajectory"] = trajectory_spec(spec)
    parameters = {
        name: random_parameters(s, seed + i) for i, (name, s) in enumerate(networks.items())
    }
    folded = {name: fold_batch_norm(networks[name], parameters[name]) for name in networks}
    directory.mkdir()
    graphs = []
    for precision in precisions:
        weights = folded
        if precision == "int8":
            weights = {name: _in_int8(networks[name], folded[name]) for name in networks}
        graphs += write_graphs(directory, networks, weights, precision, forms, lags)
    skeletons = (_skeleton(spec.joints_in), _skeleton(spec.joints_out))
    write_manifest(directory, networks, *skeletons, fps, graphs, {"seed": seed})
    return RandomBundle(Bundle.open(directory), parameters)


def _in_int8(spec: ModelSpec, folded: FoldedWeights) -> FoldedWeights:
    """Fitted to keypoints such as tests show to networks."""
    shape = (spec.receptive_field + 60, spec.joints_in, spec.features)
    return quantise(spec, folded, [np.random.default_rng(3).normal(0, 0.5, shape)])


def _skeleton(n_joints: int) -> Skeleton:
    if n_joints == H36M_17.n_joints:
        return H36M_17
    names = tuple(f"joint_{joint}" for joint in range(n_joints))
    return Skeleton("test", names, (-1, *[0] * (n_joints - 1)), (), ())
