"""Engines: what runs a bundle's network. `open_engine` picks one."""

from __future__ import annotations

from typing import Any

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Engine, Output, StreamEngine

__all__ = ["ENGINES", "Engine", "Output", "StreamEngine", "open_engine"]

# In the order in which "auto" prefers them.
ENGINES = ("native", "onnx")

# The keyword options of each, beside precision and threads.
OPTIONS: dict[str, tuple[str, ...]] = {"native": ("pin_threads", "isa"), "onnx": ()}

# By default an engine runs the first of these that a bundle holds. ONNX Runtime on a CPU widens
# half precision again. The native engine reads half the bytes in fp16, which is what a live frame
# costs, and computes in float32: rounding the weights moves poses by some hundredths of a
# millimetre, and an export that moves them by more than 0.3 mm fails. int8 is used by name alone.
DEFAULT_PRECISIONS = {"native": ("fp16", "fp32", "int8"), "onnx": ("fp32", "fp16", "int8")}


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Engine:
    """Open the engine called `engine` on a bundle.

    engine: one of `ENGINES`, which is used or the call fails; or "auto": "native" where it was
        built and this processor has one of the instruction sets that it is written for, else
        "onnx". `name` of the engine that is returned says which.
    precision: one of the bundle's; by default "native" takes fp16 where the bundle has it, "onnx"
        fp32, and either the other one else.
    threads: how many a single call may use; by default one per core.
    options: of "native": `pin_threads=True` keeps its threads on cores of their own, and
        `isa="avx2"` asks for these kernels where the processor has better ones.
    Raises ValueError for unknown names and options, BundleError for what the bundle lacks,
    ImportError where the engine is not installed.
    """
    if engine not in ("auto", *ENGINES):
        known = ", ".join(ENGINES)
        raise ValueError(f'engine {engine!r} is not known; choose "auto" or one of {known}')
    if threads is not None and (not isinstance(threads, int) or threads < 1):
        raise ValueError(f"threads must be a whole number from 1, or None, not {threads!r}")
    if precision is not None and precision not in bundle.precisions:
        raise BundleError(
            f"{bundle.path} has no {precision}; it holds {', '.join(bundle.precisions)}"
        )
    name = _best_at_hand() if engine == "auto" else engine
    unknown = sorted(set(options) - set(OPTIONS[name]))
    if unknown:
        held = ", ".join(OPTIONS[name]) or "none"
        raise ValueError(f"engine {name!r} has no option {unknown[0]!r}; it has {held}")
    if precision is None:
        precision = next(p for p in DEFAULT_PRECISIONS[name] if p in bundle.precisions)
    if name == "native":
        from vp3d_deploy.engines.native import NativeEngine

        return NativeEngine(bundle, precision, threads, **options)
    from vp3d_deploy.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, precision, threads)


def _best_at_hand() -> str:
    from vp3d_deploy.engines.native import is_at_hand

    return "native" if is_at_hand() else "onnx"
