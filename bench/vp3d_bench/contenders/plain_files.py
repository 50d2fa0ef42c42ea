"""Files that peers start from, made when first asked for. Reading them needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.subject import NO_FP32, Subject

STRIDED, DILATED = "strided", "dilated"


def plain_export(subject: Subject, network: str) -> Path:
    """torch.onnx.export with its defaults of the STRIDED or the DILATED network.

    Raises UnavailableError if the bundle has no fp32 weights, ModuleNotFoundError without PyTorch.
    """
    need_fp32(subject)
    return subject.file(f"{network}.onnx", lambda path: _export(subject, network, path))


def need_fp32(subject: Subject) -> None:
    if "fp32" not in subject.precisions:
        raise UnavailableError(NO_FP32)


def _export(subject: Subject, network: str, path: Path) -> None:
    from vp3d_bench.contenders.plain import export

    export(subject, network, path)
