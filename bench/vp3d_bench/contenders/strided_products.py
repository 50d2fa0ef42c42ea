"""The strided network of folded weights as matrix products, in PyTorch."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from vp3d_deploy.spec import ModelSpec


class StridedProducts(nn.Module):
    """weights: one network's folded tensors as vp3d_export/fold.py names them."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> None:
        super().__init__()
        self.spec = spec
        for name, array in weights.items():
            self.register_buffer(
                name.replace(".", "_"), torch.from_numpy(np.array(array, np.float32))
            )

    def forward(self, keypoints: Tensor) -> Tensor:
        """(B, R, J_in, F) -> (B, J_out, 3)."""
        batch = len(keypoints)
        h = keypoints.flatten(2)
        for level, width in enumerate(self.spec.filter_widths):
            # Each row: the columns that one column of the next level reads.
            new = self._layer(h.reshape(batch, h.shape[1] // width, -1), f"level{level}_conv")
            if level:
                tap = self.spec.residual_tap(level)
                new = h[:, tap::width] + self._layer(new, f"level{level}_mix")
            h = new
        answer = functional.linear(h[:, 0], self.shrink_weight, self.shrink_bias)  # type: ignore[arg-type]
        return answer.reshape(batch, self.spec.joints_out, 3)

    def _layer(self, rows: Tensor, name: str) -> Tensor:
        weight, bias = getattr(self, f"{name}_weight"), getattr(self, f"{name}_bias")
        return functional.relu(functional.linear(rows, weight, bias))
