"""Store folded weights, once per precision, in a safetensors file that graphs can point into."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from vp3d_export.fold import FoldedWeights
from vp3d_export.graphs.builder import StoredTensor

# Where the data starts, so that a reader may map the file and use the weights where they lie.
DATA_ALIGNMENT = 4096

_DTYPE_NAMES = {"F32": "float32", "F16": "float16", "I8": "int8"}


def weights_file_name(precision: str) -> str:
    return f"weights.{precision}.safetensors"


def stored_dtype(name: str, precision: str) -> np.dtype:
    """The type in which the tensor `name` is kept.

    The first level reads keypoints, where half precision would be a quarter of a pixel, and
    `shrink` writes metres, where it would be 0.5 mm at arm's length: both stay float32. In int8
    the matrices between them are whole numbers, their scales and biases float32.
    """
    ends = name.startswith(("level0.", "shrink."))
    if precision == "fp32" or ends:
        return np.dtype(np.float32)
    if precision == "int8":
        return np.dtype(np.int8 if name.endswith(".weight") else np.float32)
    return np.dtype(np.float16)


def write_weights(
    directory: Path, networks: Mapping[str, FoldedWeights], precision: str
) -> dict[str, StoredTensor]:
    """Write `weights.PRECISION.safetensors`; tensors are called NETWORK.TENSOR.

    networks: folded weights; for int8 what vp3d_export/int8 made of them.
    Returns where each tensor lies. Raises ValueError for values that the precision cannot hold.
    """
    tensors: dict[str, np.ndarray] = {}
    for network, folded in networks.items():
        for name, values in folded.items():
            dtype = stored_dtype(name, precision)
            if dtype == np.int8 and values.dtype != np.int8:
                raise AssertionError(f"{network}.{name} is {values.dtype}; quantise it first")
            with np.errstate(over="ignore"):
                stored = values.astype(dtype)
            if not np.isfinite(stored).all():
                raise ValueError(
                    f"{network}.{name} has values up to {np.abs(values).max():.3g}, more than "
                    f"{dtype} can hold; export this network without {precision}"
                )
            tensors[f"{network}.{name}"] = np.asarray(stored, order="C")
    path = directory / weights_file_name(precision)
    path.write_bytes(_align_data(safetensors.numpy.save(tensors)))
    return locate_tensors(path)


def locate_tensors(path: Path) -> dict[str, StoredTensor]:
    """Read the header of a safetensors file that `write_weights` wrote."""
    with path.open("rb") as file:
        header_bytes = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(header_bytes))
    return {
        name: StoredTensor(
            location=path.name,
            offset=8 + header_bytes + entry["data_offsets"][0],
            length=entry["data_offsets"][1] - entry["data_offsets"][0],
            dtype=_DTYPE_NAMES[entry["dtype"]],
            shape=tuple(entry["shape"]),
        )
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _align_data(serialised: bytes) -> bytes:
    """Lengthen the header with spaces, which the format allows, until the data is aligned."""
    header_bytes = int.from_bytes(serialised[:8], "little")
    data = 8 + header_bytes
    padding = -data % DATA_ALIGNMENT
    header = serialised[8:data] + b" " * padding
    return len(header).to_bytes(8, "little") + header + serialised[data:]
