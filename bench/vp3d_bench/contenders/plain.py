"""The network as one would have it without this project: PyTorch modules and a plain export.

Both are rebuilt from the bundle's folded fp32 weights, so they compute the same function; batch
norms, which PyTorch keeps apart, add the bias and do nothing else. With a trajectory network both
networks run, as they do in our engines.
"""

from __future__ import annotations

import tempfile
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from vp3d_bench.contenders.plain_files import STRIDED, need_fp32
from vp3d_bench.onnx_session import BATCH, FRAMES, INPUT
from vp3d_bench.peers import StridedConvolutions
from vp3d_bench.subject import Subject
from vp3d_deploy.evaluation.folded import unfold
from vp3d_deploy.evaluation.pytorch import network_from_parameters


class Together(nn.Module):
    """Every network of the bundle on the same keypoints."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, keypoints: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(keypoints) for network in self.networks)


def module(subject: Subject, network: str) -> nn.Module:
    """network: STRIDED, convolutions whose stride is their width: (B, R, J_in, F) -> (B, J_out, 3)
    each; or DILATED, as it was trained: (B, T+R-1, J_in, F) -> (B, T, J_out, 3) each.

    Its weights come from a file, as they would in somebody's program.
    """
    need_fp32(subject)
    path = subject.file(f"{network}.pt", lambda target: _save(subject, network, target))
    blank = _blank(subject, network)
    blank.load_state_dict(torch.load(path, weights_only=True))
    return blank.eval()


def export(subject: Subject, network: str, path: Path) -> None:
    """torch.onnx.export with its defaults; batch, and frames of the dilated network, are free."""
    spec = subject.bundle.spec
    example = torch.zeros(1, spec.receptive_field, spec.joints_in, spec.features)
    names = list(subject.bundle.networks)
    free = {0: BATCH} if network == STRIDED else {0: BATCH, 1: FRAMES}
    answers = {0: BATCH} if network == STRIDED else {0: BATCH, 1: "answers"}
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        warnings.catch_warnings(),
        torch.inference_mode(),
    ):
        warnings.simplefilter("ignore")  # the exporter announces its own replacement
        torch.onnx.export(
            module(subject, network),
            (example,),
            str(Path(folder) / path.name),
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: free, **dict.fromkeys(names, answers)},
            dynamo=False,
        )
        (Path(folder) / path.name).rename(path)


def _save(subject: Subject, network: str, path: Path) -> None:
    modules: list[nn.Module] = []
    for name, spec in subject.bundle.networks.items():
        state = unfold(spec, subject.folded(name, "fp32"))
        kind = StridedConvolutions if network == STRIDED else network_from_parameters
        modules.append(kind(spec, state))
    torch.save(Together(modules).state_dict(), path)


def _blank(subject: Subject, network: str) -> nn.Module:
    from vp3d_deploy.training.networks import TemporalModel

    specs = subject.bundle.networks.values()
    if network == STRIDED:
        return Together([StridedConvolutions(spec, {}) for spec in specs])
    return Together([TemporalModel(spec) for spec in specs])
