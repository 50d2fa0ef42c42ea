"""People: bone lengths drawn by seed, in the proportions of the Human3.6M subjects."""

from __future__ import annotations

from dataclasses import dataclass

from vp3d_deploy.data.procedural.timing import Draws

# Stature for which the lengths below hold, metres.
REFERENCE_STATURE_M = 1.70


@dataclass(frozen=True)
class Person:
    """Lengths in metres of one body; x is forward, y left, z up in the frame of each part.

    The Human3.6M joints are not all where anatomy would have them: "thorax" is the base of the
    neck, the shoulders hang a little below it, "neck" is in front of the face and "head" near the
    top of the head.
    """

    stature: float
    hip_half_width: float
    thigh: float
    shank: float
    lumbar: float
    """Pelvis to spine."""
    chest: float
    """Spine to thorax."""
    face: tuple[float, float, float]
    """Thorax to neck."""
    crown: tuple[float, float, float]
    """Neck to head."""
    shoulder: tuple[float, float, float]
    """Thorax to the left shoulder."""
    upper_arm: float
    forearm: float
    ankle_height: float
    """Of the ankle over the floor in a flat foot."""
    foot: float
    """Ankle to the ball of the foot, along the floor."""

    @property
    def leg(self) -> float:
        """Hip to ankle of a straight leg, metres."""
        return self.thigh + self.shank


def sample_person(draws: Draws) -> Person:
    """A grown person between 1.55 and 1.90 m, every proportion varied by a few per cent.

    Mean lengths are those of Human3.6M's subjects, as its published 3D poses have them.
    """
    stature = draws.one("stature", 1.55, 1.90)

    def length(label: str, mean_m: float, spread: float) -> float:
        return mean_m * stature / REFERENCE_STATURE_M * draws.one(label, 1 - spread, 1 + spread)

    face, crown = length("face", 1.0, 0.05), length("crown", 1.0, 0.04)
    shoulder = length("shoulder", 1.0, 0.07)
    return Person(
        stature=stature,
        hip_half_width=length("hip", 0.133, 0.06),
        thigh=length("thigh", 0.443, 0.03),
        shank=length("shank", 0.443, 0.03),
        lumbar=length("lumbar", 0.238, 0.04),
        chest=length("chest", 0.254, 0.04),
        face=(0.070 * face, 0.0, 0.094 * face),
        crown=(-0.062 * crown, 0.0, 0.097 * crown),
        shoulder=(-0.005 * shoulder, 0.140 * shoulder, -0.048 * shoulder),
        upper_arm=length("upper arm", 0.280, 0.04),
        forearm=length("forearm", 0.249, 0.04),
        ankle_height=length("ankle", 0.078, 0.05),
        foot=length("foot", 0.130, 0.05),
    )
