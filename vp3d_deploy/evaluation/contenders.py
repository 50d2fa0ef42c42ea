"""Whose answers are measured: PyTorch's, and those of every engine and precision at hand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import CPU_ENGINES, ENGINES, open_engine
from vp3d_deploy.evaluation.engines import EnginePredictor
from vp3d_deploy.evaluation.folded import PRECISION, folded_parameters
from vp3d_deploy.evaluation.model import Model, Parameters
from vp3d_deploy.evaluation.predict import Predictor

# The name under which --engine asks for PyTorch.
PYTORCH = "pytorch"


@dataclass(frozen=True)
class Contender:
    """open: raises ImportError, ValueError, OSError or RuntimeError where it cannot be run here.

    required: asked for by name, so that it must run or the command fails.
    """

    label: str
    engine: str
    precision: str
    open: Callable[[], Predictor]
    required: bool


@dataclass(frozen=True)
class Unavailable:
    """What could not be measured here, and why, in one sentence."""

    label: str
    reason: str


def find_contenders(
    model: Model,
    engines: Sequence[str] = (),
    precisions: Sequence[str] = (),
    device: str = "cpu",
    threads: int | None = None,
) -> tuple[list[Contender], list[Unavailable]]:
    """PyTorch first, then every engine in every precision of a bundle.

    engines, precisions: only these, if any; those named must be there. PyTorch stays beside them,
        to compare with, where it is at hand. device: PyTorch's. threads: of each engine.
    Raises ValueError for names that are not known here and for precisions that a bundle lacks.
    """
    _check_names(model, engines, precisions)
    found: list[Contender] = []
    missing: list[Unavailable] = []
    must = PYTORCH in engines or model.parameters is not None or device != "cpu"
    reason = _no_pytorch(model)
    if reason is None:
        found.append(_pytorch(model, device, must))
    elif must:
        raise ValueError(reason)
    else:
        missing.append(Unavailable("PyTorch", reason))
    if model.bundle is not None:
        default = ENGINES if model.bundle.engines else CPU_ENGINES
        for name in engines or default:
            for precision in precisions or model.bundle.precisions:
                if name != PYTORCH:
                    required = name in engines
                    found.append(_engine(model.bundle, name, precision, threads, required))
    return found, missing


def _check_names(model: Model, engines: Sequence[str], precisions: Sequence[str]) -> None:
    known = (PYTORCH, *ENGINES)
    unknown = [name for name in engines if name not in known]
    if unknown:
        raise ValueError(f"engine {unknown[0]!r} is not known; choose from {', '.join(known)}")
    if model.bundle is None:
        others = [name for name in engines if name != PYTORCH]
        if others or precisions:
            raise ValueError(
                f"{model.name} is a checkpoint, which runs in PyTorch alone; engines and "
                "precisions are a bundle's"
            )
        return
    held = model.bundle.precisions
    lacking = [precision for precision in precisions if precision not in held]
    if lacking:
        raise ValueError(f"{model.name} has no {lacking[0]}; it holds {', '.join(held)}")


def _no_pytorch(model: Model) -> str | None:
    """Why PyTorch cannot run this network here; None if it can."""
    if find_spec("torch") is None:
        return (
            "torch is not installed; evaluating a checkpoint, and comparing a bundle with "
            'PyTorch, need pip install "vp3d-deploy[export]"'
        )
    if model.parameters is None and model.bundle and PRECISION not in model.bundle.precisions:
        return (
            f"the bundle holds no {PRECISION} weights; give the checkpoint that it was exported "
            "from with --ckpt"
        )
    return None


def _pytorch(model: Model, device: str, required: bool) -> Contender:
    def opened() -> Predictor:
        from vp3d_deploy.evaluation.pytorch import PyTorchPredictor

        return PyTorchPredictor(model.spec, _parameters(model), device)

    label = "PyTorch" if model.parameters is not None else "PyTorch, folded weights"
    return Contender(label, PYTORCH, PRECISION, opened, required)


def _parameters(model: Model) -> Parameters:
    if model.parameters is not None:
        return model.parameters
    assert model.bundle is not None
    return folded_parameters(model.bundle)


def _engine(
    bundle: Bundle, name: str, precision: str, threads: int | None, required: bool
) -> Contender:
    def opened() -> Predictor:
        return EnginePredictor(bundle, open_engine(bundle, name, precision, threads))

    return Contender(f"{name} {precision}", name, precision, opened, required)
