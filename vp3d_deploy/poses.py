"""3D poses: what lifting gives, in memory and on disk."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.skeleton import SKELETONS, Skeleton

SUFFIXES = (".npz", ".json", ".csv", ".bvh")
LOADABLE_SUFFIXES = (".npz", ".json")


class PosesError(ValueError):
    """Arrays that do not fit together, or a file that does not hold poses."""


@dataclass(eq=False, repr=False)
class Poses:
    """The 3D poses of one person, or of N people over the same T frames.

    Coordinates are those of the camera: x to the right of the image, y down, z away from the
    camera, all in metres. Where a person is missing, joints are NaN and confidence is 0.

    joints_m: (T, J, 3) or (N, T, J, 3) float32, relative to the root joint.
    trajectory_m: (T, 1, 3) or (N, T, 1, 3) float32, where the root joint is; None if not known.
    confidence: (T, J) or (N, T, J) float32, 0 (missing) to 1.
    skeleton: names, parents and sides of the J joints.
    fps: frames per second; None if not known.
    frame_indices: (T,) int64, the input frame that each pose belongs to; 0 .. T-1 if left out.
    track_ids: one name or number for each of the N people; None for a single person without one.

    Raises PosesError for a shape or dtype other than these, with what was expected.
    """

    joints_m: np.ndarray
    trajectory_m: np.ndarray | None
    confidence: np.ndarray
    skeleton: Skeleton
    fps: float | None = None
    frame_indices: np.ndarray = None  # type: ignore[assignment]  # made in __post_init__
    track_ids: tuple[int | str, ...] | None = None

    def __post_init__(self) -> None:
        n_joints = self.skeleton.n_joints
        shape = getattr(self.joints_m, "shape", None)
        if shape is None or len(shape) not in (3, 4) or shape[-2:] != (n_joints, 3):
            raise PosesError(
                f"joints_m has shape {_shape(self.joints_m)}; expected (T, {n_joints}, 3) or "
                f"(N, T, {n_joints}, 3) for the skeleton {self.skeleton.name!r}"
            )
        people_and_frames = shape[:-2]
        _expect("joints_m", self.joints_m, shape)
        _expect("confidence", self.confidence, (*people_and_frames, n_joints))
        if self.trajectory_m is not None:
            _expect("trajectory_m", self.trajectory_m, (*people_and_frames, 1, 3))
        n_frames = shape[-3]
        if self.frame_indices is None:
            self.frame_indices = np.arange(n_frames, dtype=np.int64)
        _expect("frame_indices", self.frame_indices, (n_frames,), np.int64)
        if self.fps is not None:
            self.fps = _positive(self.fps)
        if self.track_ids is not None:
            self.track_ids = _checked_ids(self.track_ids, self.n_people)

    def __repr__(self) -> str:
        people = "1 person" if self.n_people == 1 else f"{self.n_people} people"
        frames = "1 frame" if self.n_frames == 1 else f"{self.n_frames} frames"
        rate = "" if self.fps is None else f" at {self.fps:g} fps"
        path = "no trajectory" if self.trajectory_m is None else "trajectory"
        return f"Poses({people}, {frames}{rate}, {self.skeleton.name}, {path})"

    @property
    def names(self) -> tuple[str, ...]:
        """The J joint names."""
        return self.skeleton.joints

    @property
    def parents(self) -> tuple[int, ...]:
        """The parent of each joint, -1 for the root."""
        return self.skeleton.parents

    @property
    def n_frames(self) -> int:
        """T."""
        return int(self.joints_m.shape[-3])

    @property
    def n_people(self) -> int:
        """N, or 1 for poses without a leading axis for people."""
        return int(self.joints_m.shape[0]) if self.joints_m.ndim == 4 else 1

    @property
    def absolute_m(self) -> np.ndarray:
        """Joints where they are before the camera, the shape of `joints_m`, float32, metres.

        Raises PosesError if the network has no trajectory.
        """
        if self.trajectory_m is None:
            raise PosesError(
                "these poses have no trajectory: the network gives joints relative to the root "
                "only; use joints_m, or a checkpoint that has a trajectory network"
            )
        return self.joints_m + self.trajectory_m

    def person(self, index: int) -> Poses:
        """The poses of one person, without the leading axis; arrays are views."""
        if not -self.n_people <= index < self.n_people:
            raise IndexError(f"person {index} of {self.n_people}")
        if self.joints_m.ndim == 3:
            return self
        ids = None if self.track_ids is None else (self.track_ids[index],)
        trajectory = None if self.trajectory_m is None else self.trajectory_m[index]
        return Poses(
            self.joints_m[index],
            trajectory,
            self.confidence[index],
            self.skeleton,
            self.fps,
            self.frame_indices,
            ids,
        )

    def as_people(self) -> Poses:
        """The same poses with the leading axis for people, which a single person gets as N = 1."""
        if self.joints_m.ndim == 4:
            return self
        return Poses(
            self.joints_m[None],
            None if self.trajectory_m is None else self.trajectory_m[None],
            self.confidence[None],
            self.skeleton,
            self.fps,
            self.frame_indices,
            self.track_ids,
        )

    def save(self, path: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the poses to a file in the format of its suffix: .npz, .json, .csv or .bvh.

        The file appears complete or not at all. BVH holds one person per file: several people go
        to NAME_0.bvh, NAME_1.bvh and so on. Returns the paths that were written.

        Raises PosesError for another suffix, OSError where the file cannot be written.
        """
        from vp3d_deploy.formats.write import write_poses

        return write_poses(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Poses:
        """Read poses back from .npz or .json, exactly as they were saved.

        The file is data, checked before use: nothing in it is run.
        Raises PosesError if it holds anything but poses, OSError if it cannot be read.
        """
        from vp3d_deploy.formats.write import load_poses

        return load_poses(path)


def trusted_poses(
    joints_m: np.ndarray,
    trajectory_m: np.ndarray | None,
    confidence: np.ndarray,
    skeleton: Skeleton,
    fps: float,
    frame_indices: np.ndarray,
) -> Poses:
    """`Poses` of arrays that this package has made, which fit: nothing is checked.

    A live stream makes one per person and frame, and the checks would take longer than the rest.
    """
    poses = Poses.__new__(Poses)
    poses.joints_m = joints_m
    poses.trajectory_m = trajectory_m
    poses.confidence = confidence
    poses.skeleton = skeleton
    poses.fps = fps
    poses.frame_indices = frame_indices
    return poses


def joined(parts: list[Poses]) -> Poses:
    """One person's poses, (T_i, J, 3) of one network, one after the other; at least one part.

    A single part is returned as it is.
    """
    first = parts[0]
    if len(parts) == 1:
        return first
    roots = [part.trajectory_m for part in parts if part.trajectory_m is not None]
    return Poses(
        np.concatenate([part.joints_m for part in parts]),
        np.concatenate(roots) if roots else None,
        np.concatenate([part.confidence for part in parts]),
        first.skeleton,
        first.fps,
        np.concatenate([part.frame_indices for part in parts]),
    )


def known_or_custom(skeleton: Skeleton) -> Skeleton:
    """The skeleton of this package that has the same joints and parents, or `skeleton` itself.

    Files do not store the extra lines of a drawing, so that a skeleton read from one would differ
    from the one that was saved.
    """
    known = SKELETONS.get(skeleton.name)
    if known and (known.joints, known.parents) == (skeleton.joints, skeleton.parents):
        return known
    return skeleton


def merge_people(
    people: Sequence[Poses], track_ids: Sequence[int | str], skeleton: Skeleton
) -> Poses:
    """One `Poses` (N, T, ...) from the poses of single people seen over different frames.

    people: single-person poses (T_i, J, 3) of `skeleton`, each with its own frame_indices.
    The T frames of the result run from the first to the last frame that anyone was seen in,
    without gaps; the trajectory is kept if everyone has one.

    Raises PosesError if there is nobody, or for poses of several people or of another skeleton.
    """
    if not people or len(people) != len(track_ids):
        raise PosesError(f"{len(people)} people with {len(track_ids)} track ids; expected 1 each")
    for person in people:
        if person.joints_m.ndim != 3 or person.skeleton.n_joints != skeleton.n_joints:
            raise PosesError(
                f"cannot merge joints_m of shape {person.joints_m.shape}; expected single people "
                f"(T, {skeleton.n_joints}, 3)"
            )
    occupied = [person.frame_indices for person in people if person.n_frames]
    first = min((int(frames.min()) for frames in occupied), default=0)
    last = max((int(frames.max()) for frames in occupied), default=-1)
    shape = (len(people), last - first + 1, skeleton.n_joints)
    joints = np.full((*shape, 3), np.nan, np.float32)
    confidence = np.zeros(shape, np.float32)
    trajectory = None
    if all(person.trajectory_m is not None for person in people):
        trajectory = np.full((*shape[:2], 1, 3), np.nan, np.float32)
    for index, person in enumerate(people):
        rows = person.frame_indices - first
        joints[index, rows] = person.joints_m
        confidence[index, rows] = person.confidence
        if trajectory is not None and person.trajectory_m is not None:
            trajectory[index, rows] = person.trajectory_m
    frames = np.arange(first, last + 1, dtype=np.int64)
    fps = people[0].fps
    return Poses(joints, trajectory, confidence, skeleton, fps, frames, tuple(track_ids))


def _shape(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return f"of a {type(value).__name__}, not an array," if shape is None else str(tuple(shape))


def _expect(name: str, value: Any, shape: tuple[int, ...], dtype: type = np.float32) -> None:
    if not isinstance(value, np.ndarray) or value.shape != shape:
        raise PosesError(f"{name} has shape {_shape(value)}; expected {shape}")
    if value.dtype != dtype:
        raise PosesError(f"{name} is {value.dtype}; expected {np.dtype(dtype).name}")


def _positive(fps: Any) -> float:
    try:
        value = float(fps)
    except (TypeError, ValueError):
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise PosesError(f"fps is {fps!r}; expected a positive number of frames per second or None")
    return value


def _checked_ids(ids: Any, n_people: int) -> tuple[int | str, ...]:
    if not isinstance(ids, (tuple, list)) or len(ids) != n_people:
        raise PosesError(f"track_ids is {ids!r}; expected {n_people} names or numbers")
    if not all(isinstance(i, (int, np.integer, str)) and not isinstance(i, bool) for i in ids):
        raise PosesError(f"track_ids is {ids!r}; expected whole numbers or strings")
    if len(set(ids)) != n_people:
        raise PosesError(f"track_ids is {ids!r}; each person needs one of their own")
    return tuple(i if isinstance(i, str) else int(i) for i in ids)
