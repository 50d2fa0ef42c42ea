"""What vp3d-eval prints: tables in millimetres, contenders side by side."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vp3d_deploy.evaluation.document import Evaluation
from vp3d_deploy.evaluation.errors import METRICS, ErrorReport, Errors
from vp3d_deploy.evaluation.measure import LagPoint, Result

TABLE_WIDTH = 118
_NONE = "–"


def print_report(
    evaluation: Evaluation, per_action: bool, per_joint: bool, console: Console | None = None
) -> None:
    """Print the errors, per action and per joint if wanted, against lag if measured, and notes."""
    console = console or Console()
    # A line that a narrow terminal breaks is better than figures cut short.
    console.width = max(console.width, TABLE_WIDTH)
    results = evaluation.results
    console.print(_overall_table(evaluation))
    if per_action and len(results[0].report.per_action) > 1:
        console.print(_action_table(results))
    if per_joint:
        console.print(_joint_table(results))
    if results[0].lags:
        console.print(_lag_table(results, evaluation.fps))
    for missing in evaluation.unavailable:
        console.print(f"not measured: {escape(missing.label)}: {escape(missing.reason)}",
                      highlight=False)  # fmt: skip
    for note in evaluation.notes:
        console.print(f"note: {escape(note)}", highlight=False)


def _table(title: str, names: Iterable[str], numbers: Iterable[str]) -> Table:
    table = Table(title=escape(title), box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in names:
        table.add_column(name, no_wrap=True)
    for number in numbers:
        table.add_column(number, justify="right", no_wrap=True)
    return table


def _overall_table(evaluation: Evaluation) -> Table:
    results = evaluation.results
    several = len(results) > 1
    flipped = ", averaged with the mirror image" if evaluation.flip else ""
    title = f"{evaluation.model.name} on {evaluation.data.title}, in mm{flipped}"
    changes = ("change of\nMPJPE", "mean\ndistance", "largest\ndistance") if several else ()
    table = _table(title, ("",), (*METRICS.values(), *changes))
    sections: tuple[tuple[str, Callable[[ErrorReport], Errors]], ...] = (
        ("over frames, as MMPose", lambda report: report.frames),
        ("over actions, as VideoPose3D", lambda report: report.actions),
    )
    for title, errors_of in sections:
        table.add_row(f"[italic]{title}[/italic]")
        first = errors_of(results[0].report)
        for result in results:
            errors = errors_of(result.report)
            row = [f"  {escape(result.label)}", *_figures(errors)]
            if several:
                row += _changes(result, errors.mpjpe_mm - first.mpjpe_mm)
            table.add_row(*row)
        table.add_section()
    return table


def _changes(result: Result, change_mm: float) -> list[str]:
    """How a result differs from the first one, which has nothing to differ from."""
    if result.difference is None:
        return [_NONE] * 3
    distances = result.difference.mean_distance_mm, result.difference.max_distance_mm
    return [_mm(change_mm, 4, signed=True), *(_mm(value, 4) for value in distances)]


def _action_table(results: Sequence[Result]) -> Table:
    first, *others = results
    title = f"Per action: {first.label}{', and MPJPE of the others' if others else ''}"
    table = _table(title, ("action",), ("clips", "frames", *METRICS.values(), *_labels(others)))
    for action, errors in first.report.per_action.items():
        table.add_row(
            escape(action),
            str(errors.n_clips),
            f"{errors.n_frames:,}",
            *_figures(errors.errors),
            *(_mm(other.report.per_action[action].errors.mpjpe_mm) for other in others),
        )
    return table


def _joint_table(results: Sequence[Result]) -> Table:
    table = _table("Per joint, over frames", ("joint",), _labels(results))
    for joint in results[0].report.per_joint_mm:
        table.add_row(
            escape(joint), *(_mm(result.report.per_joint_mm[joint]) for result in results)
        )
    return table


def _lag_table(results: Sequence[Result], fps: float | None) -> Table:
    """What each frame of latency buys: the first contender in full, MPJPE of the others."""
    first, *others = results
    title = f"Accuracy against lag, over frames: {first.label}"
    numbers = ("ms", *METRICS.values(), "over\nactions", "above\nlast", "a frame\nbuys")
    table = _table(title, (), ("lag", *numbers, *_labels(others)))
    for index, point in enumerate(first.lags):
        table.add_row(
            str(point.lag),
            _NONE if fps is None else f"{1000 * point.lag / fps:.0f}",
            *_figures(point.frames),
            _mm(point.actions.mpjpe_mm),
            _mm(point.frames.mpjpe_mm - first.lags[-1].frames.mpjpe_mm, signed=True),
            _gain(first.lags, index),
            *(_mm(other.lags[index].frames.mpjpe_mm) for other in others),
        )
    return table


def _gain(points: Sequence[LagPoint], index: int) -> str:
    """By how much each further frame since the lag before has lowered MPJPE, mm."""
    if index == 0:
        return _NONE
    before, now = points[index - 1], points[index]
    gain = (before.frames.mpjpe_mm - now.frames.mpjpe_mm) / (now.lag - before.lag)
    return _mm(gain, 3)


def _labels(results: Sequence[Result]) -> list[str]:
    return [f"MPJPE\n{escape(result.label)}" for result in results]


def _figures(errors: Errors) -> list[str]:
    return [_mm(value) for value in astuple(errors)]


def _mm(value: float, digits: int = 2, signed: bool = False) -> str:
    shown = round(value, digits) + 0.0  # no minus before a zero
    return f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"
