"""The CUDA kernels that were installed with this package, loaded on one GPU, and their launches.

They come as one fatbin (kernels/cuda, kernels/cmake/Fatbin.cmake): machine code for a list of
architectures, and PTX that the driver compiles for newer ones.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vp3d_deploy.engines import cuda_driver
from vp3d_deploy.engines.cuda_driver import (
    PROGRAMMATIC,
    CudaDriverError,
    LaunchAttribute,
    LaunchConfig,
    call,
    check,
)
from vp3d_deploy.engines.gpu import Gpu, GpuError

FATBIN = "kernels.fatbin"
# The oldest GPUs that there is code for (kernels/cmake/Fatbin.cmake).
OLDEST = (7, 5)
NOT_BUILT = (
    "vp3d-deploy was installed without its CUDA kernels; install it again where the CUDA toolkit's "
    "nvcc is on the PATH"
)
# CUDA_ERROR_INVALID_IMAGE, which older drivers say of what they cannot unpack, _NO_BINARY_FOR_GPU,
# _INVALID_PTX, _JIT_COMPILER_NOT_FOUND, _UNSUPPORTED_PTX_VERSION, _JIT_COMPILATION_DISABLED.
_NO_CODE = (200, 209, 218, 221, 222, 223)
# CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, and what a function may have without asking.
_SHARED_BYTES, _SHARED_BYTES_UNASKED = 8, 48 << 10
# The only GPUs whose warpgroups multiply together (wgmma), and in what there are kernels for them.
_WARPGROUPS = "9.0"
_WARPGROUP_PRECISIONS = ("fp16", "int8")
# It does nothing; machine code that has it has kernels for warpgroups (kernels/cuda/clip.cu).
_WARPGROUP_MARK = "vp3d_warpgroups"
_NOT_FOUND = 500  # CUDA_ERROR_NOT_FOUND
# What launches that overlap take: griddepcontrol, and a driver that captures them in graphs.
_OVERLAPS_FROM, _OVERLAPS_FROM_CUDA = (9, 0), (12, 3)


def fatbin() -> bytes:
    """The kernels as they were installed, beside the native module; ImportError without them."""
    import vp3d_deploy._native as _native

    try:
        return Path(_native.__file__).with_name(FATBIN).read_bytes()
    except OSError as error:
        raise ImportError(f"{NOT_BUILT} ({error})") from error


def has_warpgroups(gpu: Gpu, precision: str) -> bool:
    """Are there kernels for this GPU's warpgroups in this precision, where all were built?"""
    return gpu.compute_capability == _WARPGROUPS and precision in _WARPGROUP_PRECISIONS


def can_overlap(gpu: Gpu) -> bool:
    """Has this GPU programmatic dependent launches, and its driver, also in graphs?"""
    capability, cuda = (
        tuple(int(part) for part in version.split("."))
        for version in (gpu.compute_capability, gpu.cuda_version)
    )
    return capability >= _OVERLAPS_FROM and cuda >= _OVERLAPS_FROM_CUDA


class Kernels:
    """Functions by name. To be made, used and closed in the GPU's context.

    Raises ImportError where no kernels were built, GpuError where this GPU has no code among them.
    """

    def __init__(self, gpu: Gpu) -> None:
        code = fatbin()
        major, minor = (int(part) for part in gpu.compute_capability.split("."))
        if (major, minor) < OLDEST:
            raise GpuError(
                f"the CUDA engine runs on GPUs of compute capability {OLDEST[0]}.{OLDEST[1]} and "
                f"later, and this {gpu.name} has {gpu.compute_capability}; use another engine"
            )
        self._module = ctypes.c_void_p()
        self._functions: dict[str, ctypes.c_void_p] = {}
        self._shared: dict[str, int] = {}
        # Streams of several threads share functions, and what these may take only grows.
        self._lock = threading.Lock()
        try:
            call("cuModuleLoadData", ctypes.byref(self._module), code)
        except CudaDriverError as error:
            if error.code not in _NO_CODE:
                raise
            raise GpuError(
                f"the CUDA kernels that were installed have no code for this {gpu.name} of compute "
                f"capability {gpu.compute_capability} under a driver for CUDA {gpu.cuda_version} "
                f"({error}); install vp3d-deploy again on this device, or with "
                f"-C cmake.define.CMAKE_CUDA_ARCHITECTURES={major}{minor}"
            ) from error

    def function(self, name: str, shared_bytes: int = 0) -> ctypes.c_void_p:
        """Its handle; it may be launched with so much dynamic shared memory from then on."""
        with self._lock:
            if name not in self._functions:
                self._functions[name] = self._found(name)
            if shared_bytes > self._shared.get(name, _SHARED_BYTES_UNASKED):
                call("cuFuncSetAttribute", self._functions[name], _SHARED_BYTES, shared_bytes)
                self._shared[name] = shared_bytes
            return self._functions[name]

    def check_warpgroups(self) -> None:
        """Raises GpuError where kernels for warpgroups are not among the code that was loaded, and
        would end in a trap: where they were not built, or the driver was told to compile PTX."""
        try:
            self._handle(_WARPGROUP_MARK)
        except CudaDriverError as error:
            if error.code != _NOT_FOUND:
                raise
            raise GpuError(
                "the CUDA kernels that were installed have no machine code of sm_90a, which the "
                "kernels for warpgroups are; install vp3d-deploy again with "
                "-C cmake.define.CMAKE_CUDA_ARCHITECTURES=90a-real, or take warpgroups=False"
            ) from error

    def _handle(self, name: str) -> ctypes.c_void_p:
        handle = ctypes.c_void_p()
        call("cuModuleGetFunction", ctypes.byref(handle), self._module, name.encode())
        return handle

    def _found(self, name: str) -> ctypes.c_void_p:
        try:
            return self._handle(name)
        except CudaDriverError as error:
            raise CudaDriverError(
                f"the CUDA kernels that were installed have no {name} ({error}); install "
                "vp3d-deploy again",
                error.code,
            ) from error

    def blocks_at_once(self, name: str, threads: int, shared_bytes: int) -> int:
        """How many blocks of a launch a multiprocessor holds at the same time."""
        answer = ctypes.c_int(0)
        handle = self.function(name, shared_bytes)
        call(
            "cuOccupancyMaxActiveBlocksPerMultiprocessor",
            ctypes.byref(answer),
            handle,
            threads,
            shared_bytes,
        )
        return answer.value

    def close(self) -> None:
        """No launch may be under way."""
        if self._module.value:
            call("cuModuleUnload", self._module)
            self._module.value = None
        self._functions.clear()


class Launch:
    """A kernel with its grid and parameters, to be put into streams again and again.

    parameters: ctypes objects, one for each parameter of the kernel. cooperative: all blocks are on
    the device at the same time, or the driver refuses the launch. overlaps: it may begin before the
    kernel before it has ended, which it waits for by itself; see `can_overlap`.
    """

    def __init__(
        self,
        kernels: Kernels,
        name: str,
        *,
        blocks: int,
        threads: int,
        shared_bytes: int,
        parameters: Sequence[Any],
        cooperative: bool = False,
        overlaps: bool = False,
    ) -> None:
        self.name, self.overlaps = name, overlaps
        function = kernels.function(name, shared_bytes)
        self._shape = (function, blocks, 1, 1, threads, 1, 1, shared_bytes)
        # The array holds addresses alone: what they point at has to stay.
        self._parameters = tuple(parameters)
        addresses = [ctypes.addressof(parameter) for parameter in self._parameters]
        self._addresses = (ctypes.c_void_p * len(addresses))(*addresses)
        self._what = "cuLaunchCooperativeKernel" if cooperative else "cuLaunchKernel"
        self._more = () if cooperative else (None,)
        if overlaps:
            self._what = "cuLaunchKernelEx"
            self._attribute = LaunchAttribute(id=PROGRAMMATIC, value=1)
            attributes = ctypes.pointer(self._attribute)
            self._config = LaunchConfig(*self._shape[1:], None, attributes, 1)
        self._call = getattr(cuda_driver.driver(), self._what)

    def put(self, stream: int) -> None:
        """Into the stream with this handle. The parameters are copied now."""
        if not self.overlaps:
            check(self._what, self._call(*self._shape, stream, self._addresses, *self._more))
            return
        self._config.stream = stream
        function = self._shape[0]
        config = ctypes.byref(self._config)
        check(self._what, self._call(config, function, self._addresses, None))
