"""Pictures of 3D poses beside the 2D keypoints they come from.

    scene = make_scene(poses, keypoints_px, (1920, 1080), "coco17", source="walk.mp4")
    write_picture(scene, "walk.mp4")

Needs the extra: pip install "vp3d-deploy[render]".
"""

from vp3d_deploy.render.output import SUFFIXES, check_render, write_picture
from vp3d_deploy.render.scene import RenderError, Scene, make_scene

__all__ = ["SUFFIXES", "RenderError", "Scene", "check_render", "make_scene", "write_picture"]
