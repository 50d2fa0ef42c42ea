"""Draw how blocks exchange columns while the CUDA engine answers one frame.

    python -m vp3d_bench.exchange_drawing docs/cuda-exchange.png

A scheme: layers are those of a network of 27 frames, lengths of time are nobody's.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, Rectangle

from vp3d_deploy.evaluation.plot_style import FAINT, GREEN, GREY, NAVY, ORANGE, STYLE
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3, 3), 1024)
BLOCKS = ("block 0", "block 1", "block 2", "block n")
_START, _LAYER, _GAP = 1.1, 1.25, 0.34
_HOST, _SHARED_MEMORY = len(BLOCKS) + 0.35, -1.15


def layers(spec: ModelSpec) -> list[str]:
    """In the order in which they follow each other."""
    inner = [f"{what} {k}" for k in range(1, len(spec.filter_widths)) for what in ("conv", "mix")]
    return ["level 0", *inner, "shrink"]


def draw(path: Path) -> None:
    names = layers(SPEC)
    starts = [_START + i * (_LAYER + _GAP) for i in range(len(names))]
    end = starts[-1] + _LAYER
    with plt.rc_context(STYLE):
        figure, panel = plt.subplots(figsize=(10.4, 5.2))
        _host(panel, end)
        for row, block in enumerate(reversed(BLOCKS)):
            _block(panel, row, block, names, starts)
        _exchange(panel, starts)
        panel.text(-0.7, 0.92, "⋮", fontsize=14, va="center", ha="center", color=FAINT)
        _legend(panel)
        panel.set_xlim(-1.0, end + 1.45)
        panel.set_ylim(_SHARED_MEMORY - 1.25, _HOST + 0.55)
        panel.axis("off")
        figure.tight_layout(pad=0.4)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=150)
        plt.close(figure)


def _bar(
    panel: Any, at: tuple[float, float], size: tuple[float, float], colour: str, **options: Any
) -> None:
    panel.add_patch(Rectangle(at, *size, color=colour, lw=0, **options))


def _host(panel: Any, end: float) -> None:
    panel.text(-0.95, _HOST, "host", va="center", fontweight="bold")
    for start, text in ((0.05, "frame"), (end + 0.3, "answers")):
        _bar(panel, (start, _HOST - 0.17), (0.85, 0.34), GREY)
        panel.text(start + 0.425, _HOST, text, ha="center", va="center", color="white", fontsize=9)
    for x, (top, bottom) in ((0.9, (_HOST, 3.78)), (end + 0.3, (3.78, _HOST))):
        bend = _START if x < 1 else end
        panel.add_patch(
            FancyArrowPatch((x, top) if x < 1 else (bend, top), (bend, bottom) if x < 1 else
                            (x, bottom), arrowstyle="-|>", mutation_scale=11, color=GREY)
        )  # fmt: skip


def _block(panel: Any, row: int, name: str, names: list[str], starts: list[float]) -> None:
    panel.text(-0.95, row + 0.4, name, va="center", fontweight="bold")
    # Weights are asked for at once, and come one layer after another.
    for i, start in enumerate(starts):
        arrived = _START + 0.5 + i * (_LAYER + _GAP) * 0.62
        _bar(panel, (_START, row + 0.04), (arrived - _START, 0.13), ORANGE, alpha=0.22)
        panel.plot([arrived], [row + 0.105], "|", color=ORANGE, ms=7, mew=2)
        # Not all blocks take the same time, and of the last layer not all have a part.
        busy = names[i] != "shrink" or row < 2
        length = (_LAYER - 0.16 * ((row * 5 + i * 3) % 4)) if busy else 0
        if busy:
            _bar(panel, (start, row + 0.26), (length, 0.44), NAVY)
            panel.text(start + length / 2, row + 0.48, names[i], ha="center", va="center",
                       color="white", fontsize=8.5)  # fmt: skip
        if i + 1 < len(starts):
            panel.plot([start + length, start + _LAYER], [row + 0.48] * 2, color=FAINT, lw=1.1,
                       ls=(0, (1, 1.5)))  # fmt: skip


def _exchange(panel: Any, starts: list[float]) -> None:
    top = len(BLOCKS) - 0.1
    _bar(panel, (_START, _SHARED_MEMORY), (starts[-1] + _LAYER - _START, 0.5), GREEN, alpha=0.16)
    panel.text(-0.95, _SHARED_MEMORY + 0.25, "L2 cache", va="center", fontweight="bold")
    panel.text(_START + 0.1, _SHARED_MEMORY + 0.25, "columns of each layer, rings, arrivals",
               va="center", fontsize=9, color=GREEN)  # fmt: skip
    for start in starts[1:]:
        barrier = start - _GAP / 2
        panel.plot([barrier] * 2, [_SHARED_MEMORY + 0.5, top], color=GREEN, lw=1.6)
        for x, ends in (
            (barrier - 0.1, (-0.02, _SHARED_MEMORY + 0.52)),
            (barrier + 0.1, (_SHARED_MEMORY + 0.52, -0.02)),
        ):
            panel.add_patch(
                FancyArrowPatch((x, ends[0]), (x, ends[1]), arrowstyle="-|>", mutation_scale=9,
                                color=GREEN, shrinkA=0, shrinkB=0)
            )  # fmt: skip


def _legend(panel: Any) -> None:
    lines = (
        (NAVY, "a block's tiles of a layer: 8 rows each, for the columns of all streams"),
        (ORANGE, "its weights of all layers come to shared memory meanwhile; each mark, a layer's"),
        (
            GREEN,
            "barrier of the grid: columns are written before it and read behind it; who waits "
            "finds what else the next layer needs",
        ),
    )
    for i, (colour, text) in enumerate(lines):
        y = _SHARED_MEMORY - 0.36 - 0.34 * i
        _bar(panel, (_START, y - 0.09), (0.3, 0.18), colour)
        panel.text(_START + 0.42, y, text, va="center", fontsize=9)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("file", type=Path, help="svg or png")
    options = parser.parse_args()
    draw(options.file)
    print(f"wrote {options.file}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
