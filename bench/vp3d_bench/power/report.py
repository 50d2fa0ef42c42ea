"""The table of energy."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from vp3d_bench.power.frames import FrameEnergy, PowerResult
from vp3d_bench.power.nvml import NvmlGpu
from vp3d_bench.report import NONE, table


def energy_table(result: PowerResult, labels: Mapping[str, str], title: str) -> Table:
    """Millijoules per frame of everybody. labels: by contender's name."""
    made = table(
        f"{title}: millijoules per frame, of {result.source['covers']}",
        ("",),
        ("mJ", "above idle", "W", "frames/s", "GPU MHz", "CPU MHz", "hottest °C"),
        f"At rest: {result.idle.mean_mw / 1e3:.2f} W{_mode(result)}. above idle: what the work "
        f"adds to that.{_blind_spot(result)}",
    )
    for name, found in result.frames.items():
        made.add_row(escape(labels.get(name, name)), *_cells(found))
    return made


def _blind_spot(result: PowerResult) -> str:
    if result.source["name"] != NvmlGpu.name:
        return ""
    return "\nThe processor's energy is not in these figures: who runs there shows a GPU at rest."


def _mode(result: PowerResult) -> str:
    mode = result.source.get("power_mode")
    return f", in power mode {mode['name']}" if mode else ""


def _cells(found: FrameEnergy) -> list[str]:
    energy = found.energy
    clocks = [energy.clocks_mhz.get(part) for part in ("gpu", "cpu")]
    hottest = max(energy.temperatures_c.values(), default=None)
    return [
        _digits(found.per_frame_mj),
        _digits(found.above_idle_mj),
        f"{energy.mean_mw / 1e3:.2f}",
        f"{found.frames / energy.seconds:,.0f}",
        *(NONE if clock is None else f"{clock:.0f}" for clock in clocks),
        NONE if hottest is None else f"{hottest:.0f}",
    ]


def _digits(millijoules: float) -> str:
    """Three digits or so."""
    return f"{millijoules:.1f}" if abs(millijoules) >= 10 else f"{millijoules:.3f}"
