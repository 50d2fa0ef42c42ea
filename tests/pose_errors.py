"""The four errors of Human3.6M results by loops and scipy, sharing nothing with the product."""

from __future__ import annotations

import math

import numpy as np
from scipy.spatial.transform import Rotation


def independent_mm(prediction: np.ndarray, target: np.ndarray) -> list[float]:
    """The four metrics of one clip (T, J, 3) from loops and scipy, MPJPE, P-MPJPE, N-MPJPE
    and MPJVE in millimetres; poses in metres."""
    scaled = []
    for ours, theirs in zip(prediction, target, strict=True):
        energy = math.fsum(float(a) ** 2 for a in ours.flat)
        dot = math.fsum(float(a * b) for a, b in zip(ours.flat, theirs.flat, strict=True))
        scaled.append(ours * (dot / energy if energy else 1.0))
    moved = [
        loop_mpjpe_mm(prediction[t] - prediction[t - 1], target[t] - target[t - 1])
        for t in range(1, len(target))
    ]
    return [
        loop_mpjpe_mm(prediction, target),
        kabsch_p_mpjpe_mm(prediction, target),
        loop_mpjpe_mm(np.array(scaled), target),
        math.fsum(moved) / len(moved) if moved else 0.0,
    ]


def loop_mpjpe_mm(prediction: np.ndarray, target: np.ndarray) -> float:
    distances = []
    for ours, theirs in zip(prediction.reshape(-1, 3), target.reshape(-1, 3), strict=True):
        distances.append(math.dist(ours.tolist(), theirs.tolist()))
    return 1000 * math.fsum(distances) / len(distances)


def kabsch_p_mpjpe_mm(prediction: np.ndarray, target: np.ndarray) -> float:
    """scipy finds the rotation (by quaternions or SVD of its own), the scale is a projection."""
    total = []
    for ours, theirs in zip(prediction, target, strict=True):
        ours, theirs = ours - ours.mean(0), theirs - theirs.mean(0)
        energy = (ours**2).sum()
        if not energy:  # a point can only be moved
            total.append(loop_mpjpe_mm(ours, theirs))
            continue
        rotation, _ = Rotation.align_vectors(theirs, ours)
        turned = rotation.apply(ours)
        scale = (turned * theirs).sum() / energy
        total.append(loop_mpjpe_mm(scale * turned, theirs))
    return math.fsum(total) / len(total)


def protocol_of_the_paper(
    clips: list[tuple[str, np.ndarray, np.ndarray]],
) -> tuple[dict[str, list[float]], list[float], list[float]]:
    """How the two projects average: clips are (action with its take, prediction, target), camera
    space metres, the target not relative to its root.

    Returns the four errors of each action without its take, their plain mean over actions, and
    the mean over all frames.
    """
    sums: dict[str, list[float]] = {}
    counts: dict[str, int] = {}
    for action, prediction, target in clips:
        name = action.split(" ")[0]
        relative = target - target[:, :1]
        errors = independent_mm(prediction.astype(np.float64), relative.astype(np.float64))
        before = sums.get(name, [0.0] * 4)
        sums[name] = [a + len(target) * b for a, b in zip(before, errors, strict=True)]
        counts[name] = counts.get(name, 0) + len(target)
    per_action = {name: [a / counts[name] for a in sums[name]] for name in sums}
    over_actions = [
        math.fsum(column) / len(sums) for column in zip(*per_action.values(), strict=True)
    ]
    n_frames = sum(counts.values())
    over_frames = [math.fsum(column) / n_frames for column in zip(*sums.values(), strict=True)]
    return per_action, over_actions, over_frames
