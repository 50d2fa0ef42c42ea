"""LiveStream against the definition of a live answer, frame for frame; people, time, refusals."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from fake_bundle import FakeBundle, NullEngine, fake_lifter
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import live_answers

from vp3d_deploy.camera import normalize_screen
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.live import LiveStream
from vp3d_deploy.observe import FADE_S, HOLD_S
from vp3d_deploy.poses import Poses
from vp3d_deploy.resample import MAX_GAP_S
from vp3d_deploy.skeleton import COCO_17
from vp3d_deploy.skeleton_conversion import convert_keypoints
from vp3d_deploy.spec import ModelSpec

SIZE = (1920, 1080)
SPEC = ModelSpec((3, 3), 6)
CAUSAL = ModelSpec((3, 3), 6, causal=True)
# float64 network on float32 input, answers rounded to float32: values are of order 1.
ATOL = 2e-6


def clip_px(n_frames: int, seed: int = 0, n_joints: int = 17) -> np.ndarray:
    """Joints scattered about a centre that wanders through the image; (T, J, 2) float32."""
    rng = np.random.default_rng(seed)
    centre = np.cumsum(rng.normal(0, 8, (n_frames, 1, 2)), axis=0) + np.array([900, 500])
    return (centre + rng.normal(0, 60, (n_frames, n_joints, 2))).astype(np.float32)


def defined(lifter: Lifter, points_px: np.ndarray, lag: int, size=SIZE) -> np.ndarray:
    return live_answers(
        lifter.bundle.spec, lifter.engine.tensors, normalize_screen(points_px, size), lag
    )


def played(stream: LiveStream, frames) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """All answers of one person: joints, frame indices, and the push at which each came out."""
    answers, pushes = [], []
    for push, frame in enumerate(frames):
        poses = stream.push(frame)
        if poses is not None:
            assert poses.joints_m.shape == (1, 17, 3)
            answers.append(poses)
            pushes.append(push)
    answers.append(stream.flush())
    joints = np.concatenate([poses.joints_m for poses in answers])
    return joints, np.concatenate([poses.frame_indices for poses in answers]), pushes


@pytest.mark.parametrize("n_frames", [1, 3, 20])
@pytest.mark.parametrize("lag", range(5))
def test_answers_are_the_definitions_frame_for_frame(lag, n_frames):
    lifter, points = fake_lifter(SPEC), clip_px(n_frames)
    joints, indices, pushes = played(lifter.stream(SIZE, lag), points)
    assert indices.tolist() == list(range(n_frames))
    assert pushes == list(range(lag, n_frames))
    np.testing.assert_allclose(joints, defined(lifter, points, lag), rtol=0, atol=ATOL)


@pytest.mark.parametrize("spec", [SPEC, CAUSAL, ModelSpec((3, 3, 3), 4)])
def test_the_full_lag_equals_lift(spec):
    lifter, points = fake_lifter(spec, trajectory=True), clip_px(31)
    joints, _, _ = played(lifter.stream(SIZE, spec.lookahead), points)
    np.testing.assert_allclose(joints, lifter.lift(points, SIZE).joints_m, rtol=0, atol=ATOL)


def test_trajectory_comes_with_the_answers():
    lifter, points = fake_lifter(SPEC, trajectory=True), clip_px(12)
    stream = lifter.stream(SIZE, 4)
    parts = [poses for frame in points if (poses := stream.push(frame))] + [stream.flush()]
    trajectory = np.concatenate([poses.trajectory_m for poses in parts])
    expected = lifter.lift(points, SIZE).trajectory_m
    np.testing.assert_allclose(trajectory, expected, rtol=0, atol=ATOL)


def test_answers_stay_valid_after_later_pushes():
    stream = fake_lifter(SPEC).stream(SIZE)
    first = stream.push(clip_px(1)[0])
    before = first.joints_m.copy()
    stream.push(clip_px(1, seed=1)[0])
    np.testing.assert_array_equal(first.joints_m, before)


def test_the_callers_array_may_be_reused():
    lifter, points = fake_lifter(SPEC), clip_px(10)
    stream, buffer, parts = lifter.stream(SIZE), np.empty((17, 2), np.float32), []
    for frame in points:
        buffer[...] = frame
        parts.append(stream.push(buffer).joints_m)
    np.testing.assert_allclose(np.concatenate(parts), defined(lifter, points, 0), atol=ATOL)


def expected_of_track(lifter: Lifter, points: np.ndarray, present: list[bool], lag: int):
    """Sessions of one track by the rules: {frame: (joints, confidence)}; one frame is 20 ms."""
    most = round((HOLD_S + FADE_S) * 50)
    expected, start, fed, age = {}, 0, [], 0

    def finish():
        if fed:
            joints = defined(lifter, np.array([frame for frame, _ in fed]), lag)
            for offset, (_, confidence) in enumerate(fed):
                expected[start + offset] = joints[offset], confidence

    for frame, here in enumerate(present):
        if here:
            if not fed:
                start = frame
            fed.append((points[frame], 1.0))
            age = 0
        elif fed:
            age += 1
            if age >= most:
                finish()
                fed = []
            else:
                left = min(1.0, (HOLD_S + FADE_S - age / 50) / FADE_S)
                fed.append((fed[-1][0], left))
    finish()
    return expected


def presence(seed: int, n_frames: int) -> list[bool]:
    """Stretches of presence and absence, some absences shorter and some longer than the fade."""
    rng = np.random.default_rng(seed)
    here, result = bool(rng.integers(2)), []
    while len(result) < n_frames:
        result += [here] * int(rng.choice([1, 2, 10, 40, 49, 50, 51, 70]))
        here = not here
    return result[:n_frames]


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 10_000), lag=st.sampled_from([0, 1, 4]), how=st.booleans())
def test_people_come_and_go(seed, lag, how):
    lifter, n_frames = fake_lifter(SPEC), 160
    ids = [7, "b", -1]
    points = {track: clip_px(n_frames, seed + k) for k, track in enumerate(ids)}
    here = {track: presence(seed + 17 * k, n_frames) for k, track in enumerate(ids)}
    stream, got = lifter.stream(SIZE, lag), {track: {} for track in ids}

    def note(answers: dict, newest: int):
        for track, poses in answers.items():
            for k, frame in enumerate(poses.frame_indices):
                assert frame not in got[track]
                got[track][int(frame)] = poses.joints_m[k], poses.confidence[k]
                assert frame == newest - lag or newest == n_frames

    unseen = np.full((17, 2), np.nan)
    for frame in range(n_frames):
        people = {t: points[t][frame] if here[t][frame] else unseen for t in ids}
        if how:  # absent from the dict, rather than there without a joint that is seen
            people = {t: p for t, p in people.items() if p is not unseen}
        note(stream.push(people), frame)
    note(stream.flush(), n_frames)

    for track in ids:
        expected = expected_of_track(lifter, points[track], here[track], lag)
        assert got[track].keys() == expected.keys()
        for frame, (joints, confidence) in expected.items():
            np.testing.assert_allclose(got[track][frame][0], joints, rtol=0, atol=1e-5)
            np.testing.assert_allclose(got[track][frame][1], confidence, rtol=0, atol=1e-4)


def test_people_who_leave_shortly_after_each_other_get_their_own_answers():
    """Their rows repeat their own last frames until they are removed, one by one."""
    lifter, n_frames, lag = fake_lifter(SPEC), 30, 4
    points = {track: clip_px(n_frames, track) for track in range(4)}
    leaves = {0: 5, 1: 7, 2: 6, 3: n_frames}
    stream = lifter.stream(SIZE, lag, hold_s=0.02, fade_s=0)  # gone after one frame of holding
    got = {track: [] for track in points}
    for frame in range(n_frames):
        people = {t: points[t][frame] for t in points if frame < leaves[t]}
        for track, poses in stream.push(people).items():
            got[track].append(poses.joints_m)
    for track, poses in stream.flush().items():
        got[track].append(poses.joints_m)
    for track, last in leaves.items():
        seen = points[track][: last + 1].copy()
        seen[last:] = points[track][last - 1]
        expected = defined(lifter, seen, lag)
        np.testing.assert_allclose(np.concatenate(got[track]), expected, rtol=0, atol=ATOL)


def test_someone_of_whom_nothing_is_seen_does_not_begin():
    lifter, points = fake_lifter(SPEC), clip_px(3)
    scored = np.concatenate([points, np.full((3, 17, 1), 0.5, np.float32)], axis=-1)
    unseen = scored[0] * [1, 1, 0]
    stream = lifter.stream(SIZE)
    for k, frame in enumerate(scored):
        answers = stream.push({"nobody": unseen, "somebody": frame, 3: np.full((17, 2), 1e9)})
        assert answers.keys() == {"somebody"}
        assert answers["somebody"].confidence == pytest.approx(0.5)
        np.testing.assert_allclose(
            answers["somebody"].joints_m[0], defined(lifter, points[: k + 1], 0)[-1], atol=ATOL
        )
    assert stream.track_ids == ("somebody",)


def test_rows_of_people_who_left_are_given_back():
    lifter = fake_lifter(SPEC)
    stream = lifter.stream(SIZE, 2)
    for track in range(5):
        stream.push({track: clip_px(1)[0]})
    assert stream.track_ids == (0, 1, 2, 3, 4)
    for _ in range(60):
        last = stream.push({})
    assert last == {}
    assert stream.track_ids == ()
    assert stream._engine.n_rows == 0


def test_nobody_is_none_for_one_person():
    stream = fake_lifter(SPEC).stream(SIZE)
    assert stream.push(None) is None
    assert stream.push(np.full((17, 2), np.nan)) is None
    assert stream.push(clip_px(1)[0]).confidence.min() == 1
    for _ in range(25):
        held = stream.push(None)
        assert held.confidence == pytest.approx(1)
    confidences = [poses.confidence.max() for _ in range(24) if (poses := stream.push(None))]
    assert len(confidences) == 24
    assert (np.diff(confidences) < 0).all()
    assert stream.push(None) is None
    again = stream.push(clip_px(1, seed=3)[0])
    assert again.frame_indices.tolist() == [53]


def test_flush_begins_anew_and_reset_forgets():
    lifter, points = fake_lifter(SPEC), clip_px(9)
    stream = lifter.stream(SIZE, 3)
    first, _, _ = played(stream, points)
    second, indices, _ = played(stream, points)
    np.testing.assert_array_equal(first, second)
    assert indices.tolist() == list(range(9))
    stream.push(points[0])
    stream.reset()
    third, indices, _ = played(stream, points)
    np.testing.assert_array_equal(first, third)
    assert indices.tolist() == list(range(9))


def test_flush_of_nothing_is_empty():
    stream = fake_lifter(SPEC, trajectory=True).stream(SIZE, 3)
    empty = stream.flush()
    assert isinstance(empty, Poses)
    assert empty.joints_m.shape == (0, 17, 3)
    assert empty.trajectory_m.shape == (0, 1, 3)
    stream.push({})
    assert stream.flush() == {}


def test_reset_of_one_person_leaves_the_others():
    lifter, points = fake_lifter(SPEC), clip_px(12)
    stream = lifter.stream(SIZE, 2)
    for frame in points[:6]:
        stream.push({1: frame, 2: frame})
    stream.reset(1)
    stream.reset("never seen")
    got = {1: [], 2: []}
    for frame in points[6:]:
        for track, poses in stream.push({1: frame, 2: frame}).items():
            got[track].append(poses)
    for track, poses in stream.flush().items():
        got[track].append(poses)
    indices = {t: np.concatenate([p.frame_indices for p in got[t]]).tolist() for t in got}
    assert indices == {1: list(range(6, 12)), 2: list(range(4, 12))}
    joints = {t: np.concatenate([p.joints_m for p in got[t]]) for t in got}
    np.testing.assert_allclose(joints[1], defined(lifter, points[6:], 2), rtol=0, atol=ATOL)
    np.testing.assert_allclose(joints[2], defined(lifter, points, 2)[4:], rtol=0, atol=ATOL)


def test_unseen_joints_are_held_and_the_answer_knows():
    lifter, points = fake_lifter(SPEC), np.repeat(clip_px(1), 6, axis=0)
    points[:, :, 0] += np.arange(6)[:, None] * 5  # the body moves to the right as a whole
    stream = lifter.stream(SIZE)
    for k, frame in enumerate(points):
        pushed = np.concatenate([frame, np.full((17, 1), 0.7, np.float32)], axis=1)
        if k > 1:
            pushed[13] = [np.nan, 5, 0.9]
            pushed[16] = [0, 0, 0]
        answer = stream.push(pushed)
        assert answer.confidence == pytest.approx(0.7)  # within the hold
    # The whole body was seen moving, so what was held is where it would have been.
    np.testing.assert_allclose(
        answer.joints_m[0], defined(lifter, points, 0)[-1], rtol=0, atol=1e-5
    )


def test_scores_reach_a_network_that_reads_them():
    spec = ModelSpec((3, 3), 6, features=3)
    lifter, points = fake_lifter(spec), clip_px(7)
    scores = np.random.default_rng(0).uniform(0.1, 1.0, (7, 17, 1)).astype(np.float32)
    joints, _, _ = played(lifter.stream(SIZE, 1), np.concatenate([points, scores], axis=-1))
    inputs = np.concatenate([normalize_screen(points, SIZE), scores], axis=-1)
    expected = live_answers(spec, lifter.engine.tensors, inputs, 1)
    np.testing.assert_allclose(joints, expected, rtol=0, atol=ATOL)


def test_another_skeleton_is_converted():
    lifter, points = fake_lifter(SPEC), clip_px(8)
    joints, _, _ = played(lifter.stream(SIZE, 2, skeleton="coco"), points)
    converted = convert_keypoints(points, COCO_17, "h36m17")
    np.testing.assert_allclose(joints, defined(lifter, converted, 2), rtol=0, atol=1e-5)


def test_image_size_changes_from_the_push_on():
    lifter, points = fake_lifter(SPEC), clip_px(6)
    expected = np.concatenate(
        [normalize_screen(points[:2], SIZE), normalize_screen(points[2:], (960, 540))]
    )
    expected = live_answers(SPEC, lifter.engine.tensors, expected, 0)
    stream, parts = lifter.stream(SIZE), []
    for k, frame in enumerate(points):
        parts.append(stream.push(frame, image_size=(960, 540) if k == 2 else None).joints_m)
    assert stream.image_size == (960, 540)
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=ATOL)
    # What is held survives a change of resolution, since it is kept in parts of the image.
    stream = lifter.stream(SIZE)
    before = stream.push(points[0])
    stream.image_size = (640, 360)
    np.testing.assert_allclose(stream.push(None).joints_m, before.joints_m, atol=ATOL)


def test_timestamps_are_interpolated_onto_the_networks_grid():
    lifter, points = fake_lifter(SPEC), clip_px(40).astype(np.float64)
    rng = np.random.default_rng(1)
    times = 1.7e9 + np.cumsum(rng.uniform(0.004, 0.06, 40))
    stream, parts, counts = lifter.stream(SIZE, 3), [], []
    for at, frame in zip(times, points, strict=True):
        poses = stream.push(frame, timestamp_s=at)
        counts.append(0 if poses is None else poses.n_frames)
        parts += [poses] if poses else []
    parts.append(stream.flush())
    assert stream.origin_s is None  # as new after the flush
    grid = np.arange(np.floor((times[-1] - times[0]) * 50) + 1) / 50 + times[0]
    flat = points.reshape(40, -1)
    on_grid = np.stack([np.interp(grid, times, column) for column in flat.T], axis=-1)
    expected = defined(lifter, on_grid.reshape(-1, 17, 2), 3)
    joints = np.concatenate([poses.joints_m for poses in parts])
    np.testing.assert_allclose(joints, expected, rtol=0, atol=2e-4)  # 0.2 us at 1.7e9 s
    indices = np.concatenate([poses.frame_indices for poses in parts])
    assert indices.tolist() == list(range(len(grid)))
    assert {0, 1, 2} <= set(counts)


def test_a_camera_rate_is_interpolated_too():
    lifter, points = fake_lifter(SPEC), clip_px(13)
    stream = lifter.stream(SIZE, 0, fps=25)
    counts = [stream.push(frame).n_frames for frame in points]
    assert counts == [1] + [2] * 12
    same, _, pushes = played(lifter.stream(SIZE, 0, fps=50.0), points)
    assert pushes == list(range(13))
    np.testing.assert_allclose(same, defined(lifter, points, 0), rtol=0, atol=ATOL)


def test_people_come_and_go_on_the_grid_too():
    lifter, points = fake_lifter(SPEC), clip_px(60)
    stream, got = lifter.stream(SIZE, 2, fps=30), {}
    for k, frame in enumerate(points):
        people = {"always": frame}
        if k >= 7 and not 20 <= k < 55:  # away for longer than the fade
            people["sometimes"] = frame
        for track, poses in stream.push(people).items():
            got.setdefault(track, []).extend(poses.frame_indices.tolist())
    for track, poses in stream.flush().items():
        got[track] += poses.frame_indices.tolist()
    assert got["always"] == list(range(int(59 / 30 * 50) + 1))
    gone = int((19 / 30 + HOLD_S + FADE_S) * 50)
    first, back = int(np.ceil(7 / 30 * 50)), int(np.ceil(55 / 30 * 50))
    assert got["sometimes"] == [*range(first, gone + 1), *range(back, int(59 / 30 * 50) + 1)]


def test_reset_of_one_person_on_the_grid():
    lifter, points = fake_lifter(SPEC), clip_px(12)
    other = clip_px(12, seed=1)
    stream, alone = lifter.stream(SIZE, fps=30), lifter.stream(SIZE, fps=30)
    for k in range(12):
        if k == 6:
            stream.reset("a")
        got = stream.push({"a": other[k], "b": points[k]} if k < 6 else {"b": points[k]})
        expected = alone.push(points[k])
        assert expected is not None
        assert (k < 6) == ("a" in got)
        np.testing.assert_allclose(got["b"].joints_m, expected.joints_m, rtol=0, atol=ATOL)


def test_a_gap_in_time_begins_anew_but_owes_the_old_answers():
    lifter, points = fake_lifter(SPEC), clip_px(10)
    stream, parts = lifter.stream(SIZE, 3), []
    for k, frame in enumerate(points):
        at = k / 50 if k < 5 else k / 50 + 2 * MAX_GAP_S
        if poses := stream.push(frame, at):
            parts.append(poses)
    parts.append(stream.flush())
    indices = np.concatenate([poses.frame_indices for poses in parts])
    assert indices.tolist() == [0, 1, 2, 3, 4, 55, 56, 57, 58, 59]
    expected = [defined(lifter, part, 3) for part in (points[:5], points[5:])]
    joints = np.concatenate([poses.joints_m for poses in parts])
    np.testing.assert_allclose(joints, np.concatenate(expected), rtol=0, atol=1e-5)


GOOD = clip_px(1)[0]
BAD_FRAMES = {
    "joint count": (GOOD[:16], r"shape \(16, 2\); expected \(17, 2\).*pass skeleton="),
    "features": (GOOD[:, :1], r"shape \(17, 1\); expected \(17, 2\)"),
    "clip": (GOOD[None], r"shape \(1, 17, 2\).*track_id"),
    "complex": (GOOD.astype(complex), "complex64|complex128"),
    "object": (GOOD.astype(object), "object"),
    "string": (np.full((17, 2), "1"), "<U1"),
    "bool": (np.ones((17, 2), bool), "bool"),
    "ragged": ([[1, 2], [3]], "unequal"),
    "none inside": ([[None, 2]] * 17, "object"),
    "number": (3.0, r"shape \(\)"),
    "dict": ({1: GOOD}, "begun with one person"),
}


@pytest.mark.parametrize("kind", BAD_FRAMES)
def test_a_refused_push_leaves_the_stream_as_it_was(kind):
    bad, message = BAD_FRAMES[kind]
    lifter, points = fake_lifter(SPEC), clip_px(12)
    stream, parts = lifter.stream(SIZE, 2), []
    for frame in points:
        if poses := stream.push(frame):
            parts.append(poses.joints_m)
        with pytest.raises(ValueError, match=message):
            stream.push(bad)
        with pytest.raises(ValueError, match="image_size"):
            stream.push(frame, image_size=(0, 1080))
        with pytest.raises(ValueError, match="earlier frames had none"):
            stream.push(frame, timestamp_s=1.0)
    parts.append(stream.flush().joints_m)
    expected = defined(lifter, points, 2)
    np.testing.assert_allclose(np.concatenate(parts), expected, rtol=0, atol=ATOL)


def test_one_bad_person_refuses_the_whole_push():
    lifter, points = fake_lifter(SPEC), clip_px(8)
    stream, parts = lifter.stream(SIZE), []
    for frame in points:
        for bad in ({"a": frame, "b": frame[:5]}, {"a": frame, 2.5: frame}, {None: frame}, frame):
            if parts or bad is not frame:
                with pytest.raises(ValueError, match=r"person 'b'|track id|begun with a dict"):
                    stream.push(bad)
        parts.append(stream.push({"a": frame})["a"].joints_m)
    np.testing.assert_allclose(np.concatenate(parts), defined(lifter, points, 0), rtol=0, atol=ATOL)
    assert stream.track_ids == ("a",)


def test_bad_times_are_refused():
    lifter, points = fake_lifter(SPEC), clip_px(6)
    stream, parts = lifter.stream(SIZE), []
    for k, frame in enumerate(points):
        for bad in (float("nan"), float("inf"), "now", True, None, k / 50 - 0.02, k / 50 - 1):
            if k:
                with pytest.raises(ValueError, match="timestamp_s"):
                    stream.push(frame, timestamp_s=bad)
        parts.append(stream.push(frame, timestamp_s=k / 50).joints_m)
    np.testing.assert_allclose(np.concatenate(parts), defined(lifter, points, 0), rtol=0, atol=ATOL)
    with pytest.raises(ValueError, match="open it without fps"):
        lifter.stream(SIZE, fps=25).push(points[0], timestamp_s=0.0)


def test_what_a_stream_is_opened_with_is_checked():
    lifter = fake_lifter(SPEC, lags=(0, 2))
    with pytest.raises(ValueError, match=r"live streams for lag 0, 2, not for lag 1.*--lag 0 1 2"):
        lifter.stream(SIZE, 1)
    for lag in (-1, 5, 1.0, True, "0", None):
        with pytest.raises(ValueError, match="from 0 to 4"):
            lifter.stream(SIZE, lag)
    for options, message in (
        ({"fps": 0}, "fps"),
        ({"fps": "fast"}, "fps"),
        ({"hold_s": -1}, "hold_s"),
        ({"fade_s": np.nan}, "fade_s"),
        ({"skeleton": "octopus"}, "octopus"),
    ):
        with pytest.raises(ValueError, match=message):
            lifter.stream(SIZE, **options)
    for size in ((0, 5), (np.nan, 5), 5, (1, 2, 3), ("a", "b"), None):
        with pytest.raises(ValueError, match="image_size"):
            lifter.stream(size)
    with pytest.raises(ValueError, match="h36m17.*coco17"):
        fake_lifter(SPEC, skeleton_in=COCO_17).stream(SIZE, skeleton="h36m")


def test_a_closed_stream_says_so():
    with fake_lifter(SPEC).stream(SIZE) as stream:
        stream.push(GOOD)
        engine = stream._engine
    assert engine.closed
    stream.close()
    for call in (lambda: stream.push(GOOD), stream.flush, stream.reset, stream.prepare):
        with pytest.raises(RuntimeError, match="closed"):
            call()


def test_preparing_is_the_engines_business(monkeypatch):
    stream = fake_lifter(SPEC).stream(SIZE)
    stream.push(GOOD)
    stream.prepare()  # this engine cannot
    calls = []
    monkeypatch.setattr(stream._engine, "prepare", lambda: calls.append("prepare"), raising=False)
    stream.prepare()
    assert calls == ["prepare"]
    stream._lock.acquire()
    with pytest.raises(RuntimeError, match="another thread"):
        stream.prepare()
    stream._lock.release()


def test_reset_after_a_failing_engine():
    lifter, points = fake_lifter(SPEC), clip_px(9)
    stream = lifter.stream(SIZE, 1)
    stream.push(points[0])
    stream._engine.fails = True
    with pytest.raises(RuntimeError, match="out of order"):
        stream.push(points[1])
    stream._engine.fails = False
    stream.reset()
    joints, _, _ = played(stream, points)
    np.testing.assert_allclose(joints, defined(lifter, points, 1), rtol=0, atol=ATOL)


def test_a_second_thread_is_refused_while_the_first_is_inside():
    stream = fake_lifter(SPEC).stream(SIZE)
    stream.push(GOOD)
    inside, leave, step = threading.Event(), threading.Event(), stream._engine.step

    def slow_step(keypoints):
        inside.set()
        assert leave.wait(10)
        return step(keypoints)

    stream._engine.step = slow_step
    first = threading.Thread(target=stream.push, args=(GOOD,))
    first.start()
    assert inside.wait(10)
    with pytest.raises(RuntimeError, match="another thread"):
        stream.push(GOOD)
    with pytest.raises(RuntimeError, match="another thread"):
        stream.close()
    leave.set()
    first.join()
    assert stream.push(GOOD).frame_indices.tolist() == [2]


def test_a_stream_that_begins_with_normalised_keypoints_is_refused():
    lifter, normalised = fake_lifter(SPEC), GOOD / 2000
    stream, nothing = lifter.stream(SIZE), np.zeros((17, 2))
    assert stream.push(np.full((17, 2), np.nan)) is None
    # Zeros are how some detectors say that nobody was there.
    assert stream.push(nothing) is not None
    with pytest.raises(ValueError, match="so these are not pixels; multiply them by the image"):
        stream.push(normalised)
    assert stream.push(GOOD).frame_indices.tolist() == [2]
    # Once they are known to be pixels, a frame of somebody at the corner is no reason to stop.
    assert stream.push(normalised) is not None
    stream.reset()
    with pytest.raises(ValueError, match="not pixels"):
        stream.push(normalised)
    scored = np.concatenate([normalised, np.zeros((17, 1))], axis=1)
    assert stream.push(scored) is None
    people = lifter.stream(SIZE)
    with pytest.raises(ValueError, match="not pixels"):
        people.push({1: normalised, 2: nothing})
    assert set(people.push({1: normalised, 2: GOOD})) == {1, 2}
    assert lifter.stream((1, 0.5625)).push(normalised) is not None


def test_push_adds_little_to_its_engine():
    bundle = FakeBundle(SPEC)
    stream = Lifter(bundle, NullEngine(bundle)).stream(SIZE)
    best = np.inf
    for _ in range(30):
        begin = time.perf_counter()
        for _ in range(20):
            stream.push(GOOD)
        best = min(best, (time.perf_counter() - begin) / 20)
    # The aim is 0.1 ms; the best of many short runs hardly feels what else the machine does.
    assert best < 1e-4
