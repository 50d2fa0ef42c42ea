"""Begin from trained weights: of the same network, or of one with fewer levels that then grows."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import nn

from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.networks import TemporalModel, TemporalModelStrided

# By how much a new level's branch is scaled down at first: the network begins as the smaller one,
# nearly. At exactly zero its ReLU would pass no gradient and the level would never learn.
_NEW_BRANCH = 0.05


class InitialWeightsError(ValueError):
    """Weights that this network cannot begin from."""


def set_initial_weights(
    network: nn.Module, spec: ModelSpec, tensors: Mapping[str, np.ndarray]
) -> None:
    """Load trained parameters, in place.

    network: in either training form. spec, tensors: the trained network and its parameters in the
    names of networks.py. If its filter widths are only the first of this network's, the further
    levels begin as almost nothing: a level adds its branch to the column at its residual tap, so
    the grown network answers for the same frame as the smaller one.

    Raises InitialWeightsError, which names both, for a network that differs in anything else.
    """
    assert isinstance(network, (TemporalModel, TemporalModelStrided))
    ours, n_levels = network.spec, len(spec.filter_widths)
    shortened = ModelSpec.from_dict(
        {**ours.to_dict(), "filter_widths": ours.filter_widths[:n_levels]}
    )
    if shortened != spec:
        raise InitialWeightsError(
            f"the initial weights are those of {_described(spec)}, this network has "
            f"{_described(ours)}; they may only have fewer levels"
        )
    state = {name: torch.from_numpy(np.array(values)) for name, values in tensors.items()}
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        for k in range(n_levels, len(ours.filter_widths)):
            norm = network.get_submodule(f"levels.{k}.mix_bn")
            assert isinstance(norm, nn.BatchNorm1d)
            norm.weight.fill_(_NEW_BRANCH)


def _described(spec: ModelSpec) -> str:
    causal = ", causal" if spec.causal else ""
    return (
        f"filter widths {list(spec.filter_widths)}, {spec.channels} channels, {spec.joints_in} "
        f"joints of {spec.features} in and {spec.joints_out} out{causal}"
    )
