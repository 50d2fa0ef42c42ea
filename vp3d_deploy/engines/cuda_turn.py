"""One frame of live streams under way: memory on both sides, and the work that fills it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_kernels import Launch
from vp3d_deploy.engines.cuda_program import StreamProgram
from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu
from vp3d_deploy.engines.repeated import Repeated, Stopwatch

_FLOAT_BYTES = 4


class Turn:
    """To be used in the GPU's context, by one thread at a time.

    frame: where the next frame is to be written, uint8 in page-locked memory.
    """

    def __init__(self, gpu: Gpu, program: StreamProgram, stream: Any, timings: bool) -> None:
        self._gpu, self._program = gpu, program
        self._stream: Any = stream
        self.stopwatch = Stopwatch(gpu, stream, timings)
        self._done: Any = gpu.event()
        self._alone = True
        self._room = -1
        self._host: list[np.ndarray] = []
        self._device: list[DeviceBuffer] = []
        self._repeated: Repeated | None = None

    def make_room(self, n_rows: int) -> None:
        """For so many streams; no frame may be under way."""
        image = self._program.image
        if n_rows > self._room:
            room = max(1, n_rows, 2 * self._room)
            before = self._host, self._device
            self._allocate(image.frame_bytes(room) // _FLOAT_BYTES, room * image.answer_floats)
            self._drop_work()
            self._free(*before)
            self._room = room
        self.frame = self._host[0].view(np.uint8)
        self._frame = self.frame[: image.frame_bytes(n_rows)]
        self._answers = self._host[1][: n_rows * image.answer_floats]
        self._arrays = [
            np.zeros((n_rows, spec.joints_out, 3), np.float32)
            for spec in self._program.networks.values()
        ]
        each = self._answers.reshape(-1, image.answer_floats // 3, 3)
        ends = np.cumsum([0, *(array.shape[1] for array in self._arrays)])
        # Where each network's answers are to be copied from.
        self._found = [each[:, start:end] for start, end in pairwise(ends)]
        self._output = Output(self._arrays[0], self._arrays[1] if self._arrays[1:] else None)

    def pointers(self, frame_is_mapped: bool, answers_are_mapped: bool) -> tuple[int, int]:
        """Where kernels are to find the frame and put the answers; what is not mapped is copied."""
        self._mapped = (frame_is_mapped, answers_are_mapped)
        frame, answers = (
            self._gpu.device_pointer(host) if mapped else device.pointer
            for host, device, mapped in zip(self._host, self._device, self._mapped, strict=True)
        )
        return frame, answers

    def repeat(self, launches: Sequence[Launch], graphs: bool) -> None:
        """What runs put into the stream from now on, between the copies."""
        self._drop_work()
        # Without a reference to this turn, which would keep it and its memory until some collection
        # of garbage.
        gpu, stream, handle = self._gpu, self._stream, self._stream.handle
        frame = None if self._mapped[0] else (self._device[0], self._frame)
        answers = None if self._mapped[1] else (self._answers, self._device[1])

        def work() -> None:
            if frame is not None:
                gpu.upload(*frame, stream)
            for launch in launches:
                launch.put(handle)
            if answers is not None:
                gpu.download(*answers, stream)

        self._repeated = Repeated(self._gpu, self._stream, work, graphs)

    def run(self, alone: bool) -> None:
        """Put the frame's work into the stream. alone: no other is put there before `wait`."""
        assert self._repeated is not None
        self.stopwatch.start()
        self._repeated.run()
        self.stopwatch.stop()
        self._alone = alone
        if not alone:
            self._done.record(self._stream)

    def wait(self) -> None:
        if self._alone:
            self._stream.synchronize()
        else:
            self._done.synchronize()
        self.stopwatch.read()

    def answer(self) -> Output:
        """Valid until the turn comes again."""
        for array, found in zip(self._arrays, self._found, strict=True):
            np.copyto(array, found)
        return self._output

    def close(self) -> None:
        """The stream must be idle."""
        self._drop_work()
        self.frame = self._frame = self._answers = np.zeros(0, np.float32)
        self._found.clear()
        self._free(self._host, self._device)
        self._host, self._device = [], []
        self.stopwatch.close()
        self._done = self._stream = None

    def _drop_work(self) -> None:
        if self._repeated is not None:
            self._repeated.close()
            self._repeated = None

    def _allocate(self, *floats: int) -> None:
        """For frame and answers, on both sides; all of it, or what there was before stays."""
        host: list[np.ndarray] = []
        device: list[DeviceBuffer] = []
        try:
            for count in floats:
                host.append(self._gpu.page_locked([count], mapped=True))
                device.append(self._gpu.allocate(count * _FLOAT_BYTES))
        except BaseException:
            self._free(host, device)
            raise
        self._host, self._device = host, device

    def _free(self, host: list[np.ndarray], device: list[DeviceBuffer]) -> None:
        for buffer in device:
            buffer.free()
        for array in host:
            self._gpu.free_page_locked(array)
