"""Pictures of an evaluation: errors per action and joint, and accuracy against lag."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vp3d_deploy.evaluation.document import Evaluation
from vp3d_deploy.evaluation.lags import ALL_UP_TO
from vp3d_deploy.evaluation.measure import Result
from vp3d_deploy.evaluation.plot_style import (
    CLEAR,
    FAINT,
    GOLD,
    GREEN,
    GREY,
    NAVY,
    ORANGE,
    PURPLE,
    STYLE,
)
from vp3d_deploy.formats.atomic import check_folder, replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg", ".pdf")

_COLORS = (NAVY, ORANGE, GREEN, PURPLE, GOLD, GREY)
_MARKERS = ("o", "D", "s", "^", "v", "P")
_LINE_LABEL = "P-MPJPE (line in a bar)"
# Of all bars of a group together, for many groups and for few.
_BAR_WIDTH, _SLIM_BAR_WIDTH, _FEW_GROUPS = 0.8, 0.5, 8
# Above bars of more groups than these the figures would touch.
_MOST_LABELLED = 18


def check_plot(path: Path) -> None:
    """Raises ValueError for a suffix that is not drawn, OSError for a folder that is not there."""
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"{path}: pictures are {', '.join(SUFFIXES)}; name one of these")
    check_folder(path)


def plot_errors(evaluation: Evaluation, path: Path) -> None:
    """Draw MPJPE per action and per joint, contenders side by side."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(11, 8.2), layout="constrained")
        actions, joints = figure.subplots(2, 1)
        _draw_actions(actions, evaluation)
        _draw_joints(joints, evaluation)
        _title(figure, evaluation, "Errors per action and joint")
        _legend(figure, actions)
        _save(figure, path)


def plot_lags(evaluation: Evaluation, path: Path) -> None:
    """Draw MPJPE and P-MPJPE over frames against lag. Raises ValueError if none was measured."""
    if not evaluation.results[0].lags:
        raise ValueError("no lags were measured, so there is nothing to draw")
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(STYLE):
        figure = Figure(figsize=(9, 6.6), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True)
        _draw_lag_curves(upper, evaluation.results, "mpjpe_mm")
        _draw_lag_curves(lower, evaluation.results, "p_mpjpe_mm")
        _finish_lag_axes(upper, lower, evaluation)
        _title(figure, evaluation, "Accuracy against lag")
        _save(figure, path)


def _legend(figure: Figure, axes: Axes) -> None:
    """Below both panels: the contenders in order, then what the line in a bar is."""
    entries = list(zip(*axes.get_legend_handles_labels(), strict=True))
    entries.sort(key=lambda entry: entry[1] == _LINE_LABEL)
    handles, labels = zip(*entries, strict=True)
    figure.legend(handles, labels, loc="outside lower center", ncols=6, frameon=False)


def _draw_actions(axes: Axes, evaluation: Evaluation) -> None:
    results = evaluation.results
    groups = list(results[0].report.per_action)
    heights = [[r.report.per_action[g].errors.mpjpe_mm for g in groups] for r in results]
    aligned = [[r.report.per_action[g].errors.p_mpjpe_mm for g in groups] for r in results]
    _draw_bars(axes, groups, results, heights)
    for index, values in enumerate(aligned):
        # A line across each bar: what is left once every pose is aligned with the truth.
        _across(axes, index, len(results), values)
    mean = results[0].report.actions.mpjpe_mm
    axes.axhline(mean, color=FAINT, linewidth=1, linestyle=":", zorder=1)
    axes.annotate(f"mean over actions\n{mean:.1f}", (1.0, mean), (6, 0),
                  xycoords=("axes fraction", "data"), textcoords="offset points",
                  va="center", fontsize=8.5, color=FAINT, annotation_clip=False)  # fmt: skip
    axes.set_ylabel("MPJPE per action, mm")


def _draw_joints(axes: Axes, evaluation: Evaluation) -> None:
    results = evaluation.results
    groups = list(results[0].report.per_joint_mm)
    heights = [list(result.report.per_joint_mm.values()) for result in results]
    _draw_bars(axes, [name.replace("_", " ") for name in groups], results, heights)
    axes.set_ylabel("MPJPE per joint, mm")


def _draw_bars(
    axes: Axes, groups: list[str], results: Sequence[Result], heights: list[list[float]]
) -> None:
    for index, (result, values) in enumerate(zip(results, heights, strict=True)):
        places, width = _places(index, len(results), len(groups))
        axes.bar(places, values, width, label=result.label,
                 color=_COLORS[index % len(_COLORS)], edgecolor="white", linewidth=0.6)  # fmt: skip
    if len(groups) <= _MOST_LABELLED:
        for group, column in enumerate(zip(*heights, strict=True)):
            axes.annotate(f"{column[0]:.1f}", (group, max(column)), (0, 3), ha="center",
                          textcoords="offset points", fontsize=8.5, color=FAINT,
                          bbox=CLEAR)  # fmt: skip
    turn = sum(map(len, groups)) > 90
    axes.set_xticks(range(len(groups)), groups, rotation=35 if turn else 0,
                    ha="right" if turn else "center", rotation_mode="anchor")  # fmt: skip
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.margins(y=0.12)
    axes.tick_params(axis="x", length=0)
    axes.grid(axis="y")


def _across(axes: Axes, index: int, count: int, values: list[float]) -> None:
    places, width = _places(index, count, len(values))
    half = 0.42 * width
    axes.hlines(values, [p - half for p in places], [p + half for p in places],
                color="white", linewidth=1.6)  # fmt: skip
    if index == 0:
        # The legend has a white ground, so its line has a bar behind it.
        axes.plot([], [], color="white", linewidth=1.6, label=_LINE_LABEL,
                  path_effects=_on_a_bar())  # fmt: skip


def _on_a_bar() -> list[Any]:
    from matplotlib.patheffects import Normal, Stroke

    return [Stroke(linewidth=9, foreground=_COLORS[0]), Normal()]


def _places(index: int, count: int, n_groups: int) -> tuple[list[float], float]:
    """Where the bars of one contender stand, beside those of the others, and how wide they are."""
    width = (_BAR_WIDTH if n_groups > _FEW_GROUPS else _SLIM_BAR_WIDTH) / count
    shift = (index - (count - 1) / 2) * width
    return [group + shift for group in range(n_groups)], width


def _draw_lag_curves(axes: Axes, results: Sequence[Result], metric: str) -> None:
    """The first contender as a line, the others as rings around its points."""
    places = _lag_places([point.lag for point in results[0].lags])
    curves = [[getattr(point.frames, metric) for point in result.lags] for result in results]
    for index, (result, values) in enumerate(zip(results, curves, strict=True)):
        color = _COLORS[index % len(_COLORS)]
        if index == 0:
            axes.fill_between(places, values, values[-1], color=color, alpha=0.08, linewidth=0)
            axes.plot(places, values, color=color, linewidth=2, marker="o", markersize=5,
                      label=result.label)  # fmt: skip
        else:
            axes.plot(places, values, linestyle="none", marker=_MARKERS[index % len(_MARKERS)],
                      markersize=6 + 1.6 * index, markerfacecolor="none", markeredgewidth=1.4,
                      markeredgecolor=color, label=result.label)  # fmt: skip
    _annotate_ends(axes, places, curves)


def _annotate_ends(axes: Axes, places: list[float], curves: list[list[float]]) -> None:
    """The first contender's figures at both ends, clear of all marks, and a line at the last."""
    first, last = curves[0][0], curves[0][-1]
    axes.axhline(last, color=FAINT, linewidth=1, linestyle=":", zorder=1)
    lowest, highest = (limit(curve[at] for curve in curves) for limit, at in ((min, -1), (max, 0)))
    axes.annotate(f"{last:.1f} mm", (places[-1], lowest), (0, -20), ha="center",
                  textcoords="offset points", bbox=CLEAR)  # fmt: skip
    if len(places) > 1:
        axes.annotate(f"{first:.1f} mm ({first - last:+.1f})", (places[0], highest), (-6, 12),
                      textcoords="offset points", bbox=CLEAR)  # fmt: skip


def _finish_lag_axes(upper: Axes, lower: Axes, evaluation: Evaluation) -> None:
    for axes, name in ((upper, "MPJPE"), (lower, "P-MPJPE")):
        axes.set_ylabel(f"{name} over frames, mm")
        axes.margins(x=0.05, y=0.22)
        axes.grid(axis="y")
    lags = [point.lag for point in evaluation.results[0].lags]
    labelled = _labelled(lags)
    places = _lag_places(lags)
    ticks = [places[lags.index(lag)] for lag in labelled]
    lower.set_xticks(ticks, [str(lag) for lag in labelled])
    scale = ", square-root scale" if _is_squeezed(lags) else ""
    lower.set_xlabel(f"lag, frames (this network looks ahead {_ahead(evaluation)}){scale}")
    upper.tick_params(axis="x", length=0)
    upper.legend(frameon=False, loc="best")
    if evaluation.fps is not None:
        above = upper.secondary_xaxis("top")
        above.set_xticks(ticks, [f"{1000 * lag / evaluation.fps:.0f}" for lag in labelled])
        above.set_xlabel(f"lag, milliseconds at {evaluation.fps:g} frames/s", color=FAINT)
        above.tick_params(colors=FAINT)


def _ahead(evaluation: Evaluation) -> str:
    count = evaluation.model.spec.lookahead
    return f"{count} frame" if count == 1 else f"{count} frames"


def _is_squeezed(lags: list[int]) -> bool:
    return max(lags) > ALL_UP_TO


def _lag_places(lags: list[int]) -> list[float]:
    """Where lags lie on the axis; over long ranges small lags, where each counts most, get room."""
    return [lag**0.5 if _is_squeezed(lags) else float(lag) for lag in lags]


def _labelled(lags: list[int]) -> list[int]:
    """The lags whose figures fit beside each other, the first and last among them."""
    places = dict(zip(lags, _lag_places(lags), strict=True))
    nearest = 0.035 * (places[lags[-1]] - places[lags[0]])
    kept = [lags[0]]
    for lag in lags[1:]:
        if places[lag] - places[kept[-1]] >= nearest:
            kept.append(lag)
    return kept if kept[-1] == lags[-1] else [*kept[:-1], lags[-1]]


def _title(figure: Figure, evaluation: Evaluation, what: str) -> None:
    flipped = ", averaged with the mirror image" if evaluation.flip else ""
    figure.suptitle(
        f"{what}: {evaluation.model.name}\n{evaluation.data.title}{flipped}", fontsize=12
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        # A date would make two files of the same figures differ.
        metadata = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        figure.savefig(temporary, dpi=160, metadata=metadata.get(path.suffix.lower(), {}))
