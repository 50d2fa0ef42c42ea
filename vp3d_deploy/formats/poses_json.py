"""`Poses` to and from JSON.

Version 1 of the format, one object:

    format         "vp3d-poses"
    version        1
    units          "metres"
    coordinates    a sentence: camera frame, joints relative to the root
    skeleton       {"name", "joints": J names, "parents": J numbers, "left", "right": indices}
    fps            number or null
    frame_indices  T whole numbers, the input frame of each pose
    single         true if the poses had no axis for people
    people         N objects:
        track_id      number, string or null
        joints_m      T times: J times [x, y, z], or null for a missing joint; null for a
                      missing frame
        confidence    T times J numbers, 0 (missing) to 1
        trajectory_m  T times [x, y, z] or null: where the root is; null without a trajectory

Numbers have the nine digits that keep every float32 exactly. JSON has no NaN: a single coordinate
that is not finite is null, too.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import IO, Any

import numpy as np

from vp3d_deploy.formats.jsonfile import number, read_json, shown, whole
from vp3d_deploy.formats.tracks import FormatError
from vp3d_deploy.poses import Poses, PosesError, known_or_custom
from vp3d_deploy.skeleton import Skeleton

FORMAT = "vp3d-poses"
VERSION = 1
_COORDINATES = (
    "camera frame: x to the right of the image, y down, z away from the camera; "
    "joints_m relative to the root joint, trajectory_m where the root joint is"
)


def write(poses: Poses, path: Path) -> None:
    """Write version 1 of the format above, a line per frame."""
    skeleton = poses.skeleton
    head = {
        "format": FORMAT,
        "version": VERSION,
        "units": "metres",
        "coordinates": _COORDINATES,
        "skeleton": {
            "name": skeleton.name,
            "joints": list(skeleton.joints),
            "parents": list(skeleton.parents),
            "left": list(skeleton.left),
            "right": list(skeleton.right),
        },
        "fps": poses.fps,
        "frame_indices": poses.frame_indices.tolist(),
        "single": poses.joints_m.ndim == 3,
    }
    people = poses.as_people()
    with path.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head, ensure_ascii=False)[:-1] + ',\n"people": [')
        for n in range(people.n_people):
            track_id = None if people.track_ids is None else people.track_ids[n]
            file.write("," * (n > 0) + '\n{"track_id": ' + json.dumps(track_id))
            _write_frames(file, "joints_m", people.joints_m[n])
            _write_frames(file, "confidence", people.confidence[n])
            if people.trajectory_m is None:
                file.write(',\n"trajectory_m": null')
            else:
                _write_frames(file, "trajectory_m", people.trajectory_m[n, :, 0])
            file.write("}")
        file.write("\n]}\n")


def read(path: Path) -> Poses:
    """The inverse of `write`; raises PosesError naming the file and the place in it."""
    try:
        # A number that no float32 holds becomes infinite.
        with np.errstate(over="ignore"):
            return _poses(read_json(path), str(path))
    except FormatError as error:
        raise PosesError(str(error)) from None
    except ValueError as error:
        if str(path) in str(error):
            raise
        raise PosesError(f"{path}: {error}") from None


def _write_frames(file: IO[str], name: str, values: np.ndarray) -> None:
    """`values` (T, ...) as nested lists, null for what is not finite."""
    file.write(f',\n"{name}": [')
    for t, frame in enumerate(values):
        file.write(",\n" if t else "\n")
        file.write(_text(frame))
    file.write("\n]")


def _text(values: np.ndarray) -> str:
    if values.ndim and values.size and not np.isfinite(values).any():
        return "null"
    if values.ndim > 1:
        return "[" + ",".join(_text(row) for row in values) + "]"
    return "[" + ",".join(f"{v:.9g}" if math.isfinite(v) else "null" for v in values.tolist()) + "]"


def _poses(content: Any, source: str) -> Poses:
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise PosesError(
            f"{source}: not poses; found {shown(content)}, expected what Poses.save writes"
        )
    if content.get("version") != VERSION:
        raise PosesError(
            f"{source}: poses of version {shown(content.get('version'))}; this program reads "
            f"{VERSION}"
        )
    skeleton = _skeleton(content.get("skeleton"), source)
    indices = _list(content, "frame_indices", source)
    frames = np.array([whole(i, f"{source}: frame_indices") for i in indices], np.int64)
    people = _list(content, "people", source)
    shape = (len(frames), skeleton.n_joints)
    parts = [_person(p, shape, f"{source}: person {n}") for n, p in enumerate(people)]
    if not parts:
        raise PosesError(f"{source}: nobody in it")
    joints = np.stack([part[0] for part in parts])
    confidence = np.stack([part[1] for part in parts])
    given = [part[2] for part in parts if part[2] is not None]
    trajectory = np.stack(given)[:, :, None] if len(given) == len(parts) else None
    ids: Any = tuple(part[3] for part in parts)
    single = content.get("single") is True and len(parts) == 1
    return Poses(
        joints[0] if single else joints,
        trajectory if trajectory is None or not single else trajectory[0],
        confidence[0] if single else confidence,
        skeleton,
        content.get("fps"),
        frames,
        None if None in ids else ids,
    )


_Person = tuple[np.ndarray, np.ndarray, "np.ndarray | None", Any]


def _person(person: Any, shape: tuple[int, int], where: str) -> _Person:
    if not isinstance(person, dict):
        raise PosesError(f"{where}: expected an object, found {shown(person)}")
    joints = _array(person.get("joints_m"), (*shape, 3), f"{where}, joints_m")
    confidence = _array(person.get("confidence"), shape, f"{where}, confidence")
    trajectory = None
    if person.get("trajectory_m") is not None:
        trajectory = _array(person["trajectory_m"], (shape[0], 3), f"{where}, trajectory_m")
    return joints, confidence, trajectory, person.get("track_id")


def _array(value: Any, shape: tuple[int, ...], where: str) -> np.ndarray:
    """A float32 array of exactly this shape from nested lists, NaN for null at any level."""
    if value is None:
        return np.full(shape, np.nan, np.float32)
    if not shape:
        return np.float32(number(value, where))
    if not isinstance(value, list) or len(value) != shape[0]:
        raise PosesError(f"{where}: expected a list of {shape[0]}, found {shown(value)}")
    if len(shape) == 1 and all(type(v) is float or v in (0, 1) for v in value):
        return np.array(value, np.float32)  # the common case, fast
    parts = [_array(part, shape[1:], where) for part in value]
    return np.array(parts, np.float32).reshape(shape)


def _skeleton(value: Any, source: str) -> Skeleton:
    if not isinstance(value, dict):
        raise PosesError(f"{source}: expected a skeleton, found {shown(value)}")
    names = _list(value, "joints", source)
    if not all(isinstance(name, str) for name in names):
        raise PosesError(f"{source}: expected names of joints, found {shown(names)}")
    parents, left, right = (
        tuple(whole(i, f"{source}: skeleton {key}") for i in _list(value, key, source))
        for key in ("parents", "left", "right")
    )
    name = str(value.get("name", "custom"))
    return known_or_custom(Skeleton(name, tuple(names), parents, left, right))


def _list(value: dict[str, Any], key: str, source: str) -> list[Any]:
    if not isinstance(value.get(key), list):
        raise PosesError(f"{source}: expected a list under {key!r}, found {shown(value.get(key))}")
    return value[key]
