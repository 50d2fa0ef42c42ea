"""CUDA's graphs: a stream's work recorded once and launched in one call (cuda_driver.py)."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress

from vp3d_deploy.engines import cuda_driver
from vp3d_deploy.engines.cuda_driver import CudaDriverError, call, check

# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil the capture.
THREAD_LOCAL = 1


class CudaGraph:
    """Work that `record` put into a stream while it was captured; nothing of it has run yet.

    The memory that the work reads and writes must outlive the graph and stay where it is.
    Raises CudaDriverError where the work cannot be captured; the stream is usable then.
    """

    def __init__(self, stream: int, record: Callable[[], None]) -> None:
        self._stream = stream
        self._graph = ctypes.c_void_p()
        self._executable = ctypes.c_void_p()
        call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)
        try:
            record()
        except BaseException:
            # Whatever went wrong, the stream has to leave its capture.
            cuda_driver.driver().cuStreamEndCapture(stream, ctypes.byref(self._graph))
            with suppress(CudaDriverError):
                self.close()
            raise
        call("cuStreamEndCapture", stream, ctypes.byref(self._graph))
        try:
            call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), self._graph, 0)
        except CudaDriverError:
            with suppress(CudaDriverError):
                self.close()
            raise
        # Once a frame: without a search for the name.
        self._launch = cuda_driver.driver().cuGraphLaunch

    def launch(self) -> None:
        """Put the recorded work into its stream."""
        check("cuGraphLaunch", self._launch(self._executable, self._stream))

    def close(self) -> None:
        """Give its memory back; it must not be running."""
        for name, handle in (
            ("cuGraphExecDestroy", self._executable),
            ("cuGraphDestroy", self._graph),
        ):
            if handle.value:
                call(name, handle)
                handle.value = None
