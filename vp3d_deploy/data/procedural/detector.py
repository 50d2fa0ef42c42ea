"""The faults of a 2D keypoint detector, added to exact keypoints.

Sizes follow what fine-tuned detectors do on Human3.6M: errors of 3 to 8 pixels in an image 1000
pixels wide that last for about a tenth of a second, a joint placed elsewhere in 0.4 % of the
frames, limbs taken for those of the other side in 0.2 %.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from vp3d_deploy.data.procedural.timing import Draws, FloatArray
from vp3d_deploy.skeleton import H36M_17

# Standard deviation per axis by joint, pixels in an image 1000 pixels wide.
JITTER_PX = {
    "pelvis": 3.0,
    "hip": 4.0,
    "knee": 5.0,
    "ankle": 7.0,
    "spine": 4.0,
    "thorax": 3.5,
    "neck": 3.5,
    "head": 4.0,
    "shoulder": 4.0,
    "elbow": 5.5,
    "wrist": 8.0,
}
# (seconds between knots, share of the variance) of the jitter; the rest is new in every frame.
_JITTER_SCALES = ((0.22, 0.42), (0.08, 0.46))
MISS_RATE = 0.004
SWAP_RATE = 0.002
_MISS_FRAMES, _SWAP_FRAMES = 4, 3
_MISS_DISTANCE_PX = (55.0, 110.0)
_LEGS = ("hip", "knee", "ankle")


def detect(
    keypoints_px: FloatArray, image_width: float, fps: float, draws: Draws
) -> tuple[FloatArray, FloatArray]:
    """What a detector would report of exact keypoints.

    keypoints_px: (T, 17, 2) pixels, Human3.6M order. Returns keypoints (T, 17, 2) in pixels, all
    finite, and scores (T, 17) in 0 .. 1: about 0.9 as a rule, lower the larger the error, 0 to
    0.3 for a missed joint.
    """
    scale = image_width / 1000.0
    sigma = np.array([JITTER_PX[name.split("_")[-1]] for name in H36M_17.joints])
    noise = _jitter(len(keypoints_px), fps, draws)
    found = keypoints_px + scale * sigma[:, None] * noise
    calm = np.exp(-0.03 * (noise**2).sum(axis=-1))
    scores = calm * draws("score", 0.88, 1.0, noise.shape[:2])
    _swap_sides(found, scores, draws)
    _miss_joints(found, scores, scale, draws)
    return found, scores


def _jitter(n_frames: int, fps: float, draws: Draws) -> FloatArray:
    """(T, 17, 2) noise of unit variance that fades into new noise as time passes."""
    time_s = np.arange(n_frames) / fps
    fresh = 1.0 - sum(share for _, share in _JITTER_SCALES)
    noise = np.sqrt(fresh) * _normal(draws, "jitter fresh", n_frames)
    for spacing_s, share in _JITTER_SCALES:
        knot, part = np.divmod(time_s / spacing_s, 1.0)
        index = knot.astype(np.intp)
        knots = _normal(draws, f"jitter {spacing_s}", int(index[-1]) + 2)
        part = part[:, None, None]
        blend = (1.0 - part) * knots[index] + part * knots[index + 1]
        # Between two knots their mean would be too quiet.
        noise += np.sqrt(share) * blend / np.hypot(1.0 - part, part)
    return noise


def _normal(draws: Draws, label: str, rows: int) -> FloatArray:
    """(rows, 17, 2) standard normal numbers by the method of Box and Muller."""
    uniform = draws(label, 0.0, 1.0, (rows, H36M_17.n_joints, 2))
    radius = np.sqrt(-2.0 * np.log1p(-uniform[..., 0]))
    angle = 2.0 * np.pi * uniform[..., 1]
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)


def _spells(chance: FloatArray, lasting: FloatArray, rate: float, longest: int) -> NDArray[np.intp]:
    """For each frame the frame in which the spell it lies in began, -1 outside of spells.

    chance, lasting: (T, ...) uniform 0 .. 1. Spells last 1 .. longest frames and together cover
    `rate` of all.
    """
    frames = np.arange(len(chance)).reshape(-1, *(1,) * (chance.ndim - 1))
    begins = chance < rate / ((longest + 1) / 2)
    ends = frames + 1 + (lasting * longest).astype(np.intp)
    started = np.full(chance.shape, -1, dtype=np.intp)
    for age in range(min(longest, len(chance))):
        then = slice(0, len(chance) - age)
        alive = begins[then] & (ends[then] > frames[age:])
        started[age:][alive] = np.broadcast_to(frames[then], alive.shape)[alive]
    return started


def _miss_joints(found: FloatArray, scores: FloatArray, scale: float, draws: Draws) -> None:
    """Put single joints elsewhere for a few frames, with a score of 0 or little more."""
    shape = (*scores.shape, 5)
    chance, lasting, angle, distance, score = np.moveaxis(draws("miss", 0.0, 1.0, shape), -1, 0)
    started = _spells(chance, lasting, MISS_RATE, _MISS_FRAMES)
    frame, joint = np.nonzero(started >= 0)
    source = started[frame, joint], joint
    near, far = _MISS_DISTANCE_PX
    radius = scale * (near + (far - near) * distance[source])
    turn = 2.0 * np.pi * angle[source]
    found[frame, joint] += radius[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=-1)
    # Half of them are reported as not found at all.
    scores[frame, joint] = np.maximum(0.0, 0.6 * score[source] - 0.3)


def _swap_sides(found: FloatArray, scores: FloatArray, draws: Draws) -> None:
    """Take the legs, the arms or both for those of the other side, for a few frames."""
    chance, lasting, part = np.moveaxis(draws("swap", 0.0, 1.0, (len(found), 3)), -1, 0)
    started = _spells(chance, lasting, SWAP_RATE, _SWAP_FRAMES)
    frames = np.nonzero(started >= 0)[0]
    part = part[started[frames]]
    legs, arms = frames[part < 0.7], frames[part > 0.3]
    for left, right in zip(H36M_17.left, H36M_17.right, strict=True):
        is_leg = H36M_17.joints[left].split("_")[-1] in _LEGS
        swapped = (legs if is_leg else arms)[:, None]
        there, back = [left, right], [right, left]
        found[swapped, there] = found[swapped, back]
        scores[swapped, there] = 0.7 * scores[swapped, back]
