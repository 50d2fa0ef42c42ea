"""One GPU through pycuda: context, memory, streams and events.

Everything happens in the device's *primary* context, the one that the CUDA runtime, PyTorch and
TensorRT itself use, so that an application which already has one is joined and not doubled. It is
retained once per process and device, and made current only inside `with gpu.active():`; pycuda
then gives memory and streams back in any thread, as long as one and the same Context object is
current there.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.engines import cuda_driver

# CU_STREAM_NON_BLOCKING of cuda.h: no waiting for what the application puts into stream 0.
_NON_BLOCKING = 1
# CU_MEMHOSTALLOC_DEVICEMAP: the GPU may read and write it where it is.
_MAPPED = 2
# CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH, which pycuda has no name for.
_COOPERATIVE_LAUNCH = 95
# Page-locked memory through which large arrays are sent.
_STAGE_BYTES = 4 << 20
_DRIVER_FILE = Path("/sys/module/nvidia/version")
_LOCK = threading.Lock()
_OPEN: dict[int, Gpu] = {}


class GpuError(RuntimeError):
    """There is no GPU to use, or CUDA refused a call."""


def open_gpu(ordinal: int = 0) -> Gpu:
    """The device with this number, opened when first asked for.

    Raises ImportError without pycuda, GpuError without a driver or such a device.
    """
    with _LOCK:
        if ordinal not in _OPEN:
            _OPEN[ordinal] = Gpu(ordinal)
        return _OPEN[ordinal]


def count_gpus() -> int:
    """How many devices the CUDA driver sees; 0 without one. Needs no pycuda."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return 0
    return count.value


class Gpu:
    """name: as CUDA has it, for example "Orin". compute_capability: for example "8.7"."""

    def __init__(self, ordinal: int) -> None:
        try:
            import pycuda.driver as driver
        except ImportError as error:
            raise ImportError(
                f"engines on NVIDIA GPUs run through pycuda, which does not load ({error}); "
                "pip install pycuda, with a CUDA toolkit at hand"
            ) from error
        self._driver: Any = driver
        try:
            driver.init(0)
            self._device = driver.Device(ordinal)
            self._context = self._device.retain_primary_context()
        except driver.Error as error:
            raise GpuError(f"CUDA has no device {ordinal}: {error}") from error
        self._ordinal = ordinal
        self._active: _Active | _Forked = _Active(driver, self._context)
        self.name: str = self._device.name()
        self.compute_capability = ".".join(str(part) for part in self._device.compute_capability())

    @property
    def refusal(self) -> type[Exception]:
        """What pycuda raises where CUDA refuses a call; outside `active` it is a GpuError."""
        return self._driver.Error

    @property
    def cuda_version(self) -> str:
        """The newest CUDA that the driver runs, for example "12.6"."""
        version = self._driver.get_driver_version()
        return f"{version // 1000}.{version % 1000 // 10}"

    @property
    def driver_version(self) -> str:
        """The driver's own, for example "580.65.06"; "unknown" where the system hides it."""
        try:
            return _DRIVER_FILE.read_text("utf-8").strip()
        except OSError:
            return "unknown"

    @property
    def multiprocessors(self) -> int:
        return self._attribute("MULTIPROCESSOR_COUNT")

    @property
    def shared_bytes(self) -> int:
        """The most shared memory that a block may ask for."""
        return self._attribute("MAX_SHARED_MEMORY_PER_BLOCK_OPTIN")

    @property
    def cache_bytes(self) -> int:
        """Of the second-level cache."""
        return self._attribute("L2_CACHE_SIZE")

    @property
    def integrated(self) -> bool:
        """Does it share the processor's memory, as on Jetson?"""
        return bool(self._attribute("INTEGRATED"))

    @property
    def cooperative(self) -> bool:
        """Can it launch kernels whose blocks wait for each other? Raises GpuError without a driver
        that can be asked."""
        device, answer = ctypes.c_int(0), ctypes.c_int(0)
        try:
            cuda_driver.call("cuDeviceGet", ctypes.byref(device), self._ordinal)
            cuda_driver.call(
                "cuDeviceGetAttribute", ctypes.byref(answer), _COOPERATIVE_LAUNCH, device
            )
        except cuda_driver.CudaDriverError as error:
            raise GpuError(str(error)) from error
        return bool(answer.value)

    def _attribute(self, name: str) -> int:
        try:
            return self._device.get_attribute(getattr(self._driver.device_attribute, name))
        except self._driver.Error as error:
            raise GpuError(f"CUDA: {error}") from error

    def active(self) -> _Active | _Forked:
        """`with gpu.active():` the primary context is current in this thread; what was before is
        again afterwards. Where CUDA refuses a call inside, a GpuError leaves the block."""
        return self._active

    # The rest is to be called inside `active`.

    def stream(self) -> Any:
        return self._driver.Stream(_NON_BLOCKING)

    def event(self) -> Any:
        return self._driver.Event()

    def allocate(self, n_bytes: int) -> DeviceBuffer:
        """Device memory that holds anything: `clear` it in the stream that uses it."""
        return DeviceBuffer(self._driver, n_bytes)

    def page_locked(self, shape: Sequence[int], *, mapped: bool = False) -> np.ndarray:
        """float32 host memory that the GPU copies from and to by itself; `free_page_locked`.

        mapped: kernels may read and write it in its place, at its `device_pointer`.
        """
        flags = _MAPPED if mapped else 0
        return self._driver.pagelocked_empty(tuple(shape), np.dtype(np.float32), mem_flags=flags)

    def device_pointer(self, array: np.ndarray) -> int:
        """Where kernels find an array of mapped page-locked memory."""
        memory: Any = array.base
        return memory.get_device_pointer()

    def free_page_locked(self, array: np.ndarray) -> None:
        """The array must not be touched afterwards."""
        memory: Any = array.base
        memory.free()

    def upload(self, buffer: DeviceBuffer, array: np.ndarray, stream: Any) -> None:
        self._driver.memcpy_htod_async(buffer.pointer, array, stream)

    def send(self, buffer: DeviceBuffer, array: np.ndarray) -> None:
        """All of a large uint8 array, from anywhere in memory; it has arrived when this returns."""
        stage = self.page_locked([_STAGE_BYTES // 4])
        stream = self.stream()
        try:
            room = stage.view(np.uint8)
            for start in range(0, len(array), _STAGE_BYTES):
                piece = room[: len(array) - start]
                piece[...] = array[start : start + len(piece)]
                self._driver.memcpy_htod_async(buffer.pointer + start, piece, stream)
                stream.synchronize()
        finally:
            # Here, and not when some handler of an exception lets this frame go.
            del stream
            self.free_page_locked(stage)

    def copy(self, to: DeviceBuffer, source: DeviceBuffer, n_bytes: int, stream: Any) -> None:
        self._driver.memcpy_dtod_async(to.pointer, source.pointer, n_bytes, stream)

    def download(self, array: np.ndarray, buffer: DeviceBuffer, stream: Any) -> None:
        self._driver.memcpy_dtoh_async(array, buffer.pointer, stream)

    def clear(self, buffer: DeviceBuffer, start: int, n_bytes: int, stream: Any) -> None:
        """Zeros from byte `start` on."""
        self._driver.memset_d8_async(buffer.pointer + start, 0, n_bytes, stream)


class _Active:
    """Entered with every frame; knows nothing of who has entered it, and so serves all threads."""

    def __init__(self, driver: Any, context: Any) -> None:
        self._context, self._pop = context, driver.Context.pop
        self._refusals: tuple[type[Exception], ...] = (driver.Error, cuda_driver.CudaDriverError)

    def __enter__(self) -> None:
        try:
            self._context.push()
        except self._refusals as error:
            raise GpuError(f"CUDA: {error}") from error

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        try:
            self._pop()
        except self._refusals as other:
            error = error or other
        if isinstance(error, self._refusals):
            raise GpuError(f"CUDA: {error}") from error


class _Forked:
    """`_Active` in a process that was forked off, where CUDA answers nothing any more."""

    def __enter__(self) -> None:
        raise GpuError(
            "CUDA cannot be used in a process that was forked after it was first used; open "
            'engines in the process that uses them, or start that by "spawn"'
        )

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        pass


def _after_fork() -> None:
    global _LOCK
    _LOCK = threading.Lock()  # which some thread of the other process may have held
    for gpu in _OPEN.values():
        gpu._active = _Forked()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class DeviceBuffer:
    """Device memory at a fixed address: `pointer`."""

    def __init__(self, driver: Any, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._memory = driver.mem_alloc(n_bytes)
        self.pointer = int(self._memory)

    def free(self) -> None:
        self._memory.free()
