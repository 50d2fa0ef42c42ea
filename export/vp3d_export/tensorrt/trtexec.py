"""The build of an engine as a command of trtexec, NVIDIA's own tool, to compare or report with."""

from __future__ import annotations

import shlex

from vp3d_deploy.bundle import Bundle, GraphEntry
from vp3d_deploy.engines.onnx_interface import form_shapes
from vp3d_deploy.engines.tensorrt_api import version_numbers
from vp3d_export.tensorrt.api import (
    ALWAYS_STRONGLY_TYPED_FROM,
    FLOAT32_NODE,
    STRONGLY_TYPED_FROM,
)
from vp3d_export.tensorrt.build import shape_profiles
from vp3d_export.tensorrt.onnx_axes import nodes
from vp3d_export.tensorrt.options import EngineOptions

_HARDWARE = {"ampere_plus": "ampere+", "same_compute_capability": "sameComputeCapability"}
# Operators that become the layers whose precision api.py fixes for TensorRT 8.
_NUMERIC = {"Conv", "MatMul", "Gemm", "Add", "Mul", "Relu"}


def trtexec_command(bundle: Bundle, graph: GraphEntry, options: EngineOptions, version: str) -> str:
    """One shell command, for the TensorRT of this version."""
    numbers = version_numbers(version)
    path = str(bundle.file(graph.file))
    parts = [f"--onnx={path}", f"--saveEngine={path.removesuffix('.onnx')}.engine", "--noTF32"]
    if numbers < STRONGLY_TYPED_FROM:
        parts += _half_precision(bundle, graph) if graph.precision == "fp16" else []
    elif numbers < ALWAYS_STRONGLY_TYPED_FROM:
        parts.append("--stronglyTyped")
    for name, shapes in zip(("min", "opt", "max"), _shapes(bundle, graph, options), strict=True):
        parts.append(f"--{name}Shapes={shapes}")
    parts.append("--profilingVerbosity=detailed")
    if options.optimization_level is not None:
        parts.append(f"--builderOptimizationLevel={options.optimization_level}")
    if options.workspace_mib is not None:
        parts.append(f"--memPoolSize=workspace:{options.workspace_mib}M")
    if options.version_compatible:
        parts.append("--versionCompatible")
    if options.hardware_compatible != "none":
        parts.append(f"--hardwareCompatibilityLevel={_HARDWARE[options.hardware_compatible]}")
    if options.refit:
        parts.append("--refit")
    return shlex.join(["trtexec", *parts])


def _half_precision(bundle: Bundle, graph: GraphEntry) -> list[str]:
    """For TensorRT 8, where the graph's types are hints: which layers are to stay float32."""
    layers = ",".join(
        f"{name}:fp32"
        for name, operator in nodes(bundle.file(graph.file).read_bytes())
        if operator in _NUMERIC and FLOAT32_NODE.search(name)
    )
    return [
        "--fp16",
        "--precisionConstraints=obey",
        f"--layerPrecisions={layers}",
        f"--layerOutputTypes={layers}",
    ]


def _shapes(bundle: Bundle, graph: GraphEntry, options: EngineOptions) -> list[str]:
    """Smallest, likeliest and largest shapes of all inputs, as trtexec writes them.

    trtexec reads the stream's graph as it is, with a free batch; our engines fix it.
    """
    profiles = shape_profiles(bundle, graph, options)
    if not profiles:
        inputs, _ = form_shapes(bundle, graph.form, graph.lag)
        shapes = {n: (options.stream_rows, *(a or 1 for a in s[1:])) for n, s in inputs.items()}
        profiles = {name: (shape, shape, shape) for name, shape in shapes.items()}
    return [
        ",".join(f"{name}:{'x'.join(map(str, three[which]))}" for name, three in profiles.items())
        for which in range(3)
    ]
