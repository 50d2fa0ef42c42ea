"""Clips of people who do not exist: an action, a seed and a camera make one."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable

import numpy as np

from vp3d_deploy.camera import Camera, project, world_to_camera
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.h36m_cameras import camera_ids, h36m_camera
from vp3d_deploy.data.procedural.body import Person, sample_person
from vp3d_deploy.data.procedural.detector import detect
from vp3d_deploy.data.procedural.kinematics import Posture, joints_from_posture
from vp3d_deploy.data.procedural.lowering import Crouching, Sitting
from vp3d_deploy.data.procedural.standing import Reaching, Standing, Waving
from vp3d_deploy.data.procedural.timing import Draws, FloatArray
from vp3d_deploy.data.procedural.walking import Turning, Walking

# The floor in view of all four cameras as they stood for this subject has its middle here.
CAMERA_SUBJECT = "S8"
CAPTURE_CENTER_M = (0.9, 1.0)
# How far from it people stand who stay where they are.
STANDING_RADIUS_M = 0.45

MAX_FRAMES = 1_000_000
MAX_DURATION_S = 24 * 3600.0
FPS_RANGE = (1.0, 1000.0)

# Frames computed at a time, so that long clips need little more memory than their result.
_CHUNK = 8192

Motion = Callable[[FloatArray], Posture]
_MOTIONS: dict[str, Callable[[Person, Draws, float], Motion]] = {
    "walking": Walking,
    "reaching": Reaching,
    "turning": Turning,
    "sitting": Sitting,
    "standing": Standing,
    "waving": Waving,
    "crouching": Crouching,
}
ACTIONS: tuple[str, ...] = tuple(_MOTIONS)
"""The actions of `make_clip`."""


class ProceduralError(ValueError):
    """A clip that cannot be made as asked for."""


def make_clip(
    action: str = "walking",
    n_frames: int = 250,
    seed: int = 0,
    camera: int | Camera = 0,
    fps: float = 50.0,
    detector: bool = False,
) -> Clip:
    """A person in motion, seen by a camera of Human3.6M.

    action: one of ACTIONS. seed: 0 or more; decides on the body, the motion and the place, and
    on nothing else does the motion in the world depend: the same seed gives the same motion for
    every camera, the first frames of a longer clip are the shorter one, and a clip of 25 frames
    per second is every second frame of the one of 50. camera: 0 .. 3 in the order of Human3.6M's
    views, or a `Camera`; people keep within 1.6 m of (0.9, 1.0) m in the world, fully in view of
    the four. detector: add a keypoint detector's faults and scores; see `detector.py`.

    Returns a Clip: `pose_m` (T, 17, 3) float32 metres, camera frame, not relative to the root,
    bones of constant length; `keypoints_px` (T, 17, 2) float32 pixels, the projection of `pose_m`
    with lens distortion; `scores` (T, 17) float32 with `detector`, else None.

    Raises ProceduralError for an unknown action or camera, for frame counts, seeds and frame
    rates out of range, and for a `Camera` that has part of the person behind it.
    """
    n_frames, seed, fps = _checked_numbers(n_frames, seed, fps)
    viewpoint = _camera(camera)
    world_m = _world_motion(action, n_frames, fps, seed)
    pose_m = world_to_camera(world_m, viewpoint).astype(np.float32)
    keypoints_px = project(pose_m.astype(np.float64), viewpoint)
    if not np.isfinite(keypoints_px).all():
        raise ProceduralError(
            f"camera {viewpoint.name!r} has part of the person behind it; place it at least "
            f"2 m from {CAPTURE_CENTER_M} m in the world, looking there"
        )
    scores = None
    if detector:
        keypoints_px, scores = detect(
            keypoints_px, viewpoint.width, fps, Draws(seed, f"{action} seen")
        )
    return Clip(
        name=f"P{seed}/{action}.{viewpoint.name}",
        subject=f"P{seed}",
        action=action,
        camera=viewpoint,
        image_size=viewpoint.image_size,
        fps=fps,
        keypoints_px=keypoints_px.astype(np.float32),
        scores=None if scores is None else scores.astype(np.float32),
        pose_m=pose_m,
    )


def make_clips(
    n_clips: int, n_frames: int, seed: int = 0, detector: bool = False, fps: float = 50.0
) -> list[Clip]:
    """`n_clips` clips of `n_frames` frames: all actions in turn, each by another person.

    The cameras take turns as well. Other arguments and errors are those of `make_clip`.
    """
    count = _whole_number("n_clips", n_clips, 0, MAX_FRAMES)
    n_frames, seed, fps = _checked_numbers(n_frames, seed, fps)
    cameras = len(camera_ids())
    clips = []
    for i in range(count):
        # Neighbouring seeds must not share people.
        words = np.random.SeedSequence((seed, i)).generate_state(1, np.uint32)
        # One view further in each round of the actions: every action is seen by every camera.
        turn, kind = divmod(i, len(ACTIONS))
        view = (turn + kind) % cameras
        clips.append(make_clip(ACTIONS[kind], n_frames, int(words[0]), view, fps, detector))
    return clips


def _world_motion(action: str, n_frames: int, fps: float, seed: int) -> FloatArray:
    """(T, 17, 3) float64 world metres."""
    if not isinstance(action, str) or action not in _MOTIONS:
        raise ProceduralError(f"unknown action {action!r}; the actions are {', '.join(ACTIONS)}")
    # One seed is one person, whatever they do.
    person = sample_person(Draws(seed, "body"))
    draws = Draws(seed, action)
    motion = _MOTIONS[action](person, draws, (n_frames - 1) / fps)
    joints = np.empty((n_frames, 17, 3))
    for start in range(0, n_frames, _CHUNK):
        frames = np.arange(start, min(start + _CHUNK, n_frames))
        joints[frames] = joints_from_posture(motion(frames / fps), person)
    _place(joints, action, draws)
    return joints


def _place(joints: FloatArray, action: str, draws: Draws) -> None:
    """Move a motion about the origin into the capture volume, in place.

    Walkers use all of it and keep their direction: it is longer along y. Others stand somewhere
    near its middle and face anywhere.
    """
    if action != "walking":
        heading = draws.one("heading", 0.0, 2 * np.pi)
        turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])
        radius = STANDING_RADIUS_M * math.sqrt(draws.one("place radius", 0.0, 1.0))
        angle = draws.one("place angle", 0.0, 2 * np.pi)
        joints[..., :2] = joints[..., :2] @ turn
        joints[..., :2] += radius * np.array([np.cos(angle), np.sin(angle)])
    joints[..., :2] += CAPTURE_CENTER_M


def _camera(camera: int | Camera) -> Camera:
    if isinstance(camera, Camera):
        return camera
    return h36m_camera(
        CAMERA_SUBJECT, _whole_number("camera", camera, 0, len(camera_ids()) - 1, " or a Camera")
    )


def _checked_numbers(n_frames: int, seed: int, fps: float) -> tuple[int, int, float]:
    n_frames = _whole_number("n_frames", n_frames, 1, MAX_FRAMES)
    seed = _whole_number("seed", seed, 0, 2**64 - 1)
    try:
        rate = float(fps)
    except (TypeError, ValueError):
        rate = math.nan
    if not FPS_RANGE[0] <= rate <= FPS_RANGE[1]:
        raise ProceduralError(
            f"fps is {fps!r}, expected a number from {FPS_RANGE[0]:g} to {FPS_RANGE[1]:g}"
        )
    if n_frames / rate > MAX_DURATION_S:
        raise ProceduralError(
            f"{n_frames} frames at {rate:g} per second last {n_frames / rate / 3600:.1f} hours, "
            f"expected at most {MAX_DURATION_S / 3600:g}; make several clips with other seeds"
        )
    return n_frames, seed, rate


def _whole_number(name: str, value: int, low: int, high: int, alternative: str = "") -> int:
    try:
        number = operator.index(value)
    except TypeError:
        number = low - 1
    if isinstance(value, bool) or not low <= number <= high:
        raise ProceduralError(
            f"{name} is {value!r}, expected a whole number from {low} to {high}{alternative}"
        )
    return number
