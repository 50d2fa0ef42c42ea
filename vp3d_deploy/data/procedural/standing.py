"""What people do while standing: talk with their hands, wave, reach for things."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.data.procedural.body import Person
from vp3d_deploy.data.procedural.kinematics import OUTWARD, SIDES, Posture, settle_pelvis
from vp3d_deploy.data.procedural.stance import HANGING_ARM_DEG, Stance
from vp3d_deploy.data.procedural.timing import Draws, FloatArray, Timeline, Wander

# Arm postures of a person who stands and talks: raised forwards, outwards, turned inwards, elbow
# (degrees), and how lively the forearm then is (0 .. 1).
_TALKING_ARMS = np.array(
    [
        (*HANGING_ARM_DEG, 0.0),
        (18.0, 14.0, 30.0, 80.0, 1.0),  # the forearm in front, palm up
        (38.0, 16.0, 10.0, 62.0, 1.0),  # a hand held out to the listener
        (14.0, 12.0, 52.0, 88.0, 0.5),  # the forearm across the belly
        (-18.0, 38.0, 48.0, 88.0, 0.0),  # a hand on the hip
        (52.0, 8.0, 38.0, 128.0, 0.2),  # a hand at the chin
    ]
)


class Gestures:
    """Arms that go from one posture of a table to another, each arm in its own time."""

    def __init__(
        self,
        draws: Draws,
        label: str,
        duration_s: float,
        postures_deg: FloatArray,
        hold_s: tuple[float, float],
    ) -> None:
        self._timelines, self._keys = [], []
        for side in SIDES:
            name = f"{label} {side}"
            timeline = Timeline.random(draws, name, duration_s, hold_s, (0.6, 1.1))
            choice = draws(f"{name} choice", 0.0, len(postures_deg), timeline.n_moves + 1)
            keys = postures_deg[choice.astype(np.intp)]
            keys[0] = postures_deg[0]
            self._timelines.append(timeline)
            keys[:, :4] = np.radians(keys[:, :4])
            self._keys.append(keys)
        self._beat = Wander(draws, f"{label} beat", 4, (0.7, 1.8))

    def __call__(self, time_s: FloatArray) -> FloatArray:
        """Arms (T, 2, 4) at time_s (T,), as `Posture` has them."""
        arms = np.empty((len(time_s), 2, 4))
        beat = self._beat(time_s)
        for side in SIDES:
            keys = self._timelines[side].at(time_s)(self._keys[side])
            arms[:, side] = keys[:, :4]
            arms[:, side, 2] += np.radians(26.0) * keys[:, 4] * beat[:, side]
            arms[:, side, 3] += np.radians(24.0) * keys[:, 4] * beat[:, 2 + side]
        return arms


class Standing:
    """Stands in conversation: gestures, hands on hips or at the chin, shifting weight."""

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._stance = Stance(person, draws)
        self._gestures = Gestures(draws, "talk", duration_s, _TALKING_ARMS, (0.6, 2.6))

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = self._stance(time_s)
        posture.arms += self._gestures(time_s) - np.radians(HANGING_ARM_DEG)
        settle_pelvis(posture, self._person)
        return posture


class Waving:
    """Stands and waves with the left hand, the right or both, then lets them hang."""

    RAISED_DEG = (28.0, 78.0, -72.0, 74.0)
    """Upper arm to the side and a little forwards, turned outwards, the forearm up."""

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._stance = Stance(person, draws)
        self._timeline = Timeline.random(draws, "wave", duration_s, (0.8, 2.4), (0.7, 1.1))
        keys = self._timeline.n_moves + 1
        choice = draws("wave arm", 0.0, 1.0, keys)
        raised = np.stack([choice < 0.6, choice > 0.4], axis=-1)
        raised[0::2] = False
        self._raised = raised.astype(np.float64)
        self._height = np.radians(draws("wave height", -14.0, 22.0, keys))
        self._rate_hz = draws.one("wave rate", 1.1, 1.7)
        self._size = np.radians(draws.one("wave size", 16.0, 25.0))

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = self._stance(time_s)
        blend = self._timeline.at(time_s)
        raised = blend(self._raised)
        posture.arms += raised[..., None] * np.radians(
            np.subtract(self.RAISED_DEG, HANGING_ARM_DEG)
        )
        posture.arms[:, :, 1] += raised * blend(self._height)[:, None]
        beat = np.sin(2 * np.pi * self._rate_hz * time_s)
        # Only a hand that is all the way up waves.
        posture.arms[:, :, 3] += self._size * raised**4 * beat[:, None] * (1.0, -1.0)
        lean = raised @ np.array(OUTWARD)
        posture.spine[:, 2] += np.radians(3.0) * lean
        settle_pelvis(posture, self._person)
        return posture


class Reaching:
    """Stands and reaches for things high and low, in front and to the sides, and comes back."""

    def __init__(self, person: Person, draws: Draws, duration_s: float) -> None:
        self._person = person
        self._stance = Stance(person, draws)
        self._timeline = Timeline.random(draws, "reach", duration_s, (0.25, 0.9), (0.85, 1.35))
        keys = self._timeline.n_moves + 1
        # Every other key is a thing to reach for; the others often are, too.
        kind = draws("reach kind", 0.0, 1.0, keys)
        active = (kind < 0.35) | (np.arange(keys) % 2 == 1)
        active[0] = False
        hand = draws("reach hand", 0.0, 1.0, keys)
        self._reaches = np.stack([hand < 0.6, hand > 0.4], axis=-1) & active[:, None]
        elevation = draws("reach elevation", 35.0, 150.0, keys) * active
        outward = draws("reach outward", -18.0, 62.0, keys) * active
        self._lower = np.interp(elevation, (0.0, 35.0, 85.0), (0.0, 1.0, 0.0))
        self._lower *= active
        self._pitch = np.radians(np.interp(elevation, (35, 70, 90, 125), (40, 16, 7, -5))) * active
        single = self._reaches[:, 0].astype(np.float64) - self._reaches[:, 1]
        self._twist = np.radians(single * (0.45 * outward - 12.0))
        self._arms = self._arm_keys(draws, np.radians(elevation), np.radians(outward))

    def _arm_keys(self, draws: Draws, elevation: FloatArray, outward: FloatArray) -> FloatArray:
        """(K + 1, 2, 4) arms; elevation of the arm is from hanging, in the world."""
        keys = len(elevation)
        arms = np.empty((keys, 2, 4))
        arms[:] = np.radians(HANGING_ARM_DEG)
        elbow = np.radians(draws("reach elbow", 8.0, 30.0, keys))
        # The chest leans; the arm is given relative to it.
        from_chest = elevation + self._pitch * np.cos(outward)
        reach = np.stack(
            [
                from_chest * np.cos(outward),
                from_chest * np.sin(outward) + np.radians(6.0),
                np.radians(np.interp(np.degrees(elevation), (50.0, 150.0), (30.0, -25.0))),
                elbow,
            ],
            axis=-1,
        )
        for side in SIDES:
            chosen = self._reaches[:, side]
            arms[chosen, side] = reach[chosen]
            # An arm that is not used hangs down from a leaning chest.
            arms[~chosen, side, 0] += 0.8 * self._pitch[~chosen]
        return arms

    def __call__(self, time_s: FloatArray) -> Posture:
        """The posture at the moments time_s (T,)."""
        posture = self._stance(time_s)
        blend = self._timeline.at(time_s)
        lower, pitch, twist = blend(self._lower), blend(self._pitch), blend(self._twist)
        posture.arms += blend(self._arms) - np.radians(HANGING_ARM_DEG)
        posture.pelvis_angles[:, 1] += 0.45 * pitch
        posture.spine[:, 1] += 0.55 * pitch
        posture.pelvis_angles[:, 0] += 0.4 * twist
        posture.spine[:, 0] += 0.6 * twist
        # Hips go back as the chest comes forwards, or the person would topple.
        posture.pelvis[:, 0] -= 0.2 * np.sin(pitch)
        posture.pelvis[:, 2] -= 0.16 * self._person.leg * lower
        posture.head[:, 0] += 0.3 * twist
        posture.head[:, 1] -= 0.3 * pitch
        settle_pelvis(posture, self._person)
        return posture
