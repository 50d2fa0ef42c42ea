"""Sitting down and getting up, squatting: motions that bend the knees far."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.data.procedural.body import Person
from vp3d_deploy.data.procedural.kinematics import Posture, settle_pelvis
from vp3d_deploy.data.procedural.stance import HANGING_ARM_DEG, Stance
from vp3d_deploy.data.procedural.standing import Gestures
from vp3d_deploy.data.procedural.timing import Draws, FloatArray, Timeline

# Arms of a seated person; see standing.py for the columns.
_SEATED_ARMS = np.array(
    [
        (22.0, 8.0, 22.0, 48.0, 0.0),  # the hand on the thigh
        (22.0, 8.0, 22.0, 48.0, 0.1),
        (24.0, 14.0, 26.0, 84.0, 1.0),  # the forearm in front
        (46.0, 14.0, 12.0, 58.0, 1.0),  # a hand held out
        (56.0, 8.0, 36.0, 126.0, 0.2),  # a hand at the chin
    ]
)


class Sitting:
    """Sits down on a chair, gestures, leans and looks around, stands up, and again."""

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._stance = Stance(person, draws)
        moves = int(duration_s / 3.8) + 3
        # Keys alternate: standing, seated, standing ..; half of the people start seated.
        seated_first = draws.one("sit first", 0.0, 1.0) < 0.5
        seated = (np.arange(moves + 1) % 2 == 1) ^ seated_first
        hold_s = np.where(
            seated[:-1], draws("sit hold", 4.0, 11.0, moves), draws("stand hold", 0.6, 1.8, moves)
        )
        self._timeline = Timeline(hold_s, draws("sit move", 1.5, 2.1, moves))
        self._seated = seated.astype(np.float64)
        self._back_m = person.thigh * draws.one("sit back", 0.86, 0.96)
        knee_height = person.shank + person.ankle_height
        self._hip_height_m = knee_height * draws.one("seat height", 0.92, 1.04)
        self._knee_out = np.radians(draws.one("sit knees", 4.0, 14.0))
        self._slouch = np.radians(draws.one("slouch", 4.0, 14.0))
        self._gestures = Gestures(draws, "seated", duration_s, _SEATED_ARMS, (0.8, 3.0))
        self._lean_line = Timeline.random(draws, "sit lean", duration_s, (1.0, 3.5), (0.9, 1.5))
        leans = self._lean_line.n_moves + 1
        self._lean = np.radians(
            draws("sit lean angle", 0.0, 1.0, (leans, 3)) * (30.0, 44.0, 12.0) - (6.0, 22.0, 6.0)
        )

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = self._stance(time_s)
        seated = self._timeline.at(time_s)(self._seated)
        # Halfway down the chest leans far forwards: that keeps the weight over the feet.
        underway = 4.0 * seated * (1.0 - seated)
        self._move_pelvis(posture, seated, underway)
        lean = self._lean_line.at(time_s)(self._lean) * seated[:, None]
        posture.spine[:, 1] += 0.6 * lean[:, 0] + np.radians(14.0) * underway
        posture.spine[:, 1] += self._slouch * seated
        posture.spine[:, 0] += 0.8 * lean[:, 1]
        posture.spine[:, 2] += 0.8 * lean[:, 2]
        posture.pelvis_angles[:, 1] += 0.4 * lean[:, 0] + np.radians(22.0) * underway
        posture.pelvis_angles[:, 1] -= self._slouch * seated
        posture.head[:, 1] -= 0.5 * lean[:, 0] + np.radians(14.0) * underway
        posture.head[:, 0] += 0.5 * lean[:, 1]
        settled = seated**3
        arms = self._gestures(time_s) - np.radians(HANGING_ARM_DEG)
        posture.arms += settled[:, None, None] * arms
        posture.arms[:, :, 0] += np.radians(34.0) * underway[:, None]
        posture.arms[:, :, 3] += np.radians(18.0) * underway[:, None]
        posture.knee_out += self._knee_out * seated[:, None]
        settle_pelvis(posture, self._person)
        return posture

    def _move_pelvis(self, posture: Posture, seated: FloatArray, underway: FloatArray) -> None:
        """Back and down to the chair. A chair carries the weight: no sway, hips level."""
        standing = 1.0 - seated
        person = self._person
        drop = person.leg + person.ankle_height - self._hip_height_m
        posture.pelvis[:, :2] *= standing[:, None]
        posture.pelvis[:, 0] -= self._back_m * seated + 0.03 * underway
        posture.pelvis[:, 2] -= drop * seated
        posture.pelvis_angles *= standing[:, None]


class Crouching:
    """Squats down, more or less deep, reaches for the floor or looks around, and rises."""

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._stance = Stance(person, draws)
        self._timeline = Timeline.random(draws, "crouch", duration_s, (0.4, 1.6), (1.1, 1.7))
        keys = self._timeline.n_moves + 1
        depth = draws("crouch depth", 0.55, 1.0, keys)
        # Every other key stands; now and then the person only comes halfway up.
        rises = draws("crouch rise", 0.0, 1.0, keys) < 0.75
        depth[0::2] = np.where(rises[0::2], 0.0, 0.35)
        depth[0] = 0.0
        self._depth = depth
        self._reaches = draws("crouch reach", 0.0, 1.0, (keys, 2)) * (depth > 0.6)[:, None]
        self._twist = np.radians(draws("crouch twist", -18.0, 18.0, keys)) * (depth > 0.3)

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = self._stance(time_s)
        blend = self._timeline.at(time_s)
        depth, twist, reaches = blend(self._depth), blend(self._twist), blend(self._reaches)
        person = self._person
        posture.pelvis[:, 0] -= (0.16 - 0.10 * depth) * depth * person.stature / 1.7
        posture.pelvis[:, 1] *= 1.0 - 0.7 * depth
        posture.pelvis[:, 2] -= 0.50 * person.leg * depth
        # Deep down the heels leave the floor.
        posture.foot_pitch += np.radians(34.0) * (depth**3)[:, None]
        posture.knee_out += np.radians(13.0) * depth[:, None]
        posture.pelvis_angles[:, 1] += np.radians(20.0) * depth
        posture.spine[:, 1] += np.radians(20.0) * depth
        posture.spine[:, 0] += twist
        posture.head[:, 1] -= np.radians(18.0) * depth
        posture.head[:, 0] += 0.5 * twist
        # Arms come forwards for balance; a hand that reaches goes on towards the floor.
        reach = reaches * depth[:, None]
        posture.arms[:, :, 0] += np.radians(52.0) * depth[:, None]
        posture.arms[:, :, 3] += np.radians(40.0) * depth[:, None] - np.radians(38.0) * reach
        settle_pelvis(posture, self._person)
        return posture
