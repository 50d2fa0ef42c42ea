"""The options of vp3d-lift."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

from vp3d_deploy.formats.read import READABLE
from vp3d_deploy.poses import SUFFIXES

BUILTIN = "builtin:"
_EXAMPLES = """\
examples:
  vp3d-lift walker.vp3d keypoints.npz -o poses.npz
  vp3d-lift walker.vp3d openpose_folder/ -o poses.json -o walk.bvh --image-size 1920x1080
  vp3d-lift walker.vp3d alphapose-results.json --render walk.mp4 --image-size 1280x720 --fps 30
  vp3d-lift walker.vp3d builtin:walking --render walk.gif --live
"""


def build_parser() -> argparse.ArgumentParser:
    """The command's options."""
    parser = argparse.ArgumentParser(
        prog="vp3d-lift",
        description="Lift 2D keypoints to 3D poses with a bundle that vp3d-export made.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("bundle", type=Path, metavar="BUNDLE", help="the bundle, a folder NAME.vp3d")
    add("input", metavar="INPUT", help=f"{READABLE}; or {BUILTIN}walking and other built-in clips")
    add("-o", "--out", action="append", default=[], metavar="FILE", type=Path,
        help=f"write the poses: {', '.join(SUFFIXES)}; may be given several times")  # fmt: skip
    add("--render", action="append", default=[], metavar="FILE", type=Path,
        help="draw 2D beside 3D: .mp4, .gif, or .png for a few moments")  # fmt: skip
    about = parser.add_argument_group("about the input")
    add = about.add_argument
    add("--image-size", type=_image_size, metavar="WxH", help="size of the video's image, pixels")
    add("--fps", type=_positive, help="frames per second, if not the network's")
    add("--skeleton", help="what the joints are, if the file does not say: coco17, h36m17, ..")
    add("--clip", metavar="NAME", help="which video of a file that holds several")
    add("--people", type=_count, metavar="N", help="only the N people who are seen longest")
    add("--frames", type=_count, default=500, help=f"length of a {BUILTIN} clip (default 500)")
    add("--seed", type=int, default=0, help=f"which of all {BUILTIN} clips (default 0)")
    how = parser.add_argument_group("how to lift")
    add = how.add_argument
    add("--flip", action="store_true", help="average with the mirror image: slower, better")
    add("--live", action="store_true", help="frame by frame, as from a camera")
    add("--lag", type=_lag, metavar="N", help="live, with answers N frames late (default 0)")
    add("--engine", default="auto", metavar="NAME", help="what runs the network (default auto)")
    add("--precision", metavar="NAME", help="fp32, fp16, ..; default the engine's choice")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON")
    return parser


def _image_size(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"\s*(\d{1,6})\s*[xX×,]\s*(\d{1,6})\s*", text)
    if not match or not int(match[1]) or not int(match[2]):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT, such as 1920x1080")
    return int(match[1]), int(match[2])


def _positive(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a positive number")
    return value


def _count(text: str) -> int:
    if not re.fullmatch(r"\d{1,9}", text) or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: expected a whole number from 1 on")
    return int(text)


def _lag(text: str) -> int:
    if not re.fullmatch(r"\d{1,6}", text):
        raise argparse.ArgumentTypeError(f"{text!r}: expected a number of frames from 0 on")
    return int(text)
