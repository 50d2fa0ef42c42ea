"""Every contender's answers against the definition, in millimetres, before anything is timed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vp3d_bench.clips import padded
from vp3d_bench.contenders.base import SEQUENCE, STREAM, Contender, PreparingRunner, Runner
from vp3d_bench.definition import Definition, live_windows
from vp3d_bench.limits import limits_of
from vp3d_deploy.engines.base import Output
from vp3d_deploy.spec import ModelSpec

MM = 1000.0


@dataclass(frozen=True)
class Accuracy:
    """Distances of joints from where the definition in float64 has them, mm.

    trajectory_*: of the root, in bundles with a trajectory network. answers: poses compared.
    problem: in what the answers are beyond their precision's limit; None where they are not.
    """

    mean_mm: float
    max_mm: float
    trajectory_mean_mm: float | None
    trajectory_max_mm: float | None
    answers: int
    problem: str | None

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Expected:
    """What the definition says of some frames of some people; each is computed once.

    clips: (people, T, J_in, F) float32. frames: those that answers are compared of. rows: the
    people that are compared, by default all.
    """

    def __init__(
        self,
        definitions: Mapping[str, Definition],
        clips: np.ndarray,
        frames: Sequence[int],
        rows: Sequence[int] | None = None,
    ) -> None:
        self.clips = clips
        self.frames = sorted(frames)
        self.rows = list(range(len(clips)) if rows is None else rows)
        self.spec: ModelSpec = definitions["pose"].spec
        self._definitions = definitions
        self._known: dict[tuple[int, int], Output] = {}

    def answer(self, frame: int, lag: int | None) -> Output:
        """float64, of `rows`; without a lag the clip is known as a whole."""
        key = (frame, self.spec.lookahead if lag is None else lag)
        if key not in self._known:
            of = {
                name: definition.live(self.clips[self.rows], *key)
                for name, definition in self._definitions.items()
            }
            self._known[key] = Output(of["pose"], of.get("trajectory"))
        return self._known[key]


def check(contender: Contender, runner: Runner, expected: Expected) -> Accuracy:
    """Run a freshly opened contender over the clips and measure its distance."""
    pose: list[np.ndarray] = []
    root: list[np.ndarray] = []
    for frame, output in _answers(contender, runner, expected):
        wanted = expected.answer(frame, contender.lag)
        pose.append(_distances(output.pose[expected.rows], wanted.pose))
        if wanted.trajectory is not None:
            if output.trajectory is None:
                raise ValueError(f"{contender.name} has no answer for the trajectory")
            root.append(_distances(output.trajectory[expected.rows], wanted.trajectory))
    return _judged(contender, np.concatenate(pose), np.concatenate(root) if root else None)


def frames_to_compare(spec: ModelSpec, n_frames: int, count: int) -> list[int]:
    """The first, the last and others between, of a clip of so many frames."""
    return sorted({int(frame) for frame in np.linspace(0, n_frames - 1, count)})


def _answers(
    contender: Contender, runner: Runner, expected: Expected
) -> Iterator[tuple[int, Output]]:
    """(frame, answers of all people) for the frames that are compared."""
    if contender.form == STREAM:
        yield from _streamed(runner, expected, contender.lag or 0)
    elif contender.form == SEQUENCE:
        output = runner.answer(runner.run(runner.prepare(padded(expected.spec, expected.clips))))
        for frame in expected.frames:
            yield frame, output.copied(np.s_[:, frame])
    else:
        lookahead = expected.spec.lookahead
        for frame in expected.frames:
            windows = live_windows(expected.spec, expected.clips, frame, lookahead)
            yield frame, runner.answer(runner.run(runner.prepare(windows)))


def _streamed(runner: Runner, expected: Expected, lag: int) -> Iterator[tuple[int, Output]]:
    """After the clip's end its last frame is shown, as a live stream's flush does."""
    last = expected.clips.shape[1] - 1
    for newest in range(expected.frames[-1] + lag + 1):
        result = runner.run(runner.prepare(expected.clips[:, min(newest, last)]))
        if newest - lag in expected.frames:
            yield newest - lag, runner.answer(result)
        if isinstance(runner, PreparingRunner):
            runner.between()


def _distances(found: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """(people, J, 3) both, metres -> mm, flat. What is not a number lies infinitely far off."""
    if found.shape != wanted.shape:
        raise ValueError(f"answers have shape {found.shape}, expected {wanted.shape}")
    distances = MM * np.linalg.norm(found.astype(np.float64) - wanted, axis=-1).ravel()
    return np.where(np.isfinite(distances), distances, np.inf)


def _judged(contender: Contender, pose: np.ndarray, root: np.ndarray | None) -> Accuracy:
    limits = limits_of(contender.precision)
    mean, largest = float(pose.mean()), float(pose.max())
    root_mean = None if root is None else float(root.mean())
    problem = None
    if mean > limits.mean_distance:
        problem = _beyond("joints", mean, limits.mean_distance, contender.precision)
    elif root_mean is not None and root_mean > limits.trajectory_distance:
        problem = _beyond("roots", root_mean, limits.trajectory_distance, contender.precision)
    root_largest = None if root is None else float(root.max())
    return Accuracy(mean, largest, root_mean, root_largest, len(pose), problem)


def _beyond(what: str, found: float, limit: float, precision: str) -> str:
    return (
        f"its {what} lie {found:.4g} mm from the definition on average; {precision} may be "
        f"{limit:g} mm off"
    )
