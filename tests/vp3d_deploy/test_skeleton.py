"""Skeletons as data, and conversion between them."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.skeleton import (
    COCO_17,
    COCO_WHOLEBODY,
    H36M_17,
    HALPE_26,
    OPENPOSE_25,
    SKELETONS,
    Skeleton,
    SkeletonError,
    get_skeleton,
)
from vp3d_deploy.skeleton_conversion import convert_keypoints


def named(skeleton: Skeleton, seed: int = 0, features: int = 2) -> dict[str, np.ndarray]:
    """A random value for every joint of a skeleton."""
    values = np.random.default_rng(seed).uniform(1, 900, (skeleton.n_joints, features))
    return dict(zip(skeleton.joints, values, strict=True))


def stacked(skeleton: Skeleton, joints: dict[str, np.ndarray]) -> np.ndarray:
    return np.stack([joints[name] for name in skeleton.joints])


def test_human36m_is_as_published() -> None:
    """Parents, order and symmetry as VideoPose3D and MMPose have them."""
    assert H36M_17.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert H36M_17.left == (4, 5, 6, 11, 12, 13)
    assert H36M_17.right == (1, 2, 3, 14, 15, 16)
    assert " ".join(H36M_17.joints) == (
        "pelvis right_hip right_knee right_ankle left_hip left_knee left_ankle spine thorax neck "
        "head left_shoulder left_elbow left_wrist right_shoulder right_elbow right_wrist"
    )


def test_coco_symmetry_is_as_published() -> None:
    assert COCO_17.left == (1, 3, 5, 7, 9, 11, 13, 15)
    assert COCO_17.right == (2, 4, 6, 8, 10, 12, 14, 16)


@pytest.mark.parametrize(
    ("name", "n_joints", "some"),
    [
        ("halpe26", 26, {17: "head_top", 18: "neck", 19: "pelvis", 20: "left_big_toe"}),
        ("body25", 25, {1: "neck", 4: "right_wrist", 8: "pelvis", 24: "right_heel"}),
        ("openpose18", 18, {1: "neck", 8: "right_hip", 14: "right_eye", 17: "left_ear"}),
        ("wholebody133", 133, {16: "right_ankle", 17: "left_big_toe", 22: "right_heel",
                               91: "left_hand_root", 132: "right_little_4"}),
    ],
)  # fmt: skip
def test_joint_orders_are_as_published(name: str, n_joints: int, some: dict[int, str]) -> None:
    skeleton = SKELETONS[name]
    assert skeleton.n_joints == n_joints
    assert {index: skeleton.joints[index] for index in some} == some


@pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)
def test_every_skeleton_is_symmetric(skeleton: Skeleton) -> None:
    """Mirroring twice changes nothing, and mirrors the tree onto itself."""
    flip = skeleton.flip_order
    assert sorted(flip) == list(range(skeleton.n_joints))
    assert [flip[joint] for joint in flip] == list(range(skeleton.n_joints))
    for child, parent in enumerate(skeleton.parents):
        mirrored = -1 if parent < 0 else flip[parent]
        assert skeleton.parents[flip[child]] == mirrored
    for left, right in zip(skeleton.left, skeleton.right, strict=True):
        # the eyes' neighbours in a face have numbers for names
        if not skeleton.joints[left].startswith("face_"):
            assert skeleton.joints[right] == skeleton.joints[left].replace("left_", "right_")
    assert len(skeleton.edges) == skeleton.n_joints - 1 + len(skeleton.extra_edges)
    assert skeleton.parents[skeleton.root] == -1


def test_face_symmetry_mirrors_a_frontal_face() -> None:
    """The corners of mouth and eyes, the brows and the jaw of the 68 points change sides."""
    flip, face = COCO_WHOLEBODY.flip_order, 23
    pairs = {0: 16, 8: 8, 17: 26, 27: 27, 31: 35, 36: 45, 39: 42, 48: 54, 51: 51, 60: 64, 66: 66}
    for a, b in pairs.items():
        assert flip[face + a] == face + b
        assert flip[face + b] == face + a


@pytest.mark.parametrize(
    ("alias", "skeleton"),
    [
        ("coco", COCO_17), ("COCO-17", COCO_17), ("coco17", COCO_17), ("h36m", H36M_17),
        ("Human3.6M", H36M_17), ("human36m", H36M_17), ("halpe", HALPE_26),
        ("BODY_25", OPENPOSE_25), ("openpose", OPENPOSE_25), ("coco-wholebody", COCO_WHOLEBODY),
        (H36M_17, H36M_17),
    ],
)  # fmt: skip
def test_names_and_aliases(alias: str | Skeleton, skeleton: Skeleton) -> None:
    assert get_skeleton(alias) is skeleton


@pytest.mark.parametrize("name", ["smpl", "", 17, None])
def test_unknown_names_are_answered_with_the_known(name: object) -> None:
    with pytest.raises(SkeletonError, match="h36m17, coco17, halpe26, body25"):
        get_skeleton(name)  # type: ignore[arg-type]


@pytest.mark.parametrize("source", ["coco17", "body25", "openpose18", "wholebody133"])
def test_to_human36m(source: str) -> None:
    skeleton = SKELETONS[source]
    joint = named(skeleton)
    mid_hip = (joint["left_hip"] + joint["right_hip"]) / 2
    expected = dict(joint)
    expected["pelvis"] = joint.get("pelvis", mid_hip)
    expected["thorax"] = joint.get("neck", (joint["left_shoulder"] + joint["right_shoulder"]) / 2)
    expected["spine"] = (expected["pelvis"] + expected["thorax"]) / 2
    expected["neck"] = joint["nose"]
    expected["head"] = (joint["left_eye"] + joint["right_eye"]) / 2
    converted = convert_keypoints(stacked(skeleton, joint), source, "h36m")
    np.testing.assert_allclose(converted, stacked(H36M_17, expected), rtol=0, atol=1e-9)


def test_halpe_knows_the_crown() -> None:
    joint = named(HALPE_26)
    converted = convert_keypoints(stacked(HALPE_26, joint), HALPE_26, H36M_17)
    head = joint["head_top"] / 2 + joint["left_eye"] / 4 + joint["right_eye"] / 4
    np.testing.assert_allclose(converted[H36M_17.index("head")], head, rtol=0, atol=1e-9)
    np.testing.assert_array_equal(converted[H36M_17.index("thorax")], joint["neck"])
    np.testing.assert_array_equal(converted[H36M_17.index("pelvis")], joint["pelvis"])


@pytest.mark.parametrize("source", ["halpe26", "body25", "openpose18", "wholebody133"])
def test_to_coco_picks_joints_by_name(source: str) -> None:
    joint = named(SKELETONS[source], features=3)
    converted = convert_keypoints(stacked(SKELETONS[source], joint), source, "coco")
    np.testing.assert_array_equal(converted, stacked(COCO_17, joint))


def test_scores_are_the_lowest_of_those_used() -> None:
    keypoints = np.ones((2, 17, 3))
    keypoints[..., 2] = np.random.default_rng(1).uniform(size=(2, 17))
    converted = convert_keypoints(keypoints, "coco", "h36m")
    score = dict(zip(COCO_17.joints, keypoints[1, :, 2], strict=True))
    hips, shoulders = ("left_hip", "right_hip"), ("left_shoulder", "right_shoulder")
    expected = {
        "pelvis": min(score[name] for name in hips),
        "spine": min(score[name] for name in hips + shoulders),
        "neck": score["nose"],
        "left_wrist": score["left_wrist"],
    }
    for name, value in expected.items():
        assert converted[1, H36M_17.index(name), 2] == value
    np.testing.assert_allclose(converted[..., :2], 1, rtol=0, atol=1e-12)


def test_nan_reaches_only_the_joints_made_of_it() -> None:
    keypoints = np.zeros((17, 2), np.float32)
    keypoints[COCO_17.index("left_hip")] = np.nan
    converted = convert_keypoints(keypoints, "coco", "h36m")
    lost = {H36M_17.joints[joint] for joint in np.flatnonzero(np.isnan(converted).any(1))}
    assert lost == {"left_hip", "pelvis", "spine"}


def test_shapes_types_and_copies() -> None:
    keypoints = np.arange(5 * 4 * 17 * 2, dtype=np.float32).reshape(5, 4, 17, 2)
    converted = convert_keypoints(keypoints, "coco", "h36m")
    assert converted.shape == (5, 4, 17, 2)
    assert converted.dtype == np.float32
    assert convert_keypoints(keypoints.astype(int), "coco", "h36m").dtype == np.float64
    same = convert_keypoints(keypoints, "coco", "coco")
    np.testing.assert_array_equal(same, keypoints)
    assert not np.shares_memory(same, keypoints)


@pytest.mark.parametrize(
    ("source", "target", "says"),
    [
        ("h36m", "coco", "'h36m17' keypoints cannot become 'coco17'.*nose, left_eye"),
        ("coco", "body25", "'coco17'.*'body25'.*left_big_toe"),
        ("coco", "wholebody", "and 108 more"),
    ],
)
def test_impossible_conversions_say_what_is_lacking(source: str, target: str, says: str) -> None:
    keypoints = np.zeros((get_skeleton(source).n_joints, 2))
    with pytest.raises(SkeletonError, match=says):
        convert_keypoints(keypoints, source, target)


@pytest.mark.parametrize("shape", [(17,), (16, 2), (17, 4), (3, 17, 1)])
def test_wrong_shapes_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"shape.*'coco17' has \(\.\.\., 17, 2\)"):
        convert_keypoints(np.zeros(shape), "coco", "h36m")


def test_wrong_types_are_refused() -> None:
    with pytest.raises(ValueError, match="real numbers"):
        convert_keypoints(np.zeros((17, 2), complex), "coco", "h36m")


@pytest.mark.parametrize(
    ("joints", "parents", "left", "right", "says"),
    [
        (("a", "b"), (-1, -1), (), (), "not a tree"),
        (("a", "b", "c"), (-1, 2, 1), (), (), "not a tree"),
        (("a", "b"), (-1, 5), (), (), "not a tree"),
        (("a", "a"), (-1, 0), (), (), "different"),
        (("a", "b"), (-1,), (), (), "parents"),
        (("a", "b"), (-1, 0), (0,), (), "pair up"),
        (("a", "b"), (-1, 0), (0,), (0,), "pair up"),
        (("a", "b"), (-1, 0), (0,), (7,), "outside"),
    ],
)
def test_a_skeleton_must_be_one(joints, parents, left, right, says: str) -> None:
    with pytest.raises(SkeletonError, match=says):
        Skeleton("test", joints, parents, left, right)
