"""Motion to train on and to be measured with: Human3.6M, your own, in the wild, procedural."""

from vp3d_deploy.data.clip import Clip, ClipError
from vp3d_deploy.data.h36m import TEST_SUBJECTS, TRAIN_SUBJECTS, load_h36m
from vp3d_deploy.data.motion import has_split, load_motion
from vp3d_deploy.data.npy import DataFileError, load_npy, load_npz
from vp3d_deploy.data.own import load_own, save_clip
from vp3d_deploy.data.wild import load_wild

__all__ = [
    "TEST_SUBJECTS",
    "TRAIN_SUBJECTS",
    "Clip",
    "ClipError",
    "DataFileError",
    "has_split",
    "load_h36m",
    "load_motion",
    "load_npy",
    "load_npz",
    "load_own",
    "load_wild",
    "save_clip",
]
