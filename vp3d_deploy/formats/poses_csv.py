"""`Poses` to CSV, one row per frame, person and joint."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from vp3d_deploy.poses import Poses

HEADER = ("frame", "time_s", "person", "joint", "x_m", "y_m", "z_m", "confidence")
TRAJECTORY_HEADER = ("root_x_m", "root_y_m", "root_z_m")


def write(poses: Poses, path: Path) -> None:
    """Rows of frame, time, person, joint name, root-relative metres (camera frame), confidence.

    With a trajectory, three more columns say where the root is. Fields of a missing joint are
    empty, which pandas and numpy read as NaN, and so is the time if the frame rate is unknown.
    Nine digits keep every float32 exactly.
    """
    people = poses.as_people()
    ids = people.track_ids or tuple(range(people.n_people))
    header = HEADER + (TRAJECTORY_HEADER if people.trajectory_m is not None else ())
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        for t, frame in enumerate(people.frame_indices.tolist()):
            time_s = "" if people.fps is None else f"{frame / people.fps:.6f}"
            for n, track_id in enumerate(ids):
                root = () if people.trajectory_m is None else _fields(people.trajectory_m[n, t, 0])
                joints, confidence = people.joints_m[n, t], people.confidence[n, t]
                for name, point, score in zip(people.names, joints, confidence, strict=True):
                    row = (frame, time_s, track_id, name, *_fields(point), f"{score:.9g}", *root)
                    writer.writerow(row)


def _fields(point: np.ndarray) -> tuple[str, ...]:
    return tuple(f"{value:.9g}" if np.isfinite(value) else "" for value in point.tolist())
