"""Run contenders over clips and say how far off each is, and how far from PyTorch."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from vp3d_deploy.evaluation.clips import EvaluationClip
from vp3d_deploy.evaluation.contenders import Contender, Unavailable
from vp3d_deploy.evaluation.errors import ErrorReport, Errors, average_errors, clip_errors
from vp3d_deploy.evaluation.predict import Advance, Lift, Predictor, lift_flipped
from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.mirror import check_sides
from vp3d_deploy.skeleton import Skeleton

# label of a contender -> what is called with the frames done and in all
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Difference:
    """How a contender differs from the first one, over all frames, mm."""

    mpjpe_change_mm: float
    mean_distance_mm: float
    max_distance_mm: float


@dataclass(frozen=True)
class LagPoint:
    """Errors when answers may trail the camera by `lag` frames, and which form gave them."""

    lag: int
    form: str
    frames: Errors
    actions: Errors


@dataclass(frozen=True)
class Result:
    """What was measured of one contender; `difference` is None for the first, the reference."""

    label: str
    engine: str
    precision: str
    form: str
    report: ErrorReport
    difference: Difference | None
    lags: tuple[LagPoint, ...]

    def values(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return {
            "label": self.label,
            "engine": self.engine,
            "precision": self.precision,
            "form": self.form,
            **self.report.values(),
            "difference": None if self.difference is None else asdict(self.difference),
            "lags": [asdict(point) for point in self.lags],
        }


@dataclass(frozen=True)
class Measured:
    """poses: of recorded clips, (T, J_out, 3) float32 metres each, for others to compare with."""

    result: Result
    poses: list[np.ndarray]


@dataclass(frozen=True)
class Task:
    """What every contender is measured on, and how.

    skeleton_in, skeleton_out: the network's. flip: average with the mirror image. lags: frames;
    none for recorded clips alone.
    """

    clips: Sequence[EvaluationClip]
    skeleton_in: Skeleton
    skeleton_out: Skeleton
    flip: bool = False
    lags: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.flip:
            check_sides(self.skeleton_in, self.skeleton_out)
        for clip in self.clips:
            if clip.pose_m is None:
                raise ValueError(f"clip {clip.name!r} has no 3D ground truth to compare with")

    @property
    def n_lifted(self) -> int:
        """Frames that one contender lifts in all."""
        n_frames = sum(len(clip.keypoints) for clip in self.clips)
        return n_frames * (2 if self.flip else 1) * (1 + len(self.lags))


def measure_all(
    contenders: Sequence[Contender],
    task: Task,
    progress: Callable[[str], Any],
) -> tuple[list[Result], list[Unavailable]]:
    """Every contender that can be run here, in order, each compared with the first.

    progress: label -> a context manager that gives what is called with the frames that are done
        and that there are.
    Raises ValueError if one asked for by name cannot be run, if none can, and for answers that are
    not finite.
    """
    results: list[Result] = []
    missing: list[Unavailable] = []
    reference: Measured | None = None
    for contender in contenders:
        try:
            predictor = contender.open()
        except (ImportError, ValueError, OSError, RuntimeError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            if contender.required:
                raise ValueError(f"{contender.label} cannot be run here: {reason}") from error
            missing.append(Unavailable(contender.label, reason))
            continue
        try:
            with progress(contender.label) as advanced:
                measured = measure(contender, predictor, task, reference, advanced)
        finally:
            predictor.close()
        results.append(measured.result)
        reference = reference or measured
    if not results:
        reasons = "; ".join(f"{one.label}: {one.reason}" for one in missing)
        raise ValueError(f"nothing here can run this network: {reasons}")
    return results, missing


def measure(
    contender: Contender,
    predictor: Predictor,
    task: Task,
    reference: Measured | None,
    progress: Progress,
) -> Measured:
    """One contender, compared with another on the same clips if there is one."""
    advance = _counted(progress, task.n_lifted)
    lift = partial(predictor.recorded, advance=advance)
    report, poses = _errors(contender.label, lift, task)
    points = []
    for lag in task.lags:
        at_lag, _ = _errors(contender.label, _live(predictor, lag, advance), task)
        points.append(LagPoint(lag, predictor.form_at(lag), at_lag.frames, at_lag.actions))
    difference = None if reference is None else _difference(poses, report, reference)
    result = Result(
        contender.label,
        contender.engine,
        contender.precision,
        predictor.form_at(None),
        report,
        difference,
        tuple(points),
    )
    return Measured(result, poses)


def _live(predictor: Predictor, lag: int, advance: Advance) -> Lift:
    return lambda clips: predictor.live(clips, lag, advance)


def _counted(progress: Progress, total: int) -> Advance:
    done = 0

    def advance(n_frames: int) -> None:
        nonlocal done
        done += n_frames
        progress(done, total)

    return advance


def _errors(label: str, lift: Lift, task: Task) -> tuple[ErrorReport, list[np.ndarray]]:
    keypoints = [clip.keypoints for clip in task.clips]
    if task.flip:
        poses = lift_flipped(lift, keypoints, task.skeleton_in, task.skeleton_out)
    else:
        poses = lift(keypoints)
    rows = []
    for clip, pose in zip(task.clips, poses, strict=True):
        if not np.isfinite(pose).all():
            raise ValueError(f"{label}: the answers for clip {clip.name!r} are not finite")
        assert clip.pose_m is not None
        rows.append(clip_errors(pose, clip.pose_m, clip.action))
    return average_errors(rows, task.skeleton_out.joints), poses


def _difference(
    poses: Sequence[np.ndarray], report: ErrorReport, reference: Measured
) -> Difference:
    distances = [
        MM_PER_M * np.linalg.norm(ours.astype(np.float64) - theirs, axis=-1).ravel()
        for ours, theirs in zip(poses, reference.poses, strict=True)
    ]
    distance = np.concatenate(distances)
    change = report.frames.mpjpe_mm - reference.result.report.frames.mpjpe_mm
    return Difference(change, float(distance.mean()), float(distance.max()))
