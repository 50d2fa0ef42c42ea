"""Cameras: screen normalisation, world to camera and back, projection with lens distortion.

Frames: *world* is metres with z up; *camera* is metres with x right, y down, z forward from the
optical centre; *pixel* has (0, 0) at the top left corner; *normalised screen* has x in [-1, 1]
and y to the same scale, (0, 0) in the middle of the image.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# The tangential terms of Human3.6M's own projection are half of the standard model's (OpenCV,
# MMPose). Human3.6M's ground-truth 2D agrees with the former to 1e-4 px and is up to 0.2 px off
# the latter.
_TANGENTIAL_GAIN = {"h36m": 1.0, "opencv": 2.0}


class CameraError(ValueError):
    """Camera parameters that describe no camera."""


@dataclass(frozen=True, eq=False)
class Camera:
    """A pinhole camera with radial and tangential distortion, somewhere in the world.

    width, height: image size in pixels.
    focal_px (fx, fy), center_px (cx, cy): in pixels.
    radial (k1, k2, k3), tangential (p1, p2): lens distortion, in OpenCV's order of p.
    rotation: (3, 3) world -> camera, a proper rotation; its rows are the camera's axes.
    position_m: (3,) the optical centre in the world.
    distortion: "h36m" for Human3.6M's projection, "opencv" for the standard one, whose
        tangential terms count twice.

    Arrays are stored as read-only float64. Raises CameraError for wrong shapes, values that are
    not finite, sizes or focal lengths that are not positive, and a matrix that is no rotation.
    """

    name: str
    width: int
    height: int
    focal_px: np.ndarray
    center_px: np.ndarray
    radial: np.ndarray = field(default_factory=lambda: np.zeros(3))
    tangential: np.ndarray = field(default_factory=lambda: np.zeros(2))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    position_m: np.ndarray = field(default_factory=lambda: np.zeros(3))
    distortion: str = "h36m"

    def __post_init__(self) -> None:
        for name, shape in (
            ("focal_px", (2,)),
            ("center_px", (2,)),
            ("radial", (3,)),
            ("tangential", (2,)),
            ("rotation", (3, 3)),
            ("position_m", (3,)),
        ):
            object.__setattr__(self, name, self._parameter(name, shape))
        if not (self.width > 0 and self.height > 0 and (self.focal_px > 0).all()):
            raise CameraError(
                f"camera {self.name!r} is {self.width} x {self.height} pixels with focal lengths "
                f"{self.focal_px.tolist()}; all must be positive"
            )
        residual = np.abs(self.rotation @ self.rotation.T - np.eye(3)).max()
        # 1e-4 leaves room for parameters that were stored in single precision.
        if residual > 1e-4 or np.linalg.det(self.rotation) < 0:
            raise CameraError(
                f"rotation of camera {self.name!r} is not a rotation: R R^T is off the identity "
                f"by {residual:.2g} and det R is {np.linalg.det(self.rotation):.3g}"
            )
        if self.distortion not in _TANGENTIAL_GAIN:
            raise CameraError(
                f"camera {self.name!r} has distortion {self.distortion!r}; "
                f"the models are {', '.join(_TANGENTIAL_GAIN)}"
            )

    def _parameter(self, name: str, shape: tuple[int, ...]) -> np.ndarray:
        given = getattr(self, name)
        try:
            array = np.array(given, dtype=np.float64)
        except (TypeError, ValueError):
            raise CameraError(
                f"{name} of camera {self.name!r} is {given!r}, expected {shape} numbers"
            ) from None
        if array.shape != shape or not np.isfinite(array).all():
            raise CameraError(
                f"{name} of camera {self.name!r} must be {shape} finite numbers, not "
                f"{array.tolist()}"
            )
        array.flags.writeable = False
        return array

    @property
    def image_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.width, self.height

    @property
    def tangential_gain(self) -> float:
        """How often the tangential terms count: 1 (Human3.6M) or 2 (OpenCV), see `project`."""
        return _TANGENTIAL_GAIN[self.distortion]


def normalize_screen(keypoints_px: np.ndarray, image_size: tuple[float, float]) -> np.ndarray:
    """Pixels -> normalised screen: centred on the image, divided by half its width.

    keypoints_px: (..., 2), pixels; image_size: (w, h), pixels.
    Returns (..., 2), x in [-1, 1] inside the image; float32 for float32, float64 otherwise.
    Raises ValueError for another last dimension and for sizes that are not positive.
    """
    array = _points(keypoints_px, 2, "keypoints")
    width, height = checked_size(image_size)
    half = array.dtype.type(width / 2)
    return (array - np.array([width / 2, height / 2], array.dtype)) / half


def denormalize_screen(keypoints: np.ndarray, image_size: tuple[float, float]) -> np.ndarray:
    """Normalised screen -> pixels, the inverse of `normalize_screen`; same shapes and errors."""
    array = _points(keypoints, 2, "keypoints")
    width, height = checked_size(image_size)
    return array * array.dtype.type(width / 2) + np.array([width / 2, height / 2], array.dtype)


def world_to_camera(points_m: np.ndarray, camera: Camera) -> np.ndarray:
    """(..., 3) metres in the world -> (..., 3) metres in the camera's frame.

    Computed in float64; returned as float32 for float32 and float64 otherwise.
    """
    points = _points(points_m, 3, "points")
    return ((points - camera.position_m) @ camera.rotation.T).astype(points.dtype)


def camera_to_world(points_m: np.ndarray, camera: Camera) -> np.ndarray:
    """(..., 3) metres in the camera's frame -> (..., 3) metres in the world; see its inverse."""
    points = _points(points_m, 3, "points")
    return (points @ camera.rotation + camera.position_m).astype(points.dtype)


def project(points_m: np.ndarray, camera: Camera, clamp: bool = False) -> np.ndarray:
    """Camera-space points -> pixels, lens distortion included.

    With (x, y) = (X, Y) / Z, r2 = x^2 + y^2 and g = 1 (Human3.6M) or 2 (OpenCV):
        (x, y) <- (x, y) (1 + k1 r2 + k2 r2^2 + k3 r2^3 + g (p1 y + p2 x)) + (p2, p1) r2
        pixel = f (x, y) + c
    Source: the projection code released with Human3.6M; for g = 2, OpenCV's camera model.

    points_m: (..., 3), metres, camera frame. clamp: limit (x, y) to [-1, 1] before distortion,
    as training on projections does, because the polynomial runs away outside the image.
    Returns (..., 2) pixels, float32 for float32 and float64 otherwise (computed in float64);
    NaN where a point is not in front of the camera.
    """
    points = _points(points_m, 3, "points")
    wide = points.astype(np.float64)
    depth = np.where(wide[..., 2:] > 0, wide[..., 2:], np.nan)
    screen = wide[..., :2] / depth
    if clamp:
        screen = np.clip(screen, -1.0, 1.0)
    k1, k2, k3 = camera.radial
    p_swapped = camera.tangential[::-1]
    r2 = (screen**2).sum(-1, keepdims=True)
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    tangential = camera.tangential_gain * (screen @ p_swapped)[..., None]
    distorted = screen * (radial + tangential) + p_swapped * r2
    return (distorted * camera.focal_px + camera.center_px).astype(points.dtype)


def _points(values: np.ndarray, size: int, what: str) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim == 0 or array.shape[-1] != size or array.dtype.kind not in "fiu":
        raise ValueError(
            f"{what} have shape {array.shape} and type {array.dtype}, expected (..., {size}) "
            "real numbers"
        )
    return array.astype(np.float32 if array.dtype == np.float32 else np.float64, copy=False)


def checked_size(image_size: tuple[float, float]) -> tuple[float, float]:
    """(width, height) as floats; raises ValueError if they are not two positive numbers."""
    try:
        # The characters of a string, and what a set or a dict yields first, are no sizes.
        if isinstance(image_size, (str, bytes, set, frozenset, dict)):
            raise TypeError
        width, height = (float(value) for value in image_size)
    except (TypeError, ValueError):
        raise ValueError(f"image_size is {image_size!r}, expected (width, height)") from None
    if not (0 < width < np.inf and 0 < height < np.inf):
        raise ValueError(f"image_size is {image_size!r}; width and height must be positive")
    return width, height
