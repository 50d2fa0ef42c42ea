"""PyTorch: the dilated network and the strided one, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vp3d_bench.contenders.base import SEQUENCE, WINDOW, Contender, Runner, UnavailableError
from vp3d_bench.contenders.plain import module
from vp3d_bench.contenders.plain_files import DILATED, STRIDED
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output


class TorchRunner:
    """A module on whole batches.

    squeeze: the dilated network has a time axis, which over one window has length 1.
    """

    def __init__(
        self, network: Callable[[Tensor], tuple[Tensor, ...]], squeeze: bool = False
    ) -> None:
        self._network = network
        self._squeeze = squeeze

    def prepare(self, keypoints: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(keypoints))

    def run(self, prepared: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return self._network(prepared)

    def answer(self, result: tuple[Tensor, ...]) -> Output:
        arrays = [part.numpy().copy() for part in result]
        if self._squeeze:
            arrays = [array[:, 0] for array in arrays]
        return Output(arrays[0], arrays[1] if len(arrays) > 1 else None)

    def close(self) -> None:
        pass


def eager_dilated() -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        return TorchRunner(_module(subject, DILATED), squeeze=True)

    return _contender("pytorch-dilated", "PyTorch, dilated", WINDOW, opener)


def eager_strided() -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        return TorchRunner(_module(subject, STRIDED))

    return _contender("pytorch-strided", "PyTorch, strided", WINDOW, opener)


def compiled_strided() -> Contender:
    return _contender("pytorch-compiled", "torch.compile, strided", WINDOW, _open_compiled)


def dilated_sequence() -> Contender:
    def opener(subject: Subject, shape: tuple[int, ...]) -> Runner:
        return TorchRunner(_module(subject, DILATED))

    return _contender("pytorch-sequence", "PyTorch, dilated", SEQUENCE, opener)


def _contender(
    name: str, label: str, form: str, opener: Callable[[Subject, tuple[int, ...]], Runner]
) -> Contender:
    return Contender(name, label, "pytorch", form, "fp32", opener)


def _module(subject: Subject, network: str) -> nn.Module:
    torch.set_num_threads(subject.threads)
    return module(subject, network)


def _open_compiled(subject: Subject, shape: tuple[int, ...]) -> Runner:
    """Compiled for this shape, with weights frozen into it, which is the fastest it can do."""
    network: Any = torch.compile(_frozen(_module(subject, STRIDED)), options={"freezing": True})
    runner = TorchRunner(network)
    try:
        runner.run(torch.zeros(shape))
    except Exception as error:  # Inductor raises whatever its compiler meets
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise UnavailableError(f"torch.compile fails here: {reason:.200}") from error
    return runner


def _frozen(network: nn.Module) -> nn.Module:
    for parameter in network.parameters():
        parameter.requires_grad_(False)
    return network
