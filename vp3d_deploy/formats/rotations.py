"""Rotations for BVH, many frames at a time. Matrices (T, 3, 3) act on column vectors."""

from __future__ import annotations

import numpy as np


def shortest_rotation(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation of least angle that takes each unit vector `source` to `target`, both (T, 3).

    R = I + K + K^2 / (1 + c), K the cross-product matrix of source x target, c their dot product
    (Rodrigues' formula). For opposite vectors, half a turn about an axis across them.
    Returns (T, 3, 3) float64.
    """
    axis = np.cross(source, target)
    cosine = np.einsum("ti,ti->t", source, target)
    K = _cross_matrix(axis)
    safe = np.where(cosine > -1 + 1e-9, 1 + cosine, 1.0)
    turned = np.eye(3) + K + K @ K / safe[:, None, None]
    # Any axis across the vector will do; that with the smallest component is far from parallel.
    basis = np.eye(3)[np.argmin(np.abs(source), axis=-1)]
    across = np.cross(source, basis)
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    half_turn = 2 * across[:, :, None] * across[:, None, :] - np.eye(3)
    return np.where((cosine > -1 + 1e-9)[:, None, None], turned, half_turn)


def best_fit(rest: np.ndarray, seen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rotation that takes the K vectors `rest` (K, 3) closest to `seen` (T, K, 3) per frame.

    Least squares without scaling (Kabsch 1976, by singular values, mirror images excluded).
    Returns the rotations (T, 3, 3) and, (T,) bool, whether the vectors determine them: they do not
    if all of them lie along one line.
    """
    covariance = np.einsum("tki,kj->tij", seen, rest)
    U, S, Vt = np.linalg.svd(covariance)
    mirrored = np.linalg.det(U) * np.linalg.det(Vt) < 0
    U[:, :, 2] *= np.where(mirrored, -1.0, 1.0)[:, None]
    return U @ Vt, S[:, 1] > 1e-3 * np.maximum(S[:, 0], 1e-12)


def euler_zxy_deg(R: np.ndarray) -> np.ndarray:
    """Angles (T, 3) in degrees, z, x, y, with R = Rz Rx Ry: BVH's Zrotation Xrotation Yrotation.

    From the product written out: R21 = sin x, R01 = -sin z cos x, R11 = cos z cos x,
    R20 = -cos x sin y, R22 = cos x cos y. Where cos x vanishes, y is taken as 0.
    """
    cosine_x = np.hypot(R[:, 0, 1], R[:, 1, 1])
    x = np.arctan2(R[:, 2, 1], cosine_x)
    locked = cosine_x < 1e-9
    z = np.where(locked, np.arctan2(R[:, 1, 0], R[:, 0, 0]), np.arctan2(-R[:, 0, 1], R[:, 1, 1]))
    y = np.where(locked, 0.0, np.arctan2(-R[:, 2, 0], R[:, 2, 2]))
    return np.degrees(np.stack([z, x, y], axis=1))


def _cross_matrix(v: np.ndarray) -> np.ndarray:
    """(T, 3, 3) with K @ w = v x w."""
    K = np.zeros((len(v), 3, 3))
    K[:, 2, 1], K[:, 1, 2] = v[:, 0], -v[:, 0]
    K[:, 0, 2], K[:, 2, 0] = v[:, 1], -v[:, 1]
    K[:, 1, 0], K[:, 0, 1] = v[:, 2], -v[:, 2]
    return K
