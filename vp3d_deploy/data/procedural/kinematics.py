"""From posture (angles, footholds) to the 17 joints of Human3.6M, for all frames at once.

World and body frames are right-handed with z up; a person of yaw 0 looks along x and has the
left side on +y. Angles are radians. Sides are indexed 0 = left, 1 = right.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vp3d_deploy.data.procedural.body import Person
from vp3d_deploy.data.procedural.timing import FloatArray, soft_min

LEFT, RIGHT = 0, 1
SIDES = (LEFT, RIGHT)
OUTWARD = (1.0, -1.0)
"""The sign of y that leads away from the body, by side."""

# A leg stretched further than this share of its length snaps straight and bends again within a
# frame or two; people keep their knees a little bent as well (0.995 is a bend of 11 degrees).
MAX_LEG_STRETCH = 0.995
_MIN_LEG_LENGTH_M = 0.15


@dataclass
class Posture:
    """What the T frames of a motion ask of the body. Writable; motions add to it in place.

    pelvis: (T, 3) metres; its z is a wish that `settle_pelvis` lowers to what the legs can reach.
    pelvis_angles: (T, 3) yaw (positive: to the left), pitch (forwards), roll (to the right).
    spine: (T, 3) the chest's twist (to the left), bend (forwards), side bend (to the right)
        relative to the pelvis.
    head: (T, 3) the head's yaw, pitch, roll relative to the chest, signs as for the pelvis.
    arms: (T, 2, 4) by side: raise forwards, raise outwards (together the rotation vector of the
        upper arm from hanging), turn inwards about the upper arm, bend of the elbow.
    ball: (T, 2, 3) metres, the ball of each foot on or over the floor.
    foot_yaw: (T, 2) in the world; foot_pitch: (T, 2), positive: heel raised.
    knee_out: (T, 2) how far the knees point outwards of the feet.
    """

    pelvis: FloatArray
    pelvis_angles: FloatArray
    spine: FloatArray
    head: FloatArray
    arms: FloatArray
    ball: FloatArray
    foot_yaw: FloatArray
    foot_pitch: FloatArray
    knee_out: FloatArray

    @classmethod
    def zeros(cls, n_frames: int) -> Posture:
        """A posture of `n_frames` frames in which every number is zero."""
        shapes = ((3,), (3,), (3,), (3,), (2, 4), (2, 3), (2,), (2,), (2,))
        return cls(*(np.zeros((n_frames, *shape)) for shape in shapes))


def rotation(axis: int, angle: FloatArray) -> FloatArray:
    """(T, 3, 3) rotation matrices about x, y or z (axis 0, 1, 2), right-handed."""
    first, second = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.zeros((*angle.shape, 3, 3))
    matrix[..., axis, axis] = 1.0
    matrix[..., first, first] = matrix[..., second, second] = np.cos(angle)
    matrix[..., second, first] = np.sin(angle)
    matrix[..., first, second] = -matrix[..., second, first]
    return matrix


def euler_rotation(angles: FloatArray) -> FloatArray:
    """(T, 3) yaw, pitch, roll to (T, 3, 3): roll first, yaw last."""
    yaw, pitch, roll = (angles[..., i] for i in range(3))
    return rotation(2, yaw) @ rotation(1, pitch) @ rotation(0, roll)


def swing_rotation(x: FloatArray, y: FloatArray) -> FloatArray:
    """(T, 3, 3) rotation by the rotation vectors (x, y, 0) (T,): Rodrigues' formula."""
    angle = np.hypot(x, y)
    # sin(a)/a and (1 - cos(a))/a^2, both finite at 0; np.sinc(v) is sin(pi v)/(pi v).
    first = np.sinc(angle / np.pi)
    second = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    matrix = np.empty((*angle.shape, 3, 3))
    matrix[..., 0, 0] = 1 - second * y * y
    matrix[..., 1, 1] = 1 - second * x * x
    matrix[..., 2, 2] = 1 - second * (x * x + y * y)
    matrix[..., 0, 1] = matrix[..., 1, 0] = second * x * y
    matrix[..., 0, 2] = first * y
    matrix[..., 2, 0] = -first * y
    matrix[..., 1, 2] = -first * x
    matrix[..., 2, 1] = first * x
    return matrix


def ankles(posture: Posture, person: Person) -> FloatArray:
    """(T, 2, 3) metres: a foot turns about its ball, which the posture places."""
    pitch, yaw = posture.foot_pitch, posture.foot_yaw
    forward = person.ankle_height * np.sin(pitch) - person.foot * np.cos(pitch)
    up = person.ankle_height * np.cos(pitch) + person.foot * np.sin(pitch)
    return posture.ball + np.stack([forward * np.cos(yaw), forward * np.sin(yaw), up], axis=-1)


def settle_pelvis(posture: Posture, person: Person, softness_m: float = 0.004) -> None:
    """Lower the pelvis to where both legs reach their ankles with knees to spare.

    softness_m: how gradually one limit takes over from another. In walking this makes the body
    vault over each standing leg, as people do.
    """
    hips = posture.pelvis[:, None] + _hip_offsets(posture, person)
    reach = ankles(posture, person) - hips
    level_sq = (reach[..., :2] ** 2).sum(axis=-1)
    length = MAX_LEG_STRETCH * person.leg
    height = np.sqrt(np.maximum(length**2 - level_sq, _MIN_LEG_LENGTH_M**2))
    limits = posture.pelvis[:, None, 2] + reach[..., 2] + height
    wish = posture.pelvis[:, 2:3]
    posture.pelvis[:, 2] = soft_min(np.concatenate([wish, limits], axis=1), softness_m)


def joints_from_posture(posture: Posture, person: Person) -> FloatArray:
    """(T, 17, 3) world metres, Human3.6M order. The pelvis must have been settled."""
    joints = np.empty((len(posture.pelvis), 17, 3))
    joints[:, 0] = posture.pelvis
    hips = posture.pelvis[:, None] + _hip_offsets(posture, person)
    targets = ankles(posture, person)
    for side, first in ((RIGHT, 1), (LEFT, 4)):
        # A foot turned away from the hips turns half of it in the hip, half below the knee.
        facing = posture.pelvis_angles[:, 0]
        turned = np.mod(posture.foot_yaw[:, side] - facing + np.pi, 2 * np.pi) - np.pi
        yaw = facing + 0.5 * turned + OUTWARD[side] * posture.knee_out[:, side]
        knee, ankle = bend_leg(hips[:, side], targets[:, side], yaw, person)
        joints[:, first] = hips[:, side]
        joints[:, first + 1] = knee
        joints[:, first + 2] = ankle
    chest = _trunk_and_head(joints, posture, person)
    for side, first in ((LEFT, 11), (RIGHT, 14)):
        _arm(joints, first, side, chest, posture.arms[:, side], person)
    return joints


def bend_leg(
    hip: FloatArray, ankle: FloatArray, knee_yaw: FloatArray, person: Person
) -> tuple[FloatArray, FloatArray]:
    """Knee and ankle (T, 3): the two-bone problem, solved with the law of cosines.

    The knee leaves the line from hip to ankle towards `knee_yaw`, never backwards. An ankle out
    of reach is drawn in along that line, so the bones keep their lengths whatever is asked.
    """
    line = ankle - hip
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    line = line / distance
    longest = person.leg * (1 - 1e-6)
    distance = np.clip(distance, _MIN_LEG_LENGTH_M, longest)
    left = np.stack([-np.sin(knee_yaw), np.cos(knee_yaw), np.zeros_like(knee_yaw)], axis=-1)
    forward = np.cross(line, left)
    forward /= np.linalg.norm(forward, axis=-1, keepdims=True)
    along = (person.thigh**2 - person.shank**2 + distance**2) / (2 * distance)
    off = np.sqrt(np.maximum(person.thigh**2 - along**2, 0.0))
    return hip + along * line + off * forward, hip + distance * line


def _hip_offsets(posture: Posture, person: Person) -> FloatArray:
    """(T, 2, 3) from the pelvis to the left and right hip."""
    across = euler_rotation(posture.pelvis_angles)[..., 1] * person.hip_half_width
    return np.stack([across, -across], axis=1)


def _trunk_and_head(joints: FloatArray, posture: Posture, person: Person) -> FloatArray:
    """Write spine, thorax, neck and head; return the chest's rotation (T, 3, 3).

    The spine bends half at the pelvis and half at the joint "spine".
    """
    half_bend = euler_rotation(posture.spine / 2)
    lumbar = euler_rotation(posture.pelvis_angles) @ half_bend
    chest = lumbar @ half_bend
    head = chest @ euler_rotation(posture.head)
    joints[:, 7] = joints[:, 0] + person.lumbar * lumbar[..., 2]
    joints[:, 8] = joints[:, 7] + person.chest * chest[..., 2]
    joints[:, 9] = joints[:, 8] + head @ np.array(person.face)
    joints[:, 10] = joints[:, 9] + head @ np.array(person.crown)
    return chest


def _arm(
    joints: FloatArray,
    first: int,
    side: int,
    chest: FloatArray,
    arm: FloatArray,
    person: Person,
) -> None:
    """Write shoulder, elbow and wrist of one side from joint index `first` on."""
    outward = OUTWARD[side]
    forwards, outwards, inward_turn, elbow = (arm[:, i] for i in range(4))
    # The collar bone gives way: up with a raised arm, forwards with one stretched in front.
    shrug = 0.11 * (1 - np.cos(np.hypot(forwards, outwards)))
    reach = 0.16 * np.sin(forwards)
    collar = chest @ rotation(2, -outward * reach) @ rotation(0, outward * shrug)
    offset = np.array(person.shoulder) * (1.0, outward, 1.0)
    upper = chest @ swing_rotation(outward * outwards, -forwards)
    upper = upper @ rotation(2, -outward * inward_turn)
    joints[:, first] = joints[:, 8] + collar @ offset
    joints[:, first + 1] = joints[:, first] - person.upper_arm * upper[..., 2]
    # The elbow is a hinge about the upper arm's own y axis.
    forearm = np.sin(elbow)[:, None] * upper[..., 0] - np.cos(elbow)[:, None] * upper[..., 2]
    joints[:, first + 2] = joints[:, first + 1] + person.forearm * forearm
