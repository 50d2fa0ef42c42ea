"""What live streams at one lag run on the GPU: an image of weights and tables, and launches."""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from vp3d_deploy.engines.cuda_kernels import Kernels, Launch
from vp3d_deploy.engines.cuda_processing import Tables
from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu, GpuError
from vp3d_deploy.spec import ModelSpec

if TYPE_CHECKING:
    from vp3d_deploy._native import CudaDevice, CudaLaunch

STEP, PHASE = "vp3d_stream_step", "vp3d_stream_phase"
PREPARE, FINISH = "vp3d_stream_prepare", "vp3d_stream_finish"
# Blocks have as many warps as the kernels allow: of a small layer each has little enough to do.
_LANES = 32
# Tensor cores take weights and columns of half precision as they are; dot products first make
# float32 of each, which takes more instructions than all else, even for one column. Computed, not
# yet measured.
_TENSOR_COLUMNS = 1
# Asynchronous copies to shared memory, which staging weights there takes, came with this one.
_STAGES_FROM = (8, 0)


class StreamProgram:
    """image: what kernels/python tells of it. weights: the image on the device. overlap: kernels of
    "wide" frames may begin while the ones before them end.

    To be made and closed in the GPU's context. Raises the native module's WeightsError.
    """

    def __init__(
        self,
        gpu: Gpu,
        weights: Path,
        networks: Mapping[str, ModelSpec],
        precision: str,
        lag: int,
        warpgroups: bool = False,
        processing: Tables | None = None,
        overlap: bool = False,
    ) -> None:
        from vp3d_deploy._native import CudaImage

        stages = tuple(int(part) for part in gpu.compute_capability.split(".")) >= _STAGES_FROM
        self.lag, self.networks = lag, dict(networks)
        self.image = CudaImage(
            weights,
            self.networks,
            precision,
            lag,
            blocks=gpu.multiprocessors,
            shared_bytes=gpu.shared_bytes - CudaImage.FIXED_BYTES if stages else 0,
            tensor_columns=_TENSOR_COLUMNS,
            cache_bytes=gpu.cache_bytes,
            processing=processing,
        )
        sees = processing is not None and processing.joints_seen > 0
        self.needs_views = sees or (processing is not None and processing.to_world)
        self._surrounds = sees or (processing is not None and processing.add_trajectory)
        self._planned_for = planned_for(gpu, warpgroups)
        self._planned_whole = planned_for(gpu, warpgroups, splits=1)
        self._overlap = overlap
        self._gpu, self.threads = gpu, CudaImage.MOST_WARPS * _LANES
        packed = self.image.take_bytes()
        self.weights = gpu.allocate(len(packed))
        try:
            gpu.send(self.weights, packed)
        except BaseException:
            self.weights.free()
            raise

    @property
    def step_bytes(self) -> int:
        """Shared memory of a block of the cooperative kernel."""
        return self.image.FIXED_BYTES + self.image.staged_bytes

    def fits_at_once(self, kernels: Kernels) -> bool:
        """Are all blocks of a step on the device at the same time? They wait for each other."""
        at_once = kernels.blocks_at_once(STEP, self.threads, self.step_bytes)
        return at_once * self._gpu.multiprocessors >= self.image.blocks

    def close(self) -> None:
        self.weights.free()

    def launches(self, kernels: Kernels, kind: str, n_rows: int, memory: Memory) -> list[Launch]:
        """One frame of `n_rows` streams, in the order of the stream that they are put into."""
        if kind == "step":
            return [self._step(kernels, memory)]
        if kind == "wide":
            return self._wide(kernels, n_rows, memory)
        phases = [self._phase(kernels, memory, phase) for phase in range(self.image.phases)]
        if not self._surrounds:
            return phases
        # What surrounds the network is the same for both.
        wide = self._wide(kernels, n_rows, memory)
        first = [launch for launch in wide if launch.name == PREPARE]
        last = [launch for launch in wide if launch.name == FINISH]
        return [*first, *phases, *last]

    def workspace_bytes(self, kind: str, n_rows: int) -> int:
        """What blocks of such a frame would leave for each other; without it they do not."""
        if kind != "wide" or not n_rows:
            return 0
        return _most_bytes(self.image.wide_launches(n_rows, self._planned_for))

    def _wide(self, kernels: Kernels, n_rows: int, memory: Memory) -> list[Launch]:
        plan = self.image.wide_launches(n_rows, self._planned_for)
        room = 0 if memory.workspace is None else memory.workspace.n_bytes
        if _most_bytes(plan) > room:
            plan = self.image.wide_launches(n_rows, self._planned_whole)
        return [
            Launch(
                kernels,
                wide.kernel,
                blocks=wide.blocks,
                threads=wide.threads,
                shared_bytes=wide.shared_bytes,
                parameters=[self._addresses(memory, wide.arguments)],
                overlaps=self._overlap and _waits(before) and _waits(wide),
            )
            for before, wide in zip([None, *plan], plan, strict=False)
        ]

    def _step(self, kernels: Kernels, memory: Memory) -> Launch:
        # The cooperative launch, which pycuda lacks (cuda_driver.py), is what makes the driver
        # refuse a grid that is not on the device at once. Without it the barrier would hang there.
        return Launch(
            kernels,
            STEP,
            blocks=self.image.blocks,
            threads=self.threads,
            shared_bytes=self.step_bytes,
            parameters=[
                self._addresses(memory),
                ctypes.c_uint64(memory.arrivals.pointer),
            ],
            cooperative=True,
        )

    def _phase(self, kernels: Kernels, memory: Memory, phase: int) -> Launch:
        return Launch(
            kernels,
            PHASE,
            blocks=self.image.blocks,
            threads=self.threads,
            shared_bytes=self.image.FIXED_BYTES,
            parameters=[self._addresses(memory), ctypes.c_int32(phase)],
        )

    def _addresses(self, memory: Memory, arguments: bytes = b"") -> ctypes.Array[ctypes.c_char]:
        whole = arguments or bytes(self.image.ARGUMENT_BYTES)
        return addressed(whole, *memory.addresses(self))


class Memory:
    """The addresses that a frame's kernels are given, beside the image's. workspace: begins with
    SPLIT_COUNT_BYTES zeros; None where no kernel has use for one, or there is no room."""

    def __init__(
        self,
        places: DeviceBuffer,
        arrivals: DeviceBuffer,
        frame: int,
        answers: int,
        workspace: DeviceBuffer | None,
    ) -> None:
        self.places, self.arrivals = places, arrivals
        self.frame, self.answers = frame, answers
        self.workspace = workspace

    def addresses(self, program: StreamProgram) -> tuple[int, ...]:
        workspace = 0 if self.workspace is None else self.workspace.pointer
        return program.weights.pointer, self.places.pointer, self.frame, self.answers, workspace


def _waits(launch: CudaLaunch | None) -> bool:
    """Whether it waits by itself for the launch before, and lets the next begin."""
    return launch is not None and launch.kernel not in (PREPARE, FINISH)


def _most_bytes(launches: Sequence[CudaLaunch]) -> int:
    return max(launch.workspace_bytes for launch in launches)


def addressed(arguments: bytes, *addresses: int) -> ctypes.Array[ctypes.c_char]:
    """A kernel's arguments with their first words, these addresses, filled in."""
    buffer = ctypes.create_string_buffer(arguments, len(arguments))
    struct.pack_into(f"={len(addresses)}Q", buffer, 0, *addresses)
    return buffer


def planned_for(gpu: Gpu, warpgroups: bool, shape: str = "", splits: int = 0) -> CudaDevice:
    """What launches of many columns are planned for; see `CudaDevice`."""
    from vp3d_deploy._native import CudaDevice

    return CudaDevice(
        gpu.multiprocessors, gpu.shared_bytes, warpgroups=warpgroups, shape=shape, splits=splits
    )


def check_launch(program: StreamProgram, kernels: Kernels, kind: str) -> None:
    """Raises GpuError where this device cannot run `kind`."""
    if kind == "step" and not program.fits_at_once(kernels):
        raise GpuError(
            f"the cooperative kernel's {program.image.blocks} blocks are not on this device at "
            'once; take launch="phases"'
        )
