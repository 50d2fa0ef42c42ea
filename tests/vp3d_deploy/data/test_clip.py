"""What a clip accepts."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.data.clip import Clip, ClipError
from vp3d_deploy.skeleton import COCO_17, HALPE_26


def clip(**changes: object) -> Clip:
    values: dict[str, object] = {
        "name": "a",
        "keypoints_px": np.arange(5 * 17 * 2).reshape(5, 17, 2),
        "image_size": (1000, 1002),
        "scores": np.linspace(0, 1, 5 * 17).reshape(5, 17),
        "pose_m": np.arange(5 * 17 * 3.0).reshape(5, 17, 3),
        "action": "Walking 1",
    }
    return Clip(**{**values, **changes})  # type: ignore[arg-type]


def test_arrays_become_float32() -> None:
    made = clip()
    assert made.n_frames == 5
    for array in (made.keypoints_px, made.scores, made.pose_m):
        assert array is not None
        assert array.dtype == np.float32


def test_base_action_is_without_the_take() -> None:
    assert clip().base_action == "Walking"
    assert clip(action="Walking").base_action == "Walking"
    assert clip(action=None).base_action is None


def test_cut_takes_the_same_frames_of_everything() -> None:
    whole, part = clip(), clip().cut(1, 3)
    assert part.n_frames == 2
    for name in ("keypoints_px", "scores", "pose_m"):
        np.testing.assert_array_equal(getattr(part, name), getattr(whole, name)[1:3])
    assert (part.name, part.action, part.image_size) == (whole.name, whole.action, (1000, 1002))
    bare = clip(scores=None, pose_m=None).cut(0, 1)
    assert bare.scores is None
    assert bare.pose_m is None


def test_missing_joints_are_nan_in_2d_only() -> None:
    keypoints = np.full((5, 17, 2), np.nan)
    assert np.isnan(clip(keypoints_px=keypoints).keypoints_px).all()
    pose = np.zeros((5, 17, 3))
    pose[3, 2, 1] = np.nan
    with pytest.raises(ClipError, match="pose_m of clip 'a' holds NaN"):
        clip(pose_m=pose)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"keypoints_px": np.zeros((5, 16, 2))}, r"\(5, 16, 2\), expected .*\(5, 17, 2\)"),
        ({"keypoints_px": np.zeros((5, 17, 3))}, "keypoints_px"),
        ({"keypoints_px": np.zeros((5, 17, 2), object)}, "object"),
        ({"keypoints_px": np.zeros((0, 17, 2))}, "no frames"),
        ({"keypoints_px": None}, "no frames"),
        ({"keypoint_skeleton": HALPE_26}, r"\(5, 26, 2\) \(halpe26\)"),
        ({"scores": np.zeros((4, 17))}, r"scores.*\(5, 17\)"),
        ({"pose_m": np.zeros((6, 17, 3))}, r"pose_m.*\(5, 17, 3\)"),
        ({"image_size": (0, 10)}, "image size"),
        ({"image_size": (10,)}, "image size"),
    ],
)
def test_arrays_must_fit_together(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ClipError, match=says):
        clip(**changes)


def test_keypoints_of_another_skeleton() -> None:
    assert clip(keypoint_skeleton=COCO_17).keypoint_skeleton is COCO_17
