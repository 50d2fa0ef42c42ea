"""Engines: what runs a bundle's network. `open_engine` picks one."""

from __future__ import annotations

from typing import Any

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Engine, Output, StreamEngine
from vp3d_deploy.engines.precisions import DEFAULT_PRECISIONS

__all__ = ["CPU_ENGINES", "ENGINES", "Engine", "Output", "StreamEngine", "open_engine"]

# In the order in which "auto" prefers them, but for "cuda", which it takes no sooner than it has
# been measured; those for CPUs run every bundle on any machine.
CPU_ENGINES = ("native", "onnx")
ENGINES = ("tensorrt", "cuda", *CPU_ENGINES)

# The keyword options of each, beside precision and threads.
OPTIONS: dict[str, tuple[str, ...]] = {
    "tensorrt": ("host_code_allowed", "graphs", "timings", "device"),
    "cuda": ("launch", "zero_copy", "warpgroups", "overlap", "graphs", "timings", "device"),
    "native": ("pin_threads", "isa"),
    "onnx": ("provider",),
}


def open_engine(
    bundle: Bundle,
    engine: str = "auto",
    precision: str | None = None,
    threads: int | None = None,
    **options: Any,
) -> Engine:
    """Open the engine called `engine` on a bundle.

    engine: one of `ENGINES`, which is used or the call fails; or "auto": "tensorrt" where the
        bundle has an engine for this GPU, else "onnx" on the GPU where ONNX Runtime has CUDA and
        there is one, else "native" where it was built and this processor has one of the
        instruction sets that it is written for, else "onnx"; of these, the first that has the
        options that are given. A TensorRT engine or a GPU that cannot be used is warned of, once.
        `name` of the engine that is returned says which.
        "cuda", the kernels of our own, is taken by name alone.
    precision: one of the bundle's; by default "native", "cuda" and "tensorrt" take fp16 where the
        bundle has it, "onnx" fp32, and each the other one else.
    threads: how many a single call may use; by default one per core.
    options: of "native": `pin_threads=True` keeps its threads on cores of their own, and
        `isa="avx2"` asks for these kernels where the processor has better ones. Of "onnx":
        `provider="cuda"` runs on the GPU or fails. Of "tensorrt" and "cuda": see
        engines/tensorrt.py and engines/cuda.py.
    Raises ValueError for unknown names and options, BundleError for what the bundle lacks,
    ImportError where the engine is not installed, GpuError where it needs a GPU and there is none.
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
    if engine == "auto":
        return _best_at_hand(bundle, precision, threads, options)
    return _open(engine, bundle, precision, threads, options)


def _open(
    name: str, bundle: Bundle, precision: str | None, threads: int | None, options: dict[str, Any]
) -> Engine:
    """The engine of this name, or an exception."""
    unknown = sorted(set(options) - set(OPTIONS[name]))
    if unknown:
        held = ", ".join(OPTIONS[name]) or "none"
        raise ValueError(f"engine {name!r} has no option {unknown[0]!r}; it has {held}")
    if name == "tensorrt":
        from vp3d_deploy.engines.tensorrt import TensorRTEngine

        return TensorRTEngine(bundle, precision, threads, **options)
    if name == "cuda":
        from vp3d_deploy.engines.cuda import CudaEngine

        return CudaEngine(bundle, precision, threads, **options)
    if precision is None:
        precision = next(p for p in DEFAULT_PRECISIONS[name] if p in bundle.precisions)
    if name == "native":
        from vp3d_deploy.engines.native import NativeEngine

        return NativeEngine(bundle, precision, threads, **options)
    from vp3d_deploy.engines.onnx import OnnxEngine

    return OnnxEngine(bundle, precision, threads, **options)


def _best_at_hand(
    bundle: Bundle, precision: str | None, threads: int | None, options: dict[str, Any]
) -> Engine:
    """What "auto" takes. An option that one engine alone has is a wish for that one."""
    from vp3d_deploy.engines import native, onnx

    wanted = set(options)
    if bundle.engines and wanted <= set(OPTIONS["tensorrt"]):
        from vp3d_deploy.engines.tensorrt import open_where_it_runs

        taken = open_where_it_runs(bundle, precision, threads, **options)
        if taken is not None:
            return taken
    if not options and onnx.cuda_is_at_hand():
        on_gpu = _onnx_on_gpu(bundle, precision, threads)
        if on_gpu is not None:
            return on_gpu
    at_hand = ("native", "onnx") if native.is_at_hand() else ("onnx",)
    known = {name for options_of_one in OPTIONS.values() for name in options_of_one}
    for name in at_hand:
        # What no engine has at all, the first one refuses with what it has.
        if wanted <= set(OPTIONS[name]) or not wanted <= known:
            return _open(name, bundle, precision, threads, options)
    raise ValueError(
        f"no engine that can be used here has the option{'s' if len(wanted) > 1 else ''} "
        f"{', '.join(sorted(wanted))}; name the engine that has"
    )


def _onnx_on_gpu(bundle: Bundle, precision: str | None, threads: int | None) -> Engine | None:
    """With one graph loaded, since ONNX Runtime says only then whether CUDA really is there."""
    from vp3d_deploy.engines.gpu import GpuError
    from vp3d_deploy.engines.warn_once import warn_once

    engine = _open("onnx", bundle, precision, threads, {"provider": "cuda"})
    try:
        engine.load()  # type: ignore[attr-defined]
    except (GpuError, BundleError) as error:
        engine.close()
        warn_once(f'engine "auto" does not take ONNX Runtime on the GPU: {error}')
        return None
    return engine
