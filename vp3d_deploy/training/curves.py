"""Loss and error by epoch, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vp3d_deploy.formats.atomic import replacing
from vp3d_deploy.metrics import MM_PER_M

_COLOURS = ("#1f6feb", "#d9480f", "#2b8a3e", "#862e9c")
# Logged figure -> label, factor to the unit of its axis.
_ERRORS = {
    "train/pose": ("training loss (with dropout)", MM_PER_M),
    "test/mpjpe_mm": ("test MPJPE", 1.0),
    "test/lag0_mpjpe_mm": ("live at lag 0", 1.0),
}
_OTHERS = {
    "train/trajectory": ("trajectory, m per m of depth", 1.0),
    "train/projection": ("projection, half image widths", 1.0),
    "train/bones": ("bone lengths, m", 1.0),
}


def draw_curves(epochs: Sequence[dict[str, float]], path: Path) -> None:
    """Write a PNG: training loss and test error in mm, and the other losses if there are any.

    epochs: `LiftingModule.history`.
    """
    import matplotlib.figure

    has_others = any(name in epoch for epoch in epochs for name in _OTHERS)
    columns = 2 if has_others else 1
    figure = matplotlib.figure.Figure(figsize=(6.4 * columns, 4), layout="constrained", dpi=130)
    axes = figure.subplots(1, columns, squeeze=False)[0]
    _draw(axes[0], epochs, _ERRORS, "mm")
    if has_others:
        _draw(axes[1], epochs, _OTHERS, "")
        axes[1].set_yscale("log")
    with replacing(path) as partial:
        figure.savefig(partial, format="png")


def _draw(
    axis: Any, epochs: Sequence[dict[str, float]], figures: dict[str, tuple[str, float]], unit: str
) -> None:
    from matplotlib.ticker import MaxNLocator

    highest = 0.0
    for colour, (name, (label, factor)) in zip(_COLOURS, figures.items(), strict=False):
        points = [(e["epoch"] + 1, factor * e[name]) for e in epochs if name in e]
        if not points:
            continue
        x, y = zip(*points, strict=True)
        marker = "o" if len(points) < 2 else None
        # Last figures stand in the legend: beside the lines they would cover each other.
        label = f"{label}: {y[-1]:.3g} at the end"
        axis.plot(x, y, color=colour, label=label, linewidth=1.8, marker=marker)
        # The first epochs of a loss would press the rest flat.
        highest = max(highest, *y[len(y) // 10 :])
    if unit and axis.lines:
        axis.set_ylim(0, min(1.1 * highest, 3 * max(line.get_ydata()[-1] for line in axis.lines)))
    axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    axis.set_xlabel("epoch")
    axis.set_ylabel(unit)
    axis.grid(alpha=0.25)
    axis.spines[["top", "right"]].set_visible(False)
    axis.legend(frameon=False)
