"""The CUDA driver on the GPU of gpu_double.py: graphs, modules, launches on the simulated grid."""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

from tensorrt_contract import simulated_kernels
from tensorrt_contract.gpu_double import CudaFaultError, FakeGpu
from vp3d_deploy.engines.cuda_driver import FUNCTIONS

_COOPERATIVE_LAUNCH, _SHARED_BYTES = 95, 8
_PROGRAMMATIC = 6
# Kernels that wait for what was launched before them by themselves (kernels/cuda/stream_wide.hpp).
_WAITS = re.compile(r"vp3d_stream_(tile|tall|wide|huge|group)_\w+")
_SHARED_BYTES_UNASKED = 48 << 10
# Of a multiprocessor; each block takes a little more shared memory than it asks for.
_THREADS, _RESERVED = 2048, 1 << 10


class Launched(NamedTuple):
    kernel: str
    blocks: int
    threads: int
    shared_bytes: int
    cooperative: bool
    overlaps: bool = False


class TypedDriver:
    """A driver whose functions refuse what ctypes would not hand on as the argument's type."""

    def __init__(self, driver: FakeCudaDriver) -> None:
        self._driver = driver

    def __getattr__(self, name: str) -> Callable[..., int]:
        function, types = getattr(self._driver, name), FUNCTIONS[name]

        def typed(*arguments: Any) -> int:
            for kind, argument in zip(types, arguments, strict=True):
                kind.from_param(argument)
            return function(*arguments)

        return typed


class FakeCudaDriver:
    """The functions of libcuda that vp3d_deploy/engines/cuda_driver.py names."""

    SUCCESS, INVALID, NO_BINARY, NOT_FOUND = 0, 1, 209, 500
    TOO_LARGE, NOT_SUPPORTED, UNSUPPORTED = 720, 801, 900
    NAMES: ClassVar = {
        1: b"CUDA_ERROR_INVALID_VALUE",
        209: b"CUDA_ERROR_NO_BINARY_FOR_GPU",
        500: b"CUDA_ERROR_NOT_FOUND",
        720: b"CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE",
        801: b"CUDA_ERROR_NOT_SUPPORTED",
        900: b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    }

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu
        self._functions: dict[int, str] = {}
        self._shared: dict[int, int] = {}
        # What was launched, in order; captured work counts when it is captured.
        self.launched: list[Launched] = []
        # The code of modules that this GPU cannot run.
        self.foreign: bytes | None = None
        # Kernels that the module lacks, by what their names hold.
        self.without: str | None = None
        # Modules hold PTX of plain 90 alone: kernels for warpgroups are there by name, and trap.
        self.plain_ptx = False
        self._seed = 0

    def cuStreamBeginCapture_v2(self, stream: int, mode: int) -> int:  # noqa: N802
        self._gpu.need_context("cuStreamBeginCapture")
        target = self._gpu.stream(stream)
        if mode not in (0, 1, 2) or target.capturing is not None or target.queue:
            return self.INVALID
        object.__setattr__(target, "capturing", [])
        return self.SUCCESS

    def cuStreamEndCapture(self, stream: int, graph: Any) -> int:  # noqa: N802
        target = self._gpu.stream(stream)
        captured = target.capturing
        object.__setattr__(target, "capturing", None)
        if captured is None or self._gpu.capture_fails:
            return self.UNSUPPORTED
        graph._obj.value = self._gpu.new_handle()
        self._gpu.graphs[graph._obj.value] = captured
        return self.SUCCESS

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: int) -> int:  # noqa: N802
        if graph.value not in self._gpu.graphs or flags:
            return self.INVALID
        executable._obj.value = self._gpu.new_handle()
        self._gpu.graphs[executable._obj.value] = self._gpu.graphs[graph.value]
        return self.SUCCESS

    def cuGraphLaunch(self, executable: Any, stream: int) -> int:  # noqa: N802
        self._gpu.need_context("cuGraphLaunch")
        if executable.value not in self._gpu.graphs:
            return self.INVALID
        self._gpu.n_launches += 1
        for work in self._gpu.graphs[executable.value]:
            self._gpu.stream(stream).put(work)
        return self.SUCCESS

    def cuGraphExecDestroy(self, executable: Any) -> int:  # noqa: N802
        return self._destroy(executable)

    def cuGraphDestroy(self, graph: Any) -> int:  # noqa: N802
        return self._destroy(graph)

    def cuGetErrorName(self, result: int, text: Any) -> int:  # noqa: N802
        text._obj.value = self.NAMES[result]
        return self.SUCCESS

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return self.SUCCESS

    def cuDeviceGetAttribute(self, answer: Any, attribute: int, device: Any) -> int:  # noqa: N802
        if attribute != _COOPERATIVE_LAUNCH or device.value != 0:
            return self.INVALID
        answer._obj.value = self._gpu.attributes["COOPERATIVE_LAUNCH"]
        return self.SUCCESS

    def cuModuleLoadData(self, module: Any, code: bytes) -> int:  # noqa: N802
        self._gpu.need_context("cuModuleLoadData")
        if code == self.foreign:
            return self.NO_BINARY
        module._obj.value = self._gpu.new_handle()
        self._gpu.modules[module._obj.value] = code
        return self.SUCCESS

    def cuModuleUnload(self, module: ctypes.c_void_p) -> int:  # noqa: N802
        self._gpu.need_context("cuModuleUnload")
        if self._gpu.modules.pop(module.value or 0, None) is None:
            return self.INVALID
        return self.SUCCESS

    def cuModuleGetFunction(  # noqa: N802
        self, function: Any, module: ctypes.c_void_p, name: bytes
    ) -> int:
        self._gpu.need_context("cuModuleGetFunction")
        if module.value not in self._gpu.modules:
            return self.INVALID
        lacks = self.without is not None and self.without in name.decode()
        if lacks or not self._is_there(name.decode()):
            return self.NOT_FOUND
        function._obj.value = self._gpu.new_handle()
        self._functions[function._obj.value] = name.decode()
        return self.SUCCESS

    def cuFuncSetAttribute(  # noqa: N802
        self, function: ctypes.c_void_p, attribute: int, value: int
    ) -> int:
        most = self._gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"]
        if attribute != _SHARED_BYTES or function.value not in self._functions or value > most:
            return self.INVALID
        self._shared[function.value] = value
        return self.SUCCESS

    def cuOccupancyMaxActiveBlocksPerMultiprocessor(  # noqa: N802
        self, answer: Any, function: ctypes.c_void_p, threads: int, shared_bytes: int
    ) -> int:
        if not self._may_have(function, shared_bytes):
            return self.INVALID
        answer._obj.value = self._at_once(threads, shared_bytes)
        return self.SUCCESS

    def cuLaunchKernel(self, *arguments: Any) -> int:  # noqa: N802
        assert arguments[-1] is None, "parameters come by their addresses"
        return self._launch(False, *arguments[:-1])

    def cuLaunchCooperativeKernel(self, *arguments: Any) -> int:  # noqa: N802
        return self._launch(True, *arguments)

    def cuLaunchKernelEx(  # noqa: N802
        self, config: Any, function: ctypes.c_void_p, addresses: Any, extra: Any
    ) -> int:
        assert extra is None, "parameters come by their addresses"
        config = config._obj
        given = [config.attributes[i] for i in range(config.n_attributes)]
        if [(attribute.id, attribute.value) for attribute in given] != [(_PROGRAMMATIC, 1)]:
            return self.INVALID
        if self._gpu.compute_capability < (9, 0):
            return self.NOT_SUPPORTED
        grid = (config.grid_x, config.grid_y, config.grid_z)
        block = (config.block_x, config.block_y, config.block_z)
        rest = (*grid, *block, config.shared_bytes, config.stream, addresses)
        return self._launch(False, function, *rest, overlaps=True)

    def _is_there(self, name: str) -> bool:
        if name == "vp3d_warpgroups":
            return self._has_warpgroups
        return simulated_kernels.parameter_sizes(name) is not None

    @property
    def _has_warpgroups(self) -> bool:
        return self._gpu.compute_capability == (9, 0) and not self.plain_ptx

    def _launch(
        self, cooperative: bool, function: ctypes.c_void_p, *rest: Any, overlaps: bool = False
    ) -> int:
        *shape, shared_bytes, stream, addresses = rest
        blocks, threads = shape[0], shape[3]
        self._gpu.need_context("a launch")
        if shape[1:3] != [1, 1] or shape[4:] != [1, 1] or not 1 <= threads <= 1024 or blocks < 1:
            return self.INVALID
        if not self._may_have(function, shared_bytes):
            return self.INVALID
        if cooperative:
            if not self._gpu.attributes["COOPERATIVE_LAUNCH"]:
                return self.NOT_SUPPORTED
            at_once = self._at_once(threads, shared_bytes)
            if blocks > at_once * self._gpu.attributes["MULTIPROCESSOR_COUNT"]:
                return self.TOO_LARGE
        kernel = self._functions[function.value or 0]
        launched = Launched(kernel, blocks, threads, shared_bytes, cooperative, overlaps)
        self.launched.append(launched)
        self._gpu.stream(stream).put(self._work(launched, addresses))
        return self.SUCCESS

    def _work(self, launched: Launched, addresses: Any) -> Callable[[], None]:
        """The driver copies parameters when it is called; the kernel runs later."""
        sizes = simulated_kernels.parameter_sizes(launched.kernel) or []
        copies = [ctypes.create_string_buffer(size) for size in sizes]
        for copy, address in zip(copies, addresses, strict=True):
            ctypes.memmove(copy, address, len(copy))
        kept = (ctypes.c_void_p * len(copies))(*map(ctypes.addressof, copies))

        def run() -> None:
            if launched.overlaps and not _WAITS.fullmatch(launched.kernel):
                raise CudaFaultError(f"{launched.kernel} does not wait for launches before it")
            if "_group_" in launched.kernel and not self._has_warpgroups:
                raise CudaFaultError(f"{launched.kernel}: a trap")
            assert len(copies) == len(kept)  # which keeps them
            self._seed += 1
            problem = simulated_kernels.launch(
                *launched[:4], kept, launched.cooperative, self._gpu.rooms, self._seed
            )
            if problem is not None:
                raise CudaFaultError(problem)

        return run

    def _may_have(self, function: ctypes.c_void_p, shared_bytes: int) -> bool:
        known = function.value in self._functions
        return known and shared_bytes <= self._shared.get(
            function.value or 0, _SHARED_BYTES_UNASKED
        )

    def _at_once(self, threads: int, shared_bytes: int) -> int:
        """Blocks of a multiprocessor."""
        room = self._gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] + _RESERVED
        return min(_THREADS // threads, room // (shared_bytes + _RESERVED))

    def _destroy(self, handle: ctypes.c_void_p) -> int:
        if handle.value not in self._gpu.graphs:
            return self.INVALID
        del self._gpu.graphs[handle.value]
        return self.SUCCESS
