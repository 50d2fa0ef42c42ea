"""Windows and sequences on the GPU: one image of weights, and for each shape a plan of launches.

kernels/cuda/clip_plan.hpp says what a plan is. Long clips and large batches go through in pieces,
which bounds what memory they need.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_kernels import Kernels, Launch
from vp3d_deploy.engines.cuda_processing import VIEW_FLOATS, Tables, View, numbers_of_views
from vp3d_deploy.engines.cuda_program import addressed, planned_for
from vp3d_deploy.engines.gpu import DeviceBuffer, Gpu
from vp3d_deploy.engines.repeated import Repeated, Stopwatch
from vp3d_deploy.spec import ModelSpec

_FLOAT_BYTES = 4
# Columns of the first level that a piece has at most; one of 1024 channels in half precision takes
# some 14 kB, so this is 230 MB, and more work than fills any GPU.
_COLUMNS_AT_ONCE = 1 << 14
# Shapes whose launches are kept.
_PLANS_KEPT = 8


@dataclass
class _Plan:
    """A shape's launches. answers: of each network, in floats, and its shape."""

    n_inputs: int
    n_answers: int
    answers: list[tuple[int, tuple[int, ...]]]
    repeated: Repeated


class Clips:
    """To be made, used and closed in the GPU's context, by one thread at a time.

    maps_answers: kernels write answers, each once, in the host's memory. Input is copied always:
    they read it several times, and no cache of the GPU holds what is the host's.
    gpu_ms: how long the GPU took for the last input, all pieces together; None unless timed.
    Raises the native module's WeightsError.
    """

    def __init__(
        self,
        gpu: Gpu,
        kernels: Kernels,
        weights: Path,
        networks: Mapping[str, ModelSpec],
        precision: str,
        *,
        graphs: bool,
        timings: bool,
        warpgroups: bool = False,
        maps_answers: bool = False,
        processing: Tables | None = None,
    ) -> None:
        from vp3d_deploy._native import CudaClips

        self.gpu_ms: float | None = None
        self._gpu, self._kernels, self._graphs = gpu, kernels, graphs
        self._specs = tuple(networks.values())
        self._planned_for = planned_for(gpu, warpgroups)
        self._native = CudaClips(weights, dict(networks), precision, processing=processing)
        spec = self._specs[0]
        seen = 0 if processing is None else processing.joints_seen
        self._joints = (seen or spec.joints_in, spec.features)
        self._view_floats = 0
        if processing is not None and (seen > 0 or processing.to_world):
            self._view_floats = VIEW_FLOATS
        packed = self._native.take_bytes()
        self._maps_answers = maps_answers
        # Input, workspace and answers on the device, these last unless they are mapped; input and
        # answers on the host.
        self._device: list[DeviceBuffer] = []
        self._host: list[np.ndarray] = []
        self._room = [0, 0, 0]
        self._plans: dict[tuple[str, int, int], _Plan] = {}
        self._weights = gpu.allocate(len(packed))
        try:
            gpu.send(self._weights, packed)
        except BaseException:
            self._weights.free()
            raise
        self._stream: Any = gpu.stream()
        self._stopwatch = Stopwatch(gpu, self._stream, timings)

    def run(self, form: str, keypoints: np.ndarray, views: Sequence[View] = ()) -> Output:
        """One of (B, R, J_in, F) -> (B, J_out, 3), a "window", and (B, T+R-1, J_in, F) -> (B, T,
        J_out, 3), a "sequence". views: one for each of B, where processing needs them.

        Arrays are the caller's own.
        """
        self._check(form, keypoints)
        needed = len(keypoints) if self._view_floats else 0
        if len(views) != needed:
            raise ValueError(f"{len(keypoints)} items need {needed} views, not {len(views)}")
        numbers = numbers_of_views(views)
        self.gpu_ms = None
        spec = self._specs[0]
        overlap = spec.receptive_field - 1
        batch, frames = keypoints.shape[:2]
        leading = (batch,) if form == "window" else (batch, frames - overlap)
        arrays = [np.zeros((*leading, s.joints_out, 3), np.float32) for s in self._specs]
        for people, answers in self._pieces(form, batch, frames - overlap):
            piece = keypoints[people, answers.start : answers.stop + overlap]
            answered = self._run(form, piece, numbers[people])
            for array, found in zip(arrays, answered, strict=True):
                array[(people,) if form == "window" else (people, answers)] = found
        return Output(arrays[0], arrays[1] if arrays[1:] else None)

    def answers_of(self, shape: str, keypoints: np.ndarray) -> np.ndarray:
        """Poses of a sequence by kernels of this shape alone, on a GPU with warpgroups."""
        usual = self._planned_for
        self._drop()
        self._planned_for = planned_for(self._gpu, True, shape)
        try:
            return self.run("sequence", keypoints).pose
        finally:
            self._drop()
            self._planned_for = usual

    def close(self) -> None:
        """Give everything back."""
        self._stream.synchronize()
        self._drop()
        self._stopwatch.close()
        self._weights.free()
        self._stream = None

    def _check(self, form: str, keypoints: np.ndarray) -> None:
        spec = self._specs[0]
        frames = spec.receptive_field
        fits = keypoints.ndim == 4 and keypoints.shape[2:] == self._joints
        if form == "window":
            fits = fits and keypoints.shape[1] == frames
        if not fits or keypoints.shape[1] < frames:
            wanted = frames if form == "window" else f"{frames} or more"
            raise ValueError(
                f"keypoints have shape {keypoints.shape}; a {form} is (any number, {wanted}, "
                f"{self._joints[0]}, {self._joints[1]})"
            )
        if keypoints.dtype != np.float32:
            raise ValueError(f"keypoints are {keypoints.dtype}; expected float32")

    def _pieces(self, form: str, batch: int, answers: int) -> list[tuple[slice, slice]]:
        """People and answers of each."""
        spec = self._specs[0]
        windows = spec.receptive_field // spec.filter_widths[0]
        per_item = windows if form == "window" else min(answers, _COLUMNS_AT_ONCE)
        people = max(1, _COLUMNS_AT_ONCE // per_item)
        frames = 1 if form == "window" else per_item
        return [
            (slice(first, min(first + people, batch)), slice(start, min(start + frames, answers)))
            for first in range(0, batch, people)
            for start in range(0, answers, frames)
        ]

    def _run(self, form: str, keypoints: np.ndarray, views: np.ndarray) -> list[np.ndarray]:
        """Into memory that is valid until the next run."""
        plan = self._plan(form, *keypoints.shape[:2])
        host = self._host[0]
        start = self._view_floats * len(keypoints)
        host[:start] = views.reshape(-1)[:start]
        host[start : plan.n_inputs].reshape(keypoints.shape)[...] = keypoints
        self._stopwatch.start()
        plan.repeated.run()
        self._stopwatch.stop()
        self._stream.synchronize()
        self._stopwatch.read()
        if self._stopwatch.ms is not None:
            self.gpu_ms = (self.gpu_ms or 0.0) + self._stopwatch.ms
        return [
            self._host[1][start : start + int(np.prod(shape))].reshape(shape)
            for start, shape in plan.answers
        ]

    def _plan(self, form: str, batch: int, frames: int) -> _Plan:
        key = (form, batch, frames)
        if key not in self._plans:
            if len(self._plans) >= _PLANS_KEPT:
                self._plans.pop(next(iter(self._plans))).repeated.close()
            self._plans[key] = self._planned(form, batch, frames)
        return self._plans[key]

    def _planned(self, form: str, batch: int, frames: int) -> _Plan:
        device = self._planned_for
        plan = (
            self._native.plan_window(batch, device)
            if form == "window"
            else self._native.plan_sequence(batch, frames, device)
        )
        self._make_room(plan.input_bytes, plan.workspace_bytes, plan.answer_bytes)
        memory = [self._weights.pointer, *(buffer.pointer for buffer in self._device)]
        if self._maps_answers:
            memory.append(self._gpu.device_pointer(self._host[1]))
        launches = [
            Launch(
                self._kernels,
                launch.kernel,
                blocks=launch.blocks,
                threads=launch.threads,
                shared_bytes=launch.shared_bytes,
                parameters=[addressed(launch.arguments, *memory)],
            )
            for launch in plan.launches
        ]
        n_inputs = plan.input_bytes // _FLOAT_BYTES
        n_answers = plan.answer_bytes // _FLOAT_BYTES
        # Without a reference to this object, which would keep it until some collection of garbage.
        gpu, stream, (host_in, host_out) = self._gpu, self._stream, self._host
        device_in, _, *device_out = self._device

        def work() -> None:
            gpu.upload(device_in, host_in[:n_inputs], stream)
            for launch in launches:
                launch.put(stream.handle)
            for answers in device_out:
                gpu.download(host_out[:n_answers], answers, stream)

        leading = (batch,) if form == "window" else (batch, plan.answer_frames)
        answers = [
            (start // _FLOAT_BYTES, (*leading, spec.joints_out, 3))
            for start, spec in zip(plan.answers, self._specs, strict=True)
        ]
        return _Plan(n_inputs, n_answers, answers, Repeated(self._gpu, stream, work, self._graphs))

    def _make_room(self, *needed: int) -> None:
        """Of input, workspace and answers. Plans know addresses: larger memory ends those kept."""
        held = self._room
        if all(n <= has for n, has in zip(needed, held, strict=True)):
            return
        room = [max(pair) for pair in zip(needed, held, strict=True)]
        self._drop()
        try:
            for n_bytes in room[:2] if self._maps_answers else room:
                self._device.append(self._gpu.allocate(n_bytes))
            for i, mapped in ((0, False), (2, self._maps_answers)):
                floats = room[i] // _FLOAT_BYTES
                self._host.append(self._gpu.page_locked([floats], mapped=mapped))
            self._room = room
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        """All plans, and the memory that they refer to."""
        for plan in self._plans.values():
            plan.repeated.close()
        self._plans.clear()
        for buffer in self._device:
            buffer.free()
        for array in self._host:
            self._gpu.free_page_locked(array)
        self._device, self._host, self._room = [], [], [0, 0, 0]
