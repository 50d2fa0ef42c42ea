"""Work of a GPU's stream that comes again and again: captured as a graph, and timed by events."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from vp3d_deploy.engines.cuda_driver import CudaDriverError
from vp3d_deploy.engines.cuda_graph import CudaGraph
from vp3d_deploy.engines.gpu import Gpu

# TensorRT sets itself up in the first run of a shape, which cannot be captured; and work that comes
# once or twice is not worth a capture.
_RUNS_BEFORE_CAPTURE = 2


class Repeated:
    """The same work again and again: from the third time on as one captured CUDA graph.

    refusals: what `work` may raise, beside errors of CUDA, where it cannot be captured.
    problem: why there is no graph, once capturing has failed; the work goes on without.
    """

    def __init__(
        self,
        gpu: Gpu,
        stream: Any,
        work: Callable[[], None],
        graphs: bool,
        refusals: tuple[type[Exception], ...] = (),
    ) -> None:
        self._refusals: tuple[type[Exception], ...] = (CudaDriverError, gpu.refusal, *refusals)
        self._graphs = graphs
        self._stream: Any = stream
        self._work: Callable[[], None] | None = work
        self._n_runs = 0
        self._graph: CudaGraph | None = None
        self.problem: str | None = None

    def run(self) -> None:
        """Put the work into the stream."""
        if self._graph is not None:
            self._graph.launch()
            return
        due = self._graphs and self._n_runs == _RUNS_BEFORE_CAPTURE
        self._n_runs += 1
        if due and self.problem is None:
            self._capture()
        assert self._work is not None
        if self._graph is not None:
            self._graph.launch()
        else:
            self._work()

    def close(self) -> None:
        """Let everything go at once: what pycuda frees later may find no context."""
        if self._graph is not None:
            self._graph.close()
        self._graph = self._work = self._stream = None

    def _capture(self) -> None:
        assert self._work is not None
        self._stream.synchronize()
        try:
            self._graph = CudaGraph(self._stream.handle, self._work)
        except self._refusals as error:
            self.problem = str(error)
            warnings.warn(
                f"runs without a CUDA graph, which takes longer: {error}", RuntimeWarning,
                stacklevel=2,
            )  # fmt: skip


class Stopwatch:
    """CUDA events around a run. ms: of the last one, None before or where it is off."""

    def __init__(self, gpu: Gpu, stream: Any, enabled: bool) -> None:
        self._stream: Any = stream
        self._events = (gpu.event(), gpu.event()) if enabled else None
        self.ms: float | None = None

    def start(self) -> None:
        if self._events:
            self._events[0].record(self._stream)

    def stop(self) -> None:
        if self._events:
            self._events[1].record(self._stream)

    def read(self) -> None:
        """Once the stream is synchronised."""
        if self._events:
            self.ms = self._events[0].time_till(self._events[1])

    def close(self) -> None:
        self._events = self._stream = None
