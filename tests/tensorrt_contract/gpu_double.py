"""A GPU made of host memory: pycuda's driver API, as strict as the real one.

Work put into a stream happens when the stream is synchronised, not before, so a forgotten
synchronisation shows, and so does memory that work still needs when it is freed. Copies take
page-locked memory alone, every call wants a current context, memory is freed once and at its own
address, and `leaks` tells what was never given back.
"""

from __future__ import annotations

import itertools
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from tensorrt_contract.guarded import GuardedModule, guarded_module, made
from tensorrt_contract.inventory import load

PYCUDA = "pycuda-2026.1.json"
_ALIGNMENT, _PAGE = 256, 4096
# CU_MEMHOSTALLOC_DEVICEMAP.
_DEVICEMAP = 2


class CudaFaultError(AssertionError):
    """Something that a real GPU answers with an error, a wrong result or a crash."""


class FakeGpu:
    """name, compute_capability, attributes: what the device says it is.

    capture_fails: no graphs here. driver_too_old: TensorRT's own objects cannot be made.
    cuda_version: the newest that the driver runs, as it says so.
    """

    def __init__(self, name: str = "Orin", compute_capability: tuple[int, int] = (8, 7)) -> None:
        self.name, self.compute_capability = name, compute_capability
        self.capture_fails = False
        self.driver_too_old = False
        self.cuda_version = 12060
        self.attributes = {
            "MULTIPROCESSOR_COUNT": 4,
            "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN": 99 << 10,
            "INTEGRATED": 0,
            "L2_CACHE_SIZE": 2 << 20,
            "COOPERATIVE_LAUNCH": 1,
        }
        self.memory: dict[int, np.ndarray] = {}
        self.memory_bytes = 1 << 40
        self.locked: dict[int, int] = {}
        self.mapped: set[int] = set()
        self.streams: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.graphs: dict[int, list[Callable[[], None]]] = {}
        self.modules: dict[int, bytes] = {}
        self.n_launches = 0
        self.faults: list[str] = []
        self.primary: Any = None
        self._handles = itertools.count(0x1000, 16)
        self._contexts = threading.local()
        self.module = self._pycuda()

    @property
    def leaks(self) -> dict[str, int]:
        """What is still held, by kind."""
        held = {
            "device": self.memory,
            "host": self.locked,
            "graphs": self.graphs,
            "modules": self.modules,
            "streams": dict(self.streams),
        }
        return {kind: len(things) for kind, things in held.items() if things}

    @property
    def stack(self) -> list[Any]:
        if not hasattr(self._contexts, "stack"):
            self._contexts.stack = []
        return self._contexts.stack

    def need_context(self, what: str) -> None:
        if not self.stack:
            raise CudaFaultError(f"{what} without a current context in this thread")

    def allocate(self, n_bytes: int) -> int:
        # As a real allocation, it holds whatever was there before.
        block = np.full(n_bytes + _ALIGNMENT, 0xFF, np.uint8)
        start = -block.ctypes.data % _ALIGNMENT
        held = block[start : start + n_bytes]
        self.memory[held.ctypes.data] = held
        return held.ctypes.data

    def view(self, address: int, n_bytes: int) -> np.ndarray:
        """The device's bytes from `address` on; a fault where they are not one allocation's."""
        for start, held in self.memory.items():
            if start <= address and address + n_bytes <= start + len(held):
                return held[address - start : address - start + n_bytes]
        raise CudaFaultError(f"an illegal memory access: {n_bytes} bytes at {address:#x}")

    @property
    def rooms(self) -> dict[int, int]:
        """What kernels may touch: bytes by address."""
        own = {start: len(held) for start, held in self.memory.items()}
        return own | {start: self.locked[start] for start in self.mapped}

    def stream(self, handle: int) -> Any:
        if handle not in self.streams:
            raise CudaFaultError(f"{handle:#x} is no stream")
        return self.streams[handle]

    def enqueue(self, stream: Any, work: Callable[[], None]) -> None:
        if stream is None:
            raise CudaFaultError("work in the default stream, which waits for everybody else's")
        stream.put(work)

    def new_handle(self) -> int:
        return next(self._handles)

    def _pycuda(self) -> GuardedModule:
        gpu = self

        class Context:
            def do_push(self) -> None:
                gpu.stack.append(self)

            @classmethod
            def do_pop(cls) -> None:
                gpu.need_context("Context.pop")
                gpu.stack.pop()

        class Device:
            def start(self, arg2: int | str) -> None:
                if arg2 != 0:
                    raise module.Error("cuDeviceGet failed: invalid device ordinal")

            def do_name(self) -> str:
                return gpu.name

            def do_compute_capability(self) -> tuple[int, int]:
                return gpu.compute_capability

            def do_get_attribute(self, arg2: Any) -> int:
                return gpu.attributes[arg2.name]

            def do_retain_primary_context(self) -> Any:
                if gpu.primary is None:
                    gpu.primary = made(module, "Context")
                return gpu.primary

        class Stream:
            def start(self, flags: int = 0) -> None:
                gpu.need_context("Stream()")
                object.__setattr__(self, "queue", [])
                object.__setattr__(self, "capturing", None)
                object.__setattr__(self, "number", gpu.new_handle())
                gpu.streams[self.number] = self

            def get_handle(self) -> int:
                return self.number

            def __del__(self) -> None:
                # pycuda cannot destroy a stream in a thread whose context is another.
                if not gpu.stack:
                    gpu.faults.append("a stream was let go without a current context")

            def put(self, work: Callable[[], None]) -> None:
                (self.queue if self.capturing is None else self.capturing).append(work)

            def do_synchronize(self) -> None:
                gpu.need_context("Stream.synchronize")
                if self.capturing is not None:
                    raise module.Error("cuStreamSynchronize failed: stream is capturing")
                self.advance(lambda: True)

            def advance(self, goes_on: Callable[[], bool]) -> None:
                while self.queue and goes_on():
                    self.queue.pop(0)()

        class Event:
            def start(self, flags: int = 0) -> None:
                gpu.need_context("Event()")
                object.__setattr__(self, "happened", None)
                object.__setattr__(self, "stream_number", None)

            def do_record(self, stream: Any = None) -> Any:
                object.__setattr__(self, "happened", None)
                gpu.enqueue(stream, self._happen)
                object.__setattr__(self, "stream_number", stream.number)
                return self

            def do_synchronize(self) -> Any:
                gpu.need_context("Event.synchronize")
                if self.stream_number is not None:
                    gpu.streams[self.stream_number].advance(lambda: self.happened is None)
                return self

            def _happen(self) -> None:
                object.__setattr__(self, "happened", next(gpu._handles))

            def do_time_till(self, arg2: Any) -> float:
                if self.happened is None or arg2.happened is None:
                    raise module.Error("cuEventElapsedTime failed: not ready")
                return (arg2.happened - self.happened) / 1000

        class DeviceAllocation:
            def start(self, address: int) -> None:
                object.__setattr__(self, "address", address)

            def do___int__(self) -> int:
                return self.address

            def do_free(self) -> None:
                gpu.need_context("DeviceAllocation.free")
                if gpu.memory.pop(self.address, None) is None:
                    raise module.Error("device_allocation::free failed: invalid resource handle")

        class Locked(np.ndarray):
            """An array over page-locked memory; its `base` frees it, as pycuda's does."""

            memory: Any = None

            def __array_finalize__(self, parent: Any) -> None:
                self.memory = getattr(parent, "memory", None)

            @property
            def base(self) -> Any:  # type: ignore[override]
                return self.memory

        class PagelockedHostAllocation:
            def start(self, address: int, n_bytes: int, is_mapped: bool) -> None:
                object.__setattr__(self, "address", address)
                gpu.locked[address] = n_bytes
                if is_mapped:
                    gpu.mapped.add(address)

            def do_get_device_pointer(self) -> int:
                if self.address not in gpu.mapped:
                    raise module.Error("cuMemHostGetDevicePointer failed: invalid argument")
                return self.address

            def do_free(self) -> None:
                gpu.need_context("PagelockedHostAllocation.free")
                gpu.mapped.discard(self.address)
                if gpu.locked.pop(self.address, None) is None:
                    raise module.Error("pagelocked_host_allocation::free failed")

        def mem_alloc(arg1: int) -> Any:
            gpu.need_context("mem_alloc")
            if arg1 <= 0:
                raise module.Error("cuMemAlloc failed: invalid argument")
            if sum(map(len, gpu.memory.values())) + arg1 > gpu.memory_bytes:
                raise module.Error("cuMemAlloc failed: out of memory")
            return made(module, "DeviceAllocation", address=gpu.allocate(arg1))

        def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> Any:
            gpu.need_context("pagelocked_empty")
            # As the driver's, it begins at a page, and more than alignment is nothing to rely on.
            n_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            block = np.full(n_bytes + _PAGE, 0xFF, np.uint8)
            start = -block.ctypes.data % _PAGE
            held = block[start : start + n_bytes].view(dtype).reshape(shape, order=order)
            array = held.view(Locked)
            array.memory = made(
                module,
                "PagelockedHostAllocation",
                address=held.ctypes.data,
                n_bytes=n_bytes,
                is_mapped=bool(mem_flags & _DEVICEMAP),
            )
            return array

        def host_bytes(array: np.ndarray) -> np.ndarray:
            at = array.__array_interface__["data"][0]
            for start, size in gpu.locked.items():
                if start <= at and at + array.nbytes <= start + size:
                    assert array.flags.c_contiguous
                    return np.asarray(array).view(np.ndarray).reshape(-1).view(np.uint8)
            raise CudaFaultError("an asynchronous copy of memory that is not page-locked")

        def memcpy_htod_async(dest: Any, src: np.ndarray, stream: Any = None) -> None:
            gpu.need_context("memcpy_htod_async")
            size, source = src.nbytes, host_bytes(src)
            gpu.view(int(dest), size)
            gpu.enqueue(stream, lambda: np.copyto(gpu.view(int(dest), size), source))

        def memcpy_dtoh_async(dest: np.ndarray, src: Any, stream: Any = None) -> None:
            gpu.need_context("memcpy_dtoh_async")
            target, size = host_bytes(dest), dest.nbytes
            gpu.view(int(src), size)
            gpu.enqueue(stream, lambda: np.copyto(target, gpu.view(int(src), size)))

        def memcpy_dtod_async(dest: Any, src: Any, size: int, stream: Any = None) -> None:
            gpu.need_context("memcpy_dtod_async")
            gpu.view(int(dest), size), gpu.view(int(src), size)
            gpu.enqueue(
                stream,
                lambda: np.copyto(gpu.view(int(dest), size), gpu.view(int(src), size)),
            )

        def memset_d8_async(dest: Any, data: int, size: int, stream: Any = None) -> None:
            gpu.need_context("memset_d8_async")
            gpu.view(int(dest), size)
            gpu.enqueue(stream, lambda: gpu.view(int(dest), size).fill(data))

        def init(flags: int = 0) -> None:
            pass

        def get_driver_version() -> int:
            return gpu.cuda_version

        behaviours = {
            name: thing for name, thing in locals().items() if name not in ("self", "gpu", "Locked")
        }
        module = guarded_module("pycuda.driver", load(PYCUDA), behaviours)
        module.Error = type("Error", (Exception,), {})
        return module
