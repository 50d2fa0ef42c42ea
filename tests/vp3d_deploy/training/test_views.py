"""New views: what must stay true of a person who is turned, moved, resized and filmed anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from vp3d_deploy.camera import Camera, normalize_screen, project, world_to_camera
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.training.bodies import BodySettings, other_bodies, rotations
from vp3d_deploy.training.views import CameraBatch, ViewSettings, new_views

FOREIGN = np.ones(1000, dtype=bool)
SAME_BODY = BodySettings(
    relabelled=0, exchange=0, bend_deg=0, lean_deg=0, size_spread=0, bone_spread=0
)
SAME_VIEW = ViewSettings(bodies=SAME_BODY, moved=0, free=0, noisy=0)


def cameras(n: int, distortion: str = "h36m") -> list[Camera]:
    """Cameras around the origin, 5 m away, looking at it, each with its own intrinsics."""
    out = []
    for i in range(n):
        angle = 2 * np.pi * i / n + 0.3
        forward = -np.array([np.cos(angle), np.sin(angle), 0.1])
        forward /= np.linalg.norm(forward)
        right = np.cross(forward, [0, 0, 1])
        right /= np.linalg.norm(right)
        out.append(
            Camera(
                name=str(i),
                width=1000 + 10 * i,
                height=1002,
                focal_px=[1145 + i, 1143 - i],
                center_px=[512 + i, 515 - i],
                radial=[-0.2, 0.24, 0.003 * i],
                tangential=[-0.0014, 0.003 * i],
                rotation=np.stack([right, np.cross(forward, right), forward]),
                position_m=-5 * forward + [0, 0, 1],
                distortion=distortion,
            )
        )
    return out


def people(n: int, length: int, seed: int = 0) -> NDArray[np.float32]:
    """Random poses with bones of constant length, roots near the origin; not people, but joints
    that hang together as people's do."""
    rng = np.random.default_rng(seed)
    world = np.zeros((n, length, 17, 3))
    world[:, :, 0] = rng.normal(0, 0.3, (n, 1, 3)) + rng.normal(0, 0.01, (n, length, 3))
    world[:, :, 0, 2] += 1
    for joint, parent in enumerate(H36M_17.parents):
        if parent >= 0:
            bone = rng.normal(0, 1, (n, 1, 3)) + rng.normal(0, 0.1, (n, length, 3))
            bone *= (0.1 + 0.01 * joint) / np.linalg.norm(bone, axis=-1, keepdims=True)
            world[:, :, joint] = world[:, :, parent] + bone
    return world.astype(np.float32)


def bone_lengths(world: NDArray[np.float32]) -> NDArray[np.float32]:
    parents = np.array(H36M_17.parents[1:])
    return np.linalg.norm(world[..., 1:, :] - world[..., parents, :], axis=-1)


@pytest.mark.parametrize("distortion", ["h36m", "opencv"])
def test_a_batch_of_cameras_sees_what_each_camera_sees(distortion: str) -> None:
    world, every = people(4, 6), cameras(4, distortion)
    pose, keypoints = CameraBatch.stack(every).see(world)
    for i, camera in enumerate(every):
        expected = world_to_camera(world[i].astype(np.float64), camera)
        np.testing.assert_allclose(pose[i], expected, rtol=0, atol=1e-5)
        px = project(expected, camera)
        np.testing.assert_allclose(
            keypoints[i], normalize_screen(px, camera.image_size), rtol=0, atol=1e-5
        )


def test_all_settings_at_zero_keep_the_recorded_view() -> None:
    world, batch = people(3, 6), CameraBatch.stack(cameras(3))
    rng = np.random.default_rng(0)
    for found, expected in zip(
        new_views(world, batch, FOREIGN[: len(world)], H36M_17, SAME_VIEW, rng),
        batch.see(world),
        strict=True,
    ):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("share", ["moved", "free"])
def test_a_moved_person_keeps_the_shape_and_is_in_the_picture(share: str) -> None:
    world, batch = people(60, 6), CameraBatch.stack(cameras(60))
    settings = replace(SAME_VIEW, **{share: 1.0})
    pose, keypoints = new_views(
        world, batch, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(1)
    )
    recorded, _ = batch.see(world)
    # Who would have left the picture keeps the recorded view.
    assert np.mean(np.abs(pose - recorded).max(axis=(1, 2, 3)) > 0.05) > 0.9
    distances = [
        np.linalg.norm(p[:, :, :, None] - p[:, :, None], axis=-1) for p in (pose, recorded)
    ]
    np.testing.assert_allclose(distances[0], distances[1], rtol=0, atol=1e-4)
    # The same handedness: a mirrored person would have the same distances.
    edges = [p[..., [1, 4, 7], :] - p[..., :1, :] for p in (pose, recorded)]
    np.testing.assert_allclose(np.linalg.det(edges[0]), np.linalg.det(edges[1]), atol=1e-4)
    assert np.abs(keypoints).max() <= 1.3
    assert pose[..., 2].min() >= 0.5


def test_noise_is_on_its_part_of_the_segments_and_of_its_size() -> None:
    world = np.repeat(people(1, 40), 400, axis=0)
    batch = CameraBatch.stack(cameras(1) * 400)
    settings = replace(SAME_VIEW, noisy=0.5, noise=0.02)
    _, found = new_views(
        world, batch, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(1)
    )
    noise = found - batch.see(world)[1]
    level = noise.std(axis=(1, 2, 3))
    assert 0.4 < np.mean(level > 0) < 0.6
    # Levels are uniform up to 0.02 times the length of the three parts, sqrt(.25 + .49 + .09).
    assert 0.02 * 0.91 * 0.85 < level.max() < 0.02 * 0.91 * 1.15
    noisy = noise[level > 0.005]
    lagged = np.mean(noisy[:, 1:] * noisy[:, :-1]) / np.mean(noisy**2)
    assert lagged == pytest.approx((0.25 + 0.49 * 0.9) / 0.83, abs=0.05)


def test_an_unchanged_body_is_the_same_body() -> None:
    world = people(5, 4)
    found = other_bodies(world, FOREIGN[: len(world)], H36M_17, SAME_BODY, np.random.default_rng(0))
    np.testing.assert_allclose(found, world, rtol=0, atol=1e-6)


def test_sizes_are_constant_in_time_and_equal_on_both_sides() -> None:
    world = people(50, 4)
    settings = replace(SAME_BODY, size_spread=0.1, bone_spread=0.1)
    found = other_bodies(world, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(0))
    factor = bone_lengths(found) / bone_lengths(world)
    np.testing.assert_allclose(factor, factor[:, :1].repeat(4, axis=1), rtol=1e-4)
    left, right = np.array(H36M_17.left) - 1, np.array(H36M_17.right) - 1
    np.testing.assert_allclose(factor[..., left], factor[..., right], rtol=1e-4)
    assert np.log(factor).std() == pytest.approx(np.sqrt(0.02), rel=0.2)


def test_a_bent_body_keeps_its_bones_and_hips() -> None:
    world = people(50, 4)
    settings = replace(SAME_BODY, bend_deg=10)
    found = other_bodies(world, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(0))
    np.testing.assert_allclose(bone_lengths(found), bone_lengths(world), rtol=1e-4)
    np.testing.assert_allclose(found[:, :, [0, 1, 4]], world[:, :, [0, 1, 4]], atol=1e-6)
    assert np.abs(found - world).max(axis=(1, 3)).min(axis=0)[[3, 6, 10, 13, 16]].min() > 1e-4


def test_a_relabelled_body_has_its_joints_where_human36m_has_them() -> None:
    world = people(50, 4)
    # Shoulders level and the neck straight above the spine: up is z, forward is known.
    world[:, :, 9] = world[:, :, 7] + np.float32([0, 0, 0.3])
    world[:, :, 11] = world[:, :, 9] + np.float32([0.2, 0, -0.1])
    world[:, :, 14] = world[:, :, 9] + np.float32([-0.2, 0, -0.1])
    forward = np.float32([0, -1, 0])  # who has the left side at +x, seen from above, faces -y
    found = other_bodies(
        world,
        FOREIGN[: len(world)],
        H36M_17,
        replace(SAME_BODY, relabelled=1),
        np.random.default_rng(0),
    )
    native = other_bodies(
        world, ~FOREIGN[:50], H36M_17, replace(SAME_BODY, relabelled=1), np.random.default_rng(0)
    )
    np.testing.assert_allclose(native, world, rtol=0, atol=1e-6)
    middle = world[:, :, 9] - np.float32([0, 0, 0.1])
    up = np.float32([0, 0, 1])
    for joint, place in (
        (8, middle + 0.05 * up + 0.03 * forward),
        (9, world[:, :, 9] + 0.1 * forward),
        (10, world[:, :, 10] + 0.1 * forward),
        (11, middle + np.float32([0.156, 0, 0])),
        (14, middle - np.float32([0.156, 0, 0])),
    ):
        np.testing.assert_allclose(found[:, :, joint], place, rtol=0, atol=1e-5)
    factors = (bone_lengths(found) / bone_lengths(world)).mean(axis=(0, 1))
    # Bones of joints 1 to 6, then elbows and wrists.
    np.testing.assert_allclose(factors[:6], [1, 1.05, 1.06] * 2, rtol=1e-4)
    np.testing.assert_allclose(factors[[11, 12, 14, 15]], [1, 1.28] * 2, rtol=1e-4)


def test_a_leaning_body_is_turned_as_a_whole_about_the_root() -> None:
    world = people(50, 4)
    settings = replace(SAME_BODY, lean_deg=10)
    found = other_bodies(world, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(0))
    np.testing.assert_allclose(found[:, :, 0], world[:, :, 0], atol=1e-6)
    spans = [np.linalg.norm(w[:, :, :, None] - w[:, :, None], axis=-1) for w in (found, world)]
    np.testing.assert_allclose(spans[0], spans[1], rtol=0, atol=1e-5)
    assert np.abs(found - world).max(axis=(1, 2, 3)).min() > 1e-3


def test_exchanged_limbs_come_from_one_segment_each_and_fit() -> None:
    world = people(40, 4)
    settings = replace(SAME_BODY, exchange=0.5)
    found = other_bodies(world, FOREIGN[: len(world)], H36M_17, settings, np.random.default_rng(0))
    np.testing.assert_allclose(found[:, :, [0, 1, 4]], world[:, :, [0, 1, 4]], atol=1e-6)

    def shape(w: NDArray[np.float32], joints: list[int]) -> NDArray[np.float32]:
        """Distances within a limb: they do not change when it is turned."""
        chosen = w[:, :, joints]
        return np.linalg.norm(chosen[:, :, :, None] - chosen[:, :, None], axis=-1)

    for limb in ([0, 7, 8, 9, 10, 11, 14], [11, 12, 13], [14, 15, 16], [1, 2, 3], [4, 5, 6]):
        taken, given = shape(found, limb), shape(world, limb)
        apart = np.abs(taken[:, None] - given[None]).max(axis=(2, 3, 4))
        assert apart.min(axis=1).max() < 1e-5, "a limb that nobody has"
        own = np.mean(np.diag(apart) < 1e-5)
        assert 0.15 < own < 0.85, "exchanged never or always"


def test_rotations_are_rotations() -> None:
    found = rotations(np.random.default_rng(0).normal(0, 1, (3, 20)))
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), np.tile(np.eye(3), (20, 1, 1)),
                               atol=1e-6)  # fmt: skip
    np.testing.assert_allclose(np.linalg.det(found), 1, atol=1e-6)
