"""Files of 2D keypoints in, files of 3D poses out."""

from vp3d_deploy.formats.read import READABLE, read_tracks
from vp3d_deploy.formats.tracks import FormatError, Track

__all__ = ["READABLE", "FormatError", "Track", "read_tracks"]
