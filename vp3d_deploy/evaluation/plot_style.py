"""How this project's diagrams look; matplotlib's settings as plain values."""

from __future__ import annotations

from typing import Any

# Told apart by people with any kind of colour blindness, and in grey by their lightness.
NAVY, ORANGE, GREEN = "#1f3a5f", "#e07a2f", "#3f9e8c"
PURPLE, GOLD, GREY = "#a4508b", "#c9a227", "#6b7a8f"
TEXT, FAINT, GRID = "#22262e", "#6b7280", "#e3e6eb"
# Behind figures, so that no line runs through them.
CLEAR: Any = {"facecolor": "white", "edgecolor": "none", "pad": 0.8}
# For matplotlib.rc_context.
STYLE: Any = {
    "font.size": 10,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.edgecolor": "#9aa1ad",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": TEXT,
    "ytick.color": TEXT,
    "grid.color": GRID,
    "svg.hashsalt": "vp3d",  # the same figures give the same file
}
