"""The same people with another skeleton's joints."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vp3d_deploy.skeleton import Skeleton, SkeletonError, get_skeleton

# Joints of the same name are the same place on the body, save for these: what Human3.6M calls
# neck and head lies elsewhere than in the others, and its thorax is what they call the neck.
_PLACES = {"h36m17": {"thorax": "neck", "neck": "face", "head": "mid_head"}}

# How a place follows from others, best first. The choices for Human3.6M (thorax between the
# shoulders, face at the nose, head between the eyes, spine half way) are those of MMPose's
# pose-lifting demo, so that its networks see the input they get there. Where the crown is known
# the middle of the head lies between it and the eyes.
_DERIVED: dict[str, tuple[dict[str, float], ...]] = {
    "pelvis": ({"left_hip": 0.5, "right_hip": 0.5},),
    "neck": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "spine": ({"pelvis": 0.5, "neck": 0.5},),
    "face": ({"nose": 1.0},),
    "mid_head": (
        {"head_top": 0.5, "left_eye": 0.25, "right_eye": 0.25},
        {"left_eye": 0.5, "right_eye": 0.5},
    ),
}


def convert_keypoints(
    keypoints: np.ndarray, source: str | Skeleton, target: str | Skeleton
) -> np.ndarray:
    """The same people with another skeleton's joints.

    keypoints: (..., J_source, 2) positions or (..., J_source, 3) positions and score, any unit.
    Returns (..., J_target, 2 or 3), float32 for float32 and float64 otherwise; always a copy.
    A joint that lies between others is their weighted mean and has the smallest of their scores;
    NaN in any of them makes it NaN.

    Raises SkeletonError for unknown names and for a conversion that lacks joints (Human3.6M has
    no eyes, so it cannot become COCO), ValueError for other shapes.
    """
    source, target = get_skeleton(source), get_skeleton(target)
    array = np.asarray(keypoints)
    if array.ndim < 2 or array.shape[-2] != source.n_joints or array.shape[-1] not in (2, 3):
        raise ValueError(
            f"keypoints have shape {array.shape}; skeleton {source.name!r} has "
            f"(..., {source.n_joints}, 2), or 3 with a score"
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"keypoints are {array.dtype}, expected real numbers")
    array = array.astype(np.float32 if array.dtype == np.float32 else np.float64)
    if source == target:
        return array
    indices, weights = _conversion(source, target)
    gathered = array[..., indices, :]  # (..., J_target, K, 2 or 3)
    positions = (gathered[..., :2] * weights[..., None].astype(array.dtype)).sum(-2)
    if array.shape[-1] == 2:
        return positions
    return np.concatenate([positions, gathered[..., 2].min(-1)[..., None]], axis=-1)


def parts_of_joints(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """What each joint of `target` is made of: joints of `source` and their shares, both
    (J_target, K); of a joint that is made of fewer, the rest have a share of 0.

    Raises SkeletonError for a conversion that lacks joints.
    """
    if source == target:
        return np.arange(target.n_joints)[:, None], np.ones((target.n_joints, 1))
    indices, shares = _conversion(source, target)
    return indices.copy(), shares.copy()


@lru_cache(maxsize=64)
def _conversion(source: Skeleton, target: Skeleton) -> tuple[np.ndarray, np.ndarray]:
    """Indices and weights (J_target, K) of the source joints that make each target joint.

    Rows are filled up with the joint's own first source at weight 0, so that a NaN elsewhere in
    the pose does not reach it.
    """
    places = {_place(source, joint): index for index, joint in enumerate(source.joints)}
    recipes = [_recipe(_place(target, joint), places) for joint in target.joints]
    missing = [
        joint for joint, recipe in zip(target.joints, recipes, strict=True) if recipe is None
    ]
    if missing:
        shown = ", ".join(missing[:8]) + (f" and {len(missing) - 8} more" if missing[8:] else "")
        raise SkeletonError(
            f"{source.name!r} keypoints cannot become {target.name!r}: nothing in them says "
            f"where {shown} would be"
        )
    widest = max(len(recipe) for recipe in recipes if recipe is not None)
    indices = np.zeros((target.n_joints, widest), np.int64)
    weights = np.zeros((target.n_joints, widest))
    for row, recipe in enumerate(recipes):
        assert recipe is not None
        indices[row] = next(iter(recipe))
        indices[row, : len(recipe)] = list(recipe)
        weights[row, : len(recipe)] = list(recipe.values())
    return indices, weights


def _place(skeleton: Skeleton, joint: str) -> str:
    return _PLACES.get(skeleton.name, {}).get(joint, joint)


def _recipe(place: str, places: dict[str, int]) -> dict[int, float] | None:
    """Source joints and weights that make `place`, or None if they do not suffice."""
    if place in places:
        return {places[place]: 1.0}
    for parts in _DERIVED.get(place, ()):
        total: dict[int, float] = {}
        for part, share in parts.items():
            recipe = _recipe(part, places)
            if recipe is None:
                break
            for index, weight in recipe.items():
                total[index] = total.get(index, 0.0) + share * weight
        else:
            return total
    return None
