"""Live streams on the GPU: their state stays there, and two copies of it take turns.

A stream engine advances a fixed number of rows in one run, so that all its shapes are known when
it is built. Streams sit in *groups* of that many: what a group's run writes as NAME_out is what
its next run reads as NAME_in, for which nothing is copied; the two buffers of each state tensor
change places. All zeros is the state of a stream that has seen nothing
(vp3d_export/graphs/stream.py), so a place is cleared when a stream takes it.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import Any

import numpy as np

from vp3d_deploy.bundle import Bundle, EngineEntry
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu
from vp3d_deploy.engines.repeated import Repeated, Stopwatch
from vp3d_deploy.engines.tensorrt_api import Execution, Plan, TensorRTError

_FLOAT_BYTES = 4


class TensorRTStream:
    """Streams at one lag; calls from several threads take turns."""

    def __init__(
        self,
        gpu: Gpu,
        plan: Plan,
        entry: EngineEntry,
        bundle: Bundle,
        *,
        graphs: bool,
        timings: bool,
    ) -> None:
        """To be called in the GPU's context."""
        assert entry.rows is not None
        self.closed = False
        self._gpu, self._graphs, self._rows_per_group = gpu, graphs, entry.rows
        self._plan = plan
        self._stream = gpu.stream()
        self._stopwatch = Stopwatch(gpu, self._stream, timings)
        self._shapes = {tensor.name: tensor.shape for tensor in plan.tensors}
        self._answers = tuple(bundle.networks)
        self._groups: list[_Group] = []
        # Where each stream sits: (group, place), in the order of the streams.
        self._seats: list[tuple[_Group, int]] = []
        self._lock = threading.Lock()
        self._arrange()

    @property
    def n_rows(self) -> int:
        return len(self._seats)

    @property
    def gpu_ms(self) -> float | None:
        """How long the GPU took for the last frame, copies included; None without timings."""
        return self._stopwatch.ms

    def add_rows(self, count: int) -> None:
        with self._lock, self._gpu.active():
            self._refuse_if_closed()
            before = list(self._groups), list(self._seats)
            try:
                for _ in range(count):
                    self._seats.append(self._free_seat())
            except BaseException:
                # Without room for all of them, everything stays as it was.
                self._stream.synchronize()
                for group in self._groups[len(before[0]) :]:
                    group.close()
                self._groups, self._seats = before
                raise
            self._arrange()

    def remove_rows(self, rows: list[int]) -> None:
        with self._lock, self._gpu.active():
            self._refuse_if_closed()
            gone = set(rows)
            self._seats = [seat for row, seat in enumerate(self._seats) if row not in gone]
            used = {id(group) for group, _ in self._seats}
            self._stream.synchronize()
            for group in self._groups:
                if id(group) not in used:
                    group.close()
            self._groups = [group for group in self._groups if id(group) in used]
            self._arrange()

    def step(self, keypoints: np.ndarray) -> Output:
        with self._lock, self._gpu.active():
            self._refuse_if_closed()
            wanted = (self.n_rows, *self._shapes["keypoints"][1:])
            if keypoints.shape != wanted:
                raise ValueError(
                    f"keypoints have shape {keypoints.shape}; {self.n_rows} open streams expect "
                    f"{wanted}"
                )
            self._stopwatch.start()
            for group in self._groups:
                group.take(keypoints)
                group.run()
            self._stopwatch.stop()
            self._stream.synchronize()
            self._stopwatch.read()
            for group in self._groups:
                group.give(self._arrays)
            return self._output

    def close(self) -> None:
        """Give all memory back; the streams are gone."""
        if self.closed:
            return
        self.remove_rows(list(range(self.n_rows)))
        with self._lock, self._gpu.active():
            self.closed = True
            self._stopwatch.close()
            del self._stream, self._plan

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise RuntimeError("these streams are closed; open new ones")

    def _free_seat(self) -> tuple[_Group, int]:
        taken = {(id(group), place) for group, place in self._seats}
        for group in self._groups:
            for place in range(self._rows_per_group):
                if (id(group), place) not in taken:
                    group.clear(place)
                    return group, place
        self._groups.append(_Group(self._gpu, self._stream, self._plan, self._shapes, self._graphs))
        return self._groups[-1], 0

    def _arrange(self) -> None:
        """Tell every group which streams it holds, and make room for as many answers."""
        for group in self._groups:
            own = [(row, place) for row, (g, place) in enumerate(self._seats) if g is group]
            group.rows = np.array([row for row, _ in own])
            group.places = np.array([place for _, place in own])
        self._arrays = {
            name: np.zeros((self.n_rows, *self._shapes[name][1:]), np.float32)
            for name in self._answers
        }
        self._output = Output(self._arrays["pose"], self._arrays.get("trajectory"))


class _Group:
    """As many streams as the engine advances at once, and their state on the device.

    rows: which of the streams sit here. places: where each of them sits.
    """

    rows: np.ndarray
    places: np.ndarray

    def __init__(
        self,
        gpu: Gpu,
        stream: Any,
        plan: Plan,
        shapes: dict[str, tuple[int, ...]],
        graphs: bool,
    ) -> None:
        self._gpu, self._stream = gpu, stream
        states = [name.removesuffix("_in") for name in shapes if name.endswith("_in")]
        edges = [name for name in shapes if not name.endswith(("_in", "_out"))]
        self._bytes = {name: _FLOAT_BYTES * int(np.prod(shapes[f"{name}_in"])) for name in states}
        self._n_places = shapes["keypoints"][0]
        # Of each state tensor two buffers: `_front` says which one the next run reads.
        self._state: dict[str, list[DeviceBuffer]] = {name: [] for name in states}
        self._device: dict[str, DeviceBuffer] = {}
        self._host: dict[str, np.ndarray] = {}
        # One for each front, whose addresses never change: a captured graph has a context to
        # itself, as TensorRT wants it.
        self._executions: list[Execution] = []
        self._runs: list[Repeated] = []
        self._front = 0
        try:
            for name, size in self._bytes.items():
                for _ in (0, 1):
                    self._state[name].append(gpu.allocate(size))
            for name in edges:
                self._device[name] = gpu.allocate(_FLOAT_BYTES * int(np.prod(shapes[name])))
                self._host[name] = gpu.page_locked(shapes[name])
            for front in (0, 1):
                self._executions.append(plan.execution())
                self._set_addresses(front)
                work = partial(self._enqueue, front)
                self._runs.append(Repeated(gpu, stream, work, graphs, (TensorRTError,)))
        except BaseException:
            self.close()
            raise
        self._host["keypoints"][...] = 0
        for place in range(self._n_places):
            self.clear(place)

    def clear(self, place: int) -> None:
        """What sits there next has seen nothing."""
        for name, buffers in self._state.items():
            size = self._bytes[name] // self._n_places
            self._gpu.clear(buffers[self._front], place * size, size, self._stream)

    def take(self, keypoints: np.ndarray) -> None:
        self._host["keypoints"][self.places] = keypoints[self.rows]

    def run(self) -> None:
        """Put one frame into the stream, and let the state's buffers change places."""
        self._runs[self._front].run()
        self._front = 1 - self._front

    def give(self, arrays: dict[str, np.ndarray]) -> None:
        for name, array in arrays.items():
            array[self.rows] = self._host[name][self.places]

    def close(self) -> None:
        """The stream must be idle."""
        for run in self._runs:
            run.close()
        buffers: list[DeviceBuffer] = [*self._device.values()]
        for pair in self._state.values():
            buffers += pair
        for buffer in buffers:
            buffer.free()
        for array in self._host.values():
            self._gpu.free_page_locked(array)
        self._host.clear()
        for execution in self._executions:
            execution.close()
        del self._stream

    def _set_addresses(self, front: int) -> None:
        execution = self._executions[front]
        for name, buffers in self._state.items():
            execution.set_address(f"{name}_in", buffers[front].pointer)
            execution.set_address(f"{name}_out", buffers[1 - front].pointer)
        for name, buffer in self._device.items():
            execution.set_address(name, buffer.pointer)

    def _enqueue(self, front: int) -> None:
        gpu, stream = self._gpu, self._stream
        gpu.upload(self._device["keypoints"], self._host["keypoints"], stream)
        self._executions[front].enqueue(stream.handle)
        for name, buffer in self._device.items():
            if name != "keypoints":
                gpu.download(self._host[name], buffer, stream)
