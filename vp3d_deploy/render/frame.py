"""One picture: the 2D keypoints in the image's frame, beside the 3D poses on a floor."""

from __future__ import annotations

import math

import numpy as np

from vp3d_deploy.render import theme
from vp3d_deploy.render.figures import draw_floor, draw_keypoints, draw_people
from vp3d_deploy.render.raster import capsule, rounded_box, soft_capsule, vertical_gradient
from vp3d_deploy.render.scene import Scene
from vp3d_deploy.render.stage import View
from vp3d_deploy.render.text import text

Box = tuple[int, int, int, int]  # left, top, right, bottom
Crop = tuple[float, float, float, float]  # the same, in pixels of the video

# The image is cut to people's extent times the first, if that is less than the second of its area;
# but to no less than the third of its width or height.
_AROUND, _ZOOM_BELOW, _SMALLEST_PART = 1.3, 0.75, 0.25

_FIELD_OF_VIEW_RAD = math.radians(30)
_PITCH_RAD = math.radians(11)
_YAW_RAD, _SWAY_RAD, _SWAY_PERIOD_S = math.radians(32), math.radians(22), 14.0
# What must fit from the floor to raised hands, and how high the view is aimed, metres.
_VISIBLE_M, _AIM_M = 2.25, 0.93


class Painter:
    """Draws the frames of one scene, all of one size; what does not move is drawn once."""

    def __init__(self, scene: Scene, size: tuple[int, int] = (1280, 640)) -> None:
        """size: (width, height) of the pictures in pixels."""
        self.scene = scene
        self.size = size
        width, height = size
        unit = height / 640
        self._unit = unit
        self._margin = round(24 * unit)
        self._crop = visible_part(scene)
        # The image gets as much of the width as its shape needs, within reason.
        shape = (self._crop[2] - self._crop[0]) / (self._crop[3] - self._crop[1])
        share = float(np.clip(shape * 0.42, 0.36, 0.56))
        self._split = round(width * share)
        top, bottom = round(64 * unit), height - round(64 * unit)
        self._left_box = (self._margin, top, self._split, bottom)
        self._right_box = (self._split, 0, width, height)
        self._origin, self._scale = fit_image(self._crop, self._left_box)
        self._background = self._draw_background()

    def frame(self, index: int) -> np.ndarray:
        """(H, W, 3) uint8, the picture of one frame. A new array."""
        image = self._background.copy()
        draw_keypoints(image, self.scene, index, self._origin, self._scale)
        draw_stage(image, self.scene, index, self._right_box)
        self._captions(image, index)
        return image

    def _draw_background(self) -> np.ndarray:
        scene, unit, margin = self.scene, self._unit, self._margin
        image = vertical_gradient(self.size[1], self.size[0], theme.TOP, theme.BOTTOM)
        draw_card(image, self._crop, self._origin, self._scale)
        size = round(21 * unit)
        y = round(20 * unit)
        used = text(image, (margin, y), "2D keypoints", size, theme.TEXT)
        about = [scene.source, f"{scene.image_size[0]} x {scene.image_size[1]}"]
        text(
            image,
            (margin + used + 14 * unit, y + 5 * unit),
            joined(about),
            round(15 * unit),
            theme.DIM,
        )
        x = self._split + margin
        used = text(image, (x, y), "3D pose", size, theme.TEXT)
        text(image, (x + used + 14 * unit, y + 5 * unit), scene.model, round(15 * unit), theme.DIM)
        self._legend(image)
        light_floor(image, self.scene, self._right_box)
        return image

    def _legend(self, image: np.ndarray) -> None:
        unit = self._unit
        x, y = self.size[0] - self._margin, self.size[1] - round(42 * unit)
        palette = theme.palette_of(0)
        for words, color in (("right", palette.right), ("left", palette.left)):
            x -= text(image, (x, y), words, round(15 * unit), theme.DIM, align="right")
            dot = (x - 10 * unit, y + 12 * unit)
            capsule(image, dot, dot, (5 * unit, 5 * unit), color, rounded=False)
            x -= round(30 * unit)

    def _captions(self, image: np.ndarray, index: int) -> None:
        scene, unit = self.scene, self._unit
        number = int(scene.frame_indices[index])
        size, y = round(15 * unit), self.size[1] - round(42 * unit)
        words = caption(scene, index)
        text(image, (self._margin, y), f"frame {number}", size, theme.TEXT)
        text(image, (self._margin + 104 * unit, y), words, size, theme.DIM)


def joined(parts: list[str]) -> str:
    """Those words that are there, apart."""
    return "  ·  ".join(part for part in parts if part)


def caption(scene: Scene, index: int) -> str:
    """Time, lag, and who is there, of one frame."""
    parts = [f"{int(scene.frame_indices[index]) / scene.fps:.2f} s"]
    if scene.lag is not None:
        parts.append(f"live, lag {scene.lag}")
    seen = int(np.isfinite(scene.stage.joints_m[:, index]).all(-1).any(-1).sum())
    if seen == 0:
        parts.append("nobody")
    elif scene.n_people > 1:
        parts.append(f"{seen} of {scene.n_people} people")
    return joined(parts)


def visible_part(scene: Scene, aspect: float = 1.0) -> Crop:
    """The part of the video's image to show: where people are in the clip, with a margin.

    It is as wide as `aspect` times its height where the image allows it, and all of the image if
    that is not much more. Single wild joints do not count.
    """
    size = np.array(scene.image_size, np.float64)
    points = scene.keypoints_px[np.isfinite(scene.keypoints_px).all(-1)]
    if not len(points):
        return (0.0, 0.0, float(size[0]), float(size[1]))
    low, high = np.percentile(points, 0.5, axis=0), np.percentile(points, 99.5, axis=0)
    width, height = np.maximum((high - low) * _AROUND, _SMALLEST_PART * size.min())
    part = np.minimum((max(width, height * aspect), max(height, width / aspect)), size)
    if part.prod() > _ZOOM_BELOW * size.prod():
        part = size
    corner = np.clip((low + high) / 2 - part / 2, 0, size - part)
    left, top, right, bottom = (float(value) for value in (*corner, *(corner + part)))
    return left, top, right, bottom


def fit_image(crop: Crop, box: Box) -> tuple[np.ndarray, float]:
    """Where pixel (0, 0) of the video goes, and its scale, for `crop` to fill the box."""
    left, top, right, bottom = box
    width, height = crop[2] - crop[0], crop[3] - crop[1]
    scale = min((right - left) / width, (bottom - top) / height)
    x = left + (right - left - scale * width) / 2
    y = top + (bottom - top - scale * height) / 2
    return np.array([x, y]) - scale * np.array(crop[:2]), scale


def draw_card(image: np.ndarray, crop: Crop, origin: np.ndarray, scale: float) -> None:
    """The area of the video that is shown, as an empty card."""
    x, y = origin + scale * np.array(crop[:2])
    right, bottom = origin + scale * np.array(crop[2:])
    rounded_box(image, (x - 1, y - 1, right + 1, bottom + 1), 7, theme.PANEL_EDGE)
    rounded_box(image, (x, y, right, bottom), 6, theme.PANEL)


def stage_view(scene: Scene, index: int, width: int, height: int, sway: bool = True) -> View:
    """The camera on the stage: all that people do in the clip fits, and it sways slowly.

    Distance and pitch are those of the whole clip, so the target's place on the floor is always
    at the same place of the picture.
    """
    time_s = int(scene.frame_indices[index]) / scene.fps
    yaw = _YAW_RAD + (_SWAY_RAD * math.sin(2 * math.pi * time_s / _SWAY_PERIOD_S) if sway else 0)
    focal = 0.5 * height / math.tan(_FIELD_OF_VIEW_RAD / 2)
    across = 2 * (scene.stage.radius_m + 0.5) * height / width
    distance = max(_VISIBLE_M, across) * focal / height + scene.stage.radius_m * 0.35
    target = scene.stage.target_m[index] + np.array([0, _AIM_M, 0])
    return View(target, distance, yaw, _PITCH_RAD, focal, (width / 2, height * 0.5))


def light_floor(image: np.ndarray, scene: Scene, box: Box) -> None:
    """A pool of light on the floor about the place that `draw_stage` looks at."""
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    view = stage_view(scene, 0, right - left, bottom - top)
    pixel, depth = view.project(scene.stage.target_m[0].astype(np.float64))
    radius = (1.9 + 0.5 * scene.stage.radius_m) * view.focal_px / float(depth)
    middle = (float(pixel[0]), float(pixel[1]))
    soft_capsule(part, middle, middle, min(radius, (right - left) / 2), 0.3, theme.GLOW, 0.6)


def draw_stage(image: np.ndarray, scene: Scene, index: int, box: Box, sway: bool = True) -> None:
    """Floor and people of one frame; the floor fades towards the sides of the box."""
    left, top, right, bottom = box
    part = image[top:bottom, left:right]
    height, width = part.shape[:2]
    view = stage_view(scene, index, width, height, sway)
    # Above two fifths of the height no floor is seen.
    edge, lower = round(0.14 * width), part[2 * height // 5 :]
    before = [lower[:, :edge].copy(), lower[:, -edge:].copy()]
    draw_floor(part, scene, index, view)
    ramp = np.linspace(0, 1, edge, dtype=np.float32)[None, :, None] ** 1.5
    for side, old, share in ((lower[:, :edge], before[0], ramp),
                             (lower[:, -edge:], before[1], ramp[:, ::-1])):  # fmt: skip
        side[...] = old + (side.astype(np.float32) - old) * share
    draw_people(part, scene, index, view)
