"""Feet that step: each foot stays where it was set down until it is lifted for the next step."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vp3d_deploy.data.procedural.kinematics import SIDES, Posture
from vp3d_deploy.data.procedural.timing import FloatArray, bump, ease, glide


@dataclass(frozen=True)
class StepStyle:
    """How one foot moves during its step, in units of one step (half a stride).

    swing: (start, end) of the time in the air; outside it both feet are down.
    clearance_m: height of the ball of the foot at mid-swing.
    heel_rise: highest pitch of the foot, radians, reached as the ball leaves the floor.
    heel_lead, heel_fall: how long before that the heel rises and after it the foot levels out.
    """

    swing: tuple[float, float]
    clearance_m: float
    heel_rise: float
    heel_lead: float
    heel_fall: float


WALKING_STEP = StepStyle(
    swing=(0.08, 0.95), clearance_m=0.055, heel_rise=0.95, heel_lead=0.50, heel_fall=0.55
)
"""Double support for an eighth of the time and a heel-off at mid-stance, as in human gait:
D. Winter, "The Biomechanics and Motor Control of Human Gait", 1987."""

TURNING_STEP = StepStyle(
    swing=(0.16, 0.96), clearance_m=0.045, heel_rise=0.35, heel_lead=0.16, heel_fall=0.60
)
"""A step on the spot: both feet are flat on the floor whenever the phase is a whole number."""


@dataclass(frozen=True)
class Footholds:
    """Where the feet come down: the foot `k % 2` (0 = left) makes step k to its row k.

    ball_m: (K, 3) metres, world; yaw: (K,) radians, without jumps of a turn.
    """

    ball_m: FloatArray
    yaw: FloatArray


def place_feet(posture: Posture, phase: FloatArray, footholds: Footholds, style: StepStyle) -> None:
    """Write `ball`, `foot_yaw` and `foot_pitch` of a posture from the phase of its gait.

    phase: (T,) in steps, never decreasing: step k takes place while it passes from k to k + 1.
    It must lie within 3 .. K - 1.
    """
    start, end = style.swing
    for side in SIDES:
        step = 2 * np.floor((phase - side) / 2).astype(np.intp) + side
        since_step = phase - step
        progress = (since_step - start) / (end - start)
        # It comes to rest before it touches the floor, or it would skid.
        moved = glide(progress / 0.94)
        old_m = footholds.ball_m[step - 2]
        chord = footholds.ball_m[step] - old_m
        turned = footholds.yaw[step] - footholds.yaw[step - 2]
        # In a turn the foot follows the arc over that chord, or the legs would run into each other.
        bulge = 2.0 * np.tan(turned / 4) * moved * (1.0 - moved)
        posture.ball[:, side] = old_m + moved[:, None] * chord
        posture.ball[:, side, 0] += bulge * chord[:, 1]
        posture.ball[:, side, 1] -= bulge * chord[:, 0]
        posture.ball[:, side, 2] += style.clearance_m * bump(progress)
        posture.foot_yaw[:, side] = footholds.yaw[step - 2] + moved * turned
        since_heel_off = np.mod(since_step - start + style.heel_lead, 2.0)
        posture.foot_pitch[:, side] = style.heel_rise * _rise_and_fall(
            since_heel_off, style.heel_lead, style.heel_fall
        )


def _rise_and_fall(time: FloatArray, rise: float, fall: float) -> FloatArray:
    return ease(time / rise) * ease((rise + fall - time) / fall)
