"""Our checkpoint format; vp3d_export/families.py reads it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vp3d_deploy.formats.atomic import replacing
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.checkpoint_format import FORMAT, VERSION


def save_checkpoint(
    path: Path,
    networks: dict[str, tuple[ModelSpec, dict[str, Tensor]]],
    meta: dict[str, Any],
) -> None:
    """Write trained networks, replacing `path` whole or not at all.

    networks: "pose" and perhaps "trajectory" -> specification and state dict in the names of
    networks.py. meta: plain values about the training.
    """
    spec, state = networks["pose"]
    other_spec, other_state = networks.get("trajectory", (None, None))
    content = {
        "format": FORMAT,
        "version": VERSION,
        "spec": spec.to_dict(),
        "pose": _detached(state),
        "trajectory": None if other_state is None else _detached(other_state),
        "trajectory_spec": None if other_spec is None else other_spec.to_dict(),
        "meta": meta,
    }
    save_atomically(content, path)


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """torch.save to a file that appears whole or not at all.

    Raises OSError naming the path; torch itself calls a full disk a RuntimeError.
    """
    with replacing(path) as partial:
        try:
            torch.save(content, partial)
        except RuntimeError as error:
            reason = str(error).splitlines()[0]
            raise OSError(f"{path} could not be written; is the disk full? ({reason})") from None


def _detached(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in state.items()}
