"""Our own CUDA kernels (kernels/cuda) on an NVIDIA GPU, in every form and at any lag.

A frame of every live stream is one launch; docs/cuda.md says how. The kernels come with this
package where nvcc was at hand when it was installed, and pycuda and the GPU's driver run them:
nothing else of CUDA is needed on the device.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from vp3d_deploy.bundle import FORMS, Bundle, BundleError
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_clips import Clips
from vp3d_deploy.engines.cuda_kernels import Kernels, can_overlap, has_warpgroups
from vp3d_deploy.engines.cuda_processing import Processing, View, tables
from vp3d_deploy.engines.cuda_stream import CudaPixelStream, CudaStream, StreamProgram
from vp3d_deploy.engines.gpu import GpuError, open_gpu
from vp3d_deploy.engines.native import NOT_BUILT
from vp3d_deploy.engines.precisions import DEFAULT_PRECISIONS
from vp3d_deploy.skeleton import Skeleton

Made = TypeVar("Made")
Stream = TypeVar("Stream", bound=CudaStream)
_NONE = Processing()
LAUNCHES = ("auto", "step", "phases", "wide")


class CudaEngine:
    """Packs the bundle's weights for the GPU when a form or lag is first used; needs no graphs.

    launch: how a live frame runs: "step" is one cooperative launch; "phases" one launch for each
    layer, for devices without cooperative launches; "wide" the same with blocks that share many
    streams' columns; "auto" what fits the device and the number of streams.
    zero_copy: kernels of live streams read frames and write answers in the host's memory; by
    default where GPU and processor share it, and elsewhere for frames of a few people; windows and
    sequences have their answers there where it is shared.
    warpgroups: take kernels for the warpgroups of Hopper (compute capability 9.0) where there are
    many columns. Not the default before they have run on hardware: a fault in them would end CUDA
    for the whole process, so that nothing can try them out first.
    overlap: the launches of a "wide" frame begin while the ones before them end (programmatic
    dependent launch); by default where the GPU (compute capability 9.0) and its driver (CUDA 12.3)
    have it.
    graphs: False never captures CUDA graphs. timings: measure runs with CUDA events: `gpu_ms`.
    device: the GPU's number. threads: means nothing here. precision: None takes the first of fp16,
    fp32 and int8 that the bundle has.
    Safe to call from several threads: calls take turns, streams with streams of their own.
    Raises ImportError without pycuda or without the kernels, GpuError without a GPU that they run
    on, BundleError for damaged or foreign weights, ValueError for an unknown launch.
    """

    name = "cuda"
    forms = FORMS

    def __init__(
        self,
        bundle: Bundle,
        precision: str | None = None,
        threads: int | None = None,
        *,
        launch: str = "auto",
        zero_copy: bool | None = None,
        warpgroups: bool = False,
        overlap: bool | None = None,
        graphs: bool = True,
        timings: bool = False,
        device: int = 0,
    ) -> None:
        if launch not in LAUNCHES:
            raise ValueError(f"launch {launch!r} is not known; choose one of {', '.join(LAUNCHES)}")
        native = _native()
        self.gpu = open_gpu(device)
        if launch == "step" and not self.gpu.cooperative:
            raise GpuError(f'{self.gpu.name} has no cooperative launches; take launch="phases"')
        order = DEFAULT_PRECISIONS["cuda"]
        self.precision = precision or next(p for p in order if p in bundle.precisions)
        self._bundle, self._networks = bundle, dict(bundle.networks)
        weights = next(g.weights for g in bundle.graphs if g.precision == self.precision)
        self._weights = bundle.file(weights)
        self._launch, self._graphs, self._timings = launch, graphs, timings
        self._zero_copy = zero_copy
        self._warpgroups = warpgroups
        self._overlap = can_overlap(self.gpu) if overlap is None else overlap
        if self._overlap and not can_overlap(self.gpu):
            raise GpuError(
                f"{self.gpu.name} of compute capability {self.gpu.compute_capability} with a "
                f"driver for CUDA {self.gpu.cuda_version} has no launches that overlap, which take "
                "9.0 and CUDA 12.3; take overlap=False"
            )
        if warpgroups and not has_warpgroups(self.gpu, self.precision):
            raise GpuError(
                f"{self.gpu.name} of compute capability {self.gpu.compute_capability} has no "
                f"warpgroups that multiply in {self.precision}; take warpgroups=False"
            )
        self._error = native.WeightsError
        self._programs: dict[tuple[int, Processing], StreamProgram] = {}
        self._streams: list[CudaStream] = []
        self._clips: dict[Processing, Clips] = {}
        self._last_run = threading.local()
        self._lock = threading.RLock()
        self._closed = False
        with self.gpu.active():
            self._kernels = Kernels(self.gpu)
            try:
                if warpgroups:
                    self._kernels.check_warpgroups()
            except BaseException:
                self._kernels.close()
                raise

    @property
    def lags(self) -> Sequence[int]:
        return range(self._networks["pose"].lookahead + 1)

    @property
    def gpu_ms(self) -> float | None:
        """How long the GPU took for this thread's last `window` or `sequence`, copies included;
        None unless the engine was opened with timings=True."""
        return getattr(self._last_run, "gpu_ms", None)

    def window(
        self,
        keypoints: np.ndarray,
        *,
        processing: Processing | None = None,
        views: Sequence[View] = (),
    ) -> Output:
        """As the protocol has it; or with processing on the GPU (cuda_processing.py), keypoints in
        pixels, (B, R, J, F), with one view for each of B."""
        return self._run("window", keypoints, processing, views)

    def sequence(
        self,
        keypoints: np.ndarray,
        *,
        processing: Processing | None = None,
        views: Sequence[View] = (),
    ) -> Output:
        """The same for padded clips, (B, T+R-1, J, F)."""
        return self._run("sequence", keypoints, processing, views)

    def open_stream(self, lag: int, processing: Processing | None = None) -> CudaStream:
        """Streams whose answers trail by `lag` frames; with processing on the GPU, frames of them
        are pixels, and rows are added with their view."""
        return self._open_stream(CudaStream, lag, processing or _NONE)

    def open_pixel_stream(self, lag: int, skeleton: Skeleton) -> CudaPixelStream:
        """As `PixelEngine` has it (pixels.py); `LiveStream` takes these."""
        return self._open_stream(CudaPixelStream, lag, Processing(skeleton))

    def _open_stream(self, kind: type[Stream], lag: int, processing: Processing) -> Stream:
        if lag not in self.lags:
            raise ValueError(f"lag {lag} is not one of 0 to {self.lags[-1]}")
        with self._lock:
            self._refuse_if_closed()
            with self.gpu.active():
                stream = kind(
                    self.gpu,
                    self._kernels,
                    self._program(lag, processing),
                    launch=self._launch,
                    zero_copy=self._zero_copy,
                    graphs=self._graphs,
                    timings=self._timings,
                )
            self._streams = [s for s in self._streams if not s.closed]
            self._streams.append(stream)
        return stream

    def close(self) -> None:
        """Give all memory back, on the host and on the device; open streams are closed too."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            for stream in self._streams:
                stream.close()
            self._streams.clear()
            with self.gpu.active():
                for clips in self._clips.values():
                    clips.close()
                self._clips.clear()
                for program in self._programs.values():
                    program.close()
                self._programs.clear()
                self._kernels.close()

    def _run(
        self,
        form: str,
        keypoints: np.ndarray,
        processing: Processing | None,
        views: Sequence[View],
    ) -> Output:
        key = processing or _NONE
        with self._lock:
            self._refuse_if_closed()
            with self.gpu.active():
                if key not in self._clips:
                    self._clips[key] = self._make_clips(key)
                clips = self._clips[key]
                output = clips.run(form, keypoints, views)
                self._last_run.gpu_ms = clips.gpu_ms
                return output

    def _make_clips(self, processing: Processing) -> Clips:
        return self._checked(
            Clips,
            self.gpu,
            self._kernels,
            self._weights,
            self._networks,
            self.precision,
            graphs=self._graphs,
            timings=self._timings,
            warpgroups=self._warpgroups,
            maps_answers=self.gpu.integrated if self._zero_copy is None else self._zero_copy,
            processing=tables(processing, self._bundle),
        )

    def _program(self, lag: int, processing: Processing) -> StreamProgram:
        key = (lag, processing)
        if key not in self._programs:
            around = tables(processing, self._bundle)
            many = self._launch in ("auto", "wide")
            self._programs[key] = self._checked(
                StreamProgram,
                self.gpu,
                self._weights,
                self._networks,
                self.precision,
                lag,
                many and self._warpgroups,
                around,
                self._overlap,
            )
        return self._programs[key]

    def _checked(self, make: Callable[..., Made], *arguments: Any, **options: Any) -> Made:
        """What is made of the weights file; what is wrong with that is the bundle's fault."""
        try:
            return make(*arguments, **options)
        except self._error as error:
            raise BundleError(str(error)) from None

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise RuntimeError("this engine is closed; open its bundle again")


def _native() -> Any:
    """The compiled module, which packs weights for the kernels."""
    try:
        import vp3d_deploy._native as native
    except ImportError as error:
        raise ImportError(NOT_BUILT) from error
    return native
