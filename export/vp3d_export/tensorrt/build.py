"""One engine: a graph of the bundle in, an engine file and what is known of it out."""

from __future__ import annotations

import json
import os
import re
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import Bundle, BundleError, EngineEntry, GraphEntry
from vp3d_deploy.engines.gpu import Gpu
from vp3d_deploy.engines.onnx_file import OnnxFileError, check_weights_location
from vp3d_deploy.engines.onnx_interface import form_shapes
from vp3d_deploy.engines.tensorrt_api import Plan, TensorRTError, this_platform
from vp3d_deploy.formats.atomic import replacing
from vp3d_export.tensorrt.api import Advance, EngineBuilder, Profile
from vp3d_export.tensorrt.inspection import Layer, layers_of, precision_problem
from vp3d_export.tensorrt.onnx_axes import with_fixed_axes
from vp3d_export.tensorrt.options import EngineOptions

# In the graphs of vp3d_export/graphs/forms.py.
BATCH_AXIS = "B"
# Poses in one call of `sequence`, over all clips: the largest shape of an engine's profile takes
# its working memory whether it is used or not, for 1024 channels some 50 kB a pose.
FRAMES_TOGETHER = 4096


def engine_file_name(graph: GraphEntry, gpu: Gpu, version: str) -> str:
    """For example "stream.lag0.fp16.sm87.trt10.3.0.engine"."""
    capability = gpu.compute_capability.replace(".", "")
    return f"{graph.file.removesuffix('.onnx')}.sm{capability}.trt{version}.engine"


def build_engine(
    trt: Any,
    gpu: Gpu,
    bundle: Bundle,
    graph: GraphEntry,
    options: EngineOptions,
    directory: Path,
    advance: Advance = lambda done, total: None,
) -> EngineEntry:
    """Build `graph`'s engine into `directory`, and say what is to be listed of it.

    To be called in the GPU's context.
    advance: called with the steps of the build that are done, and how many there are.
    Raises TensorRTError where TensorRT fails, or chose another precision than the graph's, and
    BundleError for a graph that reads weights from elsewhere; no file is left then, nor after
    Ctrl-C, for which TensorRT gives up at its next step (TensorRT 8 builds to the end first).
    """
    builder = EngineBuilder(trt, graph.file)
    builder.refuse_what_the_version_lacks(graph.precision)
    builder.parse(*_model(bundle, graph, options))
    builder.configure(graph.precision, options)
    profiles = shape_profiles(bundle, graph, options)
    if profiles:
        builder.add_profile(profiles)
    builder.show_progress(advance)
    plan, seconds = _built(builder, gpu, trt.__version__, options)

    information = inspect(trt, gpu, plan, graph.file, profiles, options)
    layers = layers_of(information)
    weights_bytes = bundle.file(graph.weights).stat().st_size
    problem = precision_problem(layers, graph.precision, len(plan), weights_bytes)
    if problem:
        raise TensorRTError(f"TensorRT {trt.__version__} built {graph.file} wrongly: {problem}")

    entry = EngineEntry(
        file=engine_file_name(graph, gpu, trt.__version__),
        form=graph.form,
        precision=graph.precision,
        gpu=gpu.name,
        compute_capability=gpu.compute_capability,
        tensorrt=trt.__version__,
        lag=graph.lag,
        rows=options.stream_rows if graph.form == "stream" else None,
        version_compatible=options.version_compatible,
        platform=this_platform(),
        hardware_compatible=options.hardware_compatible,
        details=_details(gpu, graph, options, profiles, layers, seconds),
    )
    (directory / entry.file).write_bytes(plan)
    if options.detailed:
        (directory / f"{entry.file}.inspector.json").write_text(information, "utf-8")
    return entry


def _model(bundle: Bundle, graph: GraphEntry, options: EngineOptions) -> tuple[bytes, Path]:
    """The graph to parse, a stream's with its number of rows, and where its weights lie."""
    path = bundle.file(graph.file)
    try:
        check_weights_location(path, graph.weights)
    except OnnxFileError as error:
        raise BundleError(f"{path} is not a graph of a bundle: {error}") from None
    model = path.read_bytes()
    if graph.form == "stream":
        model = with_fixed_axes(model, {BATCH_AXIS: options.stream_rows})
    return model, path


def _built(
    builder: EngineBuilder, gpu: Gpu, version: str, options: EngineOptions
) -> tuple[bytes, float]:
    """The plan and the seconds that it took, with what other builds have learnt."""
    cache = timing_cache_file(gpu, version) if options.timing_cache else None
    if cache is not None:
        builder.set_timing_cache(cache.read_bytes() if cache.is_file() else b"")
    began = time.perf_counter()
    plan = _interruptible(builder, gpu)
    seconds = time.perf_counter() - began
    if cache is not None:
        _store(cache, builder.timing_cache())
    return plan, seconds


def _interruptible(builder: EngineBuilder, gpu: Gpu) -> bytes:
    """The plan, built in a thread of its own: this one hears Ctrl-C.

    TensorRT builds for minutes, outside the interpreter, which hands a signal to the main thread
    alone and only once that is back; what a callback raises the bindings only print. So this
    thread waits, tells TensorRT to give up, and passes on what interrupted it when that has
    happened: nothing of the build runs on.
    """

    def work() -> bytes:
        with gpu.active():
            return builder.build()

    with ThreadPoolExecutor(1) as executor:
        # The thread is there before there is something to wait for: an executor that is interrupted
        # while it starts one forgets it.
        executor.submit(int).result()
        try:
            return executor.submit(work).result()
        except BaseException:
            builder.cancel()
            raise


def _details(
    gpu: Gpu,
    graph: GraphEntry,
    options: EngineOptions,
    profiles: dict[str, Profile],
    layers: list[Layer],
    seconds: float,
) -> dict[str, Any]:
    """What the manifest says of an engine beside where it runs."""
    return {
        "cuda": gpu.cuda_version,
        "driver": gpu.driver_version,
        "built": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "build_seconds": round(seconds, 1),
        "graph": graph.file,
        "profile": {k: [list(shape) for shape in shapes] for k, shapes in profiles.items()},
        "options": options.to_dict(),
        "layers": [layer.to_list() for layer in layers],
    }


def shape_profiles(bundle: Bundle, graph: GraphEntry, options: EngineOptions) -> dict[str, Profile]:
    """Smallest, likeliest and largest shape of each input that has a free axis: none in streams."""
    if graph.form == "stream":
        return {}
    inputs, _ = form_shapes(bundle, graph.form, graph.lag)
    padding = bundle.spec.receptive_field - 1
    (shape,) = inputs.values()
    batches, frames = list(options.batch), [padding + frames for frames in options.frames]
    if graph.form == "sequence":
        together = max(1, FRAMES_TOGETHER // options.frames.largest)
        batches = [min(batch, together) for batch in batches]

    def filled(index: int) -> tuple[int, ...]:
        free = [batches[index], frames[index]]
        return tuple(free.pop(0) if axis is None else axis for axis in shape)

    return {"keypoints": (filled(0), filled(1), filled(2))}


def inspect(
    trt: Any,
    gpu: Gpu,
    plan: bytes,
    what: str,
    profiles: dict[str, Profile],
    options: EngineOptions,
) -> str:
    """What the inspector says of a plan, at the likeliest shapes."""
    loaded = Plan(trt, plan, what, host_code_allowed=options.version_compatible)
    execution = None
    if profiles:
        execution = loaded.execution()
        execution.take_profile(gpu.stream())
        for name, (_, likeliest, _) in profiles.items():
            execution.set_shape(name, likeliest)
    information = loaded.information(execution)
    if execution is not None:
        execution.close()
    loaded.close()
    return json.dumps(json.loads(information), indent=1) if options.detailed else information


def timing_cache_file(gpu: Gpu, version: str) -> Path:
    """One per GPU and version, beside other programs' caches."""
    base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    name = re.sub(r"[^A-Za-z0-9]+", "-", gpu.name).strip("-") or "gpu"
    capability = gpu.compute_capability.replace(".", "")
    return base / "vp3d-deploy" / f"timing.{name}.sm{capability}.trt{version}.cache"


def _store(path: Path, contents: bytes) -> None:
    """Whole or not at all; a cache that cannot be kept is no reason to fail."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(contents)
    except OSError as error:
        warnings.warn(
            f"the timing cache is not kept, so the next build takes as long: {error}",
            RuntimeWarning,
            stacklevel=2,
        )
