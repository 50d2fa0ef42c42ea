"""Following people from frame to frame."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.formats.tracker import MAX_GAP, associate
from vp3d_deploy.formats.tracks import Detection

BODY = np.random.default_rng(0).uniform([-40, -90], [40, 90], (17, 2))


def at(frame: int, x: float, y: float = 300.0, lost: tuple[int, ...] = ()) -> Detection:
    points = np.c_[BODY + np.array([x, y]), np.full(17, 0.9)].astype(np.float32)
    points[list(lost)] = np.nan
    return Detection(frame, points)


def ids(detections: list[Detection]) -> dict[tuple[int, int], int]:
    """Track id by frame and rounded mean x."""
    return {
        (d.frame, round(np.nanmean(d.keypoints[:, 0]))): d.track_id for d in associate(detections)
    }


def tracks(detections: list[Detection]) -> list[list[float]]:
    """For each track its x positions (of joint 16), in order."""
    found: dict[int, list[float]] = {}
    for d in associate(detections):
        found.setdefault(d.track_id, []).append(float(d.keypoints[16, 0] - BODY[16, 0]))
    return [found[i] for i in range(len(found))]


def test_two_people_who_pass_each_other_at_different_heights():
    a = [(t, 100 + 10 * t) for t in range(60)]
    b = [(t, 700 - 10 * t) for t in range(60)]
    detections = []
    for (t, xa), (_, xb) in zip(a, b, strict=True):
        pair = [at(t, xa, 300), at(t, xb, 420)]
        detections += pair if t % 3 else pair[::-1]
    found = tracks(detections)
    assert len(found) == 2
    np.testing.assert_allclose(sorted(found[0]), [x for _, x in b][::-1], atol=1e-3)
    np.testing.assert_allclose(found[1], [x for _, x in a], atol=1e-3)


def test_short_gaps_are_bridged_and_long_ones_are_not():
    early = [at(t, 100) for t in range(3)]
    assert len(tracks([*early, at(2 + MAX_GAP, 110)])) == 1
    assert len(tracks([*early, at(3 + MAX_GAP, 110)])) == 2


def test_somebody_elsewhere_is_somebody_new():
    assert len(tracks([at(0, 100), at(1, 400)])) == 2


def test_each_detection_goes_to_the_nearest_person():
    """Three side by side: greedy by distance, not by the order of the file."""
    frames = [at(0, 0), at(0, 60), at(0, 120), at(1, 118), at(1, 2), at(1, 61)]
    found = [[round(x) for x in track] for track in tracks(frames)]
    assert found == [[0, 2], [60, 61], [120, 118]]


def test_missing_joints_do_not_matter_and_empty_detections_are_dropped():
    some = at(1, 102, lost=(0, 1, 2, 3, 4, 5, 6, 7))
    few = at(2, 104, lost=tuple(range(15)))
    nothing = at(3, 0, lost=tuple(range(17)))
    unscored = at(4, 106)
    unscored.keypoints[:, 2] = 0
    named = associate([at(0, 100), some, few, nothing, unscored])
    assert [(d.frame, d.track_id) for d in named] == [(0, 0), (1, 0), (2, 0)]


def test_a_person_of_one_joint_can_be_followed():
    dot = tuple(range(16))
    assert len(tracks([at(t, 100 + t, lost=dot) for t in range(5)])) == 1
