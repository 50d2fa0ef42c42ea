"""Cameras against real Human3.6M frames and against formulas written out anew."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from vp3d_deploy import safe_pickle
from vp3d_deploy.camera import (
    Camera,
    CameraError,
    camera_to_world,
    denormalize_screen,
    normalize_screen,
    project,
    world_to_camera,
)
from vp3d_deploy.data import load_npz
from vp3d_deploy.data.h36m_cameras import camera_ids, camera_subjects, h36m_camera


def camera(**changes: object) -> Camera:
    return replace(h36m_camera("S9", 1), **changes)  # type: ignore[arg-type]


def pinhole() -> Camera:
    return Camera(name="pinhole", width=640, height=480, focal_px=[500, 400], center_px=[320, 240])


def test_projection_reproduces_real_frames(shared_data: Path) -> None:
    """Human3.6M's own 2D of four frames: 1e-4 px by its formula, 0.2 px by the standard one."""
    arrays = load_npz(shared_data / "h36m_sample" / "test_h36m_body3d.npz")
    for name, pose, part in zip(arrays["imgname"], arrays["S"], arrays["part"], strict=True):
        subject, camera_id = str(name).split("/")[0], str(name).split(".")[1].split("/")[0]
        view = h36m_camera(subject, camera_id)
        off = np.abs(project(pose[:, :3], view) - part[:, :2]).max()
        assert off < 1e-4, name
        standard = replace(view, distortion="opencv")
        off = np.abs(project(pose[:, :3], standard) - part[:, :2]).max()
        assert 1e-4 < off < 0.2, name


def test_built_in_cameras_are_the_published_ones(shared_data: Path) -> None:
    path = shared_data / "h36m_sample" / "cameras.pkl"
    published = safe_pickle.loads(path.read_bytes(), str(path))
    assert isinstance(published, dict)
    assert camera_subjects() == ("S1", "S5", "S6", "S7", "S8", "S9", "S11")
    for subject in camera_subjects():
        for index, camera_id in enumerate(camera_ids()):
            ours, facts = h36m_camera(subject, index), published[subject, camera_id]
            assert h36m_camera(subject, camera_id).name == camera_id
            assert (ours.name, ours.width, ours.height) == (camera_id, facts["w"], facts["h"])
            np.testing.assert_array_equal(ours.rotation, facts["R"].T)
            np.testing.assert_array_equal(ours.position_m, facts["T"].ravel())
            np.testing.assert_array_equal(ours.focal_px, facts["f"].ravel())
            np.testing.assert_array_equal(ours.center_px, facts["c"].ravel())
            np.testing.assert_array_equal(ours.radial, facts["k"].ravel())
            np.testing.assert_array_equal(ours.tangential, facts["p"].ravel())


def test_views_are_in_the_order_of_videopose3ds_files() -> None:
    assert camera_ids() == ("54138969", "55011271", "58860488", "60457274")


@pytest.mark.parametrize(("subject", "view"), [("S2", 0), ("S9", 4), ("S9", -1), ("S9", "1")])
def test_unknown_cameras(subject: str, view: int | str) -> None:
    with pytest.raises(ValueError, match=r"S1, S5, .*0\.\.3 or 54138969"):
        h36m_camera(subject, view)


@pytest.mark.parametrize(("model", "gain"), [("h36m", 1), ("opencv", 2)])
@pytest.mark.parametrize("clamp", [False, True])
def test_projection_term_by_term(model: str, gain: int, clamp: bool) -> None:
    view = camera(distortion=model, radial=[0.1, -0.2, 0.3], tangential=[0.01, -0.02])
    points = np.random.default_rng(0).normal(size=(6, 5, 3)) * 3
    points[..., 2] = np.abs(points[..., 2]) + 0.5
    pixels = project(points, view, clamp=clamp)
    for index in np.ndindex(6, 5):
        x, y = points[index][0] / points[index][2], points[index][1] / points[index][2]
        if clamp:
            x, y = min(max(x, -1), 1), min(max(y, -1), 1)
        r2 = x * x + y * y
        radial = 1 + 0.1 * r2 - 0.2 * r2**2 + 0.3 * r2**3
        if gain == 2:  # OpenCV's documentation, word for word
            u = x * radial + 2 * 0.01 * x * y - 0.02 * (r2 + 2 * x * x)
            v = y * radial + 0.01 * (r2 + 2 * y * y) + 2 * -0.02 * x * y
        else:
            u = x * (radial + 0.01 * y - 0.02 * x) - 0.02 * r2
            v = y * (radial + 0.01 * y - 0.02 * x) + 0.01 * r2
        expected = np.array([u, v]) * view.focal_px + view.center_px
        np.testing.assert_allclose(pixels[index], expected, rtol=1e-12, atol=1e-9)


def test_projection_without_distortion() -> None:
    pixels = project(np.array([[0.0, 0.0, 2.0], [1.0, -1.0, 2.0]]), pinhole())
    np.testing.assert_allclose(pixels, [[320, 240], [570, 40]], rtol=0, atol=1e-9)


def test_points_that_are_not_in_front_have_no_pixel() -> None:
    points = np.array([[0.1, 0.1, 1.0], [0.1, 0.1, 0.0], [0.1, 0.1, -1.0], [0.0, 0.0, 0.0]])
    for clamp in (False, True):
        pixels = project(points, camera(), clamp=clamp)
        assert np.isnan(pixels).all(1).tolist() == [False, True, True, True]


def test_world_and_camera_are_inverse() -> None:
    points = np.random.default_rng(1).normal(size=(4, 17, 3))
    there = world_to_camera(points, camera())
    np.testing.assert_allclose(camera_to_world(there, camera()), points, rtol=0, atol=1e-12)
    one = camera().rotation @ (points[2, 5] - camera().position_m)
    np.testing.assert_allclose(there[2, 5], one, rtol=0, atol=1e-12)


def test_human36m_cameras_stand_upright_and_look_inwards() -> None:
    """y down is close to minus the world's z, and the middle of the room is in front."""
    for subject in camera_subjects():
        for view in range(4):
            found = h36m_camera(subject, view)
            assert found.rotation[1] @ [0, 0, -1] > 0.9
            assert world_to_camera(np.array([0.0, 0.0, 1.0]), found)[2] > 2
            pixel = project(world_to_camera(np.array([0.0, 0.0, 1.0]), found), found)
            assert (pixel > 0).all()
            assert (pixel < found.image_size).all()


def test_single_precision_is_computed_in_double() -> None:
    points = np.random.default_rng(2).normal((0, 0, 6), 1, (50, 3)).astype(np.float32)
    for function in (world_to_camera, camera_to_world, project):
        result = function(points, camera())
        assert result.dtype == np.float32
        wide = function(points.astype(np.float64), camera())
        assert wide.dtype == np.float64
        np.testing.assert_array_equal(result, wide.astype(np.float32))


def test_screen_normalisation() -> None:
    corners = np.array([[0, 0], [1000, 1002], [500, 501], [500, 0]], np.float32)
    screen = normalize_screen(corners, (1000, 1002))
    assert screen.dtype == np.float32
    expected = [[-1, -1.002], [1, 1.002], [0, 0], [0, -1.002]]
    np.testing.assert_allclose(screen, expected, rtol=0, atol=1e-7)


def test_screen_normalisation_is_undone() -> None:
    keypoints = np.random.default_rng(3).uniform(-500, 2500, (3, 4, 17, 2))
    screen = normalize_screen(keypoints, (1920, 1080))
    back = denormalize_screen(screen, (1920, 1080))
    np.testing.assert_allclose(back, keypoints, rtol=0, atol=1e-10)
    assert keypoints.max() > 1920  # neither direction clips


def test_nan_stays_where_it_is() -> None:
    keypoints = np.array([[np.nan, 3.0], [1.0, 2.0]])
    assert np.isnan(normalize_screen(keypoints, (10, 10))).tolist() == [[True, False], [False] * 2]


@pytest.mark.parametrize("shape", [(17, 3), (2, 17), ()])
def test_keypoints_of_other_shapes_are_refused(shape: tuple[int, ...]) -> None:
    for function in (normalize_screen, denormalize_screen):
        with pytest.raises(ValueError, match=r"expected \(\.\.\., 2\)"):
            function(np.zeros(shape), (10, 10))


@pytest.mark.parametrize(
    "size",
    [
        (0, 10),
        (10, -1),
        (10,),
        5,
        (np.nan, 3),
        (np.inf, 3),
        None,
        "12",
        b"12",
        {19, 10},
        {1: 1, 2: 2},
    ],
)
def test_image_sizes_are_checked(size: object) -> None:
    with pytest.raises(ValueError, match="image_size"):
        normalize_screen(np.zeros((17, 2)), size)  # type: ignore[arg-type]


@pytest.mark.parametrize("function", [world_to_camera, camera_to_world, project])
def test_points_of_other_shapes_are_refused(function) -> None:
    with pytest.raises(ValueError, match=r"expected \(\.\.\., 3\)"):
        function(np.zeros((4, 2)), camera())
    with pytest.raises(ValueError, match="real numbers"):
        function(np.zeros((4, 3), dtype=object), camera())


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"focal_px": [1000]}, r"focal_px.*\(2,\)"),
        ({"focal_px": [1000, -1]}, "positive"),
        ({"focal_px": ["a", 1]}, "focal_px"),
        ({"width": 0}, "positive"),
        ({"radial": [0, 0]}, r"radial.*\(3,\)"),
        ({"position_m": [0, 0, np.nan]}, "finite"),
        ({"rotation": np.eye(3) * 1.1}, "not a rotation"),
        ({"rotation": np.diag([1, 1, -1])}, "not a rotation"),
        ({"distortion": "fisheye"}, "h36m, opencv"),
    ],
)
def test_parameters_are_checked(changes: dict[str, object], says: str) -> None:
    with pytest.raises(CameraError, match=says):
        camera(**changes)


def test_parameters_cannot_be_changed_in_place() -> None:
    focal = np.array([1.0, 2.0])
    made = camera(focal_px=focal)
    focal[0] = 7
    assert made.focal_px[0] == 1
    with pytest.raises(ValueError, match="read-only"):
        made.rotation[0, 0] = 3
