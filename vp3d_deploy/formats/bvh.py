"""`Poses` to BVH (Biovision hierarchy), for Blender and other animation programs.

Lengths are in centimetres and y is up: the camera's frame (x right, y down, z away) is turned by
half a turn about x, so somebody who faces the camera faces +z with their left at +x. The camera
stays the origin, and a camera that looks down leaves the person tilted by as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vp3d_deploy.formats.rotations import best_fit, euler_zxy_deg, shortest_rotation
from vp3d_deploy.poses import Poses
from vp3d_deploy.skeleton import Skeleton

CM_PER_M = 100.0
# Poses without a frame rate play at this one.
DEFAULT_FPS = 30.0
_END_SITE_CM = 5.0
_SHORTEST_BONE_M = 1e-6
_UP, _DOWN, _FORWARD = (0.0, 1.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)
_SIDEWAYS = ("hip", "shoulder", "elbow", "wrist", "eye", "ear")


@dataclass
class _Node:
    """One JOINT of the file. Its own rotation turns the offsets of its children.

    aim: the joint that the rotation points at, so that the bone to it has its exact direction.
    others: further joints that hang from it, which `aim` leaves free to turn about its bone.
    """

    name: str
    offset_cm: np.ndarray
    aim: int | None = None
    others: list[int] = field(default_factory=list)
    children: list[_Node] = field(default_factory=list)


def write(poses: Poses, path: Path) -> None:
    """One person: the skeleton in a T-pose with median bone lengths, and a line per frame.

    Where several bones start from one joint (pelvis, thorax) a single rotation cannot give all of
    them their directions. The one on the midline gets its own exactly; each of the others hangs
    from an extra joint of length zero (such as pelvis_left_hip) that does the rest. All bones so
    have exactly the directions of the poses, with the least twist.

    The root moves along the trajectory, or stays at zero without one. A bone that is not seen
    keeps its last direction (before it is first seen, its first); one never seen, or of length
    zero, its place in the T-pose relative to its parent.

    Raises ValueError for several people.
    """
    if poses.n_people != 1:
        raise ValueError(f"a BVH file holds one person, not {poses.n_people}")
    person = poses.person(0)
    flip = np.array([1.0, -1.0, -1.0])
    joints = person.joints_m.astype(np.float64) * flip
    root = np.zeros((person.n_frames, 3))
    if person.trajectory_m is not None:
        root = _held(person.trajectory_m[:, 0].astype(np.float64) * flip)
    skeleton = person.skeleton
    bones = _bones(joints, skeleton)
    tree = _tree(skeleton, _median_lengths(joints, skeleton))
    columns = [np.nan_to_num(root) * CM_PER_M]
    _rotations(tree, np.tile(np.eye(3), (person.n_frames, 1, 1)), skeleton, bones, columns)
    motion = np.concatenate(columns, axis=1) if person.n_frames else np.zeros((0, 3))
    lines = ["HIERARCHY", *_hierarchy(tree, 0, skeleton)]
    fps = person.fps or DEFAULT_FPS
    lines += ["MOTION", f"Frames: {person.n_frames}", f"Frame Time: {1.0 / fps:.9f}"]
    row = " ".join(["%.6f"] * motion.shape[1])
    lines += [row % tuple(values) for values in motion.tolist()]
    path.write_text("\n".join(lines) + "\n", encoding="ascii", errors="replace")


def rest_direction(joint: str) -> np.ndarray:
    """Unit vector from its parent to this joint in the T-pose: y up, facing +z, left at +x."""
    if joint.endswith(_SIDEWAYS):
        return np.array([1.0 if joint.startswith("left") else -1.0, 0.0, 0.0])
    if joint.endswith("toe"):
        return np.array(_FORWARD)
    return np.array(_DOWN if joint.endswith(("knee", "ankle", "heel")) else _UP)


def _median_lengths(joints: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """(J,) the median length of the bone that ends at each joint; 0 if it was never seen."""
    lengths = np.zeros(skeleton.n_joints)
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            seen = np.linalg.norm(joints[:, joint] - joints[:, parent], axis=-1)
            seen = seen[np.isfinite(seen)]
            lengths[joint] = np.median(seen) if len(seen) else 0.0
    return lengths


def _bones(joints: np.ndarray, skeleton: Skeleton) -> list[np.ndarray | None]:
    """For each joint the unit vectors (T, 3) from its parent; None where there never is one."""
    bones: list[np.ndarray | None] = []
    for joint, parent in enumerate(skeleton.parents):
        vectors = joints[:, joint] - joints[:, parent] if parent >= 0 else joints[:, joint] * np.nan
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        known = lengths > _SHORTEST_BONE_M  # False for NaN
        units = np.where(known, vectors / np.where(known, lengths, 1.0), np.nan)
        bones.append(_held(units) if known.any() else None)
    return bones


def _held(values: np.ndarray) -> np.ndarray:
    """(T, 3) with each row that is not finite replaced by the last finite one before it.

    Rows before the first finite one get that one. All NaN stays as it is.
    """
    known = np.isfinite(values).all(-1)
    if not known.any():
        return values
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[np.where(last < 0, np.argmax(known), last)]


def _tree(skeleton: Skeleton, lengths_m: np.ndarray) -> _Node:
    """The nodes of the file, from the root down."""

    def node(joint: int, offset_cm: np.ndarray) -> _Node:
        children = [j for j, parent in enumerate(skeleton.parents) if parent == joint]
        sides = (*skeleton.left, *skeleton.right)
        midline = [j for j in children if j not in sides] or children
        made = _Node(_name(skeleton.joints[joint]), offset_cm, midline[0] if midline else None)
        made.others = [j for j in children if j != made.aim]
        for child in children:
            name = skeleton.joints[child]
            placed = node(child, rest_direction(name) * lengths_m[child] * CM_PER_M)
            if child != made.aim:
                placed = _Node(f"{made.name}_{_name(name)}", np.zeros(3), child, [], [placed])
            made.children.append(placed)
        return made

    return node(skeleton.root, np.zeros(3))


def _name(joint: str) -> str:
    return "_".join(joint.split()) or "joint"


def _rotations(
    node: _Node,
    parent: np.ndarray,
    skeleton: Skeleton,
    bones: list[np.ndarray | None],
    columns: list[np.ndarray],
) -> None:
    """Append the Euler angles of `node` and all below it to `columns`, in the file's order.

    parent: (T, 3, 3), the parent's rotation in the world.
    """
    world = parent
    targets = [] if node.aim is None else [node.aim, *node.others]
    rest_and_seen = [
        (rest_direction(skeleton.joints[joint]), bone)
        for joint in targets
        if (bone := bones[joint]) is not None
    ]
    if len(rest_and_seen) > 1:
        rest = np.stack([pair[0] for pair in rest_and_seen])
        seen = np.stack([pair[1] for pair in rest_and_seen], axis=1)
        fitted, reliable = best_fit(rest, seen)
        world = np.where(reliable[:, None, None], fitted, parent)
    aim = None if node.aim is None else bones[node.aim]
    if node.aim is not None and aim is not None:
        rest = rest_direction(skeleton.joints[node.aim])
        world = shortest_rotation(world @ rest, aim) @ world
    local = np.swapaxes(parent, 1, 2) @ world
    columns.append(np.unwrap(euler_zxy_deg(local), axis=0, period=360.0))
    for child in node.children:
        _rotations(child, world, skeleton, bones, columns)


def _hierarchy(node: _Node, depth: int, skeleton: Skeleton) -> list[str]:
    pad = "  " * depth
    moves = "6 Xposition Yposition Zposition" if depth == 0 else "3"
    lines = [
        f"{pad}{'JOINT' if depth else 'ROOT'} {node.name}",
        f"{pad}{{",
        f"{pad}  OFFSET {_vector(node.offset_cm)}",
        f"{pad}  CHANNELS {moves} Zrotation Xrotation Yrotation",
    ]
    for child in node.children:
        lines += _hierarchy(child, depth + 1, skeleton)
    if not node.children:
        tip = rest_direction(node.name) * _END_SITE_CM
        lines += [f"{pad}  End Site", f"{pad}  {{", f"{pad}    OFFSET {_vector(tip)}", f"{pad}  }}"]
    return [*lines, f"{pad}}}"]


def _vector(values: np.ndarray) -> str:
    return " ".join(f"{0.0 if math.isclose(v, 0.0) else v:.6f}" for v in values.tolist())
