"""Standing on both feet, and the small movements that nobody alive can help making."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.data.procedural.body import Person
from vp3d_deploy.data.procedural.kinematics import OUTWARD, SIDES, Posture
from vp3d_deploy.data.procedural.timing import Draws, FloatArray, Wander

# Hanging arms: raised forwards, outwards, turned inwards, elbow; degrees.
HANGING_ARM_DEG = (2.0, 9.0, 28.0, 18.0)


class Liveliness:
    """Slow changes of posture and glances around, added to any motion."""

    def __init__(self, draws: Draws) -> None:
        self._arms = Wander(draws, "restless arms", 8, (1.6, 6.0))
        self._trunk = Wander(draws, "restless trunk", 3, (2.5, 8.0))
        self._head = Wander(draws, "restless head", 3, (1.5, 6.0))

    def add(
        self, posture: Posture, time_s: FloatArray, *, arms: float, trunk: float, head: float
    ) -> None:
        """Add to a posture at time_s (T,), each part scaled by its factor (1: standing idly)."""
        n_frames = len(time_s)
        reach = np.radians((6.0, 3.0, 10.0, 9.0))
        posture.arms += arms * reach * self._arms(time_s).reshape(n_frames, 2, 4)
        posture.spine += trunk * np.radians((6.0, 4.0, 3.0)) * self._trunk(time_s)
        posture.head += head * np.radians((32.0, 12.0, 6.0)) * self._head(time_s)


class Stance:
    """A person who stands: feet fixed, weight shifting, arms hanging."""

    def __init__(self, person: Person, draws: Draws) -> None:
        self._person = person
        self._liveliness = Liveliness(draws)
        self._weight = Wander(draws, "weight", 2, (3.0, 9.0))
        width = person.hip_half_width * draws.one("stance width", 0.75, 1.25)
        stagger = draws.one("stance stagger", -0.05, 0.05)
        self._ball = np.array(
            [(person.foot + OUTWARD[side] * stagger, OUTWARD[side] * width, 0.0) for side in SIDES]
        )
        toe_out = np.radians(draws("toe out", 4.0, 16.0, 2))
        self._foot_yaw = toe_out * OUTWARD

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at time_s (T,): about the origin, facing x, pelvis not yet settled."""
        posture = Posture.zeros(len(time_s))
        weight = self._weight(time_s)
        posture.pelvis[:, 0] = 0.03 + 0.02 * weight[:, 1]
        posture.pelvis[:, 1] = 0.05 * weight[:, 0]
        posture.pelvis[:, 2] = self._person.leg + self._person.ankle_height
        # The hip over the standing leg is the higher one, and the chest stays upright.
        posture.pelvis_angles[:, 2] = np.radians(5.0) * weight[:, 0]
        posture.pelvis_angles[:, 0] = np.radians(3.0) * weight[:, 1]
        posture.spine[:, 2] = -np.radians(5.0) * weight[:, 0]
        posture.spine[:, 1] = np.radians(4.0)
        posture.arms[:] = np.radians(HANGING_ARM_DEG)
        posture.ball[:] = self._ball
        posture.foot_yaw[:] = self._foot_yaw
        posture.knee_out[:] = np.radians(2.0)
        self._liveliness.add(posture, time_s, arms=1.0, trunk=1.0, head=1.0)
        return posture
