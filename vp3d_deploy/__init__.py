"""VideoPose3D on devices: 2D keypoints in, 3D poses out, recorded or live.

    from vp3d_deploy import Lifter

    lifter = Lifter.open("walker.vp3d")
    poses = lifter.lift(keypoints_px, image_size=(1920, 1080))

Needs numpy and ONNX Runtime; never torch outside `vp3d_deploy.training`.
"""

from __future__ import annotations

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.live import LiveStream
from vp3d_deploy.poses import Poses
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

__version__ = "0.1.0"

__all__ = ["Bundle", "BundleError", "Lifter", "LiveStream", "ModelSpec", "Poses", "Skeleton"]
