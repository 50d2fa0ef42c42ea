"""A bundle and an engine that follow the definition, for tests of what is built on engines.

The engine evaluates `reference.dilated_network` in float64, keeps every frame of a stream, and is
unkind within its contract: answers that are to be thrown away are NaN, output arrays are
overwritten by the next call, and input that breaks the contract fails.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from reference import dilated_network, random_parameters

from vp3d_deploy.engines.base import Output
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.skeleton import H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec


class FakeBundle:
    path = Path("fake.vp3d")

    def __init__(
        self,
        spec: ModelSpec,
        *,
        trajectory: bool = False,
        lags: tuple[int, ...] | None = None,
        skeleton_in: Skeleton = H36M_17,
        skeleton_out: Skeleton = H36M_17,
        fps: float = 50.0,
    ) -> None:
        self.spec = spec
        self.has_trajectory = trajectory
        self.lags = tuple(range(spec.lookahead + 1)) if lags is None else lags
        self.skeleton_in, self.skeleton_out, self.fps = skeleton_in, skeleton_out, fps


class DefinitionEngine:
    name = "definition"
    precision = "fp64"
    forms = ("window", "sequence", "stream")

    def __init__(self, bundle: FakeBundle, seed: int = 0) -> None:
        self.bundle = bundle
        self.lags = bundle.lags
        self.spec = bundle.spec
        self.tensors = random_parameters(bundle.spec, seed)
        self.trajectory_spec, self.trajectory_tensors = None, None
        if bundle.has_trajectory:
            self.trajectory_spec = ModelSpec(**{**bundle.spec.to_dict(), "joints_out": 1})
            self.trajectory_tensors = random_parameters(self.trajectory_spec, seed + 1)
        self.calls: list[tuple[int, ...]] = []

    def sequence(self, keypoints: np.ndarray) -> Output:
        _check(keypoints, self.spec)
        assert keypoints.shape[1] >= self.spec.receptive_field
        self.calls.append(keypoints.shape)
        return self._evaluated(list(keypoints))

    def window(self, keypoints: np.ndarray) -> Output:
        assert keypoints.shape[1] == self.spec.receptive_field
        pose, trajectory = self.sequence(keypoints)
        return Output(pose[:, 0], None if trajectory is None else trajectory[:, 0])

    def open_stream(self, lag: int) -> DefinitionStream:
        if lag not in self.bundle.lags:
            raise ValueError(f"no lag {lag}")
        return DefinitionStream(self, lag)

    def close(self) -> None:
        pass

    def _evaluated(self, clips: list[np.ndarray]) -> Output:
        pose = np.array([dilated_network(self.spec, self.tensors, clip) for clip in clips])
        trajectory = None
        if self.trajectory_spec is not None:
            trajectory = np.array(
                [dilated_network(self.trajectory_spec, self.trajectory_tensors, c) for c in clips]
            ).astype(np.float32)
        return Output(pose.astype(np.float32), trajectory)


class DefinitionStream:
    def __init__(self, engine: DefinitionEngine, lag: int) -> None:
        self.engine, self.lag = engine, lag
        self.rows: list[list[np.ndarray]] = []
        self.last: Output | None = None
        self.closed = False
        self.fails = False

    @property
    def n_rows(self) -> int:
        return len(self.rows)

    def add_rows(self, count: int) -> None:
        assert count > 0
        self.rows += [[] for _ in range(count)]

    def remove_rows(self, rows: list[int]) -> None:
        assert all(0 <= row < self.n_rows for row in rows)
        assert len(set(rows)) == len(rows)
        self.rows = [frames for index, frames in enumerate(self.rows) if index not in rows]

    def step(self, keypoints: np.ndarray) -> Output:
        spec = self.engine.spec
        _check(keypoints, spec)
        assert len(keypoints) == self.n_rows > 0
        if self.fails:
            raise RuntimeError("out of order")
        for array in self.last or ():
            if array is not None:
                array[...] = np.nan
        windows = []
        for frames, frame in zip(self.rows, keypoints, strict=True):
            frames.append(frame.copy())
            newest = len(frames) - 1
            asked = newest - self.lag
            at = np.arange(spec.receptive_field) + asked - spec.pad_left
            windows.append(np.array(frames)[np.clip(at, 0, newest)])
        output = self.engine._evaluated(windows)
        self.last = Output(*(None if a is None else a[:, 0] for a in output))
        for row, frames in enumerate(self.rows):
            if len(frames) <= self.lag:
                self.last.pose[row] = np.nan
        return self.last

    def close(self) -> None:
        self.rows, self.closed = [], True


class NullEngine(DefinitionEngine):
    """Answers zeros at once: for measuring what the runtime adds."""

    def open_stream(self, lag: int) -> NullStream:
        return NullStream(self, lag)


class NullStream(DefinitionStream):
    def step(self, keypoints: np.ndarray) -> Output:
        return Output(np.zeros((self.n_rows, self.engine.spec.joints_out, 3), np.float32), None)


def fake_lifter(spec: ModelSpec, **options: object) -> Lifter:
    """A Lifter on a bundle of random weights; options as for FakeBundle."""
    bundle = FakeBundle(spec, **options)
    return Lifter(bundle, DefinitionEngine(bundle))


def _check(keypoints: np.ndarray, spec: ModelSpec) -> None:
    assert keypoints.dtype == np.float32
    assert keypoints.shape[-2:] == (spec.joints_in, spec.features)
    assert keypoints.flags.c_contiguous
    assert np.isfinite(keypoints).all()
