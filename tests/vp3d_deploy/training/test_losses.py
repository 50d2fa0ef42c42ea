"""Each loss against its published definition, written out as loops in float64."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training_clips import camera  # noqa: E402

from vp3d_deploy import camera as cameras  # noqa: E402
from vp3d_deploy.camera import normalize_screen  # noqa: E402
from vp3d_deploy.skeleton import H36M_17  # noqa: E402
from vp3d_deploy.training.frames import intrinsics_of  # noqa: E402
from vp3d_deploy.training.losses import (  # noqa: E402
    bone_length_loss,
    mean_bone_lengths,
    pose_loss,
    project,
    projection_loss,
    trajectory_loss,
)

Array = NDArray[np.float64]
# As the published training lists them; joint 0 is its own parent, which is no bone.
PUBLISHED_PARENTS = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
SHAPES = [(3, 1, 17), (2, 5, 17), (1, 1, 1), (4, 3, 2)]


def random(shape: tuple[int, ...], seed: int) -> Array:
    return np.random.default_rng(seed).normal(0, 1, shape)


def tensor(array: Any) -> torch.Tensor:
    return torch.tensor(np.array(array), dtype=torch.float64)


def weighted_mean(values: list[float], weights: list[float]) -> float:
    total = math.fsum(weights)
    if total == 0:
        return 0.0
    return math.fsum(v * w for v, w in zip(values, weights, strict=True)) / total


def mpjpe(predicted: Array, target: Array, weight: Array) -> float:
    distances = [
        math.fsum(math.dist(p, t) for p, t in zip(ours, theirs, strict=True)) / len(ours)
        for b, B in zip(predicted, target, strict=True)
        for ours, theirs in zip(b.tolist(), B.tolist(), strict=True)
    ]
    return weighted_mean(distances, weight.reshape(-1).tolist())


def weights(shape: tuple[int, int]) -> dict[str, Array]:
    rng = np.random.default_rng(7)
    some = (rng.random(shape) < 0.6).astype(np.float64)
    some.flat[0] = 1
    return {
        "all": np.ones(shape),
        "some": some,
        "none": np.zeros(shape),
        "fractions": rng.uniform(0.01, 0.2, shape) / np.prod(shape),
    }


KINDS = ["all", "some", "none", "fractions"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("D", [2, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_pose_loss_is_the_mean_joint_distance(
    shape: tuple[int, int, int], D: int, kind: str
) -> None:
    predicted, target = random((*shape, D), 1), random((*shape, D), 2)
    weight = weights(shape[:2])[kind]
    found = pose_loss(tensor(predicted), tensor(target), tensor(weight))
    assert float(found) == pytest.approx(mpjpe(predicted, target, weight), abs=1e-12)
    if kind == "all":
        assert torch.equal(found, pose_loss(tensor(predicted), tensor(target)))


@pytest.mark.parametrize("shape", [(3, 1), (2, 5), (1, 1)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_trajectory_loss_is_weighted_by_one_over_the_true_depth(
    shape: tuple[int, int], kind: str
) -> None:
    target = random((*shape, 1, 3), 1) * [1, 1, 0.5] + [0, 0, 4]
    predicted = target + random((*shape, 1, 3), 2)
    weight = weights(shape)[kind]
    ratios = [
        math.dist(p, t) / t[2]
        for p, t in zip(
            predicted.reshape(-1, 3).tolist(), target.reshape(-1, 3).tolist(), strict=True
        )
    ]
    found = trajectory_loss(tensor(predicted), tensor(target), tensor(weight))
    expected = weighted_mean(ratios, weight.reshape(-1).tolist())
    assert float(found) == pytest.approx(expected, abs=1e-12)
    if kind == "all":
        assert torch.equal(found, trajectory_loss(tensor(predicted), tensor(target)))


def bone_means(pose: Array, weight: Array) -> list[float]:
    out = []
    for joint, parent in enumerate(PUBLISHED_PARENTS):
        if joint != parent:
            lengths = [math.dist(frame[joint], frame[parent]) for b in pose for frame in b.tolist()]
            out.append(weighted_mean(lengths, weight.reshape(-1).tolist()))
    return out


@pytest.mark.parametrize("kind", ["all", "some", "fractions"])
def test_bone_length_loss_compares_the_batches_means(kind: str) -> None:
    pose, labelled = random((3, 2, 17, 3), 1), 2 * random((5, 4, 17, 3), 2)
    ours, theirs = weights((3, 2))[kind], weights((5, 4))["some"]
    expected = [bone_means(pose, ours), bone_means(labelled, theirs)]
    assert len(expected[0]) == 16
    found = mean_bone_lengths(tensor(pose), H36M_17.parents, tensor(ours))
    np.testing.assert_allclose(found.numpy(), expected[0], rtol=0, atol=1e-12)
    loss = bone_length_loss(
        tensor(pose), tensor(labelled), H36M_17.parents, tensor(ours), tensor(theirs)
    )
    difference = math.fsum(abs(a - b) for a, b in zip(*expected, strict=True)) / 16
    assert float(loss) == pytest.approx(difference, abs=1e-12)


def test_bone_lengths_without_weights_are_plain_means() -> None:
    pose, labelled = random((3, 2, 17, 3), 1), 2 * random((5, 4, 17, 3), 2)
    means = bone_means(pose, np.ones((3, 2))), bone_means(labelled, np.ones((5, 4)))
    loss = bone_length_loss(tensor(pose), tensor(labelled), H36M_17.parents)
    expected = math.fsum(abs(a - b) for a, b in zip(*means, strict=True)) / 16
    assert float(loss) == pytest.approx(expected, abs=1e-12)


def intrinsics(views: list[Any]) -> torch.Tensor:
    return tensor(np.stack([intrinsics_of(view).astype(np.float64) for view in views]))


@pytest.mark.parametrize("distortion", ["h36m", "opencv"])
def test_projection_is_the_cameras_in_screen_units(distortion: str) -> None:
    """The clamp is at work for joints more than 45 degrees off the axis."""
    sizes = [(1000, 1002), (1920, 1080), (640, 480)]
    views = [camera(i, distortion, size) for i, size in enumerate(sizes)]
    rng = np.random.default_rng(0)
    points = rng.uniform((-3, -3, 1), (3, 3, 4), (3, 5, 17, 3))
    off_axis = np.abs(points[..., :2] / points[..., 2:]).max(-1)
    assert (off_axis > 1).any()
    assert (off_axis < 1).any()
    found = project(tensor(points), intrinsics(views)).numpy()
    assert found.shape == (3, 5, 17, 2)
    for i, view in enumerate(views):
        px = cameras.project(points[i], view, clamp=True)
        expected = normalize_screen(px, view.image_size)
        # The intrinsics were rounded to float32.
        np.testing.assert_allclose(found[i], expected, rtol=0, atol=2e-7)


def as_published(point: list[float], numbers: list[float]) -> list[float]:
    """Divide by the depth whatever its sign, clamp, distort."""
    fx, fy, cx, cy, k1, k2, k3, p1, p2, gain = numbers
    x, y = (min(max(v / point[2], -1), 1) for v in point[:2])
    r2 = x * x + y * y
    scale = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + gain * (p1 * y + p2 * x)
    return [fx * (x * scale + p2 * r2) + cx, fy * (y * scale + p1 * r2) + cy]


def test_points_behind_the_camera_are_divided_by_their_negative_depth() -> None:
    numbers = intrinsics([camera(1)])
    points = [[0.3, -0.2, -2.0], [5.0, -7.0, -1.0], [0.3, 0.2, 1e-3], [0.5, 0.5, -0.5]]
    expected = [as_published(point, numbers[0].tolist()) for point in points]
    found = project(tensor(points)[None, None], numbers)[0, 0]
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-12)


def test_points_in_the_plane_of_the_camera_stay_finite() -> None:
    points = tensor([[[[0.0, 0.0, 0.0], [1.0, -1.0, 0.0], [0.0, 2.0, 1e-9]]]]).requires_grad_()
    found = project(points, intrinsics([camera(1)]))
    found.sum().backward()
    assert bool(torch.isfinite(found).all())
    assert bool(torch.isfinite(points.grad).all())
    numbers = intrinsics([camera(1)])[0].tolist()
    corner = as_published([1.0, -1.0, 1.0], numbers)  # far outside: the clamp's corner
    np.testing.assert_allclose(found[0, 0, 1].detach().numpy(), corner, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_projection_loss_is_the_distance_on_the_screen(kind: str) -> None:
    views = [camera(1), camera(2, "opencv")]
    pose, root = random((2, 3, 17, 3), 1), random((2, 3, 1, 3), 2) * 0.3 + [0, 0, 4]
    keypoints, weight = random((2, 3, 17, 2), 3), weights((2, 3))[kind]
    numbers = intrinsics(views)
    projected = np.array(
        [
            [[as_published(p, numbers[b].tolist()) for p in (pose[b, t] + root[b, t]).tolist()]
             for t in range(3)]
            for b in range(2)
        ]
    )  # fmt: skip
    found = projection_loss(tensor(pose), tensor(root), tensor(keypoints), numbers, tensor(weight))
    assert float(found) == pytest.approx(mpjpe(projected, keypoints, weight), abs=1e-12)


def test_a_person_projected_onto_their_own_keypoints_costs_nothing() -> None:
    view = camera(3, "opencv", (1280, 720))
    points = np.random.default_rng(1).uniform((-1, -1, 4), (1, 1, 6), (1, 4, 17, 3))
    keypoints = normalize_screen(cameras.project(points, view), view.image_size)
    loss = projection_loss(
        tensor(points - points[:, :, :1]), tensor(points[:, :, :1]), tensor(keypoints),
        intrinsics([view]),
    )  # fmt: skip
    assert float(loss) < 1e-7


def test_gradients_are_those_of_the_losses() -> None:
    """By finite differences, away from zero distances and from the clamp."""
    pose, target = (tensor(random((2, 3, 17, 3), seed)) * 0.2 for seed in (1, 2))
    root = tensor([0.1, -0.1, 4.0]).expand(2, 3, 1, 3).clone()
    keypoints, numbers = tensor(random((2, 3, 17, 2), 3)), intrinsics([camera(1), camera(2)])
    weight = tensor([[1, 0, 1], [1, 1, 0.0]])
    for value in (pose, root):
        value.requires_grad_()
    place = root.detach() + 0.2
    check = torch.autograd.gradcheck
    assert check(lambda p: pose_loss(p, target, weight), (pose,))
    assert check(lambda r: trajectory_loss(r, place, weight), (root,))
    assert check(lambda p, r: project(p + r, numbers), (pose, root))
    assert check(lambda p, r: projection_loss(p, r, keypoints, numbers, weight), (pose, root))
    labelled = tensor(random((1, 2, 17, 3), 4)).requires_grad_()
    assert check(
        lambda p, q: bone_length_loss(p, q, H36M_17.parents, weight, None), (pose, labelled)
    )


def test_losses_of_nothing_and_of_a_perfect_answer_have_finite_gradients() -> None:
    """A distance has no slope at zero; what is used there must not be NaN."""
    pose = tensor(random((2, 3, 17, 3), 1)).requires_grad_()
    root = tensor(np.full((2, 3, 1, 3), 4.0)).requires_grad_()
    nothing, numbers = torch.zeros(2, 3, dtype=torch.float64), intrinsics([camera(1)] * 2)
    keypoints = tensor(random((2, 3, 17, 2), 3))
    collapsed = pose * 0  # all bones have length 0, all joints are the root
    losses = [
        pose_loss(pose, pose.detach()),
        trajectory_loss(root, root.detach()),
        pose_loss(pose, pose.detach() + 1, nothing),
        trajectory_loss(root, root.detach() + 1, nothing),
        projection_loss(pose, root, keypoints, numbers, nothing),
        projection_loss(pose, root, project(pose + root, numbers).detach(), numbers),
    ]
    for number, loss in enumerate(losses):
        assert float(loss.detach()) == 0, number
    losses += [
        bone_length_loss(collapsed, pose, H36M_17.parents),
        bone_length_loss(pose, pose.detach(), H36M_17.parents, nothing, nothing),
        bone_length_loss(pose, pose.detach() * 2, H36M_17.parents, nothing),
    ]
    for number, loss in enumerate(losses):
        for value in (pose, root):
            value.grad = None
        loss.backward(retain_graph=True)
        for value in (pose, root):
            assert value.grad is None or bool(torch.isfinite(value.grad).all()), number
        assert bool(torch.isfinite(loss.detach())), number


def test_losses_in_float32_lose_no_more_than_its_precision() -> None:
    predicted, target = random((64, 1, 17, 3), 1), random((64, 1, 17, 3), 2)
    found = pose_loss(tensor(predicted).float(), tensor(target).float(), torch.ones(64, 1))
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(mpjpe(predicted, target, np.ones((64, 1))), rel=1e-6)
