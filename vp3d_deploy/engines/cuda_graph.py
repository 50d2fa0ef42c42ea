"""CUDA's graphs: a stream's work recorded once and launched in one call.

pycuda has contexts, memory, streams and events, but no graphs (2026.1), so the six functions of
the CUDA driver that make and launch one are called here. They work in the context that is current
and on a pycuda stream's handle. Names and prototypes: cuda.h; the header maps cuStreamBeginCapture
to ..._v2 and cuGraphInstantiate to cuGraphInstantiateWithFlags, which drivers have from CUDA 11.4.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from typing import Any

LIBRARY = "libcuda.so.1"
_HANDLE, _HANDLE_POINTER = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
# Argument types by name; each returns a CUresult, 0 for success.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (_HANDLE, ctypes.c_int),
    "cuStreamEndCapture": (_HANDLE, _HANDLE_POINTER),
    "cuGraphInstantiateWithFlags": (_HANDLE_POINTER, _HANDLE, ctypes.c_ulonglong),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGraphDestroy": (_HANDLE,),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
}
# CU_STREAM_CAPTURE_MODE_THREAD_LOCAL: what other threads do meanwhile does not spoil the capture.
THREAD_LOCAL = 1


class CudaGraphError(RuntimeError):
    """The driver refused a call; the message names both."""


class CudaGraph:
    """Work that `record` put into a stream while it was captured; nothing of it has run yet.

    The memory that the work reads and writes must outlive the graph and stay where it is.
    Raises CudaGraphError where the work cannot be captured; the stream is usable then.
    """

    def __init__(self, stream: int, record: Callable[[], None]) -> None:
        self._stream = stream
        self._graph = ctypes.c_void_p()
        self._executable = ctypes.c_void_p()
        _call("cuStreamBeginCapture_v2", stream, THREAD_LOCAL)
        try:
            record()
        except BaseException:
            # Whatever went wrong, the stream has to leave its capture.
            _driver().cuStreamEndCapture(stream, ctypes.byref(self._graph))
            with suppress(CudaGraphError):
                self.close()
            raise
        _call("cuStreamEndCapture", stream, ctypes.byref(self._graph))
        try:
            _call("cuGraphInstantiateWithFlags", ctypes.byref(self._executable), self._graph, 0)
        except CudaGraphError:
            with suppress(CudaGraphError):
                self.close()
            raise

    def launch(self) -> None:
        """Put the recorded work into its stream."""
        _call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Give its memory back; it must not be running."""
        for name, handle in (
            ("cuGraphExecDestroy", self._executable),
            ("cuGraphDestroy", self._graph),
        ):
            if handle.value:
                _call(name, handle)
                handle.value = None


@cache
def _driver() -> Any:
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise CudaGraphError(f"the CUDA driver does not load: {error}") from None
    for name, arguments in FUNCTIONS.items():
        try:
            function = getattr(driver, name)
        except AttributeError:
            raise CudaGraphError(f"the CUDA driver has no {name}; it is older than 11.4") from None
        function.argtypes, function.restype = arguments, ctypes.c_int
    return driver


def _call(name: str, *arguments: Any) -> None:
    driver = _driver()
    result = getattr(driver, name)(*arguments)
    if result:
        text = ctypes.c_char_p()
        driver.cuGetErrorName(result, ctypes.byref(text))
        known = text.value.decode() if text.value else str(result)
        raise CudaGraphError(f"{name} failed: {known}")
