"""Where people stand in the 3D picture, and how it is seen.

The stage has x to the right, y up and z towards the viewer, in metres, the floor at y = 0. Poses
arrive in the camera's frame; a camera that looks down tilts everybody in it, and root-relative
poses do not say where the floor is. Both are estimated here, for the picture only.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from vp3d_deploy.poses import Poses
from vp3d_deploy.skeleton import Skeleton

DEFAULT_FPS = 30.0
# The soles are this far below the lowest joint, which is an ankle.
_SOLE_M = 0.05
# Cameras that film people look down or up by less than this.
_MAX_TILT_DEG = 25.0
# Legs and back are in line from this share of their bones' length on: 1 is standing at attention,
# 0.75 sitting on a chair.
_STRAIGHT = 0.9
_SPACING_M = 1.15
# The floor is sought below the lowest joint within this long to either side, which steadies it.
_STEADY_S = 0.08
# The view follows the mean place of everybody over this long, to either side.
_FOLLOW_S = 0.8


@dataclass(frozen=True)
class Stage:
    """People in their places.

    joints_m: (N, T, J, 3) float32, stage coordinates, NaN where missing.
    target_m: (T, 3), where the viewer looks. radius_m: how far around it people come.
    """

    joints_m: np.ndarray
    target_m: np.ndarray
    radius_m: float


def set_stage(poses: Poses) -> Stage:
    """Level the poses, put everybody on the floor, and choose where to look."""
    people = poses.as_people()
    fps = people.fps or DEFAULT_FPS
    turn = leveling(people.joints_m, people.skeleton)
    joints = (people.joints_m @ turn.T).astype(np.float32)
    places = _places(people, turn)
    places[..., 1] = -_floor(joints, fps)
    joints = joints + places[:, :, None]
    target, radius = _where_to_look(places, np.isfinite(joints).all(-1).any(-1), fps)
    return Stage(joints, target, radius)


def leveling(joints_m: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(3, 3) rotation from the camera's frame to the stage: half a turn about x, then the tilt.

    The tilt is the median lean, towards or away from the camera, of the half of all frames in
    which people stand most upright, legs and back in line. Without such frames it is zero.
    joints_m: (..., J, 3), camera frame.
    """
    upside = np.diag([1.0, -1.0, -1.0])
    names = ("thorax", "pelvis", "left_knee", "right_knee", "left_ankle", "right_ankle")
    if not set(names) <= set(skeleton.joints):
        return upside
    flat = joints_m.reshape(-1, skeleton.n_joints, 3).astype(np.float64) @ upside
    flat = flat[np.isfinite(flat).all((1, 2))]
    thorax, pelvis, *legs = (flat[:, skeleton.index(name)] for name in names)
    knees, ankles = (legs[0] + legs[1]) / 2, (legs[2] + legs[3]) / 2
    axis = thorax - ankles
    pieces = (thorax - pelvis, pelvis - knees, knees - ankles)
    parts = sum(np.linalg.norm(piece, axis=-1) for piece in pieces)
    length = np.linalg.norm(axis, axis=-1)
    straight = length / np.maximum(parts, 1e-6)
    if len(straight) == 0 or np.median(length) < 0.3 or straight.max() < _STRAIGHT:
        return upside
    standing = axis[straight >= max(_STRAIGHT, float(np.median(straight)))]
    angle = float(np.median(np.arctan2(standing[:, 2], np.maximum(standing[:, 1], 1e-6))))
    limit = math.radians(_MAX_TILT_DEG)
    c, s = math.cos(min(max(angle, -limit), limit)), math.sin(min(max(angle, -limit), limit))
    # Turns (0, cos a, sin a), the lean, into (0, 1, 0).
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]]) @ upside


def _places(people: Poses, turn: np.ndarray) -> np.ndarray:
    """(N, T, 3) where each root is on the floor; side by side without a trajectory."""
    if people.trajectory_m is not None:
        places = (people.trajectory_m[:, :, 0] @ turn.T).astype(np.float32)
        known = np.isfinite(places).all(-1)
        if known.any():
            return places - places[known].mean(0)
    places = np.zeros((people.n_people, people.n_frames, 3), np.float32)
    places[..., 0] = (np.arange(people.n_people) - (people.n_people - 1) / 2)[:, None] * _SPACING_M
    return places


def _floor(joints: np.ndarray, fps: float) -> np.ndarray:
    """(N, T) height of the floor below each root: the lowest joint around the time, smoothed.

    The minimum over a while and then the mean over the same while never lies above a foot.
    """
    heights = joints[..., 1]
    low = np.where(np.isfinite(heights), heights, np.inf).min(-1)
    reach = max(1, round(_STEADY_S * fps))
    floors = np.zeros_like(low)
    for person, row in enumerate(low):
        if np.isfinite(row).any():
            padded = np.pad(row, reach, constant_values=np.inf)
            lowest = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).min(-1)
            lowest = np.where(np.isfinite(lowest), lowest, np.nan)
            floors[person] = _mean(lowest, reach) - _SOLE_M
    return np.nan_to_num(floors)


def _where_to_look(places: np.ndarray, seen: np.ndarray, fps: float) -> tuple[np.ndarray, float]:
    """(T, 3) a slow middle of the people, and the distance around it that they take up."""
    place = np.where(seen[..., None], places, np.nan)
    n_frames = place.shape[1]
    target = np.zeros((n_frames, 3), np.float32)
    if not seen.any():
        return target, 1.0
    counts = np.maximum(seen.sum(0), 1)
    middle = np.where(seen.any(0), np.nansum(place[..., [0, 2]], axis=0).T / counts, np.nan)
    for axis, values in zip((0, 2), middle, strict=True):
        target[:, axis] = _mean(values, max(1, round(_FOLLOW_S * fps)))
    offsets = np.hypot(*(place - target)[..., [0, 2]][seen].T)
    return target, float(np.clip(np.percentile(offsets, 97), 0.0, 3.5))


def _mean(row: np.ndarray, reach: int) -> np.ndarray:
    """Running mean of the values that are known; what is far from any is that of the nearest."""
    known = np.isfinite(row)
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, row, 0.0))])
    counts = np.concatenate([[0], np.cumsum(known)])
    frames = np.arange(len(row))
    first, last = np.maximum(frames - reach, 0), np.minimum(frames + reach + 1, len(row))
    n_known = counts[last] - counts[first]
    present = np.flatnonzero(n_known)
    means = (sums[last] - sums[first])[present] / n_known[present]
    return np.interp(frames, present, means)


@dataclass(frozen=True)
class View:
    """A perspective camera on the stage.

    yaw, pitch: where it stands, radians: to the right of the front, and above.
    center_px: where the target appears.
    """

    target_m: np.ndarray
    distance_m: float
    yaw: float
    pitch: float
    focal_px: float
    center_px: tuple[float, float]

    def project(self, points_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(..., 3) stage metres -> pixels (..., 2) and depth (...,) in metres."""
        cy, sy, cp, sp = (
            math.cos(self.yaw), math.sin(self.yaw), math.cos(self.pitch), math.sin(self.pitch)
        )  # fmt: skip
        offset = points_m - self.target_m
        x = cy * offset[..., 0] - sy * offset[..., 2]
        forward = sy * offset[..., 0] + cy * offset[..., 2]
        y = cp * offset[..., 1] - sp * forward
        depth = self.distance_m - (sp * offset[..., 1] + cp * forward)
        scale = self.focal_px / np.maximum(depth, 0.1)
        pixels = np.stack([self.center_px[0] + x * scale, self.center_px[1] - y * scale], axis=-1)
        return pixels, depth
