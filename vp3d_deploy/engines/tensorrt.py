"""TensorRT on an NVIDIA GPU, through pycuda.

Runs the engines that vp3d-export built into the bundle (`vp3d-export --resume-engines BUNDLE`
builds them on this device). An engine file is a program: take bundles that hold some from people
whom you would take a program from.

Each form keeps its buffers for good: page-locked memory on the host, memory on the device, and an
execution context with the addresses of both. A run is a copy up, one enqueue and a copy down in a
CUDA stream of its own; from the third run in a row of one shape on the three are one captured CUDA
graph.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from vp3d_deploy.bundle import FORMS, Bundle, BundleError, EngineEntry
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import Gpu, open_gpu
from vp3d_deploy.engines.onnx_interface import Shapes, form_shapes
from vp3d_deploy.engines.precisions import DEFAULT_PRECISIONS
from vp3d_deploy.engines.tensorrt_api import (
    Plan,
    import_tensorrt,
    this_platform,
    version_numbers,
)
from vp3d_deploy.engines.tensorrt_form import FormRunner
from vp3d_deploy.engines.tensorrt_stream import TensorRTStream
from vp3d_deploy.engines.warn_once import warn_once

# Before TensorRT 8.6 two execution contexts cannot share an optimisation profile.
_PROFILES_ARE_SHARED = (8, 6)
# A version-compatible engine also runs on the major version after its own, and on no later one
# (docs.nvidia.com/deeplearning/tensorrt: version compatibility, of 10.16 and 11.1).
_NEXT_MAJORS = {(8, 9), (8, 10), (9, 10), (10, 11)}


class TensorRTEngine:
    """Loads a form's engine when the form is first used.

    host_code_allowed: load version-compatible engines, which bring code for the host.
    graphs: False never captures CUDA graphs. timings: measure runs with CUDA events: `gpu_ms`.
    device: the GPU's number. threads: means nothing here. precision: None takes the first of fp16,
    fp32 and int8 that runs here.
    Safe to call from several threads: each has an execution context and a CUDA stream of its own.
    Raises ImportError without TensorRT or pycuda, GpuError without a GPU, BundleError where the
    bundle has no engine in this precision that was built for this GPU and TensorRT.
    """

    name = "tensorrt"

    def __init__(
        self,
        bundle: Bundle,
        precision: str | None,
        threads: int | None = None,
        *,
        host_code_allowed: bool = False,
        graphs: bool = True,
        timings: bool = False,
        device: int = 0,
    ) -> None:
        self._trt = import_tensorrt()
        self.gpu = open_gpu(device)
        self._bundle = bundle
        self._host_code_allowed = host_code_allowed
        self._graphs, self._timings = graphs, timings
        self._streams: list[TensorRTStream] = []
        known = (self.gpu, self._trt.__version__, host_code_allowed)
        self.precision = precision or best_precision(bundle, *known)
        self._entries = usable_entries(bundle, self.precision, *known)
        self._plans: dict[tuple[str, int | None], Plan] = {}
        self._runners: dict[tuple[threading.Thread | None, str], FormRunner] = {}
        self._last_run = threading.local()
        self._lock = threading.RLock()
        self._closed = False

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(form for form in FORMS if any(e.form == form for e in self._entries))

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted(e.lag for e in self._entries if e.lag is not None))

    @property
    def gpu_ms(self) -> float | None:
        """How long the GPU took for this thread's last `window` or `sequence`, copies included;
        None unless the engine was opened with timings=True."""
        return getattr(self._last_run, "gpu_ms", None)

    def window(self, keypoints: np.ndarray) -> Output:
        runner = self._runner("window")
        with runner.lock, self.gpu.active():
            arrays = runner.run_batches(keypoints)
            self._last_run.gpu_ms = runner.gpu_ms
            return _output(arrays)

    def sequence(self, keypoints: np.ndarray) -> Output:
        runner = self._runner("sequence")
        with runner.lock, self.gpu.active():
            arrays = runner.run_clips(keypoints, self._bundle.spec.receptive_field)
            self._last_run.gpu_ms = runner.gpu_ms
            return _output(arrays)

    def open_stream(self, lag: int) -> TensorRTStream:
        plan, entry = self._plan("stream", lag)
        with self.gpu.active():
            stream = TensorRTStream(
                self.gpu, plan, entry, self._bundle, graphs=self._graphs, timings=self._timings
            )
        with self._lock:
            self._streams = [s for s in self._streams if not s.closed]
            self._streams.append(stream)
        return stream

    def load(self, wanted: Iterable[tuple[str, int | None]]) -> None:
        """Load the engines of these forms and lags now; raises as running them would."""
        for form, lag in sorted(wanted, key=str):
            self._plan(form, lag)

    def close(self) -> None:
        """Give all memory back, on the host and on the device; open streams are closed too."""
        with self._lock:
            self._closed = True
            for stream in self._streams:
                stream.close()
            self._streams.clear()
            self._free(list(self._runners))
            with self.gpu.active():
                for plan in self._plans.values():
                    plan.close()
            self._plans.clear()

    def _runner(self, form: str) -> FormRunner:
        """This thread's own; what threads that have ended held is given back."""
        shared = version_numbers(self._trt.__version__) < _PROFILES_ARE_SHARED
        key = (None if shared else threading.current_thread(), form)
        with self._lock:
            if key not in self._runners or self._closed:
                plan, entry = self._plan(form)
                ended = [k for k in self._runners if k[0] is not None and not k[0].is_alive()]
                self._free(ended)
                with self.gpu.active():
                    self._runners[key] = FormRunner(
                        self.gpu, plan, entry.file, graphs=self._graphs, timings=self._timings
                    )
            return self._runners[key]

    def _free(self, keys: list[tuple[threading.Thread | None, str]]) -> None:
        with self.gpu.active():
            for key in keys:
                runner = self._runners.pop(key)
                with runner.lock:
                    runner.close()

    def _plan(self, form: str, lag: int | None = None) -> tuple[Plan, EngineEntry]:
        with self._lock:
            if self._closed:
                raise RuntimeError("this engine is closed; open its bundle again")
            entry = next((e for e in self._entries if (e.form, e.lag) == (form, lag)), None)
            if entry is None:
                at = "" if lag is None else f" at lag {lag}"
                raise BundleError(
                    f"{self._bundle.path} has no TensorRT engine for {form}{at} in "
                    f"{self.precision}; build one here with vp3d-export --resume-engines, or "
                    "open another engine"
                )
            if (form, lag) not in self._plans:
                path = self._bundle.file(entry.file)
                with self.gpu.active():
                    plan = Plan(self._trt, path.read_bytes(), str(path), self._host_code_allowed)
                _check_tensors(plan, self._bundle, entry)
                self._plans[form, lag] = plan
            return self._plans[form, lag], entry


def usable_entries(
    bundle: Bundle, precision: str, gpu: Gpu, version: str, host_code_allowed: bool
) -> list[EngineEntry]:
    """The bundle's engines in this precision that run here, one per form and lag.

    Raises BundleError that says why none does.
    """
    usable: dict[tuple[str, int | None], EngineEntry] = {}
    reasons: list[str] = []
    for entry in bundle.engines:
        if entry.precision != precision:
            continue
        reason = why_unusable(entry, gpu, version, host_code_allowed)
        if reason is None:
            usable.setdefault((entry.form, entry.lag), entry)
        else:
            reasons.append(reason)
    if not usable:
        found = reasons[0] if reasons else f"it has no TensorRT engine in {precision}"
        raise BundleError(
            f"{bundle.path}: {found}; build engines here with vp3d-export --resume-engines "
            f"{bundle.path}"
        )
    return list(usable.values())


def why_unusable(entry: EngineEntry, gpu: Gpu, version: str, host_code_allowed: bool) -> str | None:
    """One sentence naming what the engine was built for and what is here, or None if it runs."""
    built, here = version_numbers(entry.tensorrt), version_numbers(version)
    what = f"{entry.file} was built by TensorRT {entry.tensorrt}"
    if entry.version_compatible and not host_code_allowed:
        return (
            f"{entry.file} is version-compatible and so brings code for the host, which runs only "
            "with host_code_allowed=True"
        )
    if built != here and not (entry.version_compatible and _runs_later(built, here)):
        return f"{what}, and this is TensorRT {version}"
    if entry.platform not in ("", this_platform()):
        return f"{entry.file} was built on {entry.platform}, and this is {this_platform()}"
    on = f"{entry.file} was built on a GPU {entry.gpu} of compute capability"
    on = f"{on} {entry.compute_capability}, and this is a {gpu.name} of {gpu.compute_capability}"
    same_capability = entry.compute_capability == gpu.compute_capability
    if entry.hardware_compatible == "ampere_plus":
        return None if version_numbers(gpu.compute_capability) >= (8, 0) else on
    if entry.hardware_compatible == "same_compute_capability":
        return None if same_capability else on
    return None if same_capability and entry.gpu == gpu.name else on


def _runs_later(built: tuple[int, ...], here: tuple[int, ...]) -> bool:
    """Does TensorRT run a version-compatible engine of this earlier version?"""
    return built < here and (built[0] == here[0] or (built[0], here[0]) in _NEXT_MAJORS)


def _check_tensors(plan: Plan, bundle: Bundle, entry: EngineEntry) -> None:
    """An engine need not come from us: its tensors must be the ones of the bundle's network."""
    inputs, outputs = form_shapes(bundle, entry.form, entry.lag)
    expected: Shapes = {**inputs, **outputs}
    found = {tensor.name: tensor for tensor in plan.tensors}
    wrong = sorted(set(found) ^ set(expected)) or [
        name
        for name, tensor in found.items()
        if tensor.dtype != "FLOAT"
        or tensor.is_input != (name in inputs)
        or not _fits(tensor.shape, expected[name], entry.rows)
    ]
    if wrong:
        raise BundleError(
            f"{bundle.file(entry.file)} is not the {entry.form} engine of this bundle's network: "
            f"it differs in {', '.join(wrong[:4])}; build it again"
        )


def _fits(shape: Sequence[int], expected: Sequence[int | None], rows: int | None) -> bool:
    """Free axes are -1 in an engine; a stream engine's batch is its number of rows."""
    wanted = [-1 if axis is None else axis for axis in expected]
    if rows is not None:
        wanted[0] = rows
    return list(shape) == wanted


def _output(arrays: dict[str, np.ndarray]) -> Output:
    return Output(arrays["pose"], arrays.get("trajectory"))


def best_precision(bundle: Bundle, gpu: Gpu, version: str, host_code_allowed: bool) -> str:
    """The first of fp16, fp32 and int8 in which an engine of the bundle runs here, or, where none
    does, in which it has one: that one says why."""
    order = DEFAULT_PRECISIONS["tensorrt"]
    runs = {
        entry.precision
        for entry in bundle.engines
        if why_unusable(entry, gpu, version, host_code_allowed) is None
    }
    held = runs or {entry.precision for entry in bundle.engines}
    return next((precision for precision in order if precision in held), order[0])


def open_where_it_runs(
    bundle: Bundle, precision: str | None, threads: int | None, **options: Any
) -> TensorRTEngine | None:
    """An engine that answers in every form and lag that the bundle has graphs for, all loaded.

    None where there is none, with one warning per process that says why.
    """
    try:
        engine = TensorRTEngine(bundle, precision, threads, **options)
        try:
            graphs = [graph for graph in bundle.graphs if graph.precision == engine.precision]
            engine.load({(graph.form, graph.lag) for graph in graphs})
        except BaseException:
            engine.close()
            raise
    except (ImportError, RuntimeError, BundleError) as error:
        warn_once(f'engine "auto" does not take TensorRT: {error}')
        return None
    return engine
