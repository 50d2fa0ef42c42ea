"""The command-line options of model repositories, for export and for --bundle."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from pathlib import Path

from vp3d_deploy.bundle import PRECISIONS
from vp3d_export.triton.config import BACKENDS, Serving

_MOST = 4096
_LONGEST_IDLE_S = 7 * 24 * 3600.0


@dataclass(frozen=True)
class TritonOptions:
    """Where to write a model repository, and how its models are served."""

    directory: Path
    serving: Serving
    precision: str | None


def add_triton_options(parser: argparse.ArgumentParser) -> None:
    """The options, all of which begin with --triton."""
    default = Serving()
    group = parser.add_argument_group(
        "Triton Inference Server", "vp3d-export --bundle BUNDLE --triton DIR serves a bundle that "
        "is there already, without an export (docs/triton.md)"
    )  # fmt: skip
    add = group.add_argument
    add("--triton", type=Path, metavar="DIR", help="write the window and the streams into this "
        "model repository")  # fmt: skip
    add("--triton-platform", choices=tuple(BACKENDS), help=f"what runs them (default: "
        f"{default.platform}); tensorrt takes engines that the bundle holds")  # fmt: skip
    add("--triton-precision", choices=PRECISIONS, help="(default: what the platform does best of "
        "what the bundle holds)")  # fmt: skip
    add("--triton-batch", type=int, metavar="N", help=f"most windows or streams in one call "
        f"(default: {default.max_batch})")  # fmt: skip
    add("--triton-streams", type=int, metavar="N", help=f"streams that may be open at once "
        f"(default: {default.max_streams})")  # fmt: skip
    add("--triton-idle", type=float, metavar="S", help=f"forget a stream after so many seconds "
        f"without a frame (default: {default.idle_s:g})")  # fmt: skip
    add("--triton-gpu", metavar="NAME", help="the server's GPU, by name or compute capability, "
        "where the bundle holds engines for several")  # fmt: skip


def triton_options(
    parser: argparse.ArgumentParser, given: argparse.Namespace
) -> TritonOptions | None:
    """Of parsed arguments, None without --triton; exits through `parser.error` for misfits."""
    values = {
        "platform": given.triton_platform,
        "max_batch": given.triton_batch,
        "max_streams": given.triton_streams,
        "idle_s": given.triton_idle,
        "gpu": given.triton_gpu,
    }
    values = {name: value for name, value in values.items() if value is not None}
    if given.triton is None:
        if values or given.triton_precision is not None:
            parser.error("the --triton-... options say how to serve with --triton DIR; give it")
        return None
    for option, count in (("batch", given.triton_batch), ("streams", given.triton_streams)):
        if count is not None and not 1 <= count <= _MOST:
            parser.error(f"--triton-{option} must be from 1 to {_MOST}, not {count}")
    idle = values.get("idle_s", 1.0)
    if not (math.isfinite(idle) and 0.001 <= idle <= _LONGEST_IDLE_S):
        parser.error(f"--triton-idle must be a number of seconds up to a week, not {idle:g}")
    serving = Serving(**values)
    if serving.gpu is not None and serving.platform != "tensorrt":
        parser.error("--triton-gpu chooses among engines; it goes with --triton-platform tensorrt")
    return TritonOptions(given.triton, serving, given.triton_precision)
