"""Other bodies in other poses, made from recorded ones: sizes, bone lengths, limbs exchanged.

Recorded motion has a handful of people and a few minutes of their poses. A network trained on
them alone learns these poses by heart; one that also sees the legs of one moment under the arms
of another does not. Exchanging limbs between recorded poses follows Li et al., "Cascaded deep
monocular 3D human pose estimation with evolutionary training data" (CVPR 2020), section 3.

Arrays hold S segments of L frames of J joints, in metres, z up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vp3d_deploy.skeleton import Skeleton

Array = NDArray[np.float32]


@dataclass(frozen=True)
class BodySettings:
    """How far other bodies are from the recorded ones; all zero keeps them."""

    relabelled: float = 0.4  # part of the foreign segments given Human3.6M's joints
    exchange: float = 0.5  # chance of each exchange: upper body, each arm, each leg
    lean_deg: float = 5.0  # standard deviation of a turn of the whole body, about each axis
    bend_deg: float = 6.0  # standard deviation of a turn of each bone, about each axis
    size_spread: float = 0.06  # standard deviation of log body size
    bone_spread: float = 0.05  # standard deviation of log bone length, left = right


def other_bodies(
    world_m: Array,
    foreign: NDArray[np.bool_],
    skeleton: Skeleton,
    settings: BodySettings,
    rng: np.random.Generator,
) -> Array:
    """Give every segment another pose and another body, the same for all its frames.

    world_m: (S, L, J, 3), Human3.6M's joint names, joint 0 the root and every parent before its
        children.
    foreign: (S,) where the joints are another marker set's under those names; only these are
        ever given Human3.6M's own joints.
    Returns a new array of that shape. The root keeps its place on the floor; it rises and sinks
    with the size of the body, which keeps feet near the floor.
    """
    n = len(world_m)
    parents = np.maximum(skeleton.parents, 0)
    bones = world_m - world_m[:, :, parents]
    relabelled = foreign & (rng.random(n) < settings.relabelled)
    bones[relabelled] = _human36m_bones(world_m[relabelled], skeleton)
    bones = _exchange(bones, skeleton, settings.exchange, rng)
    factor, size = _lengths(n, skeleton, settings, rng)
    turns = rotations(np.deg2rad(settings.bend_deg) * _normal(rng, 3, n * skeleton.n_joints))
    turns = turns.reshape(n, skeleton.n_joints, 3, 3)
    turns[:, 0] = rotations(np.deg2rad(settings.lean_deg) * _normal(rng, 3, n))
    out = np.empty_like(world_m)
    out[:, :, 0] = world_m[:, :, 0]
    out[:, :, 0, 2] *= size[:, None]
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            # A limb turns as a whole; hips turn with the pelvis, or they would come apart.
            rigid = skeleton.joints[joint] in ("left_hip", "right_hip")
            turns[:, joint] = turns[:, parent] if rigid else turns[:, parent] @ turns[:, joint]
            bone = bones[:, :, joint] @ (turns[:, joint] * factor[:, joint, None, None])
            out[:, :, joint] = out[:, :, parent] + bone
    return out


def _human36m_bones(world_m: Array, skeleton: Skeleton) -> Array:
    """Bones (S, L, J, 3) of the same pose with joints where Human3.6M has them.

    Motion mapped from another marker set has Human3.6M's joint names, not its joints. Numbers
    are differences between the CMU recordings and Human3.6M's published skeleton: there the
    thorax lies a little above the shoulders, the neck joint in the face, shoulders are narrower
    and forearms, which end in the hand, longer.
    """
    at = {joint: world_m[:, :, i] for i, joint in enumerate(skeleton.joints)}
    middle = (at["left_shoulder"] + at["right_shoulder"]) / 2
    up = _unit(at["neck"] - at["spine"])
    forward = _unit(np.cross(at["left_shoulder"] - at["right_shoulder"], up))
    at["thorax"] = middle + np.float32(0.05) * up + np.float32(0.03) * forward
    for joint in ("neck", "head"):
        at[joint] = at[joint] + np.float32(0.1) * forward
    for joint in ("left_shoulder", "right_shoulder"):
        at[joint] = middle + np.float32(0.78) * (at[joint] - middle)
    factors = {"knee": 1.05, "ankle": 1.06, "wrist": 1.28}
    bones = np.zeros_like(world_m)
    for i, (joint, parent) in enumerate(zip(skeleton.joints, skeleton.parents, strict=True)):
        if joint.endswith(("_elbow", *(f"_{end}" for end in factors))):
            bones[:, :, i] = world_m[:, :, i] - world_m[:, :, parent]
            bones[:, :, i] *= np.float32(factors.get(joint.split("_")[-1], 1.0))
        elif parent >= 0:
            bones[:, :, i] = at[joint] - at[skeleton.joints[parent]]
    return bones


def _unit(vectors: Array) -> Array:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-6), np.float32)


def _lengths(
    n: int, skeleton: Skeleton, settings: BodySettings, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Factor of each bone (S, J) and of the whole body (S,)."""
    size = np.exp(np.float32(settings.size_spread) * _normal(rng, n))
    spread = np.float32(settings.bone_spread) * _normal(rng, n, skeleton.n_joints)
    one_side = np.minimum(np.arange(skeleton.n_joints), skeleton.flip_order)
    return size[:, None] * np.exp(spread[:, one_side]), size


def _exchange(bones: Array, skeleton: Skeleton, chance: float, rng: np.random.Generator) -> Array:
    """Take the upper body, arms and legs from other segments, turned to face the same way."""
    hips = skeleton.index("left_hip"), skeleton.index("right_hip")
    shoulders = skeleton.index("left_shoulder"), skeleton.index("right_shoulder")
    below = [joint for joint in range(skeleton.n_joints) if _hangs_from(skeleton, joint, "spine")]
    limbs = [(below, hips)]
    for side in ("left", "right"):
        for joints, axis in ((("elbow", "wrist"), shoulders), (("knee", "ankle"), hips)):
            limbs.append(([skeleton.index(f"{side}_{joint}") for joint in joints], axis))
    recorded, bones = bones, bones.copy()
    for limb, axis in limbs:
        taker = np.flatnonzero(rng.random(len(bones)) < chance)
        giver = rng.integers(0, len(bones), len(taker))
        angle = _heading(bones[taker], axis) - _heading(recorded[giver], axis)
        taken = bones[taker]
        taken[:, :, limb] = _turn_upright(recorded[giver][:, :, limb], angle)
        bones[taker] = taken
    return bones


def _hangs_from(skeleton: Skeleton, joint: int, name: str) -> bool:
    while joint >= 0:
        if skeleton.joints[joint] == name:
            return True
        joint = skeleton.parents[joint]
    return False


def _heading(bones: Array, axis: Sequence[int]) -> Array:
    """Angle about the vertical of the line from one joint to another of the same parent."""
    line = bones[:, :, axis[1], :2] - bones[:, :, axis[0], :2]
    angle: Array = np.arctan2(line[..., 1], line[..., 0])
    return angle


def _turn_upright(vectors: Array, angle: Array) -> Array:
    """Turn (S, L, J, 3) about the vertical by (S, L) radians."""
    c, s = np.cos(angle)[..., None], np.sin(angle)[..., None]
    x, y = vectors[..., 0], vectors[..., 1]
    return np.stack([c * x - s * y, s * x + c * y, vectors[..., 2]], axis=-1)


def rotations(angles: NDArray[np.floating]) -> Array:
    """(3, N) radians about x, y and z -> (N, 3, 3), the product of the three rotations."""
    x, y, z = (rotation_about(axis, angles[axis]) for axis in range(3))
    return np.asarray(x @ y @ z, np.float32)


def rotation_about(axis: int, angle: NDArray[np.floating]) -> Array:
    """(N,) radians -> (N, 3, 3) rotations about one coordinate axis."""
    a, b = [i for i in range(3) if i != axis]
    out = np.tile(np.eye(3, dtype=np.float32), (len(angle), 1, 1))
    out[:, a, a] = out[:, b, b] = np.cos(angle)
    out[:, a, b], out[:, b, a] = -np.sin(angle), np.sin(angle)
    return out


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)
