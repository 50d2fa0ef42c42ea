"""What a network is shown of a clip."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.evaluation.clips import pad_clip, prepare_clip, share_frames, stand_ins
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec

RNG = np.random.default_rng(0)
UNNAMED = Skeleton("unnamed3", ("a", "b", "c"), (-1, 0, 0), (), ())


def clip(skeleton: Skeleton = H36M_17, n_frames: int = 5, scores: bool = False) -> Clip:
    return Clip(
        name="S9/Walking 1.cam",
        subject="S9",
        action="Walking 1",
        keypoints_px=RNG.uniform(0, 900, (n_frames, skeleton.n_joints, 2)).astype(np.float32),
        scores=RNG.uniform(0.2, 1, (n_frames, skeleton.n_joints)) if scores else None,
        keypoint_skeleton=skeleton,
        image_size=(1000, 900),
        pose_m=RNG.normal((1, 2, 5), 0.3, (n_frames, 17, 3)),
    )


def test_keypoints_are_normalised_and_poses_relative() -> None:
    given = clip()
    prepared = prepare_clip(given, ModelSpec((3,), 4), H36M_17, H36M_17)
    expected = normalize_screen(given.keypoints_px, (1000, 900))
    np.testing.assert_array_equal(prepared.keypoints, expected)
    assert given.pose_m is not None
    assert prepared.pose_m is not None
    np.testing.assert_array_equal(prepared.pose_m, given.pose_m - given.pose_m[:, :1])
    assert prepared.action == "Walking"
    shorter = prepared.cut(2)
    assert shorter.keypoints.shape == (2, 17, 2)
    assert shorter.pose_m is not None
    assert len(shorter.pose_m) == 2
    assert shorter.action == "Walking"


def test_joints_that_were_not_seen_are_in_the_middle_without_score() -> None:
    given = clip()
    given.keypoints_px[2, 3] = np.nan
    prepared = prepare_clip(given, ModelSpec((3,), 4, features=3), H36M_17, H36M_17)
    assert prepared.keypoints.shape == (5, 17, 3)
    assert prepared.keypoints[2, 3].tolist() == [0, 0, 0]
    assert prepared.keypoints[..., 2].sum() == 5 * 17 - 1


def test_scores_are_read_where_there_are_some() -> None:
    given = clip(scores=True)
    prepared = prepare_clip(given, ModelSpec((3,), 4, features=3), H36M_17, H36M_17)
    np.testing.assert_array_equal(prepared.keypoints[..., 2], given.scores)


def test_other_skeletons_become_the_networks() -> None:
    given = clip(COCO_17)
    prepared = prepare_clip(given, ModelSpec((3,), 4), H36M_17, H36M_17)
    points = normalize_screen(given.keypoints_px, given.image_size)
    hips = points[:, [COCO_17.index("left_hip"), COCO_17.index("right_hip")]].mean(1)
    np.testing.assert_allclose(prepared.keypoints[:, 0], hips, rtol=0, atol=1e-6)
    assert stand_ins(COCO_17, H36M_17) == []


def test_what_keypoints_do_not_say_is_named() -> None:
    missing = ["nose", "left_eye", "right_eye", "left_ear", "right_ear"]
    assert stand_ins(H36M_17, COCO_17) == missing
    given = clip()
    prepared = prepare_clip(given, ModelSpec((3,), 4), COCO_17, H36M_17)
    points = normalize_screen(given.keypoints_px, given.image_size)
    for joint in missing:
        head = points[:, H36M_17.index("head")]
        np.testing.assert_array_equal(prepared.keypoints[:, COCO_17.index(joint)], head)


def test_output_joints_without_truth_have_none() -> None:
    spec = ModelSpec((3,), 4, joints_in=3, joints_out=3)
    prepared = prepare_clip(clip(), spec, UNNAMED, UNNAMED)
    assert prepared.pose_m is None
    assert prepared.keypoints.shape == (5, 3, 2)


@pytest.mark.parametrize("causal", [False, True])
def test_padding_repeats_the_ends(causal: bool) -> None:
    padded = pad_clip(ModelSpec((3, 3), 4, causal=causal), np.arange(3)[:, None])
    left, right = (8, 0) if causal else (4, 4)
    assert padded[:, 0].tolist() == [0] * left + [0, 1, 2] + [2] * right


def test_frames_are_shared_among_clips() -> None:
    clips = [clip(n_frames=n) for n in (10, 30, 1)]
    assert [c.n_frames for c in share_frames(clips, 20)] == [5, 15, 1]
    assert share_frames(clips, None) is clips
    assert share_frames(clips, 41) is clips
