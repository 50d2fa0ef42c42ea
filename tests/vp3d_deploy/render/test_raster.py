"""Shapes against their areas, and at the edges of the picture."""

from __future__ import annotations

import math

import numpy as np
import pytest

from vp3d_deploy.render.raster import (
    blend_mask,
    capsule,
    mix,
    rounded_box,
    soft_capsule,
    thin_lines,
    vertical_gradient,
)

WHITE = (255, 255, 255)


def black(height: int = 120, width: int = 160) -> np.ndarray:
    return np.zeros((height, width, 3), np.uint8)


def area(image: np.ndarray) -> float:
    """Covered pixels, partial ones by their share."""
    return float(image[..., 0].astype(np.float64).sum() / 255)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 2, 2.0])
def test_capsule_covers_its_area_at_any_angle(angle):
    image = black()
    dx, dy = 40 * math.cos(angle), 40 * math.sin(angle)
    capsule(image, (80 - dx, 60 - dy), (80 + dx, 60 + dy), (6, 6), WHITE, rounded=False)
    assert area(image) == pytest.approx(80 * 12 + math.pi * 36, rel=0.01)


def test_disc_and_taper():
    image = black()
    capsule(image, (80.3, 60.7), (80.3, 60.7), (20, 20), WHITE, rounded=False)
    assert area(image) == pytest.approx(math.pi * 400, rel=0.005)
    image = black()
    capsule(image, (40, 60), (120, 60), (10, 2), WHITE, rounded=False)
    widths = (image[:, [50, 110], 0] > 127).sum(0)
    assert widths[0] == pytest.approx(18, abs=1)
    assert widths[1] == pytest.approx(6, abs=1)


def test_opacity_rim_and_shading():
    image = black()
    capsule(image, (80, 60), (80, 60), (20, 20), WHITE, alpha=0.5, rounded=False)
    assert image[60, 80].tolist() == [128, 128, 128]
    image = black()
    capsule(image, (80, 60), (80, 60), (20, 20), WHITE, rim=(255, 0, 0), rim_px=3)
    assert image[60, 80 + 22].tolist() == [255, 0, 0]
    assert image[60, 80 + 25].tolist() == [0, 0, 0]
    lit, dark = image[60 - 8, 80 - 8, 0], image[60 + 12, 80 + 12, 0]
    assert lit > dark + 60


@pytest.mark.parametrize("start", [(-50.0, 30.0), (500.0, 500.0), (5.0, -4000.0), (math.nan, 3.0)])
def test_what_is_outside_is_cut_off(start):
    image = black()
    capsule(image, start, (20.0, 20.0), (5, 5), WHITE)
    soft_capsule(image, start, (20.0, 20.0), 9, 0.3, WHITE, 0.5)
    capsule(image, start, start, (5, 5), WHITE)
    assert image.shape == (120, 160, 3)
    assert (area(image) > 0) == (start[0] == start[0])


def test_thin_lines_are_a_pixel_wide_and_clipped():
    image = black()
    starts = np.array([[10.0, 10.3], [40.2, 10.0], [-500.0, 60.0], [1000.0, 900.0]])
    ends = np.array([[110.0, 10.3], [50.4, 90.0], [1000.0, 60.0], [1100.0, 950.0]])
    thin_lines(image[:, :], starts[:1], ends[:1], np.ones((1, 2)), WHITE)
    assert area(image) == pytest.approx(101, abs=2)
    assert image[10, 60, 0] == pytest.approx(0.7 * 255, abs=2)
    assert image[11, 60, 0] == pytest.approx(0.3 * 255, abs=2)
    thin_lines(image, starts[1:2], ends[1:2], np.array([[1.0, 0.0]]), WHITE)
    column = image[20:85, :, 0].astype(int).sum(1)
    assert column[0] > column[30] > column[60]
    thin_lines(image, starts, ends, np.ones((4, 2)), WHITE)
    assert (image[60, :, 0] == 255).all()


def test_dark_shapes_on_a_light_picture():
    for draw in (
        lambda image: thin_lines(
            image, np.array([[10.0, 60.0]]), np.array([[150.0, 60.0]]), np.ones((1, 2)), (9, 9, 9)
        ),
        lambda image: soft_capsule(image, (40, 60), (120, 60), 12, 1.0, (9, 9, 9), 1.0),
        lambda image: capsule(image, (40, 60), (120, 60), (5, 5), (9, 9, 9), rounded=False),
        lambda image: blend_mask(image, np.ones((20, 20), np.float32), (70, 50), (9, 9, 9)),
    ):
        image = np.full((120, 160, 3), 250, np.uint8)
        draw(image)
        assert image[60, 80].max() <= 20
        assert image.max() == 250
        assert image[5, 5].tolist() == [250, 250, 250]


def test_box_mask_gradient_and_mix():
    image = black()
    rounded_box(image, (20, 20, 100, 80), 10, WHITE)
    assert area(image) == pytest.approx(80 * 60 - (4 - math.pi) * 100, rel=0.01)
    assert image[21, 21, 0] == 0
    image = black()
    blend_mask(image, np.ones((10, 10), np.float32), (-5, 115), WHITE)
    assert area(image) == 25
    blend_mask(image, np.ones((10, 10), np.float32), (500, 0), WHITE)
    assert area(image) == 25
    shades = vertical_gradient(100, 3, (0, 0, 0), (100, 50, 0))
    assert shades[0, 0].tolist() == [0, 0, 0]
    assert shades[-1, 2].tolist() == [100, 50, 0]
    assert mix((0, 0, 0), (10, 20, 30), 0.5) == (5, 10, 15)
