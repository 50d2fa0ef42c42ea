"""What 2D keypoints may look like when they come in: one frame, one clip, or a clip of many people.

Shapes and types are judged here, before anything is computed, and whether the values are pixels at
all. What they mean otherwise, NaN included, is the business of observe.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from vp3d_deploy.camera import checked_size
from vp3d_deploy.skeleton import SKELETONS, Skeleton

# Slower input says nothing of how people move between frames, and faster input than any camera's
# is a wrong unit.
MIN_FPS = 2.0
MAX_FPS = 1000.0
# Keypoints that were divided by the image size lie in 0..1 or -1..1, a little beyond for joints
# outside the image; of a person in pixels, no more than a joint or two can be this near the corner.
MAX_NORMALIZED = 2.0
_ENOUGH_JOINTS = 3
# In an image of so few pixels they do all lie there: who names such a size means other units.
_TINY_IMAGE_PX = 4


class KeypointsError(ValueError):
    """Keypoints, or what describes them, of a shape or type that cannot be lifted."""


def check_frame(keypoints: Any, skeleton: Skeleton) -> np.ndarray:
    """One person in one frame: (J, 2) pixels or (J, 3) pixels and score, real numbers.

    Returns the same array, or what a list converts to. Raises KeypointsError otherwise.
    """
    array = _real_numbers(keypoints, "keypoints")
    shape = array.shape
    if len(shape) != 2 or shape[0] != skeleton.n_joints or shape[1] not in (2, 3):
        hint = "; people are pushed as {track_id: keypoints}" if len(shape) == 3 else ""
        raise KeypointsError(
            f"keypoints of one frame have shape {shape}; expected ({skeleton.n_joints}, 2), or "
            f"({skeleton.n_joints}, 3) with scores, for the skeleton {skeleton.name!r}"
            + (_other_skeletons(shape[0], skeleton) if len(shape) == 2 else hint)
        )
    return array


def check_clip(
    keypoints: Any,
    scores: Any,
    skeleton: Skeleton,
    image_size: tuple[float, float] | None = None,
) -> tuple[np.ndarray, np.ndarray | None]:
    """A clip of one person, (T, J, 2|3), or of N people, (N, T, J, 2|3), real numbers.

    scores: (T, J) or (N, T, J) for keypoints without a third column, or None.
    image_size: (width, height) in pixels, for `check_pixels`; None for an ordinary image's.
    Of masked arrays, what is masked counts as not seen: NaN, or a score of 0.
    Returns points (N, T, J, 2) and scores (N, T, J) or None, with N = 1 for one person; views.
    Raises KeypointsError for other shapes and types, for a clip without frames, for scores given
    twice, and for keypoints that are not pixels.
    """
    array = _real_numbers(keypoints, "keypoints")
    shape, n_joints = array.shape, skeleton.n_joints
    if len(shape) not in (3, 4) or shape[-2] != n_joints or shape[-1] not in (2, 3):
        hint = "; a single frame is keypoints[None]" if len(shape) == 2 else ""
        raise KeypointsError(
            f"keypoints have shape {shape}; expected (T, {n_joints}, 2) or (N, T, {n_joints}, 2), "
            f"the last 3 with scores, for the skeleton {skeleton.name!r}"
            + (_other_skeletons(shape[-2], skeleton) if len(shape) in (3, 4) else hint)
        )
    if shape[-3] == 0:
        raise KeypointsError(f"keypoints have shape {shape}: no frames; a clip has at least one")
    if scores is None:
        scores = array[..., 2] if shape[-1] == 3 else None
    elif shape[-1] == 3:
        raise KeypointsError(
            f"keypoints of shape {shape} bring scores in their third column, and scores= was "
            "given too; give one of them"
        )
    else:
        scores = _real_numbers(scores, "scores", masked=0.0)
        if scores.shape != shape[:-1]:
            raise KeypointsError(f"scores have shape {scores.shape}; expected {shape[:-1]}")
    people = (-1, *shape[-3:-1]) if shape[0] else (0, *shape[-3:-1])
    points = array[..., :2].reshape(*people, 2)
    scores = None if scores is None else scores.reshape(people)
    check_pixels(points, scores, image_size)
    return points, scores


def check_pixels(
    points: np.ndarray, scores: np.ndarray | None, image_size: tuple[float, float] | None = None
) -> bool:
    """Whether these are pixels; False where too little is seen to tell.

    points: (..., J, 2). scores: (..., J) or None. image_size: (width, height) in pixels.
    Whole numbers do not tell: 0 and -1 are what detectors write for what they did not see.
    Raises KeypointsError for keypoints that were divided by the image size.
    """
    if image_size is not None and max(checked_size(image_size)) <= _TINY_IMAGE_PX:
        return True
    # One pass is all that keypoints in pixels cost.
    if ((points > MAX_NORMALIZED) & (points < np.inf)).any():
        return True
    seen = np.isfinite(points).all(-1)
    if scores is not None:
        seen &= scores > 0
    shown = points[seen]
    largest = float(np.abs(shown).max(initial=0))
    if largest > MAX_NORMALIZED:
        return True
    if len(shown) < _ENOUGH_JOINTS or (shown == np.rint(shown)).all():
        return False
    raise KeypointsError(not_pixels(largest))


def not_pixels(largest: float) -> str:
    """What is said of keypoints whose largest coordinate is this."""
    return (
        f"the largest coordinate is {largest:.3g}, so these are not pixels; multiply them by the "
        "image size first"
    )


def check_fps(fps: Any) -> float:
    """Frames per second as a float. Raises KeypointsError outside MIN_FPS .. MAX_FPS."""
    value = _real_number(fps)
    if not MIN_FPS <= value <= MAX_FPS:
        raise KeypointsError(
            f"fps is {fps!r}; expected a frame rate from {MIN_FPS:g} to {MAX_FPS:g} per second"
        )
    return value


def check_duration(name: str, seconds: Any) -> float:
    """Seconds, zero or more, as a float. Raises KeypointsError naming the argument."""
    value = _real_number(seconds)
    if not 0 <= value < math.inf:
        raise KeypointsError(f"{name} is {seconds!r}; expected seconds, zero or more")
    return value


def check_time(timestamp_s: Any) -> float:
    """A point in time in seconds as a float. Raises KeypointsError if it is not finite."""
    value = _real_number(timestamp_s)
    if not math.isfinite(value):
        raise KeypointsError(f"timestamp_s is {timestamp_s!r}; expected a finite time in seconds")
    return value


def _real_number(value: Any) -> float:
    """The value as a float, NaN if it is not a real number (strings and booleans are not)."""
    if isinstance(value, (str, bytes, bool)):
        return math.nan
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def _real_numbers(values: Any, what: str, masked: float = math.nan) -> np.ndarray:
    """An array of floats or integers; anything else is refused by its type.

    masked: what takes the place of masked values.
    """
    try:
        array = values if type(values) is np.ndarray else _unmasked(values, masked)
    except ValueError:  # lists of unequal lengths
        raise KeypointsError(f"{what} are lists of unequal lengths; expected an array") from None
    if array.dtype.kind not in "fiu":
        raise KeypointsError(
            f"{what} are of type {array.dtype}; expected floats or integers, with NaN for what "
            "was not seen"
        )
    return array


def _unmasked(values: Any, masked: float) -> np.ndarray:
    """The values as a plain array; those of masked arrays, or of lists of them, filled."""
    if isinstance(values, (list, tuple)) and any(isinstance(v, np.ma.MaskedArray) for v in values):
        values = np.ma.array(values)
    if isinstance(values, np.ma.MaskedArray) and values.dtype.kind in "fiu":
        # Integers hold no NaN; a float32 stays one.
        wide = values.astype(np.result_type(values.dtype, np.float32))
        return np.ma.filled(wide, masked)
    return np.asarray(values)


def _other_skeletons(n_joints: int, expected: Skeleton) -> str:
    """What to do about keypoints with another number of joints."""
    if n_joints == expected.n_joints:
        return ""
    names = [name for name, skeleton in SKELETONS.items() if skeleton.n_joints == n_joints]
    known = " or ".join(repr(name) for name in names) if names else f"one of {', '.join(SKELETONS)}"
    return f"; if these {n_joints} joints follow another skeleton, pass skeleton={known}"
