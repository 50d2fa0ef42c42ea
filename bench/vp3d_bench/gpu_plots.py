"""A picture of what a GPU did: its own time beside the host's, energy per frame, memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from vp3d_bench.contenders.base import STREAM
from vp3d_bench.contenders.line_up import on_gpu
from vp3d_bench.document import Document
from vp3d_bench.plots import FAMILY_COLORS, PRECISION_COLORS, people_axes, title
from vp3d_bench.ratios import GPU_ENGINE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def gpu_figure(document: Document) -> Figure | None:
    """Panels of what was measured on a GPU; None where nothing was."""
    from matplotlib.figure import Figure

    panels: list[Callable[[Axes], None]] = []
    rows = 8
    if document.gpu_ms:
        panels.append(lambda axes: _times_panel(axes, document))
    energy, memory = energy_mj(document), memory_mb(document)
    for values, words in (
        (energy, "millijoules per frame, one person, above the machine at rest"),
        (memory, "MB of the GPU's memory, CUDA's own with it"),
    ):
        if values:
            rows = max(rows, len(values))
            panels.append(lambda axes, v=values, w=words: _bars_panel(axes, document, v, w))  # type: ignore[misc]
    if not panels:
        return None
    figure = Figure(figsize=(7.2 * len(panels), 2.2 + 0.3 * rows), layout="constrained")
    for axes, draw in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels, strict=True):
        draw(axes)
    title(figure, document, "On the GPU")
    return figure


def energy_mj(document: Document) -> dict[str, float]:
    """Of those on the GPU, by name."""
    found = {} if document.power is None else document.power.frames
    return {name: used.above_idle_mj for name, used in found.items() if on_gpu(name)}


def memory_mb(document: Document) -> dict[str, float]:
    """Of those that were opened in a process of their own, by name."""
    found = {name: opening.get("gpu_mb") for name, opening in document.openings.items()}
    return {name: value for name, value in found.items() if value is not None and on_gpu(name)}


def _times_panel(axes: Axes, document: Document) -> None:
    """Live frames of the CUDA engine at the shortest lag: medians, and up to the 99th
    percentile, host to host and by events."""
    counts, lag = sorted(document.gpu_ms), min(document.lags)
    for precision in document.bundle.precisions:
        name = f"{GPU_ENGINE}-{STREAM}-{precision}@{lag}"
        color = PRECISION_COLORS[precision]
        for found, words, style in (
            (document.latency, "host to host", "-"),
            (document.gpu_ms, "by events", "--"),
        ):
            timed = {count: found[count][name] for count in counts if name in found.get(count, {})}
            if not timed:
                continue
            axes.plot(list(timed), [one.p50 for one in timed.values()], style, color=color,
                      marker="o", markersize=4, label=f"{precision}, {words}")  # fmt: skip
            axes.fill_between(list(timed), [one.p50 for one in timed.values()],
                              [one.p99 for one in timed.values()], color=color, alpha=0.12,
                              linewidth=0)  # fmt: skip
    people_axes(axes, counts)
    axes.set_ylabel("milliseconds per frame: median, shaded up to p99")
    axes.set_title(f"our CUDA engine, lag {lag}", fontsize=10)
    if axes.lines:
        axes.legend(frameon=False, fontsize=8.5)


def _bars_panel(axes: Axes, document: Document, values: Mapping[str, float], words: str) -> None:
    names = sorted(values, key=lambda name: values[name], reverse=True)
    members = document.members
    colors = [FAMILY_COLORS[members[name].family] for name in names]
    bars = axes.barh(range(len(names)), [values[name] for name in names], 0.6, color=colors)
    labels = [
        f"{values[name]:.3g}" if values[name] < 100 else f"{values[name]:.0f}" for name in names
    ]
    axes.bar_label(bars, labels, padding=4, fontsize=8.5)
    axes.set_yticks(range(len(names)), [members[name].label for name in names])
    axes.tick_params(axis="y", length=0)
    axes.margins(x=0.15)
    axes.set_xlabel(words)
