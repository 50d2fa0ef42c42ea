"""Our engines as contenders know them: who computes, and how `open_engine` opens it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.base import Engine


@dataclass(frozen=True)
class OurEngine:
    """family: as results name it; label: for people. engine, options: for `open_engine`.

    timed: it measures runs by CUDA events when it is opened with timings=True.
    prepares: its streams can use the time between two frames (base.PreparingStream).
    """

    family: str
    label: str
    engine: str
    options: Mapping[str, Any] = field(default_factory=dict)
    on_gpu: bool = False
    timed: bool = False
    prepares: bool = False


OUR_ENGINES = {
    one.family: one
    for one in (
        OurEngine("onnx", "our ONNX", "onnx"),
        OurEngine("native", "native", "native", prepares=True),
        OurEngine("onnxcuda", "our ONNX on the GPU", "onnx", {"provider": "cuda"}, on_gpu=True),
        OurEngine("tensorrt", "TensorRT", "tensorrt", on_gpu=True, timed=True),
        OurEngine("cuda", "CUDA engine", "cuda", on_gpu=True, timed=True),
    )
}


def open_ours(
    bundle: Bundle, family: str, precision: str, threads: int, timings: bool = False
) -> Engine:
    """Raises what `open_engine` raises."""
    ours = OUR_ENGINES[family]
    options = {**ours.options, **({"timings": True} if timings else {})}
    return open_engine(bundle, ours.engine, precision, threads, **options)


def family_of(engine: Engine) -> str:
    """The family of an engine that is open."""
    if getattr(engine, "provider", "cpu") == "cuda":
        return "onnxcuda"
    return OUR_ENGINES[engine.name].family
