"""New views of recorded motion: other bodies, places, cameras and detector faults.

A motion-capture set has few people and four cameras. Every epoch the recorded poses are put in
world coordinates, cut into segments, and each segment is seen again by a camera of its own:
the recorded one, one near it, or one placed freely. Everything works on whole arrays, with S
segments of L frames of J joints.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from vp3d_deploy.camera import Camera
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.training.bodies import BodySettings, other_bodies, rotation_about, rotations

Array = NDArray[np.float32]
NEAREST_M = 0.5  # no joint comes closer to a camera than this; the divide stays harmless
IN_VIEW = 1.3  # normalised screen units; the recorded views reach 1.28


@dataclass(frozen=True)
class CameraBatch:
    """S cameras as arrays; the fields are those of `Camera`, rotation world -> camera."""

    rotation: Array  # (S, 3, 3)
    position_m: Array  # (S, 3)
    focal_px: Array  # (S, 2)
    center_px: Array  # (S, 2)
    radial: Array  # (S, 3)
    tangential: Array  # (S, 2)
    size_px: Array  # (S, 2)
    tangential_gain: Array  # (S,), see `vp3d_deploy.camera.project`

    @classmethod
    def stack(cls, cameras: Sequence[Camera]) -> CameraBatch:
        """One row per camera."""
        names = ("rotation", "position_m", "focal_px", "center_px", "radial", "tangential")
        rows = {
            name: np.stack([np.asarray(getattr(c, name), np.float32) for c in cameras])
            for name in names
        }
        sizes = np.array([(c.width, c.height) for c in cameras], np.float32)
        gains = np.array([c.tangential_gain for c in cameras], np.float32)
        return cls(**rows, size_px=sizes, tangential_gain=gains)

    def take(self, rows: NDArray[np.int64] | NDArray[np.bool_]) -> CameraBatch:
        """The cameras with these numbers, in this order, or where a mask is true."""
        return CameraBatch(**{name: value[rows] for name, value in vars(self).items()})

    def see(self, world_m: Array) -> tuple[Array, Array]:
        """Look at segments, one camera each.

        world_m: (S, L, J, 3) metres, world.
        Returns the poses (S, L, J, 3) in metres in the camera frame, and their keypoints
        (S, L, J, 2) in normalised screen units, by the formula of `vp3d_deploy.camera.project`.
        """
        shape = world_m.shape
        relative = world_m.reshape(shape[0], shape[1] * shape[2], 3) - self.position_m[:, None]
        pose = (relative @ self.rotation.transpose(0, 2, 1)).reshape(shape)
        x = pose[..., :2] / np.maximum(pose[..., 2:], NEAREST_M)
        r2 = np.sum(x * x, axis=-1, keepdims=True)
        k1, k2, k3 = self.radial.T[:, :, None, None, None]
        p = self.tangential[:, None, None, ::-1]
        gain = self.tangential_gain[:, None, None, None]
        scale = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + gain * np.sum(x * p, -1, keepdims=True)
        x = x * scale + p * r2
        half_width = self.size_px[:, :1] / 2
        focal = (self.focal_px / half_width)[:, None, None]
        offset = ((self.center_px - self.size_px / 2) / half_width)[:, None, None]
        return pose, x * focal + offset


@dataclass(frozen=True)
class ViewSettings:
    """How far the new views are from the recorded ones; zero everywhere keeps the recording."""

    bodies: BodySettings = field(default_factory=BodySettings)
    moved: float = 0.75  # part of the segments turned and moved in front of a recorded camera
    free: float = 0.15  # part of the segments seen by a camera placed freely
    shift_m: float = 1.0  # moved people: standard deviation on the floor
    camera_tilt_deg: float = 3.0  # moved people: standard deviation about each camera axis
    camera_shift_m: float = 0.2
    focal_spread: float = 0.05  # standard deviation of log focal length
    noisy: float = 0.4  # part of the segments with detector noise
    noise: float = 0.016  # largest standard deviation of that noise, normalised screen units


def new_views(
    world_m: Array,
    cameras: CameraBatch,
    foreign: NDArray[np.bool_],
    skeleton: Skeleton,
    settings: ViewSettings,
    rng: np.random.Generator,
) -> tuple[Array, Array]:
    """See S segments anew, some in place, some moved, some by free cameras.

    world_m: (S, L, J, 3) metres, z up. cameras: the recorded camera of each segment.
    foreign: (S,) see `other_bodies`.
    Returns poses (S, L, J, 3) in metres in the camera frame, keypoints (S, L, J, 2) in
    normalised screen units, noise included.
    """
    n = len(world_m)
    draw = rng.random(n)
    bodies_m = other_bodies(world_m, foreign, skeleton, settings.bodies, rng)
    moved_m = _turn_and_shift(bodies_m, settings, rng)
    near = _near_cameras(cameras.take(rng.permutation(n)), settings, rng)
    placed = _free_cameras(moved_m[:, :, 0].mean(axis=1), rng)
    pose, keypoints = _select(draw < settings.free, placed, near).see(moved_m)
    # The rest keeps its recorded view, and so does who would be out of the picture.
    kept = (draw >= settings.free + settings.moved) | (np.abs(keypoints) > IN_VIEW).any((1, 2, 3))
    kept |= (pose[..., 2] < NEAREST_M).any((1, 2))
    pose[kept], keypoints[kept] = cameras.take(kept).see(world_m[kept])
    return pose, keypoints + _noise(keypoints.shape, settings, rng)


def _select(mask: NDArray[np.bool_], yes: CameraBatch, no: CameraBatch) -> CameraBatch:
    return CameraBatch(
        **{
            name: np.where(mask.reshape(-1, *[1] * (value.ndim - 1)), value, getattr(no, name))
            for name, value in vars(yes).items()
        }
    )


def _normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape, dtype=np.float32)


def _turn_and_shift(world_m: Array, settings: ViewSettings, rng: np.random.Generator) -> Array:
    """Turn each segment about the vertical through its middle and move it on the floor."""
    n = len(world_m)
    middle = world_m[:, :, 0].mean(axis=1)[:, None, None]
    middle[..., 2] = 0
    turn = rotation_about(2, rng.uniform(-np.pi, np.pi, n))
    flat = (world_m - middle).reshape(n, -1, 3) @ turn
    shift = settings.shift_m * _normal(rng, n, 3)
    shift[:, 2] = 0
    return flat.reshape(world_m.shape) + middle + shift[:, None, None]


def _near_cameras(
    cameras: CameraBatch, settings: ViewSettings, rng: np.random.Generator
) -> CameraBatch:
    n = len(cameras.position_m)
    angles = np.deg2rad(settings.camera_tilt_deg) * _normal(rng, 3, n)
    tilt = rotations(angles)
    focal = np.exp(settings.focal_spread * _normal(rng, n, 1))
    return replace(
        cameras,
        rotation=tilt @ cameras.rotation,
        position_m=cameras.position_m + settings.camera_shift_m * _normal(rng, n, 3),
        focal_px=cameras.focal_px * focal,
    )


def _free_cameras(targets_m: Array, rng: np.random.Generator) -> CameraBatch:
    """Undistorted cameras 2.5 to 7 m away at any height of a person, wide to narrow."""
    n = len(targets_m)
    uniform = rng.uniform
    azimuth, distance = uniform(-np.pi, np.pi, n), uniform(2.5, 7.0, n)
    position = targets_m + np.stack(
        [distance * np.cos(azimuth), distance * np.sin(azimuth), np.zeros(n)], axis=1
    )
    position[:, 2] = uniform(0.3, 2.5, n)
    forward = targets_m + 0.3 * _normal(rng, n, 3) - position
    forward /= np.linalg.norm(forward, axis=1, keepdims=True)
    right = np.cross(forward, np.array([0.0, 0.0, 1.0]))
    right /= np.linalg.norm(right, axis=1, keepdims=True)
    rotation = np.stack([right, np.cross(forward, right), forward], axis=1)
    roll = rotation_about(2, np.deg2rad(3.0) * _normal(rng, n))
    size = np.full((n, 2), 1000.0)
    # A person as tall as 2 m must fit: the focal length is at most half the width times
    # distance over 1.2 m.
    focal = 500 * np.exp(uniform(np.log(1.2), np.log(np.minimum(distance / 1.2, 3.2)), n))
    arrays = {
        "rotation": roll @ rotation,
        "position_m": position,
        "focal_px": np.repeat(focal[:, None], 2, axis=1),
        "center_px": size / 2,
        "radial": np.zeros((n, 3)),
        "tangential": np.zeros((n, 2)),
        "size_px": size,
        "tangential_gain": np.ones(n),
    }
    return CameraBatch(**{name: value.astype(np.float32) for name, value in arrays.items()})


def _noise(shape: tuple[int, ...], settings: ViewSettings, rng: np.random.Generator) -> Array:
    """Detector-like noise (S, L, J, 2): an offset per joint, a slow drift and white jitter."""
    n, length, joints, _ = shape
    level = settings.noise * rng.random(n, dtype=np.float32)
    level *= rng.random(n) < settings.noisy
    drift = _normal(rng, *shape)
    keep = np.float32(0.9)  # per frame: the drift forgets half of itself in 7 frames
    for frame in range(1, length):
        drift[:, frame] = keep * drift[:, frame - 1] + np.sqrt(1 - keep**2) * drift[:, frame]
    offset = _normal(rng, n, 1, joints, 2)
    out: Array = level[:, None, None, None] * (
        0.5 * offset + 0.7 * drift + 0.3 * _normal(rng, *shape)
    )
    return out
