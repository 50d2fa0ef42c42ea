"""What one would run instead: the strided convolutional network."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vp3d_deploy.spec import ModelSpec


class StridedConvolutions(nn.Module):
    """The usual way to run single windows fast: convolutions whose stride is their width.

    state: canonical names (vp3d_deploy/training/networks.py), numpy arrays or tensors.
    """

    def __init__(self, spec: ModelSpec, state: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.spec = spec
        inputs = spec.joints_in * spec.features
        c = spec.channels
        self.expand = nn.Conv1d(inputs, c, spec.filter_widths[0], spec.filter_widths[0], bias=False)
        self.expand_bn = nn.BatchNorm1d(c)
        widths = spec.filter_widths[1:]
        self.conv = nn.ModuleList(nn.Conv1d(c, c, w, w, bias=False) for w in widths)
        self.conv_bn = nn.ModuleList(nn.BatchNorm1d(c) for _ in widths)
        self.mix = nn.ModuleList(nn.Conv1d(c, c, 1, bias=False) for _ in widths)
        self.mix_bn = nn.ModuleList(nn.BatchNorm1d(c) for _ in widths)
        self.shrink = nn.Conv1d(c, spec.joints_out * 3, 1)
        self.load_state_dict(
            {_name(name): torch.as_tensor(np.array(array)) for name, array in state.items()},
            strict=False,
        )
        self.eval()

    def forward(self, keypoints: Tensor) -> Tensor:
        """(B, R, J_in, F) -> (B, J_out, 3)."""
        x = keypoints.flatten(2).transpose(1, 2)
        x = functional.relu(self.expand_bn(self.expand(x)))
        for level, conv in enumerate(self.conv):
            width = self.spec.filter_widths[level + 1]
            skip = x[:, :, self.spec.residual_tap(level + 1) :: width]
            x = functional.relu(self.conv_bn[level](conv(x)))
            x = skip + functional.relu(self.mix_bn[level](self.mix[level](x)))
        return self.shrink(x).transpose(1, 2).reshape(-1, self.spec.joints_out, 3)


def _name(canonical: str) -> str:
    """levels.2.conv_bn.weight -> conv_bn.1.weight, expand.conv.weight -> expand.weight."""
    parts = canonical.split(".")
    if parts[0] == "levels":
        return ".".join([parts[2], str(int(parts[1]) - 1), *parts[3:]])
    if parts[0] == "expand":
        return ".".join(["expand" if parts[1] == "conv" else "expand_bn", *parts[2:]])
    return canonical
