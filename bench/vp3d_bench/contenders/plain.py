"""The network as one would have it without this project: PyTorch modules and plain exports.

All are rebuilt from the bundle's folded fp32 weights, so they compute the same function; batch
norms, which PyTorch keeps apart, add the bias and do nothing else. With a trajectory network both
networks run, as they do in our engines.
"""

from __future__ import annotations

import importlib
import logging
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor, nn

from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.contenders.plain_files import DYNAMO, STRIDED, need_fp32
from vp3d_bench.onnx_session import BATCH, FRAMES, INPUT
from vp3d_bench.peers import StridedConvolutions
from vp3d_bench.subject import Subject
from vp3d_deploy.evaluation.folded import unfold
from vp3d_deploy.evaluation.pytorch import network_from_parameters

# What the legacy exporter says of itself, and of its own use of torch.
_LEGACY_SAYS = (
    "You are using the legacy TorchScript-based ONNX export",
    "The feature will be removed. Please remove usage of this function",
)


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


def export(subject: Subject, network: str, exporter: str, path: Path) -> None:
    """torch.onnx.export as its documentation shows it; batch, and frames of the dilated network,
    are free.

    exporter: DYNAMO, the default of torch from 2.9 on, or LEGACY, that of older ones. Raises
    ModuleNotFoundError where DYNAMO lacks onnxscript, UnavailableError where it fails.
    """
    spec = subject.bundle.spec
    # No length is 1, neither of the example nor of its answers: torch.export would hold it fixed.
    frames = spec.receptive_field + (0 if network == STRIDED else 1)
    example = torch.zeros(2, frames, spec.joints_in, spec.features)
    free = {0: BATCH} if network == STRIDED else {0: BATCH, 1: FRAMES}
    peer = module(subject, network)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder, torch.inference_mode():
        made = Path(folder) / path.name
        write = _dynamo if exporter == DYNAMO else _legacy
        write(peer, example, free, list(subject.bundle.networks), made)
        made.rename(path)


def _legacy(
    peer: nn.Module, example: Tensor, free: dict[int, str], names: list[str], path: Path
) -> None:
    """The exporter that traces, which PyTorch has announced to replace."""
    answers = {axis: BATCH if axis == 0 else "answers" for axis in free}
    with warnings.catch_warnings():
        for said in _LEGACY_SAYS:
            warnings.filterwarnings("ignore", said, DeprecationWarning)
        # The networks check shapes as they go, which a trace does once and for all.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)
        torch.onnx.export(
            peer,
            (example,),
            str(path),
            input_names=[INPUT],
            output_names=names,
            dynamic_axes={INPUT: free, **dict.fromkeys(names, answers)},
            dynamo=False,
        )


def _dynamo(
    peer: nn.Module, example: Tensor, free: dict[int, str], names: list[str], path: Path
) -> None:
    """The exporter on torch.export."""
    importlib.import_module("onnxscript")  # torch wraps its absence in an error of its own
    try:
        with _without_notes():
            torch.onnx.export(
                peer,
                (example,),
                str(path),
                input_names=[INPUT],
                output_names=names,
                dynamic_shapes=(free,),
                dynamo=True,
                external_data=False,  # one file, as the legacy exporter writes it
                verbose=False,
            )
    except Exception as error:  # torch.export raises whatever it meets
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UnavailableError(f"torch.onnx.export(dynamo=True) fails: {reason:.200}") from error


@contextmanager
def _without_notes() -> Iterator[None]:
    """Without what the exporter says about torchvision and about a class of torch's own."""
    logger = logging.getLogger("torch.onnx._internal.exporter._registration")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", r"`isinstance\(treespec, LeafSpec\)`", FutureWarning)
            yield
    finally:
        logger.setLevel(level)


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
