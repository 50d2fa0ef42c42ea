"""Which skeleton the joints of a file follow."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vp3d_deploy.formats.tracks import FormatError
from vp3d_deploy.skeleton import COCO_17, H36M_17, SKELETONS, Skeleton, SkeletonError, get_skeleton

# Joint counts that detectors write, and the skeleton that each of them means.
_SKELETON_BY_COUNT = {
    17: "coco17",
    18: "openpose18",
    25: "body25",
    26: "halpe26",
    133: "wholebody133",
}
# Fewer joints are no body, so that there is no skeleton to name for them.
_FEWEST_JOINTS = 5
# Joints that a pose must show before its proportions mean anything: half of the body.
_ENOUGH_TO_JUDGE = 10


@dataclass(frozen=True)
class SkeletonHints:
    """What is known of the joints before a file is read.

    given: the skeleton that the user names; it counts more than what the file says.
    network: the one that the network reads, which need not be one of SKELETONS. It counts where
        the file or the user names it, and for files whose number of joints means no other.
    """

    given: Skeleton | None = None
    network: Skeleton | None = None

    def known(self) -> tuple[Skeleton, ...]:
        """All skeletons that joints may be those of."""
        own = () if self.network is None or self.network in SKELETONS.values() else (self.network,)
        return (*SKELETONS.values(), *own)

    def find(self, name: str | Skeleton) -> Skeleton:
        """The skeleton of this name; raises SkeletonError listing those that are known."""
        if self.network is not None and name == self.network.name:
            return self.network
        try:
            return get_skeleton(name)
        except SkeletonError:
            names = ", ".join(skeleton.name for skeleton in self.known())
            raise SkeletonError(f"unknown skeleton {name!r}; the known ones are {names}") from None

    def knows(self, name: str) -> bool:
        """Whether `find` finds the name."""
        try:
            self.find(name)
        except SkeletonError:
            return False
        return True


def skeleton_for(
    n_joints: int,
    source: str,
    hints: SkeletonHints,
    named: str | None = None,
    keypoints: np.ndarray | None = None,
) -> tuple[Skeleton, str]:
    """The skeleton of `n_joints` joints and, in a few words, where that is from.

    hints: what the user says, and what the network reads. named: a skeleton's name from the file,
        which counts if it is known and there is none from the user. Either must have `n_joints`
        joints.
    keypoints: (..., 17, 2) pixels. For 17 joints in a format that does not say which, COCO and
        Human3.6M are told apart by them, see `_looks_like_h36m`.

    Raises FormatError naming `source` if the joints do not fit.
    """
    skeleton, origin = hints.given, "as given"
    if skeleton is None and named is not None and hints.knows(named):
        skeleton, origin = hints.find(named), "named in the file"
    if skeleton is not None:
        if skeleton.n_joints != n_joints:
            raise FormatError(
                f"{source}: {n_joints} joints per person, but the skeleton {skeleton.name!r} "
                f"({origin}) has {skeleton.n_joints}"
            )
        return skeleton, origin
    if n_joints == 17 and keypoints is not None:
        is_h36m = _looks_like_h36m(keypoints)
        if is_h36m is None:
            return COCO_17, "assumed, too few joints are seen to judge; name it with --skeleton"
        return (H36M_17 if is_h36m else COCO_17), "judged by the keypoints"
    if n_joints in _SKELETON_BY_COUNT:
        return get_skeleton(_SKELETON_BY_COUNT[n_joints]), f"{n_joints} joints"
    if hints.network is not None and hints.network.n_joints == n_joints:
        return hints.network, f"{n_joints} joints, as the network reads"
    raise FormatError(_unknown_count(n_joints, source, hints.network))


def _unknown_count(n_joints: int, source: str, network: Skeleton | None) -> str:
    known = dict(_SKELETON_BY_COUNT)
    if network is not None:
        known.setdefault(network.n_joints, network.name)
    known[H36M_17.n_joints] = f"{COCO_17.name} or {H36M_17.name}"
    counts = ", ".join(f"{count} ({name})" for count, name in sorted(known.items()))
    return (
        f"{source}: {n_joints} joint{'s' if n_joints != 1 else ''} per person; "
        + ("these are no whole people, whose " if n_joints < _FEWEST_JOINTS else "")
        + f"known counts are {counts}"
        + ("; name another with --skeleton" if n_joints >= _FEWEST_JOINTS else "")
    )


def _looks_like_h36m(keypoints: np.ndarray) -> bool | None:
    """Whether 17 joints are Human3.6M's rather than COCO's, by the length from joint 1 to 3.

    In COCO these are an eye and an ear, a few percent of the body; in Human3.6M a hip and its
    ankle, about half of it. Medians over real clips: 0.04 of the body's diagonal for COCO, 0.35
    (climbing, crouching) to 0.55 for Human3.6M.

    Joints that are NaN or at (0, 0), as detectors write what they did not see, do not count; None
    if no pose has both joints and enough others to be measured by.
    """
    poses = np.array(keypoints, np.float64).reshape(-1, 17, 2)
    unseen = ~np.isfinite(poses).all(-1) | (poses == 0).all(-1)
    poses[unseen] = np.nan
    measurable = ~unseen[:, 1] & ~unseen[:, 3] & ((~unseen).sum(1) >= _ENOUGH_TO_JUDGE)
    poses = poses[measurable]
    if not len(poses):
        return None
    diagonal = np.linalg.norm(np.nanmax(poses, 1) - np.nanmin(poses, 1), axis=-1)
    length = np.linalg.norm(poses[:, 1] - poses[:, 3], axis=-1)
    return bool(np.median(length / np.maximum(diagonal, 1e-6)) > 0.2)
