"""Pictures of a benchmark: latency by contender, latency against people, accuracy against speed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vp3d_bench.contenders.base import STREAM
from vp3d_bench.document import Document, Member
from vp3d_bench.floors import ARITHMETIC, arithmetic_name
from vp3d_bench.ratios import GPU_PEERS, PLAIN
from vp3d_bench.report import floor_label, gpu_names, of_processor
from vp3d_bench.statistics import Spread
from vp3d_deploy.evaluation.plot_style import FAINT, GOLD, GREEN, NAVY, ORANGE, PURPLE, STYLE, TEXT
from vp3d_deploy.formats.atomic import replacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SUFFIXES = (".png", ".svg")
# Of what runs on a GPU, beside the style's own.
CYAN, LIME, RED = "#2c7fb8", "#76a832", "#c0392b"
FAMILY_COLORS = {
    "native": NAVY,
    "onnx": GREEN,
    "onnxruntime": GOLD,
    "openvino": PURPLE,
    "pytorch": ORANGE,
    "cuda": CYAN,
    "tensorrt": LIME,
    "onnxcuda": "#7fb8ad",
    "torchcuda": RED,
}
FAMILY_NAMES = {
    "native": "our native engine",
    "onnx": "our graphs on ONNX Runtime",
    "onnxruntime": "ONNX Runtime, plain export",
    "openvino": "OpenVINO, plain export",
    "pytorch": "PyTorch",
    "cuda": "our CUDA engine",
    "tensorrt": "our graphs on TensorRT",
    "onnxcuda": "our graphs on ONNX Runtime, GPU",
    "torchcuda": "PyTorch, GPU",
}
# Lines of our streams, beside the colour of their precision.
FAMILY_LINES: dict[str, Any] = {
    "native": "-",
    "onnx": (0, (1, 1)),
    "cuda": (0, (8, 1)),
    "tensorrt": (0, (5, 2, 1, 2)),
    "onnxcuda": (0, (2, 2)),
}
FAMILY_LINE_NAMES = {
    "native": "native",
    "onnx": "our ONNX graph",
    "cuda": "CUDA engine",
    "tensorrt": "TensorRT",
    "onnxcuda": "our ONNX graph, GPU",
}
PRECISION_COLORS = {"fp32": NAVY, "fp16": "#3f7fbf", "int8": GREEN}
# Of a line of text beside the axes of the accuracy, as a share of their height.
LABEL_HEIGHT = 0.045
FORM_MARKERS = {"window": "s", "stream": "o"}


def draw_all(document: Document, folder: Path) -> list[Path]:
    """Draw what there is something to draw of into `folder`; the files' paths."""
    from matplotlib import rc_context

    from vp3d_bench.gpu_plots import gpu_figure

    pictures: list[tuple[str, Callable[[Document], Figure | None]]] = []
    if document.latency.get(1):
        pictures.append(("latency", latency_figure))
        pictures.append(("accuracy", accuracy_figure))
    if len(document.latency) > 1:
        pictures.append(("people", people_figure))
    pictures.append(("gpu", gpu_figure))
    written = []
    with rc_context(STYLE):
        for name, draw in pictures:
            figure = draw(document)
            if figure is None:
                continue
            folder.mkdir(exist_ok=True)
            for suffix in SUFFIXES:
                path = folder / f"{name}{suffix}"
                _save(figure, path)
                written.append(path)
    return written


def latency_figure(document: Document) -> Figure:
    """A row per contender: from the minimum to the 95th percentile, and on to the 99th, the median
    marked."""
    from matplotlib.figure import Figure

    arithmetic = arithmetic_name("")
    timed = {n: one for n, one in document.latency[1].items() if not n.startswith(arithmetic)}
    names = sorted(timed, key=lambda name: timed[name].p50, reverse=True)
    figure = Figure(figsize=(10, 2.2 + 0.27 * len(names)), layout="constrained")
    axes = figure.subplots()
    labels = []
    for place, name in enumerate(names):
        member = document.members.get(name)
        _latency_row(axes, place, member, timed[name])
        labels.append(floor_label(document, name) if member is None else member.label)
    axes.set_yticks(range(len(names)), labels)
    for name, tick in zip(names, axes.get_yticklabels(), strict=True):
        tick.set_color(TEXT if name in document.members else FAINT)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(-0.7, len(names) - 0.3)
    log_axis(axes.xaxis, axes.set_xscale)
    axes.set_xlim(
        min(t.min for t in timed.values()) / 1.3, max(t.p99 for t in timed.values()) * 1.8
    )
    axes.grid(axis="x", which="major")
    axes.set_xlabel("milliseconds per answer, one person: bar from minimum to p95, line on to p99, "
                    "mark at the median")  # fmt: skip
    _legend(figure, document, names, {"s": "window", "o": "stream", "|": "floor"})
    title(figure, document, "Time of one live answer")
    return figure


def people_figure(document: Document) -> Figure:
    """A panel per lag: streams of every precision, peers' windows, and the arithmetic alone."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.4 * len(document.lags) + 0.6, 5.6), layout="constrained")
    panels = figure.subplots(1, len(document.lags), sharey=True, squeeze=False)[0]
    for axes, lag in zip(panels, document.lags, strict=True):
        _people_panel(axes, document, lag)
    panels[0].set_ylabel("milliseconds per frame, all people together, median")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False)
    title(figure, document, "Live answers for several people in one call")
    return figure


def accuracy_figure(document: Document) -> Figure:
    """Mean distance from the definition against the median time, both logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6.2), layout="constrained")
    axes = figure.subplots()
    names = [name for name in document.latency[1] if name in document.members]
    for name in names:
        member = document.members[name]
        axes.plot(
            document.latency[1][name].p50,
            max(document.accuracy[name].mean_mm, 1e-7),
            linestyle="none",
            marker=FORM_MARKERS[member.form],
            markersize=9,
            color=FAMILY_COLORS[member.family],
            markerfacecolor="white" if (member.lag or 0) > 0 else FAMILY_COLORS[member.family],
            markeredgewidth=1.8,
        )
    log_axis(axes.yaxis, axes.set_yscale, (1.0,))
    log_axis(axes.xaxis, axes.set_xscale)
    axes.grid(which="major")
    axes.set_xlabel("milliseconds per answer, one person, median")
    axes.set_ylabel("mean distance of joints from the definition, mm")
    axes.margins(0.08, 0.12)
    _precision_bands(axes, document, names)
    _legend(
        figure, document, names, {"s": "window", "o": "stream, lag 0", ".o": "stream, with lag"}
    )
    title(figure, document, "Accuracy against speed: lower left is better")
    return figure


def _latency_row(axes: Axes, place: int, member: Member | None, timed: Spread) -> None:
    color = FAINT if member is None else FAMILY_COLORS[member.family]
    marker = "|" if member is None else FORM_MARKERS[member.form]
    axes.barh(place, timed.p95 - timed.min, 0.5, left=timed.min, color=color, alpha=0.35,
              linewidth=0)  # fmt: skip
    axes.hlines(place, timed.p95, timed.p99, color=color, alpha=0.6, linewidth=1.2)
    axes.plot(timed.p50, place, marker=marker, markersize=7, markeredgewidth=1.8, color=color)
    axes.annotate(_milliseconds(timed.p50), (timed.p99, place), (8, 0),
                  textcoords="offset points", va="center", fontsize=8.5, color=FAINT)  # fmt: skip


def _people_panel(axes: Axes, document: Document, lag: int) -> None:
    counts = sorted(document.latency)
    for name, member in document.members.items():
        if member.prepared:  # timed for one person alone
            continue
        if member.form == STREAM and member.lag == lag and member.ours:
            label = f"{FAMILY_LINE_NAMES[member.family]}, {member.precision}"
            color, line = PRECISION_COLORS[member.precision], FAMILY_LINES[member.family]
            _line(axes, document, counts, name, label, color, line)
        elif name in (*PLAIN, *GPU_PEERS, "pytorch-strided"):
            second = name.endswith(("-dynamo", "-graph-half"))
            style: Any = (0, (4, 1, 1, 1, 1, 1)) if second else "-."
            _line(axes, document, counts, name, member.label, FAMILY_COLORS[member.family], style)
    for kind in dict.fromkeys(ARITHMETIC[p] for p in document.bundle.precisions):
        name, color = f"{arithmetic_name(kind)}@{lag}", PRECISION_COLORS[kind]
        label = f"{kind} arithmetic alone{of_processor(document)}"
        _line(axes, document, counts, name, label, color, "--", marker="")
    people_axes(axes, counts)
    axes.set_title(f"lag {lag}" if lag else "lag 0: an answer for the newest frame", fontsize=10)


def _line(
    axes: Axes,
    document: Document,
    counts: list[int],
    name: str,
    label: str,
    color: str,
    style: Any,
    marker: str = "o",
) -> None:
    points = [
        (count, document.latency[count][name].p50)
        for count in counts
        if name in document.latency[count]
    ]
    if len(points) > 1 or (points and marker):
        axes.plot(*zip(*points, strict=True), label=label, color=color, linestyle=style,
                  marker=marker, markersize=4, linewidth=1.6)  # fmt: skip


def _precision_bands(axes: Axes, document: Document, names: list[str]) -> None:
    """The precision beside each cluster of heights, one above the other where these are close."""
    heights: dict[str, list[float]] = {}
    for name in names:
        mean = max(document.accuracy[name].mean_mm, 1e-7)
        heights.setdefault(document.members[name].precision, []).append(mean)
    to_place = axes.transData + axes.transAxes.inverted()
    middles = {name: sorted(values)[len(values) // 2] for name, values in heights.items()}
    places = [float(to_place.transform((axes.get_xlim()[0], y))[1]) for y in middles.values()]
    for precision, place in zip(middles, spread_out(places, LABEL_HEIGHT), strict=True):
        axes.annotate(precision, (1.0, place), (6, 0), xycoords="axes fraction",
                      textcoords="offset points", va="center", annotation_clip=False)  # fmt: skip


def spread_out(places: list[float], apart: float) -> list[float]:
    """The places, in the same order, moved as little as need be to lie `apart` from each other.

    Those that are too close form a group, which keeps its mean; a group that then meets another
    one joins it.
    """
    order = sorted(range(len(places)), key=lambda at: places[at])
    groups: list[list[int]] = []

    def bottom(group: list[int]) -> float:
        mean = sum(places[at] for at in group) / len(group)
        return mean - apart * (len(group) - 1) / 2

    for at in order:
        groups.append([at])
        while len(groups) > 1 and (
            bottom(groups[-1]) - bottom(groups[-2]) < apart * len(groups[-2]) - 1e-12
        ):
            last = groups.pop()
            groups[-1] += last
    moved = list(places)
    for group in groups:
        for rank, at in enumerate(group):
            moved[at] = bottom(group) + apart * rank
    return moved


def _legend(figure: Figure, document: Document, names: list[str], marks: Mapping[str, str]) -> None:
    """Below the axes: whose colour is whose, then what the marks mean, hollow ones after a dot."""
    from matplotlib.lines import Line2D

    members = document.members
    families = {members[name].family for name in names if name in members}
    entries = [
        ("o", FAMILY_COLORS[family], FAMILY_COLORS[family], FAMILY_NAMES[family])
        for family in FAMILY_COLORS
        if family in families
    ]
    entries += [
        (mark.lstrip("."), FAINT, "white" if mark.startswith(".") else FAINT, label)
        for mark, label in marks.items()
    ]
    handles = [
        Line2D([], [], linestyle="none", marker=marker, markersize=8, color=edge,
               markerfacecolor=face, markeredgewidth=1.8, label=label)
        for marker, edge, face, label in entries
    ]  # fmt: skip
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False)


def people_axes(axes: Axes, counts: list[int]) -> None:
    """Numbers of people across, milliseconds up."""
    axes.set_xscale("log", base=2)
    axes.set_xticks(counts, [str(count) for count in counts])
    axes.minorticks_off()
    log_axis(axes.yaxis, axes.set_yscale)
    axes.grid(which="major")
    axes.set_xlabel("people in one call")


def log_axis(
    axis: Any, set_scale: Callable[[str], None], steps: tuple[float, ...] = (1.0, 2.0, 5.0)
) -> None:
    """Logarithmic, labelled 0.2, 0.5, 1, 2, 5: no powers of ten to be worked out."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    set_scale("log")
    axis.set_major_locator(LogLocator(10, subs=steps, numticks=50))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def _milliseconds(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def title(figure: Figure, document: Document, what: str) -> None:
    spec, machine = document.bundle.spec, document.machine
    causal = ", causal" if spec.causal else ""
    figure.suptitle(
        f"{what}\n{spec.receptive_field} frames × {spec.channels} channels{causal}; "
        f"{', '.join([*gpu_names(machine), machine['cpu']])}, {document.threads} threads",
        fontsize=12,
    )


def _save(figure: Figure, path: Path) -> None:
    with replacing(path) as temporary:
        # A date would make two files of the same figures differ.
        metadata: dict[str, Any] = {"Date": None} if path.suffix == ".svg" else {}
        figure.savefig(temporary, dpi=150, metadata=metadata)
