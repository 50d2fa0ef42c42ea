"""Skeletons as data: joint names, parents and left/right symmetry.

Conversion from one to another is in vp3d_deploy/skeleton_conversion.py.
"""

from __future__ import annotations

import re
from dataclasses import dataclass


class SkeletonError(ValueError):
    """An unknown skeleton, or a conversion that the source's joints do not allow."""


@dataclass(frozen=True)
class Skeleton:
    """An ordered set of named joints that form one tree.

    parents: the joint each joint hangs from, -1 for the one root.
    left, right: indices of the joints that change places when a person is mirrored, pairwise.
    extra_edges: lines that a drawing needs beside the tree's (across shoulders and hips).

    Raises SkeletonError if the parents do not form one tree or left and right do not pair up.
    """

    name: str
    joints: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    extra_edges: tuple[tuple[int, int], ...] = ()

    def __post_init__(self) -> None:
        J = len(self.joints)
        if len(set(self.joints)) != J or len(self.parents) != J:
            raise SkeletonError(
                f"skeleton {self.name!r} has {J} joint names, {len(set(self.joints))} of them "
                f"different, and {len(self.parents)} parents; it needs one of each per joint"
            )
        if not self._is_one_tree():
            raise SkeletonError(f"parents of skeleton {self.name!r} are not a tree with one root")
        sides = (*self.left, *self.right)
        if len(self.left) != len(self.right) or len(set(sides)) != len(sides):
            raise SkeletonError(f"left and right joints of skeleton {self.name!r} do not pair up")
        ends = (*sides, *(joint for edge in self.extra_edges for joint in edge))
        if any(not 0 <= joint < J for joint in ends):
            raise SkeletonError(f"skeleton {self.name!r} names joints outside 0..{J - 1}")

    def _is_one_tree(self) -> bool:
        if self.parents.count(-1) != 1:
            return False
        for joint in range(len(self.parents)):
            steps = 0
            while joint != -1:
                joint = self.parents[joint] if 0 <= joint < len(self.parents) else -2
                steps += 1
                if joint == -2 or steps > len(self.parents):
                    return False
        return True

    @property
    def n_joints(self) -> int:
        return len(self.joints)

    @property
    def root(self) -> int:
        """The joint without a parent."""
        return self.parents.index(-1)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """`pose[..., list(flip_order), :]` swaps the left and right joints."""
        order = list(range(self.n_joints))
        for left, right in zip(self.left, self.right, strict=True):
            order[left], order[right] = right, left
        return tuple(order)

    @property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """The lines of a drawing: (parent, child) of the tree, then the extra ones."""
        tree = ((parent, child) for child, parent in enumerate(self.parents) if parent >= 0)
        return (*tree, *self.extra_edges)

    def index(self, joint: str) -> int:
        """Position of the joint of this name. Raises SkeletonError if there is none."""
        try:
            return self.joints.index(joint)
        except ValueError:
            raise SkeletonError(
                f"skeleton {self.name!r} has no joint {joint!r}; it has {', '.join(self.joints)}"
            ) from None


def _skeleton(name: str, tree: str, extra_edges: tuple[tuple[str, str], ...] = ()) -> Skeleton:
    """A skeleton from "joint:parent" words in joint order, the root without a parent.

    Joints named left_X and right_X are taken as mirror images of each other.
    """
    pairs = [word.partition(":") for word in tree.split()]
    joints = tuple(joint for joint, _, _ in pairs)
    lookup = {joint: index for index, joint in enumerate(joints)}
    left = tuple(index for joint, index in lookup.items() if joint.startswith("left_"))
    return Skeleton(
        name=name,
        joints=joints,
        parents=tuple(lookup[parent] if parent else -1 for _, _, parent in pairs),
        left=left,
        right=tuple(lookup["right_" + joints[index][len("left_") :]] for index in left),
        extra_edges=tuple((lookup[a], lookup[b]) for a, b in extra_edges),
    )


# Human3.6M with the 17 of its 32 joints that VideoPose3D keeps. "thorax" is the base of the neck;
# "neck" is what Human3.6M calls Neck/Nose, in front of the face; "head" is the middle of the head.
H36M_17 = _skeleton(
    "h36m17",
    """
    pelvis right_hip:pelvis right_knee:right_hip right_ankle:right_knee
    left_hip:pelvis left_knee:left_hip left_ankle:left_knee
    spine:pelvis thorax:spine neck:thorax head:neck
    left_shoulder:thorax left_elbow:left_shoulder left_wrist:left_elbow
    right_shoulder:thorax right_elbow:right_shoulder right_wrist:right_elbow
    """,
)

_ACROSS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
_COCO_BODY = """
    nose left_eye:nose right_eye:nose left_ear:left_eye right_ear:right_eye
    left_shoulder:nose right_shoulder:nose left_elbow:left_shoulder right_elbow:right_shoulder
    left_wrist:left_elbow right_wrist:right_elbow left_hip:left_shoulder right_hip:right_shoulder
    left_knee:left_hip right_knee:right_hip left_ankle:left_knee right_ankle:right_knee
    """
COCO_17 = _skeleton("coco17", _COCO_BODY, _ACROSS)

# AlphaPose's Halpe with 26 joints: "neck" is its base, "head_top" the crown.
HALPE_26 = _skeleton(
    "halpe26",
    """
    nose:neck left_eye:nose right_eye:nose left_ear:left_eye right_ear:right_eye
    left_shoulder:neck right_shoulder:neck left_elbow:left_shoulder right_elbow:right_shoulder
    left_wrist:left_elbow right_wrist:right_elbow left_hip:pelvis right_hip:pelvis
    left_knee:left_hip right_knee:right_hip left_ankle:left_knee right_ankle:right_knee
    head_top:neck neck:pelvis pelvis
    left_big_toe:left_ankle right_big_toe:right_ankle left_small_toe:left_ankle
    right_small_toe:right_ankle left_heel:left_ankle right_heel:right_ankle
    """,
)

_OPENPOSE_ARMS = """
    nose:neck neck{root} right_shoulder:neck right_elbow:right_shoulder right_wrist:right_elbow
    left_shoulder:neck left_elbow:left_shoulder left_wrist:left_elbow
    """
# OpenPose BODY_25; its "pelvis" is called MidHip there.
OPENPOSE_25 = _skeleton(
    "body25",
    _OPENPOSE_ARMS.format(root=":pelvis")
    + """
    pelvis right_hip:pelvis right_knee:right_hip right_ankle:right_knee
    left_hip:pelvis left_knee:left_hip left_ankle:left_knee
    right_eye:nose left_eye:nose right_ear:right_eye left_ear:left_eye
    left_big_toe:left_ankle left_small_toe:left_ankle left_heel:left_ankle
    right_big_toe:right_ankle right_small_toe:right_ankle right_heel:right_ankle
    """,
)

# OpenPose's older COCO model with 18 joints.
OPENPOSE_18 = _skeleton(
    "openpose18",
    _OPENPOSE_ARMS.format(root="")
    + """
    right_hip:neck right_knee:right_hip right_ankle:right_knee
    left_hip:neck left_knee:left_hip left_ankle:left_knee
    right_eye:nose left_eye:nose right_ear:right_eye left_ear:left_eye
    """,
)


def _coco_wholebody() -> Skeleton:
    """COCO-WholeBody: COCO-17, feet, the 68 face points of iBUG, and two hands of 21.

    The order of the face is the viewer's left to right for a frontal face, so its low indices
    lie on the person's right.
    """
    body = _skeleton(
        "body",
        _COCO_BODY
        + """
        left_big_toe:left_ankle left_small_toe:left_ankle left_heel:left_ankle
        right_big_toe:right_ankle right_small_toe:right_ankle right_heel:right_ankle
        """,
        _ACROSS,
    )
    face, hands = 23, (91, 112)
    mirrored = [(i, 16 - i) for i in range(8)] + [(17 + i, 26 - i) for i in range(5)]
    mirrored += [(31, 35), (32, 34), (36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)]
    mirrored += [(48, 54), (49, 53), (50, 52), (59, 55), (58, 56), (60, 64), (61, 63), (67, 65)]
    fingers = ("thumb", "index", "middle", "ring", "little")
    hand = ("hand_root", *(f"{finger}_{k}" for finger in fingers for k in range(1, 5)))
    hand_parents = tuple(0 if k % 4 == 1 else k - 1 for k in range(1, 21))
    parents = body.parents + (body.index("nose"),) * 68
    for start, wrist in zip(hands, ("left_wrist", "right_wrist"), strict=True):
        parents += (body.index(wrist), *(start + parent for parent in hand_parents))
    return Skeleton(
        name="wholebody133",
        joints=(
            *body.joints,
            *(f"face_{i}" for i in range(68)),
            *(f"{side}_{joint}" for side in ("left", "right") for joint in hand),
        ),
        parents=parents,
        left=(*body.left, *(face + b for _, b in mirrored), *range(hands[0], hands[0] + 21)),
        right=(*body.right, *(face + a for a, _ in mirrored), *range(hands[1], hands[1] + 21)),
        extra_edges=body.extra_edges,
    )


COCO_WHOLEBODY = _coco_wholebody()

SKELETONS: dict[str, Skeleton] = {
    skeleton.name: skeleton
    for skeleton in (H36M_17, COCO_17, HALPE_26, OPENPOSE_25, OPENPOSE_18, COCO_WHOLEBODY)
}

# Keys are lower case without punctuation, as `get_skeleton` reduces what it is given.
_ALIASES = {
    "h36m": "h36m17",
    "human36m": "h36m17",
    "human36m17": "h36m17",
    "coco": "coco17",
    "mscoco": "coco17",
    "halpe": "halpe26",
    "openpose": "body25",
    "openpose25": "body25",
    "openposebody25": "body25",
    "openposecoco": "openpose18",
    "coco18": "openpose18",
    "wholebody": "wholebody133",
    "cocowholebody": "wholebody133",
    "cocowholebody133": "wholebody133",
}


def get_skeleton(name: str | Skeleton) -> Skeleton:
    """The skeleton of this name or common alias ("coco", "Human3.6M", "openpose").

    Case and punctuation do not matter. Raises SkeletonError listing the names there are.
    """
    if isinstance(name, Skeleton):
        return name
    if isinstance(name, str):
        key = re.sub(r"[^a-z0-9]", "", name.lower())
        found = SKELETONS.get(_ALIASES.get(key, key))
        if found is not None:
            return found
    raise SkeletonError(f"unknown skeleton {name!r}; the known ones are {', '.join(SKELETONS)}")
