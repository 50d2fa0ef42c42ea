"""The table of presets that `vp3d-train --list` prints."""

from __future__ import annotations

from vp3d_deploy.training.options import option_names
from vp3d_deploy.training.presets import PRESETS, Preset

_COLUMNS = (
    "preset", "2D", "widths", "channels", "epochs", "batch", "Adam", "decay", "MPJPE", "P-MPJPE",
    "N-MPJPE",
)  # fmt: skip


def print_presets() -> None:
    """One line a preset, and what it is for below."""
    rows = [_COLUMNS, *(_row(name, preset) for name, preset in PRESETS.items())]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )
    print("\nErrors as published for Human3.6M, mm, no flips at test time; the others are ours.")
    print()
    for name, preset in PRESETS.items():
        print(f"{name:<{widths[0]}}  {preset.about}")


def print_settings(name: str) -> None:
    """Every setting of a preset, by option."""
    preset = PRESETS[name]
    print(f"{name}: {preset.about}\n")
    values = preset.settings.to_dict()
    for field, flag in option_names().items():
        value = values[field]
        shown = " ".join(map(str, value)) if isinstance(value, list) else str(value)
        print(f"  {flag:<24}{shown or '(none)'}")


def _row(name: str, preset: Preset) -> tuple[str, ...]:
    s = preset.settings
    batch = f"{s.batch_size}+{s.unlabelled_batch_size}" if s.semi_supervised else f"{s.batch_size}"
    decay = f"{s.lr_decay:g} to {s.lr_decay_epochs}"
    figures = ["–" if value is None else f"{value:.1f}" for value in preset.published]
    return (
        name,
        s.keypoints,
        ",".join(map(str, s.filter_widths)) + (" causal" if s.causal else ""),
        str(s.channels),
        str(s.epochs),
        batch,
        f"{s.learning_rate:g}",
        decay,
        *figures,
    )
