"""People, flat on the image and round on the stage."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.render import theme
from vp3d_deploy.render.raster import Color, capsule, mix, soft_capsule, thin_lines
from vp3d_deploy.render.scene import Scene
from vp3d_deploy.render.stage import View
from vp3d_deploy.skeleton import Skeleton

_GRID_STEP_M = 0.5
_GRID_REACH_M = 3.5
_SHADOW_BELOW_M = 1.15
_MAX_DOTS = 30  # skeletons with more joints (faces, fingers) get small dots without lines


def draw_keypoints(
    image: np.ndarray, scene: Scene, frame: int, origin: np.ndarray, scale: float
) -> None:
    """The 2D skeletons of one frame; pixel p of the video is at origin + scale * p here."""
    skeleton = scene.keypoint_skeleton
    points = scene.keypoints_px[:, frame] * scale + origin
    for person in range(scene.n_people):
        places, opacity = points[person], scene.opacity[person, frame]
        seen = np.isfinite(places).all(-1)
        if not seen.any():
            continue
        palette = theme.palette_of(person)
        extent = np.ptp(places[seen], axis=0).max()
        width = float(np.clip(extent / 75, 1.4, 4.0))
        for a, b in skeleton.edges:
            if seen[a] and seen[b] and not _is_detail(skeleton, b):
                color = theme.edge_color(skeleton, (a, b), palette)
                alpha = float(min(opacity[a], opacity[b]))
                capsule(image, tuple(places[a]), tuple(places[b]), (width, width), color,
                        alpha=alpha, rim=theme.PANEL, rim_px=1.0, rounded=False)  # fmt: skip
        for joint in np.flatnonzero(seen).tolist():
            size = width * (0.5 if _is_detail(skeleton, joint) else 1.25)
            color = mix(_joint_color(skeleton, joint, palette), (255, 255, 255), 0.55)
            where = tuple(places[joint])
            capsule(image, where, where, (size, size), color, alpha=float(opacity[joint]),
                    rounded=False)  # fmt: skip


def draw_floor(image: np.ndarray, scene: Scene, frame: int, view: View) -> None:
    """A grid that fades into the distance, and the people's shadows on it."""
    middle = np.round(scene.stage.target_m[frame] / _GRID_STEP_M) * _GRID_STEP_M
    ticks = np.arange(-_GRID_REACH_M, _GRID_REACH_M + 0.1, _GRID_STEP_M)
    # Each line in pieces, so that it can fade along its length.
    cuts = np.linspace(-_GRID_REACH_M, _GRID_REACH_M, 9)
    a, b = np.meshgrid(ticks, cuts[:-1], indexing="ij"), np.meshgrid(ticks, cuts[1:], indexing="ij")
    starts = np.concatenate([np.stack(_xz(*a), -1), np.stack(_xz(*a[::-1]), -1)]).reshape(-1, 3)
    ends = np.concatenate([np.stack(_xz(*b), -1), np.stack(_xz(*b[::-1]), -1)]).reshape(-1, 3)
    floor = middle * [1, 0, 1]
    near, far = (view.project(points + floor) for points in (starts, ends))
    centre = scene.stage.target_m[frame] * [1, 0, 1]
    fades = [
        np.clip(1 - np.hypot(*(p + floor - centre)[:, [0, 2]].T) / _GRID_REACH_M, 0, 1) ** 1.3
        for p in (starts, ends)
    ]
    alphas = 0.75 * np.stack(fades, -1)
    shown = (alphas > 0.01).any(-1) & (near[1] > 0.2) & (far[1] > 0.2)
    thin_lines(image, near[0][shown], far[0][shown], alphas[shown], theme.GRID)
    skeleton = scene.skeleton
    for person in range(scene.n_people):
        joints = scene.stage.joints_m[person, frame]
        pixels, depth = view.project(joints * [1, 0, 1])
        for a_joint, b_joint in skeleton.edges:
            height = (joints[a_joint, 1] + joints[b_joint, 1]) / 2
            # Shadows of what is higher up are too faint to see.
            if height < _SHADOW_BELOW_M and depth[a_joint] > 0.3:
                radius = view.focal_px / depth[a_joint] * (0.07 + 0.05 * max(height, 0.0))
                soft_capsule(image, tuple(pixels[a_joint]), tuple(pixels[b_joint]), float(radius),
                             max(0.2, np.sin(view.pitch)), theme.SHADOW,
                             alpha=0.42 / (1 + 1.2 * max(height, 0.0)))  # fmt: skip


def draw_people(image: np.ndarray, scene: Scene, frame: int, view: View) -> None:
    """The 3D skeletons of one frame as limbs, the farthest first."""
    skeleton, pieces = scene.skeleton, []
    radii = theme.joint_radii_m(skeleton)
    head = skeleton.joints.index("head") if "head" in skeleton.joints else None
    for person in range(scene.n_people):
        joints = scene.stage.joints_m[person, frame]
        if not np.isfinite(joints).all(-1).any():
            continue
        pixels, depth = view.project(joints)
        alpha = 0.3 + 0.7 * np.clip(scene.confidence[person, frame] * 1.6, 0, 1)
        palette = theme.palette_of(person)
        for a, b in skeleton.edges:
            if np.isfinite(depth[[a, b]]).all() and depth[[a, b]].min() > 0.3:
                color = theme.edge_color(skeleton, (a, b), palette)
                ends = (pixels[a], pixels[b])
                size = tuple(radii[j] * view.focal_px / depth[j] for j in (a, b))
                pieces.append((float(depth[a] + depth[b]) / 2, ends, size, color,
                               float(min(alpha[a], alpha[b]))))  # fmt: skip
        if head is not None and np.isfinite(depth[head]) and depth[head] > 0.3:
            size = (theme.HEAD_RADIUS_M * view.focal_px / depth[head],) * 2
            pieces.append((float(depth[head]) - 0.02, (pixels[head],) * 2, size, palette.middle,
                           float(alpha[head])))  # fmt: skip
    for distance, (start, end), size, color, opacity in sorted(pieces, key=lambda piece: -piece[0]):
        # Limbs further away sink into the dark a little.
        share = float(np.clip((distance - view.distance_m) * 0.12 + 0.04, 0, 0.3))
        capsule(image, tuple(start), tuple(end), size, mix(color, theme.BOTTOM, share),
                alpha=opacity, rim=mix(theme.BOTTOM, color, 0.2), rim_px=1.2)  # fmt: skip


def _xz(x: np.ndarray, z: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return x, np.zeros_like(x), z


def _is_detail(skeleton: Skeleton, joint: int) -> bool:
    """Points of faces and fingers, which would be a tangle of lines."""
    return skeleton.n_joints > _MAX_DOTS and joint >= 23


def _joint_color(skeleton: Skeleton, joint: int, palette: theme.Palette) -> Color:
    if joint in skeleton.left:
        return palette.left
    return palette.right if joint in skeleton.right else palette.middle
