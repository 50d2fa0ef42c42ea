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

from vp3d_bench.contenders.base import Unavailable
from vp3d_bench.peers import INPUT, StridedConvolutions
from vp3d_bench.subject import NO_FP32, Subject
from vp3d_deploy.evaluation.folded import unfold
from vp3d_deploy.evaluation.pytorch import network_from_parameters


class Together(nn.Module):
    """Every network of the bundle on the same keypoints."""

    def __init__(self, networks: list[nn.Module]) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)

    def forward(self, keypoints: Tensor) -> tuple[Tensor, ...]:
        return tuple(network(keypoints) for network in self.networks)


def strided(subject: Subject) -> nn.Module:
    """Convolutions whose stride is their width: (B, R, J_in, F) -> (B, J_out, 3) each."""
    return _read(subject, "strided.pt")


def dilated(subject: Subject) -> nn.Module:
    """The network as it was trained: (B, T+R-1, J_in, F) -> (B, T, J_out, 3) each."""
    return _read(subject, "dilated.pt")


def plain_export(subject: Subject) -> Path:
    """torch.onnx.export of the strided network with its defaults."""
    _need_fp32(subject)
    return subject.file("plain.onnx", lambda path: _export(subject, path))


def make_files(subject: Subject) -> None:
    """All of the files above, for fresh processes."""
    strided(subject)
    dilated(subject)
    plain_export(subject)


def _read(subject: Subject, name: str) -> nn.Module:
    """A module whose weights come from a file, as they would in somebody's program."""
    _need_fp32(subject)
    path = subject.file(name, lambda target: _save(subject, name, target))
    network = _blank(subject, name)
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval()


def _save(subject: Subject, name: str, path: Path) -> None:
    networks: list[nn.Module] = []
    for network, spec in subject.bundle.networks.items():
        state = unfold(spec, subject.folded(network, "fp32"))
        strided = name == "strided.pt"
        networks.append(
            StridedConvolutions(spec, state) if strided else network_from_parameters(spec, state)
        )
    torch.save(Together(networks).state_dict(), path)


def _blank(subject: Subject, name: str) -> nn.Module:
    from vp3d_deploy.training.networks import TemporalModel

    specs = subject.bundle.networks.values()
    if name == "strided.pt":
        return Together([StridedConvolutions(spec, {}) for spec in specs])
    return Together([TemporalModel(spec) for spec in specs])


def _export(subject: Subject, path: Path) -> None:
    spec = subject.bundle.spec
    example = torch.zeros(1, spec.receptive_field, spec.joints_in, spec.features)
    names = list(subject.bundle.networks)
    with (
        tempfile.TemporaryDirectory(dir=path.parent) as folder,
        warnings.catch_warnings(),
        torch.inference_mode(),
    ):
        warnings.simplefilter("ignore")  # the exporter announces its own replacement
        torch.onnx.export(
            strided(subject),
            (example,),
            str(Path(folder) / path.name),
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={name: {0: "B"} for name in (INPUT, *names)},
            dynamo=False,
        )
        (Path(folder) / path.name).rename(path)


def _need_fp32(subject: Subject) -> None:
    if "fp32" not in subject.precisions:
        raise Unavailable(NO_FP32)
