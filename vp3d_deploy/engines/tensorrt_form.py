"""One form of a network on the GPU: its buffers, its execution context, and runs of any size."""

from __future__ import annotations

import threading

import numpy as np

from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu
from vp3d_deploy.engines.repeated import Repeated, Stopwatch
from vp3d_deploy.engines.tensorrt_api import Plan, TensorRTError

_FLOAT_BYTES = 4


class FormRunner:
    """Windows or sequences, for one thread at a time: hold `lock`, and the GPU's context.

    Buffers are as large as the engine's profile allows, and longer input goes through in pieces.
    """

    def __init__(self, gpu: Gpu, plan: Plan, what: str, *, graphs: bool, timings: bool) -> None:
        self.lock = threading.Lock()
        # How long the GPU took for the last input, all pieces together; None unless timed.
        self.gpu_ms: float | None = None
        self._closed = False
        self._gpu, self._what, self._use_graphs = gpu, what, graphs
        self._device: dict[str, DeviceBuffer] = {}
        self._host: dict[str, np.ndarray] = {}
        self._execution = plan.execution()
        self._stream = gpu.stream()
        self._stopwatch = Stopwatch(gpu, self._stream, timings)
        self._smallest, _, self._largest = plan.profile("keypoints")
        self._execution.take_profile(self._stream)
        self._execution.set_shape("keypoints", self._largest)
        names = [tensor.name for tensor in plan.tensors if not tensor.is_input]
        shapes = {"keypoints": self._largest, **{n: self._execution.shape(n) for n in names}}
        try:
            for name, shape in shapes.items():
                self._device[name] = gpu.allocate(_FLOAT_BYTES * _size(shape))
                self._host[name] = gpu.page_locked([_size(shape)])
                self._execution.set_address(name, self._device[name].pointer)
        except BaseException:
            self._stopwatch.close()
            self._execution.close()
            self._free()
            raise
        self._views: dict[str, np.ndarray] = {}
        self._begin(self._largest)

    def run_batches(self, keypoints: np.ndarray) -> dict[str, np.ndarray]:
        """(B, ...) of any B -> outputs by name, (B, ...)."""
        self._check(keypoints)
        self.gpu_ms = None
        return self._run_pieces(keypoints)

    def run_clips(self, keypoints: np.ndarray, receptive_field: int) -> dict[str, np.ndarray]:
        """(B, T+R-1, J, F) of any B and T -> outputs by name, (B, T, J_out, 3)."""
        self._check(keypoints)
        self.gpu_ms = None
        overlap = receptive_field - 1
        answers = keypoints.shape[1] - overlap
        if answers < 1:
            raise ValueError(
                f"keypoints of shape {keypoints.shape}: a network of {receptive_field} frames "
                f"needs as many"
            )
        if not len(keypoints):
            ends = {name: view.shape[2:] for name, view in self._views.items()}
            del ends["keypoints"]
            return {name: np.zeros((0, answers, *end), np.float32) for name, end in ends.items()}
        together = self._largest[1] - overlap
        starts = range(0, answers, together)
        pieces = [keypoints[:, start : start + together + overlap] for start in starts]
        return _joined([self._run_pieces(piece) for piece in pieces], 1)

    def close(self) -> None:
        """Give everything back; the runner is of no use afterwards."""
        self._closed = True
        self._stream.synchronize()
        self._repeated.close()
        self._stopwatch.close()
        self._execution.close()
        self._views.clear()
        self._free()
        del self._stream

    def _free(self) -> None:
        for array in self._host.values():
            self._gpu.free_page_locked(array)
        for buffer in self._device.values():
            buffer.free()
        self._host.clear()
        self._device.clear()

    def _check(self, keypoints: np.ndarray) -> None:
        if self._closed:
            raise RuntimeError("this engine is closed; open its bundle again")
        fixed = slice(2, None) if self._smallest[1] != self._largest[1] else slice(1, None)
        fits = keypoints.ndim == len(self._largest)
        if not fits or keypoints.shape[fixed] != self._largest[fixed]:
            raise ValueError(
                f"keypoints have shape {keypoints.shape}; {self._what} takes up to {self._largest}"
            )

    def _run_pieces(self, keypoints: np.ndarray) -> dict[str, np.ndarray]:
        together = self._largest[0]
        starts = range(0, max(1, len(keypoints)), together)
        return _joined([self._run(keypoints[start : start + together]) for start in starts], 0)

    def _run(self, keypoints: np.ndarray) -> dict[str, np.ndarray]:
        """At most the largest shape; what is smaller than the smallest is filled up."""
        if not len(keypoints):
            shapes = {name: view.shape[1:] for name, view in self._views.items()}
            return {n: np.zeros((0, *s), np.float32) for n, s in shapes.items() if n != "keypoints"}
        filled = tuple(max(pair) for pair in zip(keypoints.shape, self._smallest, strict=True))
        if filled != self._shape:
            self._take_shape(filled)
        into = self._views["keypoints"]
        if filled != keypoints.shape:
            into[...] = 0
        into[tuple(slice(0, n) for n in keypoints.shape)] = keypoints
        self._stopwatch.start()
        self._repeated.run()
        self._stopwatch.stop()
        self._stream.synchronize()
        self._stopwatch.read()
        if self._stopwatch.ms is not None:
            self.gpu_ms = (self.gpu_ms or 0.0) + self._stopwatch.ms
        missing = filled[1] - keypoints.shape[1] if len(filled) > 1 else 0
        return {
            name: _kept(view, len(keypoints), missing)
            for name, view in self._views.items()
            if name != "keypoints"
        }

    def _take_shape(self, shape: tuple[int, ...]) -> None:
        """A captured graph is good for the shape that it was captured with alone."""
        self._repeated.close()
        self._execution.set_shape("keypoints", shape)
        self._begin(shape)

    def _begin(self, shape: tuple[int, ...]) -> None:
        """Views of the buffers, and the work, for the shape that the execution has."""
        self._repeated = Repeated(
            self._gpu, self._stream, self._enqueue, self._use_graphs, (TensorRTError,)
        )
        self._shape = shape
        for name, flat in self._host.items():
            own = self._execution.shape(name)
            self._views[name] = flat[: _size(own)].reshape(own)

    def _enqueue(self) -> None:
        gpu, stream = self._gpu, self._stream
        gpu.upload(self._device["keypoints"], self._views["keypoints"], stream)
        self._execution.enqueue(stream.handle)
        for name, view in self._views.items():
            if name != "keypoints":
                gpu.download(view, self._device[name], stream)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))


def _kept(view: np.ndarray, count: int, missing: int) -> np.ndarray:
    """A copy, since the next run writes into the view, without what only filled the shape up."""
    kept = view[:count]
    return np.array(kept[:, : view.shape[1] - missing] if missing else kept)


def _joined(pieces: list[dict[str, np.ndarray]], axis: int) -> dict[str, np.ndarray]:
    if len(pieces) == 1:
        return pieces[0]
    return {name: np.concatenate([piece[name] for piece in pieces], axis) for name in pieces[0]}
