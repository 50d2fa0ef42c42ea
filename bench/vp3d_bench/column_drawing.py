"""Draw which columns of a network a live stream computes for one frame.

    python -m vp3d_bench.column_drawing docs/three-columns.svg

The drawing is made from `stream_plan` itself: every mark is a column that the plan names, every
line a tap that it reads.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.lines import Line2D

from vp3d_deploy.plan import Column, StreamPlan, Tap, stream_plan
from vp3d_deploy.spec import ModelSpec

COLOURS = {
    Column.TRUE: "#1f6fb4",
    Column.STRADDLING: "#d9730d",
    Column.CONSTANT: "#3a9a5b",
}
RING = "#b9c4cf"
LABELS = {
    Column.TRUE: "true: sees past frames only, kept in the level's ring",
    Column.STRADDLING: "straddling: sees past frames and repetitions",
    Column.CONSTANT: "constant: sees the newest frame alone",
}
SPEC = ModelSpec((3, 3, 3), 1024)


def positions(spec: ModelSpec, plan: StreamPlan) -> list[dict[Column, int]]:
    """Offset from the newest frame of each column that is computed, for each level's output.

    Found from the taps, top down: the residual tap of a column lies where the column does.
    """
    reach = [(d - 1) // 2 for d in (*spec.dilations[1:], spec.receptive_field)]
    found: list[dict[Column, int]] = [{} for _ in plan.levels]
    found[-1][plan.answer] = -plan.lag
    for level in range(len(plan.levels) - 1, -1, -1):
        for column in plan.levels[level].columns:
            if column is Column.TRUE:
                found[level][column] = -reach[level]
            elif column is Column.CONSTANT:
                found[level].setdefault(column, reach[level])
        if level == 0:
            break
        for column, taps in plan.levels[level].columns.items():
            for number, tap in enumerate(taps):
                if tap.column is Column.STRADDLING:
                    at = found[level][column] + _shift(spec, level, number)
                    found[level - 1][Column.STRADDLING] = at
    return found


def _shift(spec: ModelSpec, level: int, tap: int) -> int:
    return (tap - spec.residual_tap(level)) * spec.dilations[level]


def draw(spec: ModelSpec, lags: tuple[int, ...], path: Path) -> None:
    """One panel for each lag, time to the right, levels upwards."""
    figure, panels = plt.subplots(len(lags), 1, figsize=(9.6, 3.5 * len(lags)), sharex=True)
    for panel, lag in zip(panels, lags, strict=True):
        _panel(panel, spec, stream_plan(spec, lag))
    panels[-1].set_xlabel("frames from the newest one")
    handles = [
        Line2D([], [], marker="o", ls="", color=COLOURS[c], ms=8, label=LABELS[c]) for c in Column
    ]
    handles.append(
        Line2D([], [], marker="o", ls="", mfc="white", mec=RING, mew=2, ms=8,
               label="true column of an earlier frame, read from the ring")
    )  # fmt: skip
    figure.legend(handles=handles, loc="lower center", ncol=2, frameon=False, fontsize=9)
    figure.tight_layout(rect=(0, 0.03 + 0.06 / len(lags), 1, 1))
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _panel(panel: Any, spec: ModelSpec, plan: StreamPlan) -> None:
    placed = positions(spec, plan)
    half = spec.receptive_field // 2
    panel.axvspan(0.5, half + 1.5, color="#f3efe6", zorder=0)
    panel.text(half + 1.2, -0.42, "not seen yet: the newest frame, repeated", ha="right",
               va="center", fontsize=8.5, color="#8a7d5a")  # fmt: skip
    for offset in range(-2 * half, 1):
        panel.plot(offset, 0, marker="|", color="#8895a3", ms=7, zorder=2)
    for level, columns in enumerate(plan.levels):
        for column, taps in columns.columns.items():
            end = placed[level][column]
            for number, tap in enumerate(taps):
                start = end + _shift(spec, level, number)
                _line(panel, plan, level, tap, (start, end), COLOURS[column])
    for level, at in enumerate(placed, 1):
        for column, offset in at.items():
            panel.plot(offset, level, "o", color=COLOURS[column], ms=11, zorder=4)
    panel.annotate(
        f"the answer, for frame {-plan.lag}" if plan.lag else "the answer, for the newest frame",
        (-plan.lag, len(placed)), (0, 10), textcoords="offset points", ha="center", fontsize=9.5,
    )  # fmt: skip
    panel.set_title(f"lag {plan.lag}", loc="left", fontsize=11, fontweight="bold")
    panel.set_yticks(range(len(placed) + 1), ["input", *(f"level {k}" for k in range(len(placed)))])
    panel.set_ylim(-0.65, len(placed) + 0.55)
    panel.set_xlim(-2 * half - 1, half + 1.5)
    for side in ("top", "right", "left"):
        panel.spines[side].set_visible(False)
    panel.tick_params(left=False)


def _line(
    panel: Any, plan: StreamPlan, level: int, tap: Tap, ends: tuple[int, int], colour: str
) -> None:
    """From what a tap reads up to the column that reads it."""
    start, end = ends
    panel.plot([start, end], [level, level + 1], color=colour, lw=1.4, alpha=0.75, zorder=1)
    if level == 0:
        panel.plot(start, 0, "s", color="#4b5763", ms=5, zorder=3)
    elif tap.column is None:
        panel.plot(start, level, "o", mfc="white", mec=RING, mew=2, ms=9, zorder=3)
    elif tap.column is Column.CONSTANT:
        # The same column wherever it is read.
        panel.plot(start, level, "o", color=COLOURS[Column.CONSTANT], ms=7, alpha=0.45, zorder=3)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path, help="svg or png")
    parser.add_argument("--lags", type=int, nargs="+", default=[0, 5, 13])
    options = parser.parse_args()
    draw(SPEC, tuple(options.lags), options.file)
    print(f"wrote {options.file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
