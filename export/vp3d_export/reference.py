"""What exports are compared with: the dilated PyTorch network in eval mode, float32."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from vp3d_deploy.engines.base import Output
from vp3d_deploy.training.networks import TemporalModel
from vp3d_export.checkpoint import Checkpoint, NetworkParameters


class PyTorchReference:
    """The checkpoint's own weights, unfolded, in the form they were trained in."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._networks: Mapping[str, TemporalModel] = {
            "pose": _network(checkpoint.pose),
            **({"trajectory": _network(checkpoint.trajectory)} if checkpoint.trajectory else {}),
        }

    def sequence(self, keypoints: np.ndarray) -> Output:
        """(B, T+R-1, J_in, F) float32 -> pose (B, T, J_out, 3), trajectory (B, T, 1, 3) or None."""
        with torch.inference_mode():
            frames = torch.from_numpy(np.ascontiguousarray(keypoints))
            answers = {name: net(frames).numpy() for name, net in self._networks.items()}
        return Output(answers["pose"], answers.get("trajectory"))


def _network(parameters: NetworkParameters) -> TemporalModel:
    network = TemporalModel(parameters.spec)
    state = {name: torch.from_numpy(np.array(a)) for name, a in parameters.tensors.items()}
    state = {name: tensor.float() for name, tensor in state.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unexpected:
        raise AssertionError(f"checkpoint lacks {lacking} and has the unknown {unexpected}")
    return network.eval()
