"""The four errors by which Human3.6M results are reported, in millimetres.

Poses come in metres, (..., J, 3), prediction and target of the same shape; everything is computed
in float64. Each `*_mm` function returns one float, the mean over all frames and joints; those
named `*_per_frame_mm` return the mean over joints of each frame, (...), for averages per action,
and `mpjpe_per_joint_mm` the mean over frames of each joint, (J,).
They compare what they are given: subtract the root from both first, as the protocols do.

Protocol 1 is MPJPE, protocol 2 P-MPJPE, protocol 3 N-MPJPE; MPJVE is from Pavllo et al.,
"3D human pose estimation in video with temporal convolutions and semi-supervised training", 2019.

Finite input never gives NaN; a frame with a NaN or an infinity gives NaN, and so does the mean.
All raise ValueError for arrays that are not (..., J, 3) of one shape, that are empty, or whose
values are beyond anything in metres.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

MM_PER_M = 1000.0

# Frames at a time: Human3.6M's test set in float64 with all intermediate results would need
# gigabytes, and pieces that fit the cache are faster besides.
_CHUNK = 4096
_LARGEST_M = 1e100  # squares of this still fit float64


def mpjpe_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Mean distance between predicted and true joints."""
    return float(mpjpe_per_frame_mm(prediction_m, target_m).mean())


def mpjpe_per_frame_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """`mpjpe_mm` of each frame, (...) float64."""
    return _per_frame(_mean_distance_mm, prediction_m, target_m)


def mpjpe_per_joint_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """Mean distance of each joint over all frames, (J,) float64; NaN for a joint that is not finite
    in every frame."""
    prediction, target = _checked(prediction_m, target_m)
    total, n_frames = np.zeros(prediction.shape[-2]), 0
    with np.errstate(invalid="ignore"):  # the difference of two infinities is NaN, as it should be
        for ours, theirs in _chunks(prediction, target):
            total += np.sqrt(((ours - theirs) ** 2).sum(-1)).sum(0)
            n_frames += len(ours)
    mean = MM_PER_M * total / n_frames
    return np.where(np.isfinite(mean), mean, np.nan)


def p_mpjpe_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """MPJPE after each frame's best rotation, translation and scale; never a reflection.

    The alignment minimises the squared distances (Umeyama, "Least-squares estimation of
    transformation parameters between two point patterns", 1991). A prediction whose joints all
    coincide has neither orientation nor size; it is moved to the target's centroid, so the result
    is the target's mean distance from its own centroid. Where several rotations have the same
    least squared error (joints on one line) any of them may be taken.
    """
    return float(p_mpjpe_per_frame_mm(prediction_m, target_m).mean())


def p_mpjpe_per_frame_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """`p_mpjpe_mm` of each frame, (...) float64."""
    return _per_frame(_aligned_distance_mm, prediction_m, target_m)


def n_mpjpe_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """MPJPE after scaling each frame by its least-squares factor <target, pred> / <pred, pred>.

    Source: Rhodin et al., "Unsupervised geometry-aware representation for 3D human pose
    estimation", 2018. Both poses keep their origin, usually the root. The factor may be negative.
    A prediction of all zeros has nothing to scale: the result is then plain MPJPE.
    """
    return float(n_mpjpe_per_frame_mm(prediction_m, target_m).mean())


def n_mpjpe_per_frame_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> np.ndarray:
    """`n_mpjpe_mm` of each frame, (...) float64."""
    return _per_frame(_scaled_distance_mm, prediction_m, target_m)


def mpjve_mm(prediction_m: np.ndarray, target_m: np.ndarray) -> float:
    """Mean distance between predicted and true movement from frame to frame, mm per frame.

    prediction_m, target_m: (..., T, J, 3); each (T, J, 3) is a clip of its own.
    With one frame nothing moves: the result is 0.0. ValueError without a time axis, too.
    """
    prediction, target = _checked(prediction_m, target_m)
    if prediction.ndim < 3:
        raise ValueError(f"MPJVE needs poses over time, (..., T, J, 3), not {prediction.shape}")
    T = prediction.shape[-3]
    if T == 1:
        return 0.0
    total, count, first = 0.0, 0, 0
    for ours, theirs in _chunks(prediction, target, overlap=1):
        within_clip = (np.arange(first, first + len(ours) - 1) + 1) % T != 0
        moved = np.diff(ours, axis=0)[within_clip], np.diff(theirs, axis=0)[within_clip]
        total += float(_mean_distance_mm(*moved).sum())
        count += int(within_clip.sum())
        first += _CHUNK
    return total / count


def _mean_distance_mm(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, J, 3) metres -> (N,) mm."""
    return MM_PER_M * np.sqrt(((prediction - target) ** 2).sum(-1)).mean(-1)


def _aligned_distance_mm(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, J, 3) metres -> (N,) mm after Umeyama's similarity alignment."""
    largest = np.abs(prediction).max((-2, -1), keepdims=True)
    prediction = prediction - prediction.mean(-2, keepdims=True)
    target = target - target.mean(-2, keepdims=True)
    spread = np.abs(prediction).max((-2, -1), keepdims=True)
    # Where all joints coincide, what the subtraction leaves is rounding, not a shape.
    is_point = spread <= 4 * prediction.shape[-2] * np.finfo(np.float64).eps * largest
    unit = np.where(is_point, 0.0, prediction / np.where(is_point, 1.0, spread))
    energy = (unit**2).sum((-2, -1), keepdims=True)
    u, singular, vt = np.linalg.svd(np.swapaxes(unit, -1, -2) @ target)
    signs = np.ones_like(singular)
    # The smallest singular value pays for forbidding the reflection.
    signs[:, 2] = np.where(np.linalg.det(u @ vt) < 0, -1.0, 1.0)
    rotation = (u * signs[:, None, :]) @ vt
    scale = (singular * signs).sum(-1)[:, None, None] / np.where(energy == 0, 1.0, energy)
    return _mean_distance_mm(scale * (unit @ rotation), target)


def _scaled_distance_mm(prediction: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(N, J, 3) metres -> (N,) mm after the best scaling."""
    largest = np.abs(prediction).max((-2, -1), keepdims=True)
    unit = prediction / np.where(largest == 0, 1.0, largest)  # its square cannot underflow
    energy = (unit**2).sum((-2, -1), keepdims=True)
    factor = (unit * target).sum((-2, -1), keepdims=True) / np.where(energy == 0, 1.0, energy)
    return _mean_distance_mm(factor * unit, target)


def _per_frame(
    distance: Callable[[np.ndarray, np.ndarray], np.ndarray],
    prediction_m: np.ndarray,
    target_m: np.ndarray,
) -> np.ndarray:
    """`distance` of every frame, in pieces, NaN where a frame is not finite."""
    prediction, target = _checked(prediction_m, target_m)
    parts = []
    for ours, theirs in _chunks(prediction, target):
        broken = ~(np.isfinite(ours) & np.isfinite(theirs)).all((-2, -1))
        if broken.any():  # the decomposition would otherwise refuse the whole piece
            keep = ~broken[:, None, None]
            ours, theirs = np.where(keep, ours, 0.0), np.where(keep, theirs, 0.0)
        parts.append(np.where(broken, np.nan, distance(ours, theirs)))
    return np.concatenate(parts).reshape(prediction.shape[:-2])


def _chunks(
    prediction: np.ndarray, target: np.ndarray, overlap: int = 0
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pieces of both, (N, J, 3) float64; `overlap` frames of the next piece are added to each."""
    J = prediction.shape[-2]
    ours, theirs = prediction.reshape(-1, J, 3), target.reshape(-1, J, 3)
    for start in range(0, len(ours) - overlap, _CHUNK):
        frames = slice(start, start + _CHUNK + overlap)
        yield ours[frames].astype(np.float64), theirs[frames].astype(np.float64)


def _checked(prediction_m: np.ndarray, target_m: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    prediction, target = np.asarray(prediction_m), np.asarray(target_m)
    for array in (prediction, target):
        if array.dtype.kind not in "fiu":
            raise ValueError(f"poses are of type {array.dtype}, expected real numbers in metres")
    if prediction.shape != target.shape or prediction.ndim < 2 or prediction.shape[-1] != 3:
        raise ValueError(
            f"prediction has shape {prediction.shape} and target {target.shape}; "
            "expected the same (..., J, 3) for both"
        )
    if prediction.size == 0:
        raise ValueError(
            f"poses of shape {prediction.shape} are empty: there is nothing to compare"
        )
    for array in (prediction, target):
        largest = float(np.max(np.abs(array), initial=0.0, where=np.isfinite(array)))
        if largest > _LARGEST_M:
            raise ValueError(f"poses reach {largest:.3g}; expected metres")
    return prediction, target
