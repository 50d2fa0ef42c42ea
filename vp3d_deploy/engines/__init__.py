"""Engines: what runs a bundle's network. `open_engine` picks one."""

from __future__ import annotations

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Engine, Output, StreamEngine

__all__ = ["ENGINES", "Engine", "Output", "StreamEngine", "open_engine"]

# In the order in which "auto" prefers them.
ENGINES = ("onnx",)


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
) -> Engine:
    """Open the engine called `engine` on a bundle.

    engine: "auto", or one of `ENGINES`; one asked for by name is used or the call fails.
    precision: one of the bundle's; by default the engine's fastest, which for ONNX Runtime on a
        CPU is fp32 where the bundle has it (half precision is widened again there).
    threads: how many a single call may use; by default one per core.
    Raises ValueError for unknown names, BundleError for what the bundle lacks, ImportError where
    the engine's library is not installed.
    """
    if engine not in ("auto", *ENGINES):
        known = ", ".join(ENGINES)
        raise ValueError(f'engine {engine!r} is not known; choose "auto" or one of {known}')
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be a whole number from 1, or None, not {threads!r}")
    if precision is None:
        precision = bundle.precisions[0]
    elif precision not in bundle.precisions:
        raise BundleError(
            f"{bundle.path} has no {precision}; it holds {', '.join(bundle.precisions)}"
        )
    from vp3d_deploy.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, precision, threads)
