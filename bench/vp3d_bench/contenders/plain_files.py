"""Files that peers start from, made when first asked for. Reading them needs no PyTorch."""

from __future__ import annotations

from pathlib import Path

from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.subject import NO_FP32, Subject

STRIDED, DILATED = "strided", "dilated"
# The exporters of torch.onnx.export: dynamo=True, its default today, and dynamo=False.
DYNAMO, LEGACY = "dynamo", "legacy"


def plain_export(subject: Subject, network: str, exporter: str) -> Path:
    """torch.onnx.export of the STRIDED or the DILATED network, by the DYNAMO or LEGACY exporter.

    Raises UnavailableError if the bundle has no fp32 weights or the exporter fails,
    ModuleNotFoundError without PyTorch or onnxscript.
    """
    need_fp32(subject)
    return subject.file(
        f"{network}-{exporter}.onnx", lambda path: _export(subject, network, exporter, path)
    )


def need_fp32(subject: Subject) -> None:
    if "fp32" not in subject.precisions:
        raise UnavailableError(NO_FP32)


def _export(subject: Subject, network: str, exporter: str, path: Path) -> None:
    from vp3d_bench.contenders.plain import export

    export(subject, network, exporter, path)
