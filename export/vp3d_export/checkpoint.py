"""Read a checkpoint of any family: the original repository's, MMPose's (0.x, 1.x), or our own.

Nothing in the file is run, and neither torch, mmengine nor mmcv is needed. The steps are
torch_file (what torch.save wrote) -> families (whose it is) -> architecture (what the shapes say)
-> parameters (one network's arrays).
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from vp3d_export.architecture import dense_reading, parameter_shapes
from vp3d_export.families import NetworkError, recognise
from vp3d_export.parameters import NetworkParameters, read_networks
from vp3d_export.torch_file import TorchFileError, open_torch_file

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CheckpointWarning",
    "NetworkParameters",
    "load_checkpoint",
    "parameter_shapes",
]

# Provenance is for people to read: MMPose stores whole configuration files beside it.
MAX_META_TEXT = 200
MAX_META_VALUES = 1000
MAX_META_DEPTH = 4


class CheckpointError(ValueError):
    """A file that is not a checkpoint of a known family, or is damaged, hostile or incomplete."""


class CheckpointWarning(UserWarning):
    """A checkpoint that was read, but whose shapes fit another kind of network as well."""


@dataclass(frozen=True)
class Checkpoint:
    """The networks in a file.

    family: "videopose3d", "mmpose-1.x", "mmpose-0.x" or "vp3d-deploy".
    trajectory: the network for the root's position, if there is one; it has the pose network's
        input and filter widths, and one output joint.
    meta: plain values of provenance that the file brings, ready for JSON.
    ignored_keys: state-dictionary keys of losses and preprocessing, which inference does not use.
    """

    family: str
    pose: NetworkParameters
    trajectory: NetworkParameters | None
    meta: dict[str, Any]
    ignored_keys: tuple[str, ...] = field(default=())

    def trained_on(self, fact: str) -> Any:
        """What our own training notes of its data ("fps", "keypoint_skeleton"); None for others."""
        return self.meta.get(fact) if self.family == "vp3d-deploy" else None


def load_checkpoint(path: str | os.PathLike[str], causal: bool | None = None) -> Checkpoint:
    """Read the networks in a checkpoint; the family is told from its contents.

    causal: whether the network looks only back. Only our own files say, and contradicting them is
        an error; for the others None means no.

    Raises CheckpointError, in one sentence that starts with the path: what was found, what was
    expected, and every missing, unexpected or misshapen parameter at once. Warns with
    CheckpointWarning if an original checkpoint may be of a two-level --dense network.
    """
    try:
        with open_torch_file(path) as contents:
            found = recognise(contents)
            pose, trajectory, ignored = read_networks(found, causal)
    except TorchFileError as error:
        raise CheckpointError(str(error)) from None
    except NetworkError as error:
        raise CheckpointError(f"{os.fspath(path)}: {error}") from None
    if found.family == "videopose3d":
        _warn_of_dense(path, pose)
    return Checkpoint(found.family, pose, trajectory, _plain_meta(found.meta), ignored)


def _warn_of_dense(path: str | os.PathLike[str], pose: NetworkParameters) -> None:
    widths = pose.spec.filter_widths
    reading = dense_reading(widths)
    if reading is not None:
        arch = ",".join(map(str, reading[0]))
        warnings.warn(
            f"{os.fspath(path)}: read as a dilated network with filter widths {list(widths)} "
            f"({pose.spec.receptive_field} frames); if it was trained with -arch {arch} --dense, "
            "which leaves the same shapes, its poses will be wrong and it cannot be used",
            CheckpointWarning,
            stacklevel=3,
        )


def _plain_meta(meta: object) -> dict[str, Any]:
    left = [MAX_META_VALUES]
    plain = _plain(meta, MAX_META_DEPTH, left)
    return plain if isinstance(plain, dict) else {}


def _plain(value: object, depth: int, left: list[int]) -> Any:
    """The part of a value that JSON can hold, None for the rest; `left` bounds its size."""
    left[0] -= 1
    if left[0] < 0 or depth == 0:
        return None
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if value.bit_length() < 64 else None
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, str):
        return value if len(value) <= MAX_META_TEXT and value.isprintable() else None
    if isinstance(value, Mapping):
        items = list(value.items())[:MAX_META_VALUES]
        plain = {key: _plain(item, depth - 1, left) for key, item in items if isinstance(key, str)}
        return {key: item for key, item in plain.items() if item is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth - 1, left) for item in value[:MAX_META_VALUES]]
    return None
