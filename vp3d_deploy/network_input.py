"""From observed joints of any skeleton to the rows that a network reads."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.skeleton import Skeleton, SkeletonError
from vp3d_deploy.skeleton_conversion import convert_keypoints


class NetworkInput:
    """Converts between the incoming skeleton, the network's input and its output.

    source: skeleton of the incoming keypoints. skeleton_in, skeleton_out: the network's.
    features: values per joint that the network reads: 2 (x, y) or 3 (x, y, confidence).
    converts: False where whoever runs the network makes its joints of those of `source`.

    Raises SkeletonError if `source` cannot become `skeleton_in`, ValueError for other features.
    """

    def __init__(
        self,
        source: Skeleton,
        skeleton_in: Skeleton,
        skeleton_out: Skeleton,
        features: int,
        converts: bool = True,
    ) -> None:
        if features not in (2, 3):
            raise ValueError(
                f"the network reads {features} values per joint; networks of 2 (x, y) and 3 "
                "(x, y, score) can be run"
            )
        self._joints_out = skeleton_out.n_joints
        self._features = features
        self._converts = converts
        self._incoming = _Conversion.between(source, skeleton_in)
        self._outgoing: _Conversion | None = None
        self._confidence_converts = True
        try:
            self._outgoing = _Conversion.between(skeleton_in, skeleton_out)
        except SkeletonError:
            self._confidence_converts = False

    def __call__(self, points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network is shown and how far its answer can be trusted.

        points: (..., J_source, 2) normalised screen units, finite. confidence: (..., J_source).
        Returns input (..., J_in, F) float32, or (..., J_source, F) where it does not convert, and
        confidence (..., J_out) float32: that of the joint itself, of the weakest joint it is
        derived from where the two skeletons differ, or the mean over the person where the joints
        cannot be matched.
        """
        if self._incoming is not None:
            if self._converts:
                points = self._incoming.points(points)
            confidence = self._incoming.confidence(confidence)
        if self._features == 3:
            points = np.concatenate([points, confidence[..., None]], axis=-1)
        return points.astype(np.float32, copy=False), self._confidence_out(confidence)

    @property
    def same_joints(self) -> bool:
        """Does the network read the joints that come in?"""
        return self._incoming is None

    def _confidence_out(self, confidence: np.ndarray) -> np.ndarray:
        if not self._confidence_converts:
            mean = confidence.mean(-1, keepdims=True, dtype=np.float32)
            return np.repeat(mean, self._joints_out, axis=-1)
        if self._outgoing is not None:
            confidence = self._outgoing.confidence(confidence)
        return confidence.astype(np.float32, copy=False)


class _Conversion:
    """`convert_keypoints` of finite points between two skeletons, in few calls of numpy.

    Each joint is a weighted mean of others, so that all of them are one small matrix.
    """

    def __init__(self, source: Skeleton, target: Skeleton) -> None:
        """Raises SkeletonError where `convert_keypoints` does."""
        # Converted unit vectors are the matrix: row j has the share of joint j in each joint.
        units = np.zeros((source.n_joints, source.n_joints, 2))
        units[..., 0] = np.eye(source.n_joints)
        shares = convert_keypoints(units, source, target)[..., 0].T
        self._matrices = {dtype: shares.astype(dtype) for dtype in (np.float32, np.float64)}
        parts = [np.flatnonzero(row) for row in shares]
        widest = max(len(own) for own in parts)
        # Which joints each one is made of; the shorter lists are filled up with their first.
        self._parts = np.array([[*own, *own[:1].repeat(widest - len(own))] for own in parts])

    @classmethod
    def between(cls, source: Skeleton, target: Skeleton) -> _Conversion | None:
        """None where the joints are the same."""
        return None if _same_joints(source, target) else cls(source, target)

    def points(self, points: np.ndarray) -> np.ndarray:
        """(..., J_source, 2) -> (..., J_target, 2) of the same dtype, float32 or float64."""
        converted: np.ndarray = np.matmul(self._matrices[points.dtype.type], points)
        return converted

    def confidence(self, confidence: np.ndarray) -> np.ndarray:
        """(..., J_source) -> (..., J_target): that of the weakest joint it is made of."""
        weakest: np.ndarray = confidence.take(self._parts, axis=-1).min(axis=-1)
        return weakest


def _same_joints(a: Skeleton, b: Skeleton) -> bool:
    """Whether they mean the same joints; what a joint's name means depends on its skeleton's."""
    return (a.name, a.joints) == (b.name, b.joints)
