"""A clip: one person in one view, 2D keypoints and, where known, the 3D poses behind them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from vp3d_deploy.camera import Camera
from vp3d_deploy.skeleton import H36M_17, Skeleton


class ClipError(ValueError):
    """Arrays that do not fit together as one clip."""


@dataclass(kw_only=True, eq=False)
class Clip:
    """One person filmed by one camera for T frames.

    name: unique within a data set, e.g. "S9/Directions 1.54138969".
    subject, action: as the data set names them; None for video in the wild.
    camera: None where it is unknown.
    image_size: (w, h), pixels.
    fps: frames per second; None where the file does not say.
    keypoints_px: (T, J, 2) float32, pixels; NaN for a joint that was not seen.
    scores: (T, J) float32, the detector's confidence, or None.
    keypoint_skeleton: the names of those J joints.
    pose_m: (T, 17, 3) float32, metres, camera frame, Human3.6M's 17 joints, NOT relative to the
        root; None where there is no ground truth.

    Raises ClipError when shapes disagree, without frames, and for poses that are not finite;
    arrays are converted to float32.
    """

    name: str
    keypoints_px: np.ndarray
    image_size: tuple[int, int]
    subject: str | None = None
    action: str | None = None
    camera: Camera | None = None
    fps: float | None = None
    scores: np.ndarray | None = None
    keypoint_skeleton: Skeleton = field(default=H36M_17)
    pose_m: np.ndarray | None = None

    def __post_init__(self) -> None:
        T = (np.shape(self.keypoints_px) or (0,))[0]
        if T == 0:
            raise ClipError(f"clip {self.name!r} has no frames")
        J = self.keypoint_skeleton.n_joints
        self.keypoints_px = self._array("keypoints_px", self.keypoints_px, (T, J, 2))
        if self.scores is not None:
            self.scores = self._array("scores", self.scores, (T, J))
        if self.pose_m is not None:
            self.pose_m = self._array("pose_m", self.pose_m, (T, H36M_17.n_joints, 3))
            if not np.isfinite(self.pose_m).all():
                raise ClipError(f"pose_m of clip {self.name!r} holds NaN or infinity")
        if len(self.image_size) != 2 or min(self.image_size) <= 0:
            raise ClipError(f"clip {self.name!r} has image size {self.image_size}, not (w, h)")

    def _array(self, name: str, value: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        array = np.asarray(value)
        if array.shape != shape or array.dtype.kind not in "fiu":
            raise ClipError(
                f"{name} of clip {self.name!r} is {array.dtype} of shape {array.shape}, "
                f"expected numbers of shape {shape} ({self.keypoint_skeleton.name})"
            )
        return array.astype(np.float32, copy=False)

    @property
    def n_frames(self) -> int:
        """T."""
        return len(self.keypoints_px)

    @property
    def base_action(self) -> str | None:
        """The action without its take: "Directions" for "Directions 1", as results average it."""
        return None if self.action is None else self.action.split(" ")[0]

    def cut(self, start: int, stop: int) -> Clip:
        """Frames start .. stop-1 as a clip of their own; its arrays are views of this one's."""
        frames = slice(start, stop)
        return replace(
            self,
            keypoints_px=self.keypoints_px[frames],
            scores=None if self.scores is None else self.scores[frames],
            pose_m=None if self.pose_m is None else self.pose_m[frames],
        )
