"""The losses of VideoPose3D: supervised, and semi-supervised by projection and bone lengths.

Source: Pavllo et al., "3D human pose estimation in video with temporal convolutions and
semi-supervised training" (CVPR 2019), sections 3 and 4. Letters: B samples, T answers each.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

# A depth nearer to zero than this cannot be divided by, metres.
_NEAREST_M = 1e-6


def pose_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean joint distance (MPJPE), in the unit of its input.

    predicted, target: (B, T, J, D). weight: (B, T), how much each answer counts; by default all
    the same. Where all weights are 0 the loss is 0.
    """
    distance = torch.linalg.vector_norm(predicted - target, dim=-1).mean(-1)
    return _weighted_mean(distance, weight)


def trajectory_loss(predicted: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean distance of the root, each divided by its true depth: far people may be farther off.

    predicted, target: (B, T, 1, 3) metres, camera frame; depth is the third coordinate.
    weight: as in `pose_loss`.
    """
    distance = torch.linalg.vector_norm(predicted - target, dim=-1)
    return _weighted_mean((distance / target[..., 2]).mean(-1), weight)


def projection_loss(
    pose: Tensor, root: Tensor, keypoints: Tensor, intrinsics: Tensor, weight: Tensor | None = None
) -> Tensor:
    """Mean distance on the screen between the projected answer and the 2D it was lifted from.

    pose: (B, T, J, 3) metres, root-relative. root: (B, T, 1, 3) metres, camera frame.
    keypoints: (B, T, J, 2) normalised screen units. intrinsics: (B, 10), see `project`.
    """
    return pose_loss(project(pose + root, intrinsics), keypoints, weight)


def project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Camera-space points to normalised screen units, lens distortion included.

    The formula is that of `vp3d_deploy.camera.project` with clamp=True: (x, y) / depth is limited
    to [-1, 1] before distortion, because the polynomial runs away outside the image. Unlike there
    a point behind the camera is divided by its negative depth, as in the published training.

    points: (B, T, J, 3) metres. intrinsics: (B, 10): focal (2), centre (2) in normalised screen
    units, radial k1 k2 k3, tangential p1 p2 (OpenCV's order), tangential gain.
    Returns (B, T, J, 2).
    """
    focal, center, radial, p, gain = intrinsics[:, None, None].split((2, 2, 3, 2, 1), dim=-1)
    depth = points[..., 2:]
    depth = torch.where(depth.abs() < _NEAREST_M, _NEAREST_M, depth)
    x = (points[..., :2] / depth).clamp(-1, 1)
    p = p.flip(-1)
    r2 = (x * x).sum(-1, keepdim=True)
    k1, k2, k3 = radial.split(1, dim=-1)
    scale = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + gain * (x * p).sum(-1, keepdim=True)
    return (x * scale + p * r2) * focal + center


def bone_length_loss(
    pose: Tensor,
    labelled: Tensor,
    parents: Sequence[int],
    weight: Tensor | None = None,
    labelled_weight: Tensor | None = None,
) -> Tensor:
    """Mean over bones of the difference between the batches' mean bone lengths.

    pose: (B, T, J, 3) predicted for clips without labels. labelled: (B', T', J, 3) predicted for
    labelled ones (as the original repository compares them). parents: of each joint, -1 for the
    root. weights: as in `pose_loss`.
    """
    difference = mean_bone_lengths(pose, parents, weight) - mean_bone_lengths(
        labelled, parents, labelled_weight
    )
    return difference.abs().mean()


def mean_bone_lengths(pose: Tensor, parents: Sequence[int], weight: Tensor | None = None) -> Tensor:
    """(B, T, J, 3) -> (J - 1,): the mean length of every bone, the root's left out."""
    ends = [joint for joint, parent in enumerate(parents) if parent >= 0]
    bones = pose[:, :, ends] - pose[:, :, [parents[joint] for joint in ends]]
    lengths = torch.linalg.vector_norm(bones, dim=-1)
    if weight is None:
        return lengths.mean((0, 1))
    return (lengths * weight[..., None]).sum((0, 1)) / _total(weight)


def _weighted_mean(values: Tensor, weight: Tensor | None) -> Tensor:
    if weight is None:
        return values.mean()
    return (values * weight).sum() / _total(weight)


def _total(weight: Tensor) -> Tensor:
    """The sum of weights as a divisor: not quite 0, so that nothing counts for nothing."""
    return weight.sum().clamp(min=torch.finfo(weight.dtype).tiny)
