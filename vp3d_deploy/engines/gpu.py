"""One GPU through pycuda: context, memory, streams and events.

Everything happens in the device's *primary* context, the one that the CUDA runtime, PyTorch and
TensorRT itself use, so that an application which already has one is joined and not doubled. It is
retained once per process and device, and made current only inside `with gpu.active():`; pycuda
then gives memory and streams back in any thread, as long as one and the same Context object is
current there.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

# CU_STREAM_NON_BLOCKING of cuda.h: no waiting for what the application puts into stream 0.
_NON_BLOCKING = 1
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
                f"TensorRT engines run through pycuda, which does not load ({error}); "
                "pip install pycuda, with a CUDA toolkit at hand"
            ) from error
        self._driver: Any = driver
        try:
            driver.init(0)
            device = driver.Device(ordinal)
            self._context = device.retain_primary_context()
        except driver.Error as error:
            raise GpuError(f"CUDA has no device {ordinal}: {error}") from error
        self.name: str = device.name()
        self.compute_capability = ".".join(str(part) for part in device.compute_capability())

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

    @contextmanager
    def active(self) -> Iterator[None]:
        """The primary context is current in this thread; what was before is again afterwards."""
        try:
            self._context.push()
            try:
                yield
            finally:
                self._driver.Context.pop()
        except self._driver.Error as error:
            raise GpuError(f"CUDA: {error}") from error

    # The rest is to be called inside `active`.

    def stream(self) -> Any:
        return self._driver.Stream(_NON_BLOCKING)

    def event(self) -> Any:
        return self._driver.Event()

    def allocate(self, n_bytes: int) -> DeviceBuffer:
        """Device memory that holds anything: `clear` it in the stream that uses it."""
        return DeviceBuffer(self._driver, n_bytes)

    def page_locked(self, shape: Sequence[int]) -> np.ndarray:
        """float32 host memory that the GPU copies from and to by itself; `free_page_locked`."""
        return self._driver.pagelocked_empty(tuple(shape), np.dtype(np.float32))

    def free_page_locked(self, array: np.ndarray) -> None:
        """The array must not be touched afterwards."""
        memory: Any = array.base
        memory.free()

    def upload(self, buffer: DeviceBuffer, array: np.ndarray, stream: Any) -> None:
        self._driver.memcpy_htod_async(buffer.pointer, array, stream)

    def download(self, array: np.ndarray, buffer: DeviceBuffer, stream: Any) -> None:
        self._driver.memcpy_dtoh_async(array, buffer.pointer, stream)

    def clear(self, buffer: DeviceBuffer, start: int, n_bytes: int, stream: Any) -> None:
        """Zeros from byte `start` on."""
        self._driver.memset_d8_async(buffer.pointer + start, 0, n_bytes, stream)


class DeviceBuffer:
    """Device memory at a fixed address: `pointer`."""

    def __init__(self, driver: Any, n_bytes: int) -> None:
        self.n_bytes = n_bytes
        self._memory = driver.mem_alloc(n_bytes)
        self.pointer = int(self._memory)

    def free(self) -> None:
        self._memory.free()
