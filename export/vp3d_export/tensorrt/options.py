"""What a person may choose about TensorRT engines, checked once."""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

HARDWARE = ("none", "ampere_plus", "same_compute_capability")
_LARGEST_BATCH = 4096


class Span(NamedTuple):
    """The smallest, likeliest and largest length of an axis."""

    smallest: int
    likeliest: int
    largest: int

    def __str__(self) -> str:
        return ":".join(str(part) for part in self)


DEFAULT_BATCH = Span(1, 1, 32)
DEFAULT_FRAMES = Span(1, 256, 2048)


@dataclass(frozen=True)
class EngineOptions:
    """How engines are built.

    batch: windows or clips per call, of clips as many as have FRAMES_TOGETHER (build.py) poses.
    frames: answers per clip in one call of `sequence`; longer clips go through in pieces.
    stream_rows: people that one run of a stream engine advances.
    optimization_level: 0 to 5, or None for TensorRT's own choice. workspace_mib: a limit on the
    working memory of a layer, or None.
    version_compatible: newer versions of TensorRT run the engine too. hardware_compatible: one of
    HARDWARE. refit: weights can be exchanged later. detailed: keep all that the engine inspector
    says in the bundle. timing_cache: remember how long kernels took, per GPU and version.
    """

    batch: Span = DEFAULT_BATCH
    frames: Span = DEFAULT_FRAMES
    stream_rows: int = 1
    optimization_level: int | None = None
    workspace_mib: int | None = None
    version_compatible: bool = False
    hardware_compatible: str = "none"
    refit: bool = False
    detailed: bool = False
    timing_cache: bool = True

    def to_dict(self) -> dict[str, Any]:
        """As the manifest records them."""
        return {**asdict(self), "batch": str(self.batch), "frames": str(self.frames)}


def span(text: str) -> Span:
    """ "8" or "1:8:32" -> Span; raises ArgumentTypeError for what is not rising."""
    try:
        parts = [int(part) for part in text.split(":")]
    except ValueError:
        parts = []
    if len(parts) == 1:
        parts *= 3
    if len(parts) != 3 or not 1 <= parts[0] <= parts[1] <= parts[2] <= _LARGEST_BATCH:
        raise argparse.ArgumentTypeError(
            f"{text!r}: give MIN:LIKELY:MAX, or one number, from 1 to {_LARGEST_BATCH} and rising"
        )
    return Span(*parts)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """The options of `EngineOptions`, for export and for --resume-engines."""
    group = parser.add_argument_group("TensorRT engines (where TensorRT and a GPU are present)")
    add, default = group.add_argument, EngineOptions()
    add("--batch", type=span, default=default.batch, metavar="MIN:LIKELY:MAX",
        help=f"windows or clips per call (default: {default.batch})")  # fmt: skip
    add("--frames", type=span, default=default.frames, metavar="MIN:LIKELY:MAX",
        help=f"poses per clip in one call (default: {default.frames})")  # fmt: skip
    add("--stream-rows", type=int, default=default.stream_rows, metavar="N",
        help="people that one run of a stream advances (default: 1)")  # fmt: skip
    add("--optimization-level", type=int, choices=range(6), metavar="0..5",
        help="how long to search for fast kernels (default: TensorRT's own, 3)")  # fmt: skip
    add("--workspace", type=int, metavar="MIB", help="limit on a layer's working memory")
    add("--version-compatible", action="store_true",
        help="engines that newer versions of TensorRT run too, once allowed to")  # fmt: skip
    add("--hardware-compatible", choices=HARDWARE, default="none",
        help="which other GPUs run the engines (default: none)")  # fmt: skip
    add("--refit", action="store_true", help="engines whose weights can be exchanged")
    add("--detailed", action="store_true", help="keep the engine inspector's whole output")
    add("--no-timing-cache", action="store_true", help="time every kernel anew")


def engine_options(parser: argparse.ArgumentParser, given: argparse.Namespace) -> EngineOptions:
    """Of parsed arguments; exits through `parser.error` for what does not fit."""
    if not 1 <= given.stream_rows <= _LARGEST_BATCH:
        parser.error(f"--stream-rows must be from 1 to {_LARGEST_BATCH}, not {given.stream_rows}")
    if given.workspace is not None and given.workspace < 1:
        parser.error(f"--workspace must be at least 1 MiB, not {given.workspace}")
    return EngineOptions(
        batch=given.batch,
        frames=given.frames,
        stream_rows=given.stream_rows,
        optimization_level=given.optimization_level,
        workspace_mib=given.workspace,
        version_compatible=given.version_compatible,
        hardware_compatible=given.hardware_compatible,
        refit=given.refit,
        detailed=given.detailed,
        timing_cache=not given.no_timing_cache,
    )
