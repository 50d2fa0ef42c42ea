"""What exports are compared with: the dilated PyTorch network in eval mode, float32."""

from __future__ import annotations

from vp3d_deploy.evaluation.pytorch import PyTorchNetworks
from vp3d_export.checkpoint import Checkpoint


class PyTorchReference(PyTorchNetworks):
    """The checkpoint's own weights, unfolded, in the form they were trained in."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        parameters = {"pose": checkpoint.pose}
        if checkpoint.trajectory is not None:
            parameters["trajectory"] = checkpoint.trajectory
        super().__init__({name: (net.spec, net.tensors) for name, net in parameters.items()})
