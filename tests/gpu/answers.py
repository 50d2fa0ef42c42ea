"""What engines on the GPU are held to: the definition of the network in float64."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vp3d_bench.clips import keypoints, padded
from vp3d_bench.definition import live_windows
from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.engines.base import Engine

MM = 1000.0
# Mean distance of joints from the definition, mm: those that the export holds trained networks to.
LIMITS_MM = {"fp32": 0.01, "fp16": 0.3, "int8": 3.0}


@dataclass(frozen=True)
class Truth:
    """Built-in motion of some people, and what the network says of it by its definition, which is
    computed once.

    clips: (people, frames, J_in, F).
    """

    subject: Subject
    clips: np.ndarray
    _known: dict[tuple[int, int], np.ndarray] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, bundle: Bundle, people: int, n_frames: int) -> Truth:
        return cls(Subject(bundle, 1, Path()), keypoints(bundle, people, n_frames))

    def live(self, frame: int, lag: int) -> np.ndarray:
        """(people, J_out, 3) float64, metres."""
        if (frame, lag) not in self._known:
            definition = self.subject.definitions["pose"]
            self._known[frame, lag] = definition.live(self.clips, frame, lag)
        return self._known[frame, lag]

    def windows(self, frame: int) -> np.ndarray:
        """(people, R, J_in, F) around a frame of clips that are known as a whole."""
        spec = self.subject.bundle.spec
        return np.ascontiguousarray(live_windows(spec, self.clips, frame, spec.lookahead))

    def padded(self) -> np.ndarray:
        """(people, frames+R-1, J_in, F)."""
        return padded(self.subject.bundle.spec, self.clips)


def distance_mm(found: np.ndarray, expected: np.ndarray) -> float:
    """Mean distance of joints; infinite where an answer is no number."""
    assert found.shape == expected.shape
    distances = MM * np.linalg.norm(found.astype(np.float64) - expected, axis=-1)
    return float(distances.mean()) if np.isfinite(distances).all() else float("inf")


def stream_distance_mm(engine: Engine, truth: Truth, lag: int, frames: set[int]) -> float:
    """The worst of `frames`, of everybody's streams that are advanced from the first frame on and,
    after the last, are shown that one again."""
    people, n_frames = truth.clips.shape[:2]
    stream = engine.open_stream(lag)
    stream.add_rows(people)
    worst = 0.0
    for newest in range(max(frames) + lag + 1):
        shown = np.ascontiguousarray(truth.clips[:, min(newest, n_frames - 1)])
        output = stream.step(shown)
        frame = newest - lag
        if frame in frames:
            worst = max(worst, distance_mm(output.pose, truth.live(frame, lag)))
    stream.close()
    return worst
