"""Functions of the CUDA driver that pycuda does not offer, called in libcuda itself.

pycuda 2026.1 has contexts, memory, streams and events, but no graphs; its modules and functions
are launched by cuLaunchKernel alone and keep their handles to themselves, so that no cooperative
launch can be made of one. These functions work in the context that is current, and on the handles
of pycuda's streams. Names and prototypes: cuda.h; the header maps cuStreamBeginCapture to ..._v2
and cuGraphInstantiate to cuGraphInstantiateWithFlags, which drivers have from CUDA 11.4.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

LIBRARY = "libcuda.so.1"
_HANDLE, _HANDLE_POINTER = ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p)
_INT_POINTER = ctypes.POINTER(ctypes.c_int)
# Function; grid and block, each x, y, z; shared memory in bytes; stream; addresses of parameters.
_LAUNCH = (_HANDLE, *[ctypes.c_uint] * 7, _HANDLE, _HANDLE_POINTER)


class LaunchAttribute(ctypes.Structure):
    """CUlaunchAttribute, of those whose value is a number."""

    _fields_ = (("id", ctypes.c_int), ("pad", ctypes.c_char * 4),
                ("value", ctypes.c_int), ("rest", ctypes.c_char * 60))  # fmt: skip


class LaunchConfig(ctypes.Structure):
    """CUlaunchConfig."""

    _fields_ = (
        *((f"{of}_{axis}", ctypes.c_uint) for of in ("grid", "block") for axis in "xyz"),
        ("shared_bytes", ctypes.c_uint),
        ("stream", _HANDLE),
        ("attributes", ctypes.POINTER(LaunchAttribute)),
        ("n_attributes", ctypes.c_uint),
    )


# CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION: a kernel may begin when the one before in
# its stream lets it, and waits for it by itself.
PROGRAMMATIC = 6
# Argument types by name; each returns a CUresult, 0 for success.
FUNCTIONS: dict[str, tuple[Any, ...]] = {
    "cuStreamBeginCapture_v2": (_HANDLE, ctypes.c_int),
    "cuStreamEndCapture": (_HANDLE, _HANDLE_POINTER),
    "cuGraphInstantiateWithFlags": (_HANDLE_POINTER, _HANDLE, ctypes.c_ulonglong),
    "cuGraphLaunch": (_HANDLE, _HANDLE),
    "cuGraphExecDestroy": (_HANDLE,),
    "cuGraphDestroy": (_HANDLE,),
    "cuGetErrorName": (ctypes.c_int, ctypes.POINTER(ctypes.c_char_p)),
    "cuDeviceGet": (_INT_POINTER, ctypes.c_int),
    "cuDeviceGetAttribute": (_INT_POINTER, ctypes.c_int, ctypes.c_int),
    "cuModuleLoadData": (_HANDLE_POINTER, ctypes.c_void_p),
    "cuModuleUnload": (_HANDLE,),
    "cuModuleGetFunction": (_HANDLE_POINTER, _HANDLE, ctypes.c_char_p),
    "cuFuncSetAttribute": (_HANDLE, ctypes.c_int, ctypes.c_int),
    "cuOccupancyMaxActiveBlocksPerMultiprocessor": (
        _INT_POINTER,
        _HANDLE,
        ctypes.c_int,
        ctypes.c_size_t,
    ),
    "cuLaunchKernel": (*_LAUNCH, _HANDLE_POINTER),
    "cuLaunchCooperativeKernel": _LAUNCH,
    "cuLaunchKernelEx": (
        ctypes.POINTER(LaunchConfig),
        _HANDLE,
        _HANDLE_POINTER,
        _HANDLE_POINTER,
    ),
}
# Drivers have these from CUDA 11.8; who calls them asks for such a one first.
_LATER = ("cuLaunchKernelEx",)


class CudaDriverError(RuntimeError):
    """The driver refused a call; the message names both. code: CUresult, None without a driver."""

    def __init__(self, message: str, code: int | None = None) -> None:
        super().__init__(message)
        self.code = code


@cache
def driver() -> Any:
    """libcuda with its functions typed; raises CudaDriverError without one, or if it is too old."""
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise CudaDriverError(f"the CUDA driver does not load: {error}") from None
    for name, arguments in FUNCTIONS.items():
        try:
            function = getattr(library, name)
        except AttributeError:
            if name in _LATER:
                continue
            raise CudaDriverError(f"the CUDA driver has no {name}; it is older than 11.4") from None
        function.argtypes, function.restype = arguments, ctypes.c_int
    return library


def call(name: str, *arguments: Any) -> None:
    """Raises CudaDriverError for whatever the function answers but success."""
    check(name, getattr(driver(), name)(*arguments))


def check(name: str, result: int) -> None:
    """What `name` has answered, where it was called without `call`."""
    if result:
        text = ctypes.c_char_p()
        driver().cuGetErrorName(result, ctypes.byref(text))
        known = text.value.decode() if text.value else str(result)
        raise CudaDriverError(f"{name} failed: {known}", result)
