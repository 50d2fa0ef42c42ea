"""What an export shows a person: its steps while it runs, a table when it is done."""

from __future__ import annotations

from types import TracebackType
from typing import Any

from rich import box
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from vp3d_export.exporter import ExportResult
from vp3d_export.parity import ParityRow
from vp3d_export.tensorrt.engines import EngineReport
from vp3d_export.tensorrt.resume import report_values as engine_values

TABLE_WIDTH = 128
BAR_WIDTH = 24


class StepProgress:
    """Shows the current step with its time on a terminal, one line per step elsewhere (stderr)."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._progress = Progress(
            SpinnerColumn(finished_text="[green]✓"),
            TextColumn("{task.description}"),
            TextColumn("{task.fields[part]}"),
            TimeElapsedColumn(),
            console=self._console,
        )
        self._current: Any = None

    def __enter__(self) -> StepProgress:
        if self._console.is_terminal:
            self._progress.start()
        return self

    def __call__(self, step: str) -> None:
        if not self._console.is_terminal:
            self._console.print(step, highlight=False)
            return
        self._finish()
        self._current = self._progress.add_task(step, total=1, part="")

    def advance(self, done: int, total: int) -> None:
        """How much of the current step is done, for the few that know."""
        if self._current is not None and total > 0:
            share = min(1.0, done / total)
            full = round(share * BAR_WIDTH)
            bar = "━" * full + "╌" * (BAR_WIDTH - full)
            self._progress.update(self._current, part=f"{bar} {share:4.0%}")

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self._finish()
        if self._console.is_terminal:
            self._progress.stop()

    def _finish(self) -> None:
        if self._current is not None:
            self._progress.update(self._current, completed=1, part="")


def report_values(result: ExportResult) -> dict[str, Any]:
    """The result as plain values, for --json."""
    return {
        "bundle": str(result.target) if result.passed else None,
        "passed": result.passed,
        "data": result.data_title,
        "spec": result.spec.to_dict(),
        "rows": [row.to_dict() for row in result.rows],
        "sizes": result.sizes,
        "tensorrt": engine_values(result.engines),
    }


def print_report(result: ExportResult) -> None:
    """The table, the sizes, and where the bundle is or why there is none."""
    console = Console()
    # A line that a narrow terminal breaks is better than figures cut short.
    console.width = max(console.width, TABLE_WIDTH)
    has_trajectory = any(row.trajectory_mean_distance is not None for row in result.rows)
    console.print(_table(result, has_trajectory))
    console.print(_sizes(result.sizes), highlight=False)
    if result.passed:
        console.print(f"[green]wrote {result.target}[/green]", highlight=False)
        _print_engines(console, result.engines)
        return
    for row in result.rows:
        for failure in row.failures:
            where = f"{_form(row)} {row.precision} {row.engine}"
            console.print(f"[red]beyond its limit: {where}: {failure}[/red]", highlight=False)
    console.print("[red]no bundle was written[/red]", highlight=False)


def _print_engines(console: Console, report: EngineReport) -> None:
    """Which TensorRT engines the bundle has, or why it has none."""
    for entry in report.built:
        console.print(f"TensorRT engine {entry.file}", highlight=False)
    for failure in report.failures:
        console.print(Text(f"TensorRT engine left out: {failure}", "red"))
    if report.absent is not None:
        console.print(
            Text(
                f"TensorRT engines were not built ({report.absent}); vp3d-export --resume-engines "
                "builds them on the device"
            )
        )


def _table(result: ExportResult, has_trajectory: bool) -> Table:
    title = f"Parity with PyTorch in mm, on {result.data_title}"
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in ("form", "precision", "engine"):
        table.add_column(name, no_wrap=True)
    numbers = ["frames", "MPJPE\nPyTorch", "MPJPE\nengine", "change", "mean\ndistance", "largest"]
    if has_trajectory:
        numbers += ["root mean\ndistance", "largest"]
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for row in (*result.rows, *result.engines.rows):
        figures = [
            str(row.n_frames),
            _mm(row.mpjpe_pytorch, 2),
            _mm(row.mpjpe_engine, 2),
            _mm(row.mpjpe_change, 5, signed=True),
            _mm(row.mean_distance, 5),
            _mm(row.max_distance, 5),
        ]
        if has_trajectory:
            figures += [_mm(row.trajectory_mean_distance, 5), _mm(row.trajectory_max_distance, 5)]
        verdict = "[green]ok[/green]" if row.passed else "[red]FAIL[/red]"
        table.add_row(_form(row), row.precision, row.engine, *figures, verdict)
    return table


def _form(row: ParityRow) -> str:
    return row.form if row.lag is None else f"{row.form} lag {row.lag}"


def _mm(value: float | None, digits: int, signed: bool = False) -> str:
    if value is None:
        return "–"
    shown = round(value, digits) + 0.0  # no minus before a zero
    return f"{shown:+.{digits}f}" if signed else f"{shown:.{digits}f}"


def _sizes(sizes: dict[str, int]) -> str:
    """Weights one by one, since they are what a bundle weighs; the rest in one figure."""
    weights = [name for name in sizes if name.startswith("weights.")]
    rest = sum(size for name, size in sizes.items() if name not in weights)
    listed = ", ".join(f"{name} {_size(sizes[name])}" for name in weights)
    return f"{listed}, graphs and the rest {_size(rest)}"


def _size(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.1f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.0f} kB"
