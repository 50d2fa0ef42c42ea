"""From observed joints of any skeleton to the rows that a network reads."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.skeleton import Skeleton, SkeletonError
from vp3d_deploy.skeleton_conversion import convert_keypoints


class NetworkInput:
    """Converts between the incoming skeleton, the network's input and its output.

    source: skeleton of the incoming keypoints. skeleton_in, skeleton_out: the network's.
    features: values per joint that the network reads: 2 (x, y) or 3 (x, y, confidence).

    Raises SkeletonError if `source` cannot become `skeleton_in`, ValueError for other features.
    """

    def __init__(
        self, source: Skeleton, skeleton_in: Skeleton, skeleton_out: Skeleton, features: int
    ) -> None:
        if features not in (2, 3):
            raise ValueError(
                f"the network reads {features} values per joint; networks of 2 (x, y) and 3 "
                "(x, y, score) can be run"
            )
        self._source = source
        self._skeleton_in = skeleton_in
        self._skeleton_out = skeleton_out
        self._features = features
        self._converts = not _same_joints(source, skeleton_in)
        self._same_out = _same_joints(skeleton_in, skeleton_out)
        self._confidence_converts = True
        if self._converts:
            convert_keypoints(np.zeros((source.n_joints, 3)), source, skeleton_in)
        if not self._same_out:
            try:
                convert_keypoints(np.zeros((skeleton_in.n_joints, 3)), skeleton_in, skeleton_out)
            except SkeletonError:
                self._confidence_converts = False

    def __call__(self, points: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What the network is shown and how far its answer can be trusted.

        points: (..., J_source, 2) normalised screen units, finite. confidence: (..., J_source).
        Returns input (..., J_in, F) float32 and confidence (..., J_out) float32: that of the
        joint itself, of the weakest joint it is derived from where the two skeletons differ, or
        the mean over the person where the joints cannot be matched.
        """
        if self._converts:
            both = np.concatenate([points, confidence[..., None]], axis=-1)
            both = convert_keypoints(both, self._source, self._skeleton_in)
            points, confidence = both[..., :2], both[..., 2]
        if self._features == 3:
            points = np.concatenate([points, confidence[..., None]], axis=-1)
        return points.astype(np.float32, copy=False), self._confidence_out(confidence)

    def _confidence_out(self, confidence: np.ndarray) -> np.ndarray:
        if self._same_out:
            return confidence.astype(np.float32, copy=False)
        if not self._confidence_converts:
            mean = confidence.mean(-1, keepdims=True, dtype=np.float32)
            return np.repeat(mean, self._skeleton_out.n_joints, axis=-1)
        scored = np.zeros((*confidence.shape, 3), np.float32)
        scored[..., 2] = confidence
        return convert_keypoints(scored, self._skeleton_in, self._skeleton_out)[..., 2]


def _same_joints(a: Skeleton, b: Skeleton) -> bool:
    """Whether they mean the same joints; what a joint's name means depends on its skeleton's."""
    return (a.name, a.joints) == (b.name, b.joints)
