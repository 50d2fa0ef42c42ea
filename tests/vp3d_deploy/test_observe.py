"""What counts as observed, and what stands in for what was not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vp3d_deploy.fill_clip import fill_clip
from vp3d_deploy.observe import FADE_S, HOLD_S, Observer, fade, nearest_seen
from vp3d_deploy.screen import Screen
from vp3d_deploy.skeleton import COCO_17, COCO_WHOLEBODY, H36M_17

SCREEN = Screen((1000, 500))
FPS = 50.0
WRIST = H36M_17.index("left_wrist")
OTHER_WRIST = H36M_17.index("right_wrist")


def filled(points, seen, scores=None, hold_s=HOLD_S, fade_s=FADE_S):
    return fill_clip(points, scores, seen, H36M_17, SCREEN, FPS, hold_s, fade_s)


def watched(points, seen, scores=None):
    """One person, frame by frame."""
    observer = Observer(H36M_17, HOLD_S, FADE_S)
    observer.add(1)
    results = []
    for k in range(len(points)):
        own = None if scores is None else scores[k : k + 1]
        results.append(
            observer.update(points[k : k + 1].copy(), own, seen[k : k + 1], SCREEN, 1 / FPS)
        )
    return np.concatenate([p for p, _ in results]), np.concatenate([c for _, c in results])


def test_what_counts_as_observed():
    # 1000 x 500: x is credible from -1000 to 2000 px, y from -500 to 1000 px.
    pixels = {
        (0.0, 0.0): True,
        (-1000.0, -500.0): True,
        (2000.0, 1000.0): True,
        (-1001.0, 0.0): False,
        (2001.0, 0.0): False,
        (0.0, -501.0): False,
        (0.0, 1001.0): False,
        (np.nan, 100.0): False,
        (100.0, np.nan): False,
        (np.inf, 100.0): False,
        (100.0, -np.inf): False,
        (1e300, 100.0): False,
    }
    points = SCREEN.normalize(np.array(list(pixels)))
    assert SCREEN.observed(points, None).tolist() == list(pixels.values())
    scores = np.array([1.0, 1e-3, 7.0, 0.0, -1.0, np.nan, np.inf])
    seen = SCREEN.observed(np.zeros((7, 2)), scores)
    assert seen.tolist() == [True, True, True, False, False, False, False]


def test_fade_is_hold_then_linear():
    ages = np.array([0, 0.02, 0.5, 0.6, 0.75, 0.98, 1.0, 1.02, 50])
    expected = [1, 1, 1, 0.8, 0.5, 0.04, 0, 0, 0]
    np.testing.assert_allclose(fade(ages, 0.5, 0.5), expected, rtol=0, atol=1e-5)
    assert fade(np.array([0.9999999999, 1.0, 1.0000000001]), 0.5, 0.5).tolist() == [0, 0, 0]
    # Without a fade it ends at once after the hold; without either, with the observation.
    assert fade(np.array([0.0, 0.3, 0.5, 0.52]), 0.5, 0.0).tolist() == [1, 1, 1, 0]
    assert fade(np.array([0.0, 0.02]), 0.0, 0.0).tolist() == [1, 0]


def test_a_frame_wise_sum_of_ages_ends_on_the_frame():
    """1 s at 50 frames per second is 50 frames, at 30 it is 30, however the sums round."""
    for fps in (50.0, 30.0, 29.97, 60.0):
        age, frames = 0.0, 0
        while fade(np.array([age]), HOLD_S, FADE_S)[0] > 0:
            age, frames = age + 1 / fps, frames + 1
        assert frames == int(np.ceil((HOLD_S + FADE_S) * fps - 1e-9))


def test_a_joint_without_observation_moves_with_the_body():
    rng = np.random.default_rng(0)
    pose = rng.uniform(-0.3, 0.3, (17, 2))
    path = np.cumsum(rng.normal(0, 0.02, (40, 1, 2)), axis=0)
    points = pose + path
    seen = np.ones((40, 17), bool)
    seen[5:, WRIST] = False
    seen[20:, 3] = False  # the joints that are seen change on the way
    seen[30:, 3] = True
    hidden = np.where(seen[..., None], points, np.nan)
    live, confidence = watched(hidden, seen)
    np.testing.assert_allclose(live, points, rtol=0, atol=1e-12)
    np.testing.assert_allclose(confidence[:30, WRIST], 1.0, atol=1e-6)
    np.testing.assert_allclose(confidence[35, WRIST], 1 - (31 / 50 - 0.5) / 0.5, atol=1e-5)
    recorded, same = filled(hidden, seen)
    np.testing.assert_allclose(recorded, points, rtol=0, atol=1e-12)
    np.testing.assert_allclose(same[:, WRIST], confidence[:, WRIST], atol=1e-5)


def test_a_person_found_elsewhere_takes_the_held_joints_along():
    """After frames in which nothing was seen, and with no joint in common with the last sight."""
    pose = np.random.default_rng(0).uniform(-0.3, 0.3, (17, 2))
    points = np.stack([pose, pose, pose + 0.5, pose + 0.7])
    seen = np.ones((4, 17), bool)
    seen[1] = False
    seen[2, WRIST] = False
    live, _ = watched(np.where(seen[..., None], points, np.nan), seen)
    np.testing.assert_allclose(live, points, rtol=0, atol=1e-12)

    first = np.arange(17) < 9
    seen = np.stack([np.ones(17, bool), first, ~first])
    points = np.stack([pose, pose + 0.1, pose + 0.3])
    live, _ = watched(np.where(seen[..., None], points, np.nan), seen)
    np.testing.assert_allclose(live, points, rtol=0, atol=1e-12)


def test_a_held_joint_tells_nothing_of_where_the_body_went():
    """After frames without anyone, the body's motion is that of joints seen before and after; a
    wrist that was held already, wrongly, has no say."""
    pose = np.random.default_rng(0).uniform(-0.3, 0.3, (17, 2))
    points = np.stack([pose, pose, pose, pose + 0.2])
    points[1:, WRIST] += 0.4  # moved while it was hidden
    seen = np.ones((4, 17), bool)
    seen[1, WRIST] = False
    seen[2] = False
    seen[3, OTHER_WRIST] = False
    live, _ = watched(np.where(seen[..., None], points, np.nan), seen)
    np.testing.assert_allclose(live[3], points[3], rtol=0, atol=1e-12)


def test_what_is_carried_along_stays_where_observations_could_be():
    points = np.full((3, 17, 2), 0.1)
    points[:, :, 0] = [[-2.5], [0.0], [2.5]]
    points[0, WRIST, 0] = 2.5
    seen = np.ones((3, 17), bool)
    seen[1:, WRIST] = False
    for got, _ in (watched(points, seen), filled(points, seen)):
        np.testing.assert_allclose(got[:, WRIST], [[2.5, 0.1], [3.0, 0.1], [3.0, 0.1]])


def test_joints_never_seen_lie_where_their_neighbours_are():
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (3, 17, 2))
    seen = np.ones((3, 17), bool)
    seen[:, [WRIST, 2, 3, 5, 6]] = False  # a wrist; both knees and ankles
    seen[:2, OTHER_WRIST] = False
    hidden = np.where(seen[..., None], points, np.nan)
    live, confidence = watched(hidden, seen)
    elbows = H36M_17.index("left_elbow"), H36M_17.index("right_elbow")
    np.testing.assert_array_equal(live[:2, [WRIST, OTHER_WRIST]], points[:2, elbows])
    np.testing.assert_array_equal(live[2, WRIST], points[2, OTHER_WRIST])
    np.testing.assert_array_equal(live[:, [2, 3]], points[:, [1, 1]])
    np.testing.assert_array_equal(live[:, [5, 6]], points[:, [4, 4]])
    assert not confidence[:, [WRIST, 2, 3, 5, 6]].any()
    assert (confidence[seen] == 1).all()
    recorded, confidence = filled(hidden, seen)
    np.testing.assert_array_equal(recorded[:, [2, 3]], points[:, [1, 1]])
    # In a recording the wrist is known from its later observation; held backwards in time.
    assert confidence[0, OTHER_WRIST] == 1
    np.testing.assert_array_equal(recorded[:, WRIST], recorded[:, OTHER_WRIST])


@pytest.mark.parametrize("skeleton", [H36M_17, COCO_17, COCO_WHOLEBODY])
def test_any_seen_joint_suffices_to_place_all(skeleton):
    seen = np.eye(skeleton.n_joints, dtype=bool)
    sources = nearest_seen(skeleton, seen)
    expected = np.repeat(np.arange(skeleton.n_joints)[:, None], skeleton.n_joints, axis=1)
    np.testing.assert_array_equal(sources, expected)
    everyone = nearest_seen(skeleton, np.ones((1, skeleton.n_joints), bool))
    np.testing.assert_array_equal(everyone[0], np.arange(skeleton.n_joints))


def test_people_are_independent_rows():
    rng = np.random.default_rng(3)
    points = rng.uniform(-0.5, 0.5, (3, 30, 17, 2))
    seen = rng.random((3, 30, 17)) < 0.8
    seen[:, 0, 0] = True
    alone = [watched(points[n], seen[n]) for n in range(3)]
    observer = Observer(H36M_17, HOLD_S, FADE_S)
    observer.add(2)
    for k in range(30):
        rows = [0, 1] if k < 10 else [0, 1, 2] if k < 20 else [0, 2]
        if k == 10:
            observer.add(1)
            alone[2] = watched(points[2, 10:], seen[2, 10:] | (np.arange(17) == 0))
        if k == 20:
            observer.keep(np.array([True, False, True]))
        now = seen[:, k].copy()
        now[2, 0] |= k >= 10
        got, confidence = observer.update(points[rows, k], None, now[rows], SCREEN, 1 / FPS)
        for row, person in enumerate(rows):
            at = k - 10 if person == 2 else k
            np.testing.assert_allclose(got[row], alone[person][0][at], rtol=0, atol=1e-12)
            np.testing.assert_allclose(confidence[row], alone[person][1][at], atol=1e-6)


def test_gaps_in_a_recording_are_bridged_linearly():
    t = np.arange(60)[:, None, None] / 60
    pose = np.random.default_rng(0).uniform(-0.3, 0.3, (17, 2))
    points = pose + t * [0.5, -0.2]
    points[:, WRIST] += t[:, 0] * [0.1, 0.3]  # moves within the body, too
    seen = np.ones((60, 17), bool)
    seen[10:20, WRIST] = False
    seen[30:36] = False
    got, confidence = filled(np.where(seen[..., None], points, np.inf), seen)
    np.testing.assert_allclose(got, points, rtol=0, atol=1e-12)
    np.testing.assert_allclose(confidence, 1.0, atol=1e-6)


def test_in_a_recording_confidence_fades_from_both_sides():
    points = np.zeros((140, 17, 2))
    seen = np.ones((140, 17), bool)
    seen[10:130, WRIST] = False
    scores = np.full((140, 17), 0.8)
    scores[:10] = 3.0  # beyond 1 counts as 1
    _, confidence = filled(points, seen, scores)
    distance = np.minimum(np.arange(140) - 9, 130 - np.arange(140)) / FPS
    expected = np.clip((1.0 - distance) / 0.5, 0, 1)
    expected = np.where(np.arange(140) <= 69, 1.0, 0.8) * expected
    np.testing.assert_allclose(confidence[10:130, WRIST], expected[10:130], atol=1e-5)
    assert confidence[69, WRIST] == 0
    assert (confidence[:10] == 1).all()
    np.testing.assert_allclose(confidence[130:], 0.8, atol=1e-6)


def test_a_person_never_seen_has_no_confidence():
    points, confidence = filled(np.full((5, 17, 2), np.nan), np.zeros((5, 17), bool))
    assert (points == 0).all()
    assert (confidence == 0).all()


COORDINATES = st.one_of(
    st.floats(-4, 4, width=32), st.sampled_from([np.nan, np.inf, -np.inf, 3e38, -0.0])
)


@settings(max_examples=60, deadline=None)
@given(
    points=arrays(np.float32, (12, 17, 2), elements=COORDINATES, fill=st.just(0.25)),
    scores=arrays(
        np.float64,
        (12, 17),
        elements=st.sampled_from([0.0, 0.3, 1.0, 9.0, -1e300, 1e300, np.nan, np.inf]),
        fill=st.just(0.9),
    ),
    with_scores=st.booleans(),
)
def test_whatever_comes_in_the_network_gets_numbers(points, scores, with_scores):
    scores = scores if with_scores else None
    seen = SCREEN.observed(points, scores)
    seen[0, 0] = True
    points[0, 0] = 0.5
    if scores is not None:
        scores[0, 0] = 0.5
    for got, confidence in (watched(points, seen, scores), filled(points, seen, scores)):
        assert np.isfinite(got).all()
        assert np.abs(got).max() <= 3
        np.testing.assert_array_equal(got[seen], points[seen])
        assert confidence.dtype == np.float32
        assert ((confidence >= 0) & (confidence <= 1)).all()
        assert (confidence[seen] > 0).all()
        if scores is None:
            assert (confidence[seen] == 1).all()


@pytest.mark.parametrize("with_scores", [False, True])
def test_frames_with_the_same_gaps_are_filled_like_any_other(with_scores: bool) -> None:
    """What is remembered of the last frame's gaps changes no number."""
    rng = np.random.default_rng(3)
    sooner, plain = (Observer(H36M_17, HOLD_S, FADE_S) for _ in range(2))
    seen = np.ones((3, 17), bool)
    for frame in range(120):
        if frame % 7 == 0:
            seen = rng.random((3, 17)) < rng.choice([0.3, 0.8, 1.0])
            seen[:, 0] |= frame == 0
            seen[2] &= frame % 14 == 0  # away for a while, now and then
        if frame == 40:
            for observer in (sooner, plain):
                observer.keep(np.array([True, False, True]))
            seen = seen[[0, 2]]
        if frame in (0, 60):
            for observer in (sooner, plain):
                observer.add(3 if frame == 0 else 1)
            if frame == 60:
                seen = np.concatenate([seen, np.ones((1, 17), bool)])
        if 40 <= frame < 60:
            seen = seen[:2]
        points = np.where(seen[..., None], rng.normal(0, 0.3, (*seen.shape, 2)), np.nan)
        scores = rng.random(seen.shape) if with_scores else None
        plain._gaps = None  # so that it starts from nothing in every frame
        given = None if seen.all() else seen
        expected = plain.update(points.copy(), scores, given, SCREEN, 0.02)
        found = sooner.update(points.copy(), scores, given, SCREEN, 0.02)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_array_equal(ours, theirs)
