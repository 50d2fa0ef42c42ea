"""Compare every graph of a bundle with PyTorch, in millimetres.

"PyTorch" is the dilated network in eval mode with the checkpoint's own weights in float32. For
each form, precision and engine: MPJPE of both against ground truth, their difference, and the mean
and largest distance between the two predictions. What a form is compared with follows from its
definition alone: windows and sequences with the network over the padded clip, a stream at lag L
with the network over the clip in which every frame after t is replaced by frame t.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from vp3d_deploy.bundle import Bundle, GraphEntry
from vp3d_deploy.engines.base import Engine
from vp3d_export.compare import (
    Answers,
    Expected,
    compare_stream,
    compare_windows,
    over_clips,
)

MM = 1000.0


@dataclass(frozen=True)
class Limits:
    """The largest deviations from PyTorch that an export may have, mm.

    mpjpe_change: |MPJPE of the engine - MPJPE of PyTorch|. mean_distance: between predictions.
    trajectory_distance: mean distance between predicted root positions, which lie metres away
    where joints lie decimetres from the root.
    """

    mpjpe_change: float
    mean_distance: float
    trajectory_distance: float


DEFAULT_LIMITS: Mapping[str, Limits] = {
    "fp32": Limits(mpjpe_change=0.001, mean_distance=0.01, trajectory_distance=0.1),
    "fp16": Limits(mpjpe_change=0.05, mean_distance=0.3, trajectory_distance=3.0),
    "int8": Limits(mpjpe_change=0.5, mean_distance=3.0, trajectory_distance=10.0),
}


@dataclass
class ParityRow:
    """One comparison; figures in mm, None where there is no ground truth or no trajectory."""

    form: str
    lag: int | None
    precision: str
    engine: str
    n_frames: int
    mpjpe_pytorch: float | None
    mpjpe_engine: float | None
    mpjpe_change: float | None
    mean_distance: float
    max_distance: float
    trajectory_mean_distance: float | None
    trajectory_max_distance: float | None
    failures: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        return not self.failures

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "passed": self.passed}


def check_parity(
    bundle: Bundle,
    engine: Engine,
    expected: Expected,
    limits: Limits,
    progress: Callable[[str], None] = lambda step: None,
) -> list[ParityRow]:
    """Run every graph that `bundle` has in the engine's precision; one row each.

    progress is called with the name of each step before it starts.
    """
    rows = []
    entries = [entry for entry in bundle.graphs if entry.precision == engine.precision]
    for entry in entries:
        progress(f"{_label(entry)} {entry.precision} on {engine.name}")
        if entry.form == "stream":
            assert entry.lag is not None
            sides = compare_stream(engine, entry.lag, expected)
        elif entry.form == "sequence":
            found = over_clips(engine.sequence, expected.spec, expected.data)
            sides = expected.whole(), found
        else:
            sides = compare_windows(engine, expected)
        rows.append(_row(entry, engine.name, *sides, limits))
    return rows


def _row(
    entry: GraphEntry, engine: str, expected: Answers, found: Answers, limits: Limits
) -> ParityRow:
    distance = _distance_mm(expected.pose, found.pose)
    change = pytorch = measured = None
    if expected.truth is not None:
        pytorch = float(_distance_mm(expected.pose, expected.truth).mean())
        measured = float(_distance_mm(found.pose, expected.truth).mean())
        change = measured - pytorch
    trajectory = None
    if expected.trajectory is not None and found.trajectory is not None:
        trajectory = _distance_mm(expected.trajectory, found.trajectory)
    row = ParityRow(
        form=entry.form,
        lag=entry.lag,
        precision=entry.precision,
        engine=engine,
        n_frames=len(expected.pose),
        mpjpe_pytorch=pytorch,
        mpjpe_engine=measured,
        mpjpe_change=change,
        mean_distance=float(distance.mean()),
        max_distance=float(distance.max()),
        trajectory_mean_distance=None if trajectory is None else float(trajectory.mean()),
        trajectory_max_distance=None if trajectory is None else float(trajectory.max()),
    )
    row.failures = list(_failures(row, limits, expected.trajectory is not None))
    return row


def _distance_mm(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one.shape != other.shape:
        raise AssertionError(f"answers of shape {one.shape} compared with {other.shape}")
    with np.errstate(invalid="ignore"):  # what is not finite becomes NaN, and fails its limit
        return MM * np.linalg.norm(one.astype(np.float64) - other, axis=-1)


def _failures(row: ParityRow, limits: Limits, has_trajectory: bool) -> Iterator[str]:
    """Written so that NaN fails, and so does a trajectory that is missing."""
    checks = [
        ("|ΔMPJPE|", abs(row.mpjpe_change) if row.mpjpe_change is not None else 0.0,
         limits.mpjpe_change),
        ("mean distance", row.mean_distance, limits.mean_distance),
    ]  # fmt: skip
    if has_trajectory:
        found = row.trajectory_mean_distance
        worst = float("nan") if found is None else found
        checks.append(("trajectory mean distance", worst, limits.trajectory_distance))
    for name, value, limit in checks:
        if not value <= limit:
            yield f"{name} is {value:.4g} mm, {value - limit:.4g} mm beyond its limit of {limit:g}"


def _label(entry: GraphEntry) -> str:
    return entry.form if entry.lag is None else f"{entry.form} lag {entry.lag}"
