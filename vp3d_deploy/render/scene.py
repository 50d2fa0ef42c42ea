"""Everything that the pictures of one clip show, prepared once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vp3d_deploy.poses import Poses
from vp3d_deploy.render.stage import DEFAULT_FPS, Stage, set_stage
from vp3d_deploy.skeleton import Skeleton, get_skeleton


class RenderError(ValueError):
    """Arrays that do not fit together, or a picture that cannot be made; the message says why."""


@dataclass(frozen=True)
class Scene:
    """2D and 3D of N people over the same T frames.

    keypoints_px: (N, T, J2, 2) float32, NaN where missing. opacity: (N, T, J2), from the scores.
    confidence: (N, T, J) of the 3D joints.
    """

    keypoints_px: np.ndarray
    opacity: np.ndarray
    keypoint_skeleton: Skeleton
    image_size: tuple[int, int]
    stage: Stage
    confidence: np.ndarray
    skeleton: Skeleton
    frame_indices: np.ndarray
    fps: float
    source: str
    model: str
    lag: int | None

    @property
    def n_frames(self) -> int:
        """T."""
        return len(self.frame_indices)

    @property
    def n_people(self) -> int:
        """N."""
        return len(self.keypoints_px)


def make_scene(
    poses: Poses,
    keypoints: np.ndarray,
    image_size: tuple[int, int],
    keypoint_skeleton: str | Skeleton,
    *,
    source: str = "",
    model: str = "",
    lag: int | None = None,
) -> Scene:
    """Check that poses and keypoints belong together, and place the people.

    keypoints: (T, J2, 2|3) or (N, T, J2, 2|3), pixels and scores, frame by frame those of `poses`.
    source, model: what was lifted, and by what, for the captions. lag: frames, of a live stream.

    Raises RenderError for other shapes and for poses without frames.
    """
    people, skeleton = poses.as_people(), get_skeleton(keypoint_skeleton)
    array = np.asarray(keypoints, np.float32)
    if array.ndim == 3:
        array = array[None]
    expected = (people.n_people, people.n_frames, skeleton.n_joints)
    if array.ndim != 4 or array.shape[:3] != expected or array.shape[3] not in (2, 3):
        raise RenderError(
            f"keypoints have shape {np.shape(keypoints)}; for these poses expected "
            f"{(*expected, 2)}, or 3 with scores"
        )
    if people.n_frames == 0 or people.n_people == 0:
        raise RenderError("there are no frames to draw")
    seen = np.isfinite(array).all(-1)
    scores = array[..., 2] if array.shape[3] == 3 else np.ones(seen.shape, np.float32)
    scores = np.nan_to_num(scores)
    points = np.where((seen & (scores > 0))[..., None], array[..., :2], np.nan)
    return Scene(
        keypoints_px=points,
        # Half visible already at low scores: detectors' scores are rarely near 1.
        opacity=np.clip(0.35 + 1.3 * scores, 0, 1).astype(np.float32),
        keypoint_skeleton=skeleton,
        image_size=(int(image_size[0]), int(image_size[1])),
        stage=set_stage(people),
        confidence=np.nan_to_num(people.confidence),
        skeleton=people.skeleton,
        frame_indices=people.frame_indices,
        fps=people.fps or DEFAULT_FPS,
        source=source,
        model=model,
        lag=lag,
    )
