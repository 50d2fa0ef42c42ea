"""Lifter.lift against the definition: padding, pieces, flips, gaps, frame rates, refusals."""

from __future__ import annotations

import subprocess
import sys
import threading

import numpy as np
import pytest
from fake_bundle import fake_lifter
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import dilated_network, padded

from vp3d_deploy import lifter as lifter_module
from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.observe import FADE_S, HOLD_S
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton
from vp3d_deploy.skeleton_conversion import convert_keypoints
from vp3d_deploy.spec import ModelSpec

SIZE = (1920, 1080)
SPEC = ModelSpec((3, 3), 6)
ATOL = 2e-6


def clip_px(n_frames: int, seed: int = 0, n_joints: int = 17) -> np.ndarray:
    rng = np.random.default_rng(seed)
    centre = np.cumsum(rng.normal(0, 8, (n_frames, 1, 2)), axis=0) + np.array([900, 500])
    return (centre + rng.normal(0, 60, (n_frames, n_joints, 2))).astype(np.float32)


def defined(lifter, points_px: np.ndarray, size=SIZE) -> np.ndarray:
    spec = lifter.bundle.spec
    inputs = padded(spec, normalize_screen(points_px, size))
    return dilated_network(spec, lifter.engine.tensors, inputs)


@pytest.mark.parametrize("n_frames", [1, 2, 5, 30])
@pytest.mark.parametrize(
    "spec", [SPEC, ModelSpec((3, 3), 6, causal=True), ModelSpec((1, 1), 6), ModelSpec((3, 5, 3), 4)]
)
def test_one_pose_per_frame_by_the_definition(spec, n_frames):
    lifter, points = fake_lifter(spec), clip_px(n_frames)
    poses = lifter.lift(points, SIZE)
    assert poses.joints_m.shape == (n_frames, 17, 3)
    assert poses.skeleton == H36M_17
    assert poses.fps == 50.0
    assert poses.trajectory_m is None
    assert (poses.confidence == 1).all()
    assert poses.frame_indices.tolist() == list(range(n_frames))
    np.testing.assert_allclose(poses.joints_m, defined(lifter, points), rtol=0, atol=ATOL)


@settings(max_examples=40, deadline=None)
@given(
    n_people=st.integers(0, 5),
    n_frames=st.integers(1, 40),
    chunk=st.integers(1, 50),
    flip=st.booleans(),
)
def test_pieces_change_nothing_and_stay_small(n_people, n_frames, chunk, flip):
    lifter = fake_lifter(SPEC, trajectory=True)
    points = np.array([clip_px(n_frames, k) for k in range(n_people)])
    points = points.reshape(n_people, n_frames, 17, 2)
    whole = lifter.lift(points, SIZE, flip=flip)
    assert len(lifter.engine.calls) == (n_people > 0) * (1 + flip)
    lifter.engine.calls.clear()
    done, patch = [], pytest.MonkeyPatch()
    with patch.context() as context:
        context.setattr(lifter_module, "CHUNK_FRAMES", chunk)
        pieces = lifter.lift(points, SIZE, flip=flip, progress=lambda *at: done.append(at))
    np.testing.assert_allclose(pieces.joints_m, whole.joints_m, rtol=0, atol=ATOL)
    np.testing.assert_allclose(pieces.trajectory_m, whole.trajectory_m, rtol=0, atol=ATOL)
    R = SPEC.receptive_field
    for rows, frames, *_ in lifter.engine.calls:
        assert frames <= chunk + R - 1
        assert rows == 1 or rows * frames <= chunk
    total = n_people * n_frames
    assert [of for _, of in done] == [total] * len(done)
    assert not total or done[-1][0] == total
    assert [at for at, _ in done] == sorted({at for at, _ in done})


def test_several_people_are_lifted_as_each_alone():
    lifter = fake_lifter(SPEC, trajectory=True)
    points = np.array([clip_px(20, k) for k in range(3)])
    poses = lifter.lift(points, SIZE)
    assert poses.joints_m.shape == (3, 20, 17, 3)
    assert poses.trajectory_m.shape == (3, 20, 1, 3)
    for person in range(3):
        alone = lifter.lift(points[person], SIZE)
        np.testing.assert_allclose(poses.joints_m[person], alone.joints_m, rtol=0, atol=ATOL)
        np.testing.assert_allclose(
            poses.trajectory_m[person], alone.trajectory_m, rtol=0, atol=ATOL
        )


def test_the_callers_arrays_are_not_touched():
    lifter, points = fake_lifter(SPEC), clip_px(9).astype(np.float64)
    points[3, 5] = np.nan
    before = points.copy()
    lifter.lift(points, SIZE, flip=True)
    np.testing.assert_array_equal(points, before)


def mirrored_px(points: np.ndarray, skeleton) -> np.ndarray:
    mirrored = points[..., list(skeleton.flip_order), :].copy()
    mirrored[..., 0] = SIZE[0] - mirrored[..., 0]
    return mirrored


@pytest.mark.parametrize("features", [2, 3])
def test_flip_is_the_mean_with_the_mirror_image(features):
    lifter = fake_lifter(ModelSpec((3, 3), 6, features=features), trajectory=True)
    points, scores = clip_px(12), np.random.default_rng(1).uniform(0.2, 1, (12, 17))
    plain = lifter.lift(points, SIZE, scores=scores)
    other = lifter.lift(
        mirrored_px(points, H36M_17), SIZE, scores=scores[:, list(H36M_17.flip_order)]
    )
    mirror = np.array([-1, 1, 1])
    joints = (plain.joints_m + other.joints_m[:, list(H36M_17.flip_order)] * mirror) / 2
    trajectory = (plain.trajectory_m + other.trajectory_m * mirror) / 2
    flipped = lifter.lift(points, SIZE, scores=scores, flip=True)
    np.testing.assert_allclose(flipped.joints_m, joints, rtol=0, atol=1e-5)
    np.testing.assert_allclose(flipped.trajectory_m, trajectory, rtol=0, atol=1e-5)
    assert np.abs(flipped.joints_m - plain.joints_m).max() > 1e-3
    # A mirrored clip gives the mirrored poses: the average cannot prefer a side.
    again = lifter.lift(
        mirrored_px(points, H36M_17),
        SIZE,
        scores=scores[:, list(H36M_17.flip_order)],
        flip=True,
    )
    expected = flipped.joints_m[:, list(H36M_17.flip_order)] * mirror
    np.testing.assert_allclose(again.joints_m, expected, rtol=0, atol=1e-5)


def test_flip_needs_to_know_left_and_right():
    numbered = Skeleton("unnamed17", tuple(map(str, range(17))), (-1, *[0] * 16), (), ())
    lifter = fake_lifter(SPEC, skeleton_in=numbered)
    assert lifter.lift(clip_px(3), SIZE).n_frames == 3
    with pytest.raises(ValueError, match=r"left and right.*'unnamed17'"):
        lifter.lift(clip_px(3), SIZE, flip=True)


def test_short_gaps_are_bridged_and_long_ones_are_missing():
    lifter = fake_lifter(SPEC, trajectory=True)
    points = clip_px(1)[0] + np.arange(300)[:, None, None] * np.float32([1.5, 0.5])
    hidden = points.copy()
    hidden[20:40] = np.nan
    hidden[30:50, 13] = 1e6
    hidden[100:250] = np.inf
    poses = lifter.lift(hidden, SIZE)
    np.testing.assert_allclose(poses.joints_m[:90], defined(lifter, points)[:90], atol=1e-5)
    away = np.minimum(np.arange(300) - 99, 250 - np.arange(300)) / 50
    gone = away > HOLD_S + FADE_S - 0.01
    gone[:100] = gone[250:] = False
    assert gone.sum() == 52
    assert np.isnan(poses.joints_m[gone]).all()
    assert np.isnan(poses.trajectory_m[gone]).all()
    assert np.isfinite(poses.joints_m[~gone]).all()
    assert np.isfinite(poses.trajectory_m[~gone]).all()
    np.testing.assert_array_equal(poses.confidence.max(-1) == 0, gone)
    shorter = lifter.lift(hidden, SIZE, hold_s=0.1, fade_s=0)
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(shorter.joints_m[:100, 0, 0])),
                                  np.arange(25, 35))  # fmt: skip


def test_someone_never_seen_is_missing_throughout():
    points = np.array([clip_px(7), np.full((7, 17, 2), np.nan)])
    poses = fake_lifter(SPEC).lift(points, SIZE)
    assert np.isfinite(poses.joints_m[0]).all()
    assert np.isnan(poses.joints_m[1]).all()
    assert (poses.confidence[1] == 0).all()


def test_scores_are_confidence_and_a_third_feature():
    spec = ModelSpec((3, 3), 6, features=3)
    lifter, points = fake_lifter(spec), clip_px(9)
    scores = np.random.default_rng(0).uniform(0.2, 1, (9, 17)).astype(np.float32)
    poses = lifter.lift(points, SIZE, scores=scores)
    np.testing.assert_array_equal(poses.confidence, scores)
    inputs = np.concatenate([normalize_screen(points, SIZE), scores[..., None]], axis=-1)
    expected = dilated_network(spec, lifter.engine.tensors, padded(spec, inputs))
    np.testing.assert_allclose(poses.joints_m, expected, rtol=0, atol=ATOL)
    column = lifter.lift(np.concatenate([points, scores[..., None]], axis=-1), SIZE)
    np.testing.assert_array_equal(column.joints_m, poses.joints_m)
    ones = lifter.lift(points, SIZE, scores=np.ones((9, 17)))
    np.testing.assert_array_equal(lifter.lift(points, SIZE).joints_m, ones.joints_m)


def test_another_skeleton_is_converted_after_its_gaps_are_filled():
    lifter, points = fake_lifter(SPEC), clip_px(9)
    points[:] = points[:1] + np.arange(9)[:, None, None]
    expected = defined(lifter, convert_keypoints(points, COCO_17, H36M_17))
    hidden = points.copy()
    hidden[4, COCO_17.index("left_hip")] = np.nan
    poses = lifter.lift(hidden, SIZE, skeleton="coco")
    np.testing.assert_allclose(poses.joints_m, expected, rtol=0, atol=1e-5)
    assert poses.skeleton == H36M_17


def test_integers_and_lists_are_keypoints_too():
    lifter, points = fake_lifter(SPEC), np.round(clip_px(6))
    expected = lifter.lift(points, SIZE).joints_m
    for same in (points.astype(np.int64), points.astype(np.uint16), points.tolist()):
        np.testing.assert_allclose(lifter.lift(same, SIZE).joints_m, expected, atol=ATOL)


@pytest.mark.parametrize("fps", [25.0, 100.0])
def test_another_frame_rate_is_lifted_at_the_networks(fps):
    lifter, points = fake_lifter(SPEC, trajectory=True), clip_px(31)
    poses = lifter.lift(points, SIZE, fps=fps)
    assert poses.fps == fps
    assert poses.joints_m.shape == (31, 17, 3)
    at_50 = np.arange(31 * 2 - 1 if fps == 25 else 16) / 50
    columns = points.reshape(31, -1).T
    resampled = np.stack([np.interp(at_50, np.arange(31) / fps, c) for c in columns], axis=-1)
    lifted = defined(lifter, resampled.reshape(-1, 17, 2))
    expected = np.stack(
        [np.interp(np.arange(31) / fps, at_50, c) for c in lifted.reshape(len(lifted), -1).T], -1
    )
    np.testing.assert_allclose(poses.joints_m.reshape(31, -1), expected, rtol=0, atol=1e-5)
    own = lifter.lift(points, SIZE, fps=50)
    np.testing.assert_array_equal(own.joints_m, lifter.lift(points, SIZE).joints_m)


def test_gaps_are_timed_by_the_clips_own_rate():
    points = clip_px(100)
    points[40:] = np.nan
    lifter = fake_lifter(SPEC)
    for fps, last in ((50, 39 + 49), (25, 39 + 24)):
        missing = np.isnan(lifter.lift(points, SIZE, fps=fps).joints_m[:, 0, 0])
        np.testing.assert_array_equal(np.flatnonzero(~missing), np.arange(last + 1))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"keypoints": np.zeros((5, 16, 2))}, r"\(5, 16, 2\).*skeleton="),
        ({"keypoints": np.zeros((0, 17, 2))}, "no frames"),
        ({"keypoints": np.zeros((5, 17, 2), complex)}, "complex128"),
        ({"keypoints": "file.npz"}, "<U8"),
        ({"keypoints": None}, "object"),
        ({"image_size": (0, 1080)}, "image_size"),
        ({"image_size": "hd"}, "image_size"),
        ({"scores": np.ones((5, 16))}, r"\(5, 16\); expected \(5, 17\)"),
        ({"fps": 0}, "fps"),
        ({"fps": 1e9}, "fps"),
        ({"hold_s": -1}, "hold_s"),
        ({"fade_s": "long"}, "fade_s"),
        ({"skeleton": "octopus"}, "octopus"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    lifter = fake_lifter(SPEC)
    arguments = {"keypoints": np.zeros((5, 17, 2)), "image_size": SIZE, **arguments}
    with pytest.raises(ValueError, match=message):
        lifter.lift(**arguments)
    assert lifter.engine.calls == []


def test_several_threads_lift_at_once():
    lifter = fake_lifter(SPEC)
    clips = [clip_px(40, k) for k in range(4)]
    expected = [lifter.lift(clip, SIZE).joints_m for clip in clips]
    got: dict[int, list[np.ndarray]] = {k: [] for k in range(4)}

    def work(k: int) -> None:
        for _ in range(5):
            got[k].append(lifter.lift(clips[k], SIZE).joints_m)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        assert len(got[k]) == 5
        for joints in got[k]:
            np.testing.assert_array_equal(joints, expected[k])


def test_the_runtime_imports_no_engine_and_no_torch():
    code = (
        "import sys, vp3d_deploy.lifter; "
        "print([m for m in ('torch', 'onnxruntime', 'matplotlib', 'PIL', 'scipy')"
        " if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
