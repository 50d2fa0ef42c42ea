"""Walking, and turning on the spot."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.data.procedural.body import Person
from vp3d_deploy.data.procedural.kinematics import (
    LEFT,
    OUTWARD,
    RIGHT,
    SIDES,
    Posture,
    settle_pelvis,
)
from vp3d_deploy.data.procedural.path import Path
from vp3d_deploy.data.procedural.stance import Liveliness
from vp3d_deploy.data.procedural.steps import (
    TURNING_STEP,
    WALKING_STEP,
    Footholds,
    place_feet,
)
from vp3d_deploy.data.procedural.timing import Draws, FloatArray, Timeline, Wander, ease

_GRAVITY_M_S2 = 9.81


class Walking:
    """Walks in loops, arms swinging against the legs.

    Angles of pelvis, trunk and arms over the gait cycle follow the usual curves of gait
    analysis in size and timing (D. Winter, "The Biomechanics and Motor Control of Human Gait",
    1987; M. P. Murray, "Gait as a total pattern of movement", 1967).
    """

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._step_m = person.leg * draws.one("step", 0.60, 0.69)
        self._cadence_hz = draws.one("cadence", 1.65, 1.9)
        self._pace = Wander(draws, "pace", 1, (5.0, 14.0))
        self._phase_start = draws.one("gait phase", 5.0, 7.0)
        self._arm_swing = np.radians(draws("arm swing", 17.0, 27.0, 2))
        self._elbow = np.radians(draws("elbow", 14.0, 26.0, 2))
        self._lean = np.radians(draws.one("lean", 3.0, 7.0))
        self._liveliness = Liveliness(draws)
        self._width_m = person.hip_half_width * draws.one("step width", 0.75, 1.05)
        # Two steps more than are walked: footholds and glances ahead.
        last_phase = self._phase_start + self._cadence_hz * (duration_s + 0.2)
        self._path = Path(draws, self._step_m * (last_phase + 4.0))
        self._footholds = self._plan_footholds(draws, int(last_phase) + 2)

    def _plan_footholds(self, draws: Draws, count: int) -> Footholds:
        """A foothold half a step ahead of where the pelvis is while the weight passes to it.

        Measured at the balls of the feet: the rear heel is up by then, its ankle forwards.
        """
        step = np.arange(count)
        length = self._step_m * (step + 1.5).astype(np.float64) + 0.55 * self._person.foot
        point, direction, _ = self._path.at(length)
        outward = np.where(step % 2 == LEFT, OUTWARD[LEFT], OUTWARD[RIGHT])
        point = point + 1j * direction * outward * self._width_m
        toe_out = np.radians(draws.one("toe out", 3.0, 9.0)) * outward
        ball = np.stack([point.real, point.imag, np.zeros(count)], axis=-1)
        return Footholds(ball, np.unwrap(np.angle(direction)) + toe_out)

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = Posture.zeros(len(time_s))
        # The wander shifts time by at most 0.1 s, too little to turn it back.
        phase = self._phase_start + self._cadence_hz * (time_s + 0.1 * self._pace(time_s)[:, 0])
        point, direction, curvature = self._path.at(self._step_m * phase)
        place_feet(posture, phase, self._footholds, WALKING_STEP)
        self._move_trunk(posture, phase, point, direction, curvature)
        self._look_ahead(posture, phase, direction)
        self._swing_arms(posture, phase)
        self._liveliness.add(posture, time_s, arms=0.5, trunk=0.5, head=1.0)
        settle_pelvis(posture, self._person, 0.020)
        return posture

    def _move_trunk(
        self,
        posture: Posture,
        phase: FloatArray,
        point: np.ndarray,
        direction: np.ndarray,
        curvature: FloatArray,
    ) -> None:
        """Over the standing foot, hips forward with the swinging leg, chest against the hips."""
        # At a whole phase both feet are down; the left foot lands at an odd one.
        forward_right, over_left = np.cos(np.pi * phase), -np.sin(np.pi * phase)
        height = self._person.leg
        speed = self._step_m * self._cadence_hz
        bank = 0.6 * speed**2 * curvature / _GRAVITY_M_S2
        sideways = 0.022 * over_left + 0.5 * height * bank
        point = point + 1j * direction * sideways
        posture.pelvis[:, 0], posture.pelvis[:, 1] = point.real, point.imag
        # Lowest a little before a whole phase, when the front foot comes down at the end of a
        # leg that slants by half a step; in a turn, by half the longer step of the outer foot.
        outer_step = self._step_m * (1.0 + 1.5 * self._width_m * np.abs(curvature))
        slanted = np.sqrt(height**2 - (0.48 * outer_step) ** 2) - 0.005
        bob = 0.028 * (1.0 - np.cos(2 * np.pi * (phase + 0.1)))
        posture.pelvis[:, 2] = self._person.ankle_height + slanted + bob
        posture.pelvis_angles[:, 0] = np.angle(direction) + np.radians(5.0) * forward_right
        posture.pelvis_angles[:, 1] = 0.4 * self._lean
        posture.pelvis_angles[:, 2] = np.radians(3.0) * over_left - 0.4 * bank
        posture.spine[:, 0] = -np.radians(9.0) * forward_right
        posture.spine[:, 1] = 0.6 * self._lean + np.radians(1.0) * np.cos(2 * np.pi * phase)
        posture.spine[:, 2] = -np.radians(3.0) * over_left - 0.6 * bank

    def _look_ahead(self, posture: Posture, phase: FloatArray, direction: np.ndarray) -> None:
        """The head leads in a turn and does not follow the chest's swing."""
        _, ahead, _ = self._path.at(self._step_m * (phase + 1.0))
        chest = posture.spine[:, 0] + np.radians(5.0) * np.cos(np.pi * phase)
        posture.head[:, 0] = 0.8 * np.angle(ahead * np.conj(direction)) - 0.9 * chest
        posture.head[:, 1] = -0.6 * (posture.spine[:, 1] + posture.pelvis_angles[:, 1])
        posture.head[:, 2] = -0.6 * (posture.spine[:, 2] + posture.pelvis_angles[:, 2])

    def _swing_arms(self, posture: Posture, phase: FloatArray) -> None:
        for side in SIDES:
            # The left arm is in front when the right leg is, and lags it a little.
            swing = OUTWARD[side] * np.cos(np.pi * (phase - 0.1))
            arm = posture.arms[:, side]
            arm[:, 0] = self._arm_swing[side] * swing + np.radians(2.0) + self._lean
            arm[:, 1] = np.radians(9.0)
            arm[:, 2] = np.radians(25.0)
            arm[:, 3] = self._elbow[side] * (1.0 + 0.55 * swing) + np.radians(4.0)


class Turning:
    """Stands, turns on the spot by 45 to 180 degrees in small steps, stands, turns again."""

    LARGEST_STEP = np.radians(34.0)

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._liveliness = Liveliness(draws)
        count = int(duration_s / 1.9) + 2
        size = np.radians(draws("turn", 45.0, 180.0, count))
        sign = np.where(draws("turn side", 0.0, 1.0, count) < 0.5, 1.0, -1.0)
        steps = np.ceil(size / self.LARGEST_STEP).astype(np.intp) + 1
        move_s = steps * draws("turn step", 0.48, 0.62, count)
        self._moves = Timeline(draws("turn hold", 0.5, 1.8, count), move_s)
        self._n_steps = steps
        self._yaw = np.concatenate([[0.0], np.cumsum(sign * size)])
        spots = draws("turn spot", -0.16, 0.16, (count + 1, 2))
        self._spot = spots
        self._first_step, self._footholds = self._plan_footholds(draws, sign)

    def _plan_footholds(self, draws: Draws, sign: FloatArray) -> tuple[np.ndarray, Footholds]:
        """Footholds of all turns, each turn begun with the foot on its side."""
        half_width = self._person.hip_half_width * draws.one("turn width", 1.0, 1.25)
        toe_out = np.radians(draws.one("turn toe out", 5.0, 12.0))
        # Which turn a step belongs to and which part of the turn it completes. Three steps stand
        # for the feet at the start; where a turn begins with the foot that stepped last, a step
        # that goes nowhere lies between.
        turn, done = [0, 0, 0], [0.0, 0.0, 0.0]
        first_step = np.empty(len(sign), dtype=np.intp)
        for i, n_steps in enumerate(self._n_steps):
            leading = LEFT if sign[i] > 0 else RIGHT
            if len(turn) % 2 != leading:
                turn.append(i)
                done.append(0.0)
            first_step[i] = len(turn)
            turn += [i] * int(n_steps)
            done += [min(1.0, (k + 2) / n_steps) for k in range(n_steps)]
        # The phase comes to rest at the step after the last one.
        turn.append(turn[-1])
        done.append(1.0)
        index, part = np.array(turn), ease(np.array(done))
        yaw = self._yaw[index] + part * (self._yaw[index + 1] - self._yaw[index])
        spot = self._spot[index] + part[:, None] * (self._spot[index + 1] - self._spot[index])
        outward = np.where(np.arange(len(turn)) % 2 == LEFT, OUTWARD[LEFT], OUTWARD[RIGHT])
        offset = np.exp(1j * yaw) * (self._person.foot + 1j * outward * half_width)
        ball = np.stack([spot[:, 0] + offset.real, spot[:, 1] + offset.imag, 0 * yaw], axis=-1)
        return first_step, Footholds(ball, yaw + outward * toe_out)

    def _phase(self, time_s: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Phase in steps, and how much (0 .. 1) the body is under way."""
        index, progress = self._moves.locate(time_s)
        done = progress * self._n_steps[index]
        under_way = ease(done) * ease(self._n_steps[index] - done)
        return self._first_step[index] + done, under_way

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = Posture.zeros(len(time_s))
        phase, under_way = self._phase(time_s)
        place_feet(posture, phase, self._footholds, TURNING_STEP)
        now, soon = self._moves.at(time_s), self._moves.at(time_s + 0.3)
        yaw, lead = now(self._yaw), soon(self._yaw) - now(self._yaw)
        sway = -np.sin(np.pi * phase) * under_way
        left = np.stack([-np.sin(yaw), np.cos(yaw)], axis=-1)
        posture.pelvis[:, :2] = now(self._spot) + 0.035 * sway[:, None] * left
        posture.pelvis[:, 2] = self._person.leg + self._person.ankle_height
        posture.pelvis_angles[:, 0] = yaw
        posture.pelvis_angles[:, 2] = np.radians(2.5) * sway
        posture.spine[:, 0] = 0.3 * lead
        posture.spine[:, 1] = np.radians(4.0)
        posture.spine[:, 2] = -np.radians(2.0) * sway
        posture.head[:, 0] = 0.5 * lead
        posture.arms[:] = np.radians((4.0, 10.0, 25.0, 20.0))
        # Arms trail the turning chest.
        posture.arms[:, :, 0] += 0.25 * lead[:, None] * OUTWARD
        self._liveliness.add(posture, time_s, arms=1.0, trunk=0.7, head=1.0)
        settle_pelvis(posture, self._person, 0.014)
        return posture
