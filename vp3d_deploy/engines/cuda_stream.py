"""Live streams on the GPU: their state stays there, and a frame of all of them is one launch.

A stream's state is a *place*, one piece of a buffer that grows by doubling; a row knows its place
and how many frames it has seen, which is what the kernels are told of it with every frame. Two
*turns* hold what a frame under way needs, so that the next can be pushed meanwhile.
"""

from __future__ import annotations

import threading
from functools import cache

import numpy as np

from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_kernels import Kernels
from vp3d_deploy.engines.cuda_processing import VIEW_FLOATS, View
from vp3d_deploy.engines.cuda_program import Memory, StreamProgram, check_launch
from vp3d_deploy.engines.cuda_turn import Turn
from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu

# Frames that may be under way at the same time.
TURNS = 2


class CudaStream:
    """Streams at one lag; calls from several threads take turns.

        stream.push_async(keypoints)   # returns at once
        ...                            # whatever there is to do meanwhile
        output = stream.result()       # waits

    `step` is both in one. Arrays that are returned are valid until the next ones are.
    """

    def __init__(
        self,
        gpu: Gpu,
        kernels: Kernels,
        program: StreamProgram,
        *,
        launch: str,
        zero_copy: bool | None,
        graphs: bool,
        timings: bool,
    ) -> None:
        """To be called in the GPU's context."""
        self.closed = False
        self._gpu, self._kernels, self._program = gpu, kernels, program
        self._asked, self._zero_copy, self._graphs = launch, zero_copy, graphs
        self._few = self._launch_of_few()
        self._stream = gpu.stream()
        self._arrivals = gpu.allocate(8)
        # Blocks count their arrivals at barriers from zero, and never again from zero.
        gpu.clear(self._arrivals, 0, 8, self._stream)
        self._places: DeviceBuffer | None = None
        self._workspace: DeviceBuffer | None = None
        self._n_places = 0
        self._free: list[int] = []
        # What the kernels are told of each row: frames it has seen, and its place.
        self._rows = np.zeros((0, 2), np.uint32)
        self._views = np.zeros((0, VIEW_FLOATS), np.float32)
        self._turns = [Turn(gpu, program, self._stream, timings) for _ in range(TURNS)]
        self._next = 0
        self._under_way: list[Turn] = []
        self._ms: float | None = None
        self._lock = threading.Lock()
        # Taken before the other one: results come one after the other.
        self._results = threading.Lock()
        try:
            self._arrange()
        except BaseException:
            self._let_go()
            raise

    @property
    def n_rows(self) -> int:
        return len(self._rows)

    @property
    def lag(self) -> int:
        return self._program.lag

    @property
    def launch(self) -> str:
        """How frames of so many streams run: "step", "phases" or "wide"."""
        if self._asked != "auto":
            return self._asked
        wide = self._program.image.columns(self.n_rows) >= self._program.image.WIDE_COLUMNS
        return "wide" if wide else self._few

    @property
    def bytes_per_row(self) -> int:
        """What one row keeps on the device between frames."""
        return self._program.image.place_bytes

    @property
    def gpu_ms(self) -> float | None:
        """How long the GPU took for the last frame that was waited for, copies included; None
        without timings."""
        return self._ms

    def add_rows(self, count: int, view: View | None = None) -> None:
        """view: of all of them, for streams with processing that takes views, and for no others."""
        if count < 0:
            raise ValueError(f"{count} streams cannot be added")
        if (view is not None) != self._program.needs_views:
            raise ValueError(
                "these streams need to know each person's view"
                if view is None
                else "these streams have no processing that takes views"
            )
        views = np.zeros((count, VIEW_FLOATS), np.float32)
        if view is not None:
            views[...] = view.numbers()
        with self._lock, self._gpu.active():
            self._be_idle("rows are added")
            self._make_places(self.n_rows + count)
            before, size = (self._rows, self._views), self.bytes_per_row
            taken = [self._free.pop() for _ in range(count)]
            for place in taken:
                assert self._places is not None
                self._gpu.clear(self._places, place * size, size, self._stream)
            new = np.array([(0, place) for place in taken], np.uint32).reshape(-1, 2)
            self._rows = np.concatenate([self._rows, new])
            self._views = np.concatenate([self._views, views])
            try:
                self._arrange()
            except BaseException:
                self._rows, self._views = before
                self._free += taken
                self._arrange()
                raise

    def remove_rows(self, rows: list[int]) -> None:
        with self._lock, self._gpu.active():
            self._be_idle("rows are removed")
            self._refuse_other_rows(rows)
            gone = sorted(set(rows))
            self._free += self._rows[gone, 1].tolist()
            self._rows = np.delete(self._rows, gone, axis=0)
            self._views = np.delete(self._views, gone, axis=0)
            self._arrange()

    def set_view(self, row: int, view: View) -> None:
        """Where this row's person is seen from the next frame on, for a camera that moves."""
        self.set_views([row], view)

    def set_views(self, rows: list[int], view: View) -> None:
        """The same of several."""
        with self._lock:
            self._refuse_if_closed()
            self._refuse_other_rows(rows)
            if not self._program.needs_views:
                raise ValueError("these streams have no processing that takes views")
            self._views[rows] = view.numbers()

    def step(self, keypoints: np.ndarray) -> Output:
        with self._lock, self._gpu.active():
            self._be_idle("another is stepped")
            self._next = 0  # always the same turn, which is captured sooner
            self._begin(keypoints, alone=True)
            return self._end()

    def push_async(self, keypoints: np.ndarray) -> None:
        """Put one frame of every stream under way, as `step` takes it, and return at once.

        keypoints may be written to again at once. Raises RuntimeError where two frames are under
        way: take the result of the first.
        """
        with self._lock, self._gpu.active():
            self._refuse_if_closed()
            if len(self._under_way) == TURNS:
                raise RuntimeError(f"{TURNS} frames are under way; take a result first")
            self._begin(keypoints, alone=False)

    def result(self) -> Output:
        """The answers to the oldest frame that was pushed; waits for them, and meanwhile another
        thread may push the next."""
        with self._results, self._gpu.active():
            with self._lock:
                self._refuse_if_closed()
                if not self._under_way:
                    raise RuntimeError("no frame is under way; push one first")
                oldest = self._under_way[0]
            # Who closes waits for this one, and rows stay while a frame is under way.
            if self.n_rows:
                oldest.wait()
            with self._lock:
                return self._end(waited=True)

    def close(self) -> None:
        """Give all memory back; the streams are gone, and frames under way with them."""
        with self._results, self._lock:
            if self.closed:
                return
            self.closed = True
            with self._gpu.active():
                self._let_go()
            self._rows = self._rows[:0]

    def _let_go(self) -> None:
        self._stream.synchronize()
        self._under_way.clear()
        for turn in self._turns:
            turn.close()
        self._arrivals.free()
        for buffer in (self._places, self._workspace):
            if buffer is not None:
                buffer.free()
        del self._stream

    def _launch_of_few(self) -> str:
        if self._asked != "auto":
            check_launch(self._program, self._kernels, self._asked)
            return self._asked
        fits = self._gpu.cooperative and self._program.fits_at_once(self._kernels)
        return "step" if fits else "phases"

    def _begin(self, keypoints: np.ndarray, alone: bool) -> None:
        """Put a frame into the stream; if it is alone there, the stream itself is waited for."""
        turn = self._turns[self._next]
        image = self._program.image
        image.write_frame(turn.frame, self._rows, keypoints, self._views)
        if self.n_rows:
            turn.run(alone)
        # Not before: a frame that was refused has not been seen.
        image.advance(self._rows)
        self._next = (self._next + 1) % TURNS
        self._under_way.append(turn)

    def _end(self, waited: bool = False) -> Output:
        turn = self._under_way.pop(0)
        if self.n_rows:
            if not waited:
                turn.wait()
            self._ms = turn.stopwatch.ms
        return turn.answer()

    def _be_idle(self, what: str) -> None:
        self._refuse_if_closed()
        if self._under_way:
            raise RuntimeError(f"frames are under way; take their results before {what}")

    def _refuse_other_rows(self, rows: list[int]) -> None:
        wrong = [row for row in rows if not 0 <= row < self.n_rows]
        if wrong:
            raise ValueError(f"row {wrong[0]} is not one of the {self.n_rows} open streams")

    def _refuse_if_closed(self) -> None:
        if self.closed:
            raise RuntimeError("these streams are closed; open new ones")

    def _make_places(self, count: int) -> None:
        """Room for so many streams. What is there stays as it is, also where there is no room."""
        if count <= self._n_places:
            return
        wanted = max(count, 2 * self._n_places)
        size = self.bytes_per_row
        try:
            larger = self._gpu.allocate(wanted * size)
        except self._gpu.refusal:
            wanted = count
            larger = self._gpu.allocate(wanted * size)
        if self._places is not None:
            self._gpu.copy(larger, self._places, self._n_places * size, self._stream)
            self._stream.synchronize()
            self._places.free()
        self._free += range(wanted - 1, self._n_places - 1, -1)
        self._places, self._n_places = larger, wanted

    def _make_workspace(self, n_bytes: int) -> None:
        """Frames under way use it one after the other; each leaves its counts at zero. Where there
        is no room, launches do without."""
        if n_bytes <= (0 if self._workspace is None else self._workspace.n_bytes):
            return
        try:
            larger = self._gpu.allocate(n_bytes)
        except self._gpu.refusal:
            return
        self._gpu.clear(larger, 0, self._program.image.SPLIT_COUNT_BYTES, self._stream)
        if self._workspace is not None:
            self._stream.synchronize()
            self._workspace.free()
        self._workspace = larger

    def _arrange(self) -> None:
        """Make the turns fit the rows there are."""
        kind = self.launch
        self._make_workspace(self._program.workspace_bytes(kind, self.n_rows))
        image = self._program.image
        # Blocks copy a small frame to their shared memory and read it there again and again; what
        # is larger they would read again and again in the host's memory. Reading so little through
        # the bus should take less time than two copies do, which has not been measured yet.
        near = kind == "step" and image.frame_bytes(self.n_rows) <= image.NEAR_FRAME_BYTES
        mapped = (self._gpu.integrated or near) if self._zero_copy is None else self._zero_copy
        for turn in self._turns:
            turn.make_room(self.n_rows)
            if self._places is None or not self.n_rows:
                continue
            frame, answers = turn.pointers(mapped and near, mapped)
            memory = Memory(self._places, self._arrivals, frame, answers, self._workspace)
            launches = self._program.launches(self._kernels, kind, self.n_rows, memory)
            turn.repeat(launches, self._graphs)


class CudaPixelStream(CudaStream):
    """A `PixelStream` (pixels.py): each row's view is its image, or none."""

    def add_rows(self, count: int, view: View | None = None) -> None:
        super().add_rows(count, view or _view(None))

    def set_image_size(self, rows: list[int], image_size: tuple[float, float] | None) -> None:
        self.set_views(rows, _view(image_size))


@cache
def _view(image_size: tuple[float, float] | None) -> View:
    return View(image_size)
