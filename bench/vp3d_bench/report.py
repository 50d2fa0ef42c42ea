"""What vp3d-bench prints: accuracy and speed of everybody, side by side."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vp3d_bench.contenders.base import SEQUENCE
from vp3d_bench.document import Document, Member, NamedRatio
from vp3d_bench.floors import read_name
from vp3d_bench.statistics import Spread

TABLE_WIDTH = 118
NAMES_ON_A_LINE = 6
NONE = "–"


def print_report(document: Document, console: Console | None = None) -> None:
    """Print every table that has something in it, then who was not timed and why."""
    console = console or Console()
    # A line that a narrow terminal breaks is better than figures cut short.
    console.width = max(console.width, TABLE_WIDTH)
    console.print(_heading(document), highlight=False)
    if document.latency.get(1):
        console.print(_latency_table(document))
    if len(document.latency) > 1:
        console.print(_people_table(document))
    if document.gpu_ms:
        console.print(_gpu_table(document))
    if document.gpu_rates:
        console.print(_rates_line(document.gpu_rates), highlight=False)
    if document.throughput:
        console.print(_throughput_table(document))
    if document.openings:
        console.print(_opening_table(document))
    if document.push:
        console.print(_push_line(document.push), highlight=False)
    if document.power is not None:
        # Imported here, since it draws its table with what is above.
        from vp3d_bench.power.report import energy_table

        labels = {name: member.label for name, member in document.members.items()}
        console.print(energy_table(document.power, labels, "One person, each alone"))
    for made in _ratio_tables(document.ratios):
        console.print(made)
    busy = document.machine["load_average"]
    if busy > 0.5:
        console.print(f"note: the machine was busy with other work at the beginning (load {busy}); "
                      "compare minima, or measure again", highlight=False)  # fmt: skip
    for names, reason in by_reason(document.unavailable):
        console.print(f"not timed: {escape(names)}: {escape(reason)}", highlight=False)
    for people, of in document.crowd_refused.items():
        for names, reason in by_reason(of):
            console.print(f"not timed with {people} people: {escape(names)}: {escape(reason)}",
                          highlight=False)  # fmt: skip


def table(title: str, names: Iterable[str], numbers: Iterable[str], caption: str = "") -> Table:
    """Columns of text, then columns of numbers."""
    made = Table(title=escape(title), caption=caption or None, box=box.SIMPLE_HEAD,
                 padding=(0, 1, 0, 0), title_justify="left", caption_justify="left")  # fmt: skip
    for name in names:
        made.add_column(name, no_wrap=True)
    for number in numbers:
        made.add_column(number, justify="right", no_wrap=True)
    return made


def milliseconds(value: float) -> str:
    """Three digits or so."""
    if value >= 100:
        return f"{value:.0f}"
    return f"{value:.2f}" if value >= 10 else f"{value:.3f}"


def by_reason(reasons: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Names that share a reason on one line, and the reason; of many names, how many."""
    for reason in dict.fromkeys(reasons.values()):
        names = [name for name, why in reasons.items() if why == reason]
        words = ", ".join(names)
        if len(names) > NAMES_ON_A_LINE:
            families = dict.fromkeys(name.split("-")[0] for name in names)
            words = f"{len(names)} of {', '.join(f'{family}-*' for family in families)}"
        yield words, reason


def _heading(document: Document) -> str:
    spec, machine = document.bundle.spec, document.machine
    limit, beside = machine.get("cgroup_cpu_limit"), document.settings.get("beside")
    gpus = "".join(f"{name}; " for name in gpu_names(machine))
    return (
        f"{document.bundle.path.name}: {spec.receptive_field} frames, {spec.channels} channels"
        f"{', causal' if spec.causal else ''}; {gpus}"
        f"{machine['cpu']}, {document.threads} threads of "
        f"{machine['cores_allowed']} cores{'' if limit is None else f', limited to {limit:g}'}; "
        f"load {machine['load_average']} at the beginning"
        f"{'' if beside is None else f'; another program takes {beside:g} % of a core'}"
    )


def _latency_table(document: Document) -> Table:
    made = table(
        "One person: milliseconds per answer, and distance from the definition in float64",
        ("", "form", "prec."),
        ("mean mm", "max mm", "min", "p50", "p95", "p99", "worst"),
        "prec.: of the weights. A window computes its whole past anew; a stream takes one frame.",
    )
    for name, timed in document.latency[1].items():
        member = document.members.get(name)
        if member is not None:
            made.add_row(*_member_cells(member), *_accuracy_cells(document, name),
                         *_spread_cells(timed))  # fmt: skip
    made.add_section()
    for name, timed in document.latency[1].items():
        if name not in document.members:
            made.add_row(floor_label(document, name), "floor", "", "", "", *_spread_cells(timed))
    return made


def floor_label(document: Document, name: str) -> str:
    """What a floor is, for people."""
    for precision, count in document.weight_bytes.items():
        if name == read_name(precision):
            rate = count / document.latency[1][name].min / 1e6
            of = of_processor(document)
            return f"reading {count / 1e6:.3g} MB ({precision}) once{of}: {rate:.0f} GB/s"
    return _arithmetic_label(document, name)


def _member_cells(member: Member) -> list[str]:
    return [escape(member.label), member.form, member.precision]


def _accuracy_cells(document: Document, name: str) -> list[str]:
    accuracy = document.accuracy[name]
    return [f"{accuracy.mean_mm:.2g}", f"{accuracy.max_mm:.2g}"]


def _spread_cells(timed: Spread) -> list[str]:
    figures = (timed.min, timed.p50, timed.p95, timed.p99, timed.worst)
    return [milliseconds(value) for value in figures]


def _people_table(document: Document) -> Table:
    counts = sorted(document.latency)
    made = table(
        "Several people in one call: milliseconds, median (minimum)",
        ("",),
        [str(count) for count in counts],
        f"{NONE}: windows of so many people would take too long, or the contender did not pass.",
    )
    shown = dict.fromkeys(name for count in counts if count > 1 for name in document.latency[count])
    for name in shown:
        member = document.members.get(name)
        label = _arithmetic_label(document, name) if member is None else member.label
        made.add_row(escape(label), *(_cell(document.latency[count].get(name))
                                      for count in counts))  # fmt: skip
    return made


def _arithmetic_label(document: Document, name: str) -> str:
    kind, _, lag = name.removeprefix("arithmetic-").partition("@")
    words = f"{kind} arithmetic alone{of_processor(document)}"
    return f"{words}, lag {lag}" if lag else words


def of_processor(document: Document) -> str:
    """Floors are the processor's, which needs saying where there is a GPU."""
    return ", processor" if gpu_names(document.machine) else ""


def _cell(timed: Spread | None) -> str:
    return NONE if timed is None else f"{milliseconds(timed.p50)} ({milliseconds(timed.min)})"


def gpu_names(machine: Mapping[str, Any]) -> list[str]:
    """Of the machine's GPUs; older results know of none."""
    return [gpu["name"] for gpu in machine.get("gpus", ())]


def _gpu_table(document: Document) -> Table:
    counts = sorted(document.gpu_ms)
    made = table(
        "Of this on the GPU, by CUDA events, copies included: milliseconds, median (minimum)",
        ("",),
        [str(count) for count in counts],
        "Measured apart from the times above, by number of people.",
    )
    for name in dict.fromkeys(name for count in counts for name in document.gpu_ms[count]):
        cells = (_cell(document.gpu_ms[count].get(name)) for count in counts)
        made.add_row(escape(document.members[name].label), *cells)
    return made


def _rates_line(rates: Mapping[str, float]) -> str:
    units = {"tera_per_s": "tera-operations/s", "memory_gb_s": "GB/s of memory"}
    shown = []
    for name, rate in rates.items():
        kind, _, rest = name.partition("_")
        shown.append(
            f"{rate:g} {units[name]}" if name in units else f"{kind} {rate:g} {units[rest]}"
        )
    return f"the GPU does at most {', '.join(shown)}, as PyTorch measured it"


def _throughput_table(document: Document) -> Table:
    frames = document.throughput["frames"]
    made = table(
        f"A clip of {frames:,} frames at once",
        ("", "prec."),
        ("mean mm", "max mm", "min s", "p50 s", "frames/s"),
        "frames/s: by the median.",
    )
    for name, timed in document.throughput["milliseconds"].items():
        seconds = [f"{timed.min / 1e3:.3f}", f"{timed.p50 / 1e3:.3f}"]
        rate = f"{1e3 * frames / timed.p50:,.0f}"
        member = document.members.get(name)
        if member is None:
            made.add_section()
            made.add_row(_arithmetic_label(document, name), "", "", "", *seconds, rate)
        else:
            made.add_row(escape(member.label), member.precision, *_accuracy_cells(document, name),
                         *seconds, rate)  # fmt: skip
    return made


def _opening_table(document: Document) -> Table:
    made = table(
        "Opening in a fresh process: milliseconds, and memory in MB",
        ("",),
        ("import", "verify", "open", "first\nanswer", "library", "weights\nand all", "peak",
         "beyond\nweights", "per\nstream", "on the\nGPU"),
        "library: memory that importing it takes. weights and all: what opening and running adds "
        "to that.\nbeyond weights: of this, what is not one copy of the weights. peak: of the "
        "process.\non the GPU: by how much its memory filled, CUDA's own with it.",
    )  # fmt: skip
    for name, found in document.openings.items():
        member = document.members[name]
        label = f"{member.label}{', clip' if member.form == SEQUENCE else ''}"
        if "failure" in found:
            made.add_row(escape(label), escape(found["failure"]))
            continue
        times = [f"{found[key]:.0f}" for key in ("import_ms", "verify_ms", "open_ms")]
        memory = ("library_mb", "grown_mb", "peak_mb", "beyond_weights_mb")
        made.add_row(escape(label), *times, milliseconds(found["first_ms"]),
                     *(_mb(found.get(key)) for key in memory), _per_stream(found),
                     _mb(found.get("gpu_mb")))  # fmt: skip
    return made


def _mb(value: float | None) -> str:
    if value is None:
        return NONE
    return f"{value:.1f}" if abs(value) < 100 else f"{value:.0f}"


def _per_stream(found: dict[str, Any]) -> str:
    count = found.get("bytes_per_stream") or found.get("bytes_per_stream_measured")
    return NONE if count is None else f"{count / 1e6:.2f}"


def _push_line(push: dict[str, Any]) -> str:
    alone, beside = push["python_share_alone"], push["python_share_beside"]
    return (
        f"LiveStream.push adds {alone['p50']:.1f} µs (median; minimum {alone['min']:.1f}) to an "
        f"engine that answers at once, {beside['p50']:.1f} µs (minimum {beside['min']:.1f}) to "
        f"{push['stream']}, which leaves nothing of Python in the caches"
    )


def _ratio_tables(ratios: dict[str, NamedRatio]) -> Iterator[Table]:
    """One for each group; of the crowds only the largest."""
    groups = list(dict.fromkeys(one.group for one in ratios.values()))
    crowds = [group for group in groups if group.endswith("people")]
    for group in groups:
        if group in crowds[:-1]:
            continue
        held = [one for one in ratios.values() if one.group == group]
        columns = list(dict.fromkeys(one.column for one in held))
        made = table(f"Ratios within this run, {group}: of medians (of minima)", ("",),
                     [wrapped(column) for column in columns])  # fmt: skip
        for row in dict.fromkeys(one.row for one in held):
            cells = {one.column: f"{one.p50:.2f} ({one.min:.2f})" for one in held if one.row == row}
            made.add_row(row, *(cells.get(column, NONE) for column in columns))
        yield made


def wrapped(column: str) -> str:
    """A heading on two lines or three."""
    words = escape(column)
    for start in ("× faster than ", "time / "):
        words = words.replace(start, f"{start[:-1]}\n")
    return words.replace(" of all columns", "\nof all columns")


def quartiles(one: NamedRatio) -> str:
    return NONE if one.low is None or one.high is None else f"{one.low:.2f} to {one.high:.2f}"
