"""PyTorch: the dilated network and the strided one, eager and compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vp3d_bench.contenders.base import Contender, Runner, Unavailable
from vp3d_bench.contenders.plain import dilated, strided
from vp3d_bench.subject import Subject
from vp3d_deploy.engines.base import Output


class TorchRunner:
    """A module on whole batches.

    squeeze: the dilated network has a time axis, which over one window has length 1.
    """

    def __init__(self, module: Callable[[Tensor], tuple[Tensor, ...]], squeeze: bool) -> None:
        self._module = module
        self._squeeze = squeeze

    def prepare(self, keypoints: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(keypoints))

    def run(self, prepared: Tensor) -> tuple[Tensor, ...]:
        with torch.inference_mode():
            return self._module(prepared)

    def answer(self, result: tuple[Tensor, ...]) -> Output:
        arrays = [part.numpy().copy() for part in result]
        if self._squeeze:
            arrays = [array[:, 0] for array in arrays]
        return Output(arrays[0], arrays[1] if len(arrays) > 1 else None)

    def close(self) -> None:
        pass


def eager_dilated() -> Contender:
    return _contender("pytorch-dilated", "PyTorch eager, dilated", "window", _open_dilated)


def eager_strided() -> Contender:
    return _contender("pytorch-strided", "PyTorch eager, strided", "window", _open_strided)


def compiled_strided() -> Contender:
    return _contender("pytorch-compiled", "torch.compile, strided", "window", _open_compiled)


def dilated_sequence() -> Contender:
    return _contender("pytorch-sequence", "PyTorch eager, dilated", "sequence", _open_sequence)


def _contender(
    name: str, label: str, form: str, opener: Callable[[Subject, int], Runner]
) -> Contender:
    return Contender(name, label, "pytorch", form, "fp32", opener)


def _open_dilated(subject: Subject, people: int) -> Runner:
    torch.set_num_threads(subject.threads)
    return TorchRunner(dilated(subject), squeeze=True)


def _open_sequence(subject: Subject, people: int) -> Runner:
    torch.set_num_threads(subject.threads)
    return TorchRunner(dilated(subject), squeeze=False)


def _open_strided(subject: Subject, people: int) -> Runner:
    torch.set_num_threads(subject.threads)
    return TorchRunner(strided(subject), squeeze=False)


def _open_compiled(subject: Subject, people: int) -> Runner:
    """Compiled for this shape, with weights frozen into it, which is the fastest it can do."""
    torch.set_num_threads(subject.threads)
    spec = subject.bundle.spec
    module: Any = torch.compile(_frozen(strided(subject)), options={"freezing": True})
    runner = TorchRunner(module, squeeze=False)
    shape = (people, spec.receptive_field, spec.joints_in, spec.features)
    try:
        runner.run(torch.zeros(shape))
    except Exception as error:  # Inductor raises whatever its compiler meets
        reason = (str(error) or type(error).__name__).strip().splitlines()[0]
        raise Unavailable(f"torch.compile fails here: {reason:.200}") from error
    return runner


def _frozen(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        parameter.requires_grad_(False)
    return module
