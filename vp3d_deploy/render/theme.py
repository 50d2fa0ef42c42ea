"""Colours and proportions of the pictures."""

from __future__ import annotations

from dataclasses import dataclass

from vp3d_deploy.render.raster import Color
from vp3d_deploy.skeleton import Skeleton

TOP: Color = (22, 26, 35)
BOTTOM: Color = (13, 15, 21)
PANEL: Color = (30, 35, 46)
PANEL_EDGE: Color = (58, 66, 83)
GRID: Color = (104, 118, 146)
SHADOW: Color = (4, 5, 8)
GLOW: Color = (62, 72, 94)
TEXT: Color = (232, 236, 244)
DIM: Color = (139, 149, 170)


@dataclass(frozen=True)
class Palette:
    """The colours of one person's limbs."""

    left: Color
    right: Color
    middle: Color


# Within a person left and right differ clearly; between people the hues do. The first pair stays
# apart for people with red-green colour blindness, too.
PALETTES = (
    Palette((70, 170, 255), (255, 138, 76), (226, 231, 240)),
    Palette((60, 214, 180), (246, 112, 160), (252, 205, 222)),
    Palette((178, 148, 255), (240, 205, 80), (222, 208, 252)),
    Palette((120, 220, 110), (220, 120, 240), (205, 240, 205)),
    Palette((80, 220, 240), (255, 104, 104), (190, 234, 244)),
    Palette((150, 175, 255), (255, 180, 150), (246, 228, 200)),
)

# Radius of a limb at a joint, metres; a joint without an entry has _OTHER_RADIUS_M.
_RADII_M = {
    "pelvis": 0.046,
    "hip": 0.046,
    "knee": 0.038,
    "ankle": 0.027,
    "spine": 0.05,
    "thorax": 0.046,
    "shoulder": 0.038,
    "elbow": 0.031,
    "wrist": 0.023,
    "neck": 0.034,
    "head": 0.034,
}
_OTHER_RADIUS_M = 0.026
HEAD_RADIUS_M = 0.098


def palette_of(person: int) -> Palette:
    """The colours of the person of this number."""
    return PALETTES[person % len(PALETTES)]


def joint_radii_m(skeleton: Skeleton) -> list[float]:
    """The radius of the limbs at each joint, by the last word of its name."""
    return [_RADII_M.get(name.rsplit("_", 1)[-1], _OTHER_RADIUS_M) for name in skeleton.joints]


def edge_color(skeleton: Skeleton, edge: tuple[int, int], palette: Palette) -> Color:
    """A limb has the side of its outer joint; one between two sides is in the middle."""
    parent, child = edge
    if child in skeleton.left and parent not in skeleton.right:
        return palette.left
    if child in skeleton.right and parent not in skeleton.left:
        return palette.right
    return palette.middle
