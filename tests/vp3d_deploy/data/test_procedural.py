"""Procedural clips: what callers rely on. How the people move is in test_procedural_motion.py."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from vp3d_deploy.camera import Camera
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.h36m_cameras import h36m_camera
from vp3d_deploy.data.procedural import ACTIONS, ProceduralError, make_clip, make_clips
from vp3d_deploy.data.procedural.detector import JITTER_PX
from vp3d_deploy.skeleton import H36M_17


def independent_projection(points: np.ndarray, camera: Camera) -> np.ndarray:
    """Human3.6M's projection written out for scalars, one point at a time, in float64."""
    pixels = []
    for x, y, z in points.reshape(-1, 3).tolist():
        u, v = x / z, y / z
        r2 = u * u + v * v
        k1, k2, k3 = camera.radial.tolist()
        p1, p2 = camera.tangential.tolist()
        gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + p1 * v + p2 * u
        fx, fy = camera.focal_px.tolist()
        cx, cy = camera.center_px.tolist()
        pixels.append((fx * (u * gain + p2 * r2) + cx, fy * (v * gain + p1 * r2) + cy))
    return np.array(pixels).reshape(*points.shape[:-1], 2)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("view", range(4))
def test_keypoints_are_the_projection_of_the_pose(action: str, view: int) -> None:
    clip = make_clip(action, 40, seed=2, camera=view, fps=5.0)
    assert clip.pose_m is not None
    assert clip.camera is not None
    assert clip.scores is None
    assert clip.keypoint_skeleton is H36M_17
    assert clip.pose_m.dtype == clip.keypoints_px.dtype == np.float32
    expected = independent_projection(clip.pose_m.astype(np.float64), clip.camera)
    np.testing.assert_allclose(clip.keypoints_px, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("action", ACTIONS)
def test_person_is_fully_in_view_of_every_camera(action: str) -> None:
    for seed in range(6):
        for view in range(4):
            clip = make_clip(action, 150, seed=seed, camera=view, fps=5.0)
            assert clip.keypoints_px.min() > 5
            assert (clip.keypoints_px < np.array(clip.image_size) - 5).all()
            height_px = np.ptp(clip.keypoints_px[..., 1], axis=1)
            assert 130 < np.median(height_px) < 700


# The sum of pose_m, joint j of frame t weighted by cos(j + t), of 50 frames at 10 frames per
# second; made by the code of this repository when the tests were written. A change means that
# clips differ from those of earlier versions.
GOLDEN = {
    "walking": -1.73435,
    "reaching": -3.11348,
    "turning": -3.25538,
    "sitting": -1.06773,
    "standing": -1.77805,
    "waving": -1.52065,
    "crouching": -1.57741,
}


@pytest.mark.parametrize("action", ACTIONS)
def test_clips_are_the_same_everywhere(action: str) -> None:
    pose = make_clip(action, 50, seed=7, camera=1, fps=10.0).pose_m
    assert pose is not None
    weights = np.cos(np.arange(17) + np.arange(50)[:, None])
    # float32 metres of about 5, 850 joints: sums agree to far better than this.
    assert (pose * weights[..., None]).sum() == pytest.approx(GOLDEN[action], rel=0, abs=2e-4)


def test_other_process_makes_the_same_clip() -> None:
    code = (
        "import sys; from vp3d_deploy.data.procedural import make_clip;"
        "c = make_clip('sitting', 30, seed=5, detector=True);"
        "sys.stdout.buffer.write(c.pose_m.tobytes() + c.keypoints_px.tobytes()"
        " + c.scores.tobytes())"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    clip = make_clip("sitting", 30, seed=5, detector=True)
    assert clip.pose_m is not None
    assert clip.scores is not None
    assert output == clip.pose_m.tobytes() + clip.keypoints_px.tobytes() + clip.scores.tobytes()


@pytest.mark.parametrize("detector", [False, True])
@pytest.mark.parametrize("action", ACTIONS)
def test_longer_clip_begins_with_the_shorter(action: str, detector: bool) -> None:
    # 9000 frames cross the border between two chunks.
    long = make_clip(action, 9000, seed=4, detector=detector)
    for n_frames in (1, 2, 333):
        short = make_clip(action, n_frames, seed=4, detector=detector)
        assert long.pose_m is not None
        assert short.pose_m is not None
        assert short.n_frames == n_frames
        np.testing.assert_allclose(short.pose_m, long.pose_m[:n_frames], rtol=0, atol=1e-6)
        np.testing.assert_allclose(
            short.keypoints_px, long.keypoints_px[:n_frames], rtol=0, atol=1e-3
        )


@pytest.mark.parametrize("action", ACTIONS)
def test_half_the_frame_rate_is_every_second_frame(action: str) -> None:
    fast, slow = make_clip(action, 400, seed=3, fps=50), make_clip(action, 200, seed=3, fps=25)
    assert fast.pose_m is not None
    assert slow.pose_m is not None
    assert slow.fps == 25.0
    np.testing.assert_allclose(slow.pose_m, fast.pose_m[::2], rtol=0, atol=1e-6)


def test_motion_does_not_depend_on_the_camera() -> None:
    first, second = (make_clip("reaching", 50, seed=1, camera=view) for view in (0, 3))
    worlds = []
    for clip in (first, second):
        assert clip.camera is not None
        assert clip.pose_m is not None
        worlds.append(clip.pose_m @ clip.camera.rotation + clip.camera.position_m)
    np.testing.assert_allclose(worlds[0], worlds[1], rtol=0, atol=1e-5)
    assert np.abs(first.pose_m - second.pose_m).max() > 0.5


def test_seeds_and_actions_differ() -> None:
    clips = [make_clip(action, 20, seed=seed) for action in ACTIONS for seed in (0, 1)]
    starts = {clip.keypoints_px.tobytes() for clip in clips}
    assert len(starts) == len({clip.name for clip in clips}) == len(clips)


def test_make_clips_takes_turns() -> None:
    clips = make_clips(4 * len(ACTIONS), 3, seed=1)
    assert [clip.action for clip in clips] == list(ACTIONS) * 4
    seen = {(clip.action, clip.camera.name) for clip in clips if clip.camera}
    assert len(seen) == len(clips)
    assert len({clip.subject for clip in clips}) == len(clips)
    again = make_clips(3, 3, seed=1)
    for ours, theirs in zip(clips, again, strict=False):
        np.testing.assert_array_equal(ours.keypoints_px, theirs.keypoints_px)
    assert {c.subject for c in make_clips(3, 3, seed=2)}.isdisjoint(c.subject for c in clips)
    assert make_clips(0, 3) == []


def test_long_clip_is_quick() -> None:
    """10,000 frames take 0.1 to 0.2 s; the limit leaves room for a busy machine."""
    code = (
        "import time; from vp3d_deploy.data.procedural import make_clip; make_clip();"
        "start = time.process_time(); make_clip('walking', 10_000); "
        "print(time.process_time() - start)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    assert float(output) < 1.0


def test_custom_camera() -> None:
    known = h36m_camera("S8", 2)
    camera = Camera(
        name="mine",
        width=640,
        height=640,
        focal_px=known.focal_px * 0.64,
        center_px=known.center_px * 0.64,
        rotation=known.rotation,
        position_m=known.position_m,
    )
    clip = make_clip("walking", 20, seed=1, camera=camera)
    reference = make_clip("walking", 20, seed=1, camera=2)
    assert clip.camera is camera
    assert clip.image_size == (640, 640)
    np.testing.assert_array_equal(clip.pose_m, reference.pose_m)
    # The same view, smaller and without distortion, which is a few pixels at most here.
    np.testing.assert_allclose(clip.keypoints_px, reference.keypoints_px * 0.64, atol=8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"action": "flying"}, "unknown action 'flying'; the actions are walking, reaching"),
        ({"action": 3}, "unknown action 3"),
        ({"action": ["walking"]}, "unknown action"),
        ({"n_frames": 0}, "n_frames is 0, expected a whole number from 1 to"),
        ({"n_frames": 10**12}, "n_frames is 1000000000000, expected"),
        ({"n_frames": 2.5}, "n_frames is 2.5"),
        ({"n_frames": True}, "n_frames is True"),
        ({"seed": -1}, "seed is -1, expected a whole number from 0"),
        ({"seed": "x"}, "seed is 'x'"),
        ({"camera": 4}, "camera is 4, expected a whole number from 0 to 3 or a Camera"),
        ({"camera": "54138969"}, "camera is '54138969'"),
        ({"fps": 0}, "fps is 0, expected a number from 1 to 1000"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"fps": "fast"}, "fps is 'fast'"),
        ({"n_frames": 500_000, "fps": 1}, "last 138.9 hours, expected at most 24"),
        ({"camera": Camera("inside", 9, 9, (9, 9), (4, 4), position_m=(0.9, 1, 1))}, "behind it"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ProceduralError) as error:
        make_clip(**arguments)  # type: ignore[arg-type]
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_bad_number_of_clips_is_refused() -> None:
    with pytest.raises(ProceduralError, match="n_clips is -1, expected a whole number from 0"):
        make_clips(-1, 10)


@pytest.fixture(scope="module")
def seen_by_detector() -> tuple[Clip, Clip]:
    return make_clip("walking", 60_000, seed=9), make_clip("walking", 60_000, seed=9, detector=True)


class TestDetector:
    """Rates and sizes measured on 20 minutes; bounds are several standard errors wide."""

    def test_truth_is_untouched(self, seen_by_detector: tuple[Clip, Clip]) -> None:
        exact, found = seen_by_detector
        np.testing.assert_array_equal(exact.pose_m, found.pose_m)
        assert np.isfinite(found.keypoints_px).all()

    def test_jitter(self, seen_by_detector: tuple[Clip, Clip]) -> None:
        exact, found = seen_by_detector
        error = found.keypoints_px - exact.keypoints_px
        size = np.abs(error).max(axis=2)
        # A robust standard deviation: misses and swaps are few.
        sigma = 1.4826 * np.median(np.abs(error), axis=(0, 2))
        expected = [JITTER_PX[name.split("_")[-1]] for name in H36M_17.joints]
        np.testing.assert_allclose(sigma, expected, rtol=0.06)
        assert min(expected) >= 3
        assert max(expected) <= 8
        calm = np.where(size > 40, 0, error.max(axis=2))
        calm -= calm.mean(axis=0)
        power = (calm**2).mean()
        nearby, later = ((calm[n:] * calm[:-n]).mean() / power for n in (1, 25))
        assert nearby > 0.65
        assert abs(later) < 0.1

    def test_misses_have_low_scores(self, seen_by_detector: tuple[Clip, Clip]) -> None:
        exact, found = seen_by_detector
        assert found.scores is not None
        scores = found.scores
        assert scores.min() == 0
        assert scores.max() <= 1
        missed = scores <= 0.3
        assert 0.003 < missed.mean() < 0.005
        assert 0.4 < (scores[missed] == 0).mean() < 0.6
        distance = np.linalg.norm(found.keypoints_px - exact.keypoints_px, axis=2)
        assert np.median(distance[missed]) > 50
        assert np.median(distance[~missed]) < 10
        assert np.median(scores) > 0.85

    def test_swaps(self, seen_by_detector: tuple[Clip, Clip]) -> None:
        exact, found = seen_by_detector
        flipped = exact.keypoints_px[:, list(H36M_17.flip_order)]
        for chain in ((2, 3, 5, 6), (12, 13, 15, 16)):
            apart = np.linalg.norm(exact.keypoints_px - flipped, axis=2)[:, chain].min(axis=1) > 50
            straight, crossed = (
                np.linalg.norm(found.keypoints_px - other, axis=2)[:, chain].mean(axis=1)
                for other in (exact.keypoints_px, flipped)
            )
            rate = (crossed < straight)[apart].mean()
            assert 0.0005 < rate < 0.003
