"""Which arrays are taken as keypoints, and what the others are told."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.keypoints import (
    KeypointsError,
    check_clip,
    check_duration,
    check_fps,
    check_frame,
    check_pixels,
    check_time,
)
from vp3d_deploy.skeleton import COCO_WHOLEBODY, H36M_17


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64, np.uint8, np.int64])
def test_real_numbers_of_any_width_are_taken(dtype):
    frame = np.ones((17, 3), dtype)
    assert check_frame(frame, H36M_17) is frame
    assert check_frame(frame.tolist(), H36M_17).shape == (17, 3)
    points, scores = check_clip(np.ones((4, 17, 3), dtype), None, H36M_17)
    assert points.shape == (1, 4, 17, 2)
    assert scores.shape == (1, 4, 17)
    points, scores = check_clip(np.ones((5, 4, 17, 2), dtype), None, H36M_17)
    assert points.shape == (5, 4, 17, 2)
    assert scores is None


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (
            (4, 16, 2),
            r"\(4, 16, 2\); expected \(T, 17, 2\) or \(N, T, 17, 2\).*'h36m17'.*skeleton=",
        ),
        ((4, 133, 2), r"these 133 joints.*pass skeleton='wholebody133'"),
        ((4, 25, 2), r"pass skeleton='body25'"),
        ((4, 9, 2), r"pass skeleton=one of h36m17, coco17"),
        ((17, 2), r"a single frame is keypoints\[None\]"),
        ((4, 17, 4), r"\(4, 17, 4\)"),
        ((4, 17), r"\(4, 17\)"),
        ((0, 17, 2), "no frames"),
        ((2, 0, 17, 2), "no frames"),
        ((1, 2, 3, 17, 2), "expected"),
    ],
)
def test_other_shapes_are_refused_with_what_was_expected(shape, message):
    with pytest.raises(KeypointsError, match=message):
        check_clip(np.zeros(shape), None, H36M_17)


def test_scores_have_one_place():
    clip, scores = np.zeros((4, 17, 2)), np.full((4, 17), 0.5)
    _, got = check_clip(clip, scores, H36M_17)
    np.testing.assert_array_equal(got, scores[None])
    with pytest.raises(KeypointsError, match="third column"):
        check_clip(np.zeros((4, 17, 3)), scores, H36M_17)
    with pytest.raises(KeypointsError, match=r"\(4, 16\); expected \(4, 17\)"):
        check_clip(clip, scores[:, :16], H36M_17)
    with pytest.raises(KeypointsError, match="scores are of type complex128"):
        check_clip(clip, scores * 1j, H36M_17)


def test_nobody_at_all_is_a_clip_of_no_people():
    points, scores = check_clip(np.zeros((0, 5, 133, 3)), None, COCO_WHOLEBODY)
    assert points.shape == (0, 5, 133, 2)
    assert scores.shape == (0, 5, 133)


def test_numbers_are_checked():
    assert check_fps(np.int32(25)) == 25.0
    for bad in (0, -1, 1.9, 1001, np.nan, np.inf, "25", None, True, [25]):
        with pytest.raises(KeypointsError, match="fps is .* expected a frame rate from 2 to 1000"):
            check_fps(bad)
    assert check_duration("hold_s", np.float32(0.5)) == 0.5
    for bad in (-0.1, np.nan, np.inf, None, "1"):
        with pytest.raises(KeypointsError, match="hold_s is .* seconds, zero or more"):
            check_duration("hold_s", bad)
    assert check_time(-3) == -3.0
    for bad in (np.nan, np.inf, None, "1", 10**400):
        with pytest.raises(KeypointsError, match="timestamp_s is"):
            check_time(bad)


def test_what_is_masked_was_not_seen():
    clip = np.ma.array(np.full((4, 17, 2), 7, np.int32), mask=np.zeros((4, 17, 2), bool))
    clip[1, 5] = np.ma.masked
    points, _ = check_clip(clip, None, H36M_17)
    assert type(points) is np.ndarray
    assert np.isnan(points[0, 1, 5]).all()
    assert np.isnan(points).sum() == 2
    assert check_clip(list(clip), None, H36M_17)[0].shape == (1, 4, 17, 2)
    assert np.isnan(check_clip(list(clip), None, H36M_17)[0]).sum() == 2
    scores = np.ma.masked_less(np.tile(np.linspace(0, 1, 17, dtype=np.float32), (4, 1)), 0.5)
    _, filled = check_clip(clip, scores, H36M_17)
    assert filled.dtype == np.float32
    np.testing.assert_array_equal(filled[0, 0, :8], 0)
    np.testing.assert_array_equal(filled[0, 0, 8:], scores.data[0, 8:])
    frame = check_frame(clip[1], H36M_17)
    assert np.isnan(frame[5]).all()
    assert (frame[4] == 7).all()


@pytest.mark.parametrize("scale", [1.0, 1.9])
def test_normalised_keypoints_are_refused(scale):
    clip = np.random.default_rng(0).uniform(-scale, scale, (4, 17, 2))
    message = (
        r"largest coordinate is [01]\.\d+, so these are not pixels; multiply them by the image"
    )
    for given in (clip, np.r_[clip, np.full((1, 17, 2), np.nan)], clip.astype(np.float16)):
        with pytest.raises(KeypointsError, match=message):
            check_clip(given, None, H36M_17, (1920, 1080))
    hidden = np.concatenate([clip, np.ones((4, 17, 1))], axis=-1)
    hidden[:, 5] = 0.5, 0.5, 0
    hidden[:, 4] = np.inf, np.inf, 1
    # A joint that is nowhere says nothing.
    with pytest.raises(KeypointsError, match=message):
        check_pixels(hidden[:, 4:, :2], hidden[:, 4:, 2], (1920, 1080))
    # Such an image size says which units are meant.
    for size in ((1, 1), (2, 2 * 9 / 16)):
        assert check_clip(clip, None, H36M_17, size)[0].shape == (1, 4, 17, 2)


def test_too_little_to_tell_is_not_refused():
    for value in (0, -1, 1, np.nan):
        assert not check_pixels(np.full((17, 2), value), None, (1920, 1080))
    corner = np.full((17, 2), np.nan)
    corner[:2] = 1.3, 0.4
    assert not check_pixels(corner, None, (1920, 1080))
    corner[2] = 0.7, 3.1
    assert check_pixels(corner, None, (1920, 1080))
    assert check_pixels(np.full((17, 2), -300.5), None, (1920, 1080))
