"""Tracks through a Lifter whose engine follows the definition of the network."""

from __future__ import annotations

import numpy as np
import pytest
from fake_bundle import fake_lifter
from pose_samples import make_poses, project_px

from vp3d_deploy.formats.tracks import FormatError, Track
from vp3d_deploy.lift_tracks import check_extent, keypoints_of, lift_live, lift_recorded
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec

SIZE = (1000, 1000)
SPEC = ModelSpec((3, 3), 8)


def track(track_id: int | str, first: int, n_frames: int, scores: bool = False) -> Track:
    points = project_px(make_poses(n_frames, seed=first))
    return Track(
        track_id=track_id,
        frame_indices=np.arange(first, first + n_frames, dtype=np.int64),
        keypoints_px=points,
        scores=np.full(points.shape[:2], 0.5, np.float32) if scores else None,
        skeleton=H36M_17,
    )


@pytest.mark.parametrize("trajectory", [True, False])
def test_recorded_people_are_lifted_alone_and_put_in_their_places(trajectory):
    lifter = fake_lifter(SPEC, trajectory=trajectory)
    tracks = [track("a", 10, 20), track(7, 3, 12, scores=True)]
    calls = []
    poses = lift_recorded(lifter, tracks, SIZE, progress=lambda *done: calls.append(done))
    assert poses.frame_indices.tolist() == list(range(3, 30))
    assert poses.track_ids == ("a", 7)
    assert calls[-1] == (32, 32)
    assert [done for done, _ in calls] == sorted(done for done, _ in calls)
    for n, one in enumerate(tracks):
        alone = lifter.lift(one.keypoints_px, SIZE)
        rows = one.frame_indices - 3
        np.testing.assert_array_equal(poses.joints_m[n, rows], alone.joints_m)
        others = np.setdiff1d(np.arange(27), rows)
        assert np.isnan(poses.joints_m[n, others]).all()
        assert (poses.confidence[n, others] == 0).all()
        assert (poses.confidence[n, rows] == (0.5 if n else 1.0)).all()
        if trajectory:
            np.testing.assert_array_equal(poses.trajectory_m[n, rows], alone.trajectory_m)
    assert (poses.trajectory_m is None) == (not trajectory)


def test_flip_reaches_the_lifter():
    lifter = fake_lifter(SPEC)
    one = track(0, 0, 15)
    flipped = lift_recorded(lifter, [one], SIZE, flip=True)
    alone = lifter.lift(one.keypoints_px, SIZE, flip=True)
    np.testing.assert_array_equal(flipped.joints_m[0], alone.joints_m)
    assert (flipped.joints_m != lift_recorded(lifter, [one], SIZE).joints_m).any()


def test_live_with_the_full_lag_equals_recorded():
    """Section 2 of the design: stream(lag = full) over a clip equals the whole clip's poses."""
    lifter = fake_lifter(SPEC)
    tracks = [track("a", 5, 20), track("b", 5, 20)]
    recorded = lift_recorded(lifter, tracks, SIZE)
    live = lift_live(lifter, tracks, SIZE, lag=SPEC.lookahead)
    assert live.frame_indices.tolist() == recorded.frame_indices.tolist()
    assert live.track_ids == recorded.track_ids
    np.testing.assert_allclose(live.joints_m, recorded.joints_m, rtol=0, atol=1e-6)


@pytest.mark.parametrize("lag", [0, 2])
def test_live_answers_belong_to_their_frames(lag):
    """The first frame of everybody is answered as if it had been shown forever, see LiveStream."""
    lifter = fake_lifter(SPEC)
    one = track(3, 4, 12)
    calls = []
    live = lift_live(lifter, [one], SIZE, lag=lag, progress=lambda *done: calls.append(done))
    assert live.frame_indices.tolist() == list(range(4, 16))
    assert calls[-1] == (12, 12)
    with lifter.stream(SIZE, lag) as stream:
        answers = [stream.push(frame) for frame in one.keypoints_px] + [stream.flush()]
    expected = np.concatenate([answer.joints_m for answer in answers if answer is not None])
    np.testing.assert_allclose(live.joints_m[0], expected, rtol=0, atol=1e-6)


def test_people_who_come_and_go_live():
    lifter = fake_lifter(SPEC)
    tracks = [track("long", 0, 90), track("late", 60, 10)]
    live = lift_live(lifter, tracks, SIZE, lag=1)
    assert live.track_ids == ("long", "late")
    late = np.isfinite(live.joints_m[1]).all((-1, -2))
    assert np.flatnonzero(late)[0] == 60
    assert late[60:70].all()
    keypoints = keypoints_of(tracks, live)
    np.testing.assert_array_equal(keypoints[1, 60:70, :, :2], tracks[1].keypoints_px)
    assert np.isnan(keypoints[1, :60]).all()


def test_another_frame_rate():
    """Recorded: a pose per frame of the file. Live: the network's rate, and 2D beside it."""
    lifter = fake_lifter(SPEC, fps=50.0)
    one = track(0, 10, 30)
    recorded = lift_recorded(lifter, [one], SIZE, fps=25.0)
    assert recorded.frame_indices.tolist() == list(range(10, 40))
    assert recorded.fps == 25.0
    live = lift_live(lifter, [one], SIZE, fps=25.0)
    assert live.fps == 50.0
    assert live.frame_indices[0] == 20
    assert len(live.frame_indices) == pytest.approx(59, abs=2)
    keypoints = keypoints_of([one], live, fps=25.0)
    at = int(np.flatnonzero(live.frame_indices == 48)[0])
    np.testing.assert_array_equal(keypoints[0, at, :, :2], one.keypoints_px[24 - 10])


def test_too_much_for_memory_is_refused():
    far = [track(n, 0 if n else 4_000_000, 2) for n in range(2)]
    with pytest.raises(FormatError, match="2 people over 4,000,002 frames .* --people N"):
        check_extent(far)
