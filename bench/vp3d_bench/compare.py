"""vp3d-bench --compare A.json B.json: the ratios of two results side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from vp3d_bench.document import BENCHMARK, FORMAT, VERSION
from vp3d_bench.report import NONE, TABLE_WIDTH, table

# Results are a few hundred kB; far more is no result.
_LIMIT_BYTES = 64 << 20
_FIGURES = ("min", "p50", "low", "high")


class ComparisonError(ValueError):
    """A file is no result of a benchmark, or two results say nothing about each other."""


def print_comparison(first: Path, second: Path, console: Console | None = None) -> None:
    """Raises ComparisonError or OSError in one sentence."""
    one, other = read_result(first), read_result(second)
    check_comparable(first, one, second, other)
    console = console or Console()
    console.width = max(console.width, TABLE_WIDTH)
    for name, result in (("A", one), ("B", other)):
        machine = result["machine"]
        console.print(f"{name}: {(first if name == 'A' else second).name}: {machine.get('cpu')}, "
                      f"{result['threads']} threads, {result['created']}", highlight=False,
                      markup=False)  # fmt: skip
    made = _table(one["ratios"], other["ratios"])
    if not made.row_count:
        raise ComparisonError(f"{first} and {second} have no ratio in common")
    console.print(made)
    if one["threads"] != other["threads"]:
        console.print("note: the numbers of threads differ", highlight=False)


def _table(ratios: Mapping[str, Any], others: Mapping[str, Any]) -> Table:
    """A line for each ratio that both hold, under what it is of."""
    made = table(
        "Ratios: medians, in brackets the quartiles over rounds",
        ("",),
        ("A", "B", "B / A\nmedians", "B / A\nminima"),
        "What only one of them holds is left out.",
    )
    heading = None
    for name in (name for name in ratios if name in others):
        a, b = ratios[name], others[name]
        if heading != (heading := f"{a['group']}: {a['row']}"):
            made.add_row(f"[italic]{escape(heading)}[/italic]")
        changes = (f"{b[figure] / a[figure]:.2f}" for figure in ("p50", "min"))
        made.add_row(f"  {escape(a['column'])}", _shown(a), _shown(b), *changes)
    return made


def read_result(path: Path) -> dict[str, Any]:
    """Raises ComparisonError for anything but a benchmark's result of this version."""
    if path.stat().st_size > _LIMIT_BYTES:
        raise ComparisonError(f"{path} is larger than any result of vp3d-bench")
    try:
        values = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise ComparisonError(f"{path} is not JSON: {error}") from None
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise ComparisonError(f"{path} is not a result of vp3d-bench")
    if values.get("version") != VERSION:
        raise ComparisonError(
            f"{path} has version {values.get('version')!r} of the result format, this program "
            f"reads {VERSION}; measure again"
        )
    if values.get("kind") != BENCHMARK:
        raise ComparisonError(
            f"{path} is the result of {values.get('kind')!r}; only benchmarks are compared"
        )
    problem = _problem(values)
    if problem:
        raise ComparisonError(f"{path} is damaged: {problem}")
    return values


def check_comparable(
    first: Path, one: Mapping[str, Any], second: Path, other: Mapping[str, Any]
) -> None:
    """Raises ComparisonError if they are of two networks."""
    if one["networks"] != other["networks"]:
        raise ComparisonError(
            f"{first} measures {_network(one)} and {second} {_network(other)}: ratios of two "
            "networks say nothing about each other"
        )


def _network(values: Mapping[str, Any]) -> str:
    pose = values["networks"].get("pose")
    if not isinstance(pose, dict):
        return "a network that is not named"
    trajectory = " with trajectory" if "trajectory" in values["networks"] else ""
    causal = "causal, " if pose.get("causal") else ""
    return f"{causal}{pose.get('filter_widths')} × {pose.get('channels')} channels{trajectory}"


def _problem(values: Mapping[str, Any]) -> str | None:
    """What is missing or of another kind of all that is read here."""
    for name in ("networks", "machine", "ratios"):
        if not isinstance(values.get(name), dict):
            return f"{name} is missing"
    if not isinstance(values.get("threads"), int) or not isinstance(values.get("created"), str):
        return "threads or created is missing"
    for name, one in values["ratios"].items():
        if not isinstance(one, dict) or not all(
            isinstance(one.get(key), str) for key in ("group", "row", "column", "better")
        ):
            return f"the ratio {name!r} is not described"
        if not all(_is_figure(one.get(key), key in ("low", "high")) for key in _FIGURES):
            return f"the ratio {name!r} has figures that are none"
    return None


def _is_figure(value: Any, may_lack: bool) -> bool:
    if value is None:
        return may_lack
    return isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0


def _shown(one: Mapping[str, Any]) -> str:
    if one["low"] is None or one["high"] is None:
        return f"{one['p50']:.2f} ({NONE})"
    return f"{one['p50']:.2f} ({one['low']:.2f} to {one['high']:.2f})"
