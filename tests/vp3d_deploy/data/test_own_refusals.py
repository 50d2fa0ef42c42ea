"""Own clips that are wrong, damaged or hostile, and what is said about them."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from own_files import (
    CAMERA,
    LENS,
    PIXELS,
    PLAIN,
    POSE_M,
    WHOLE,
    T,
    read,
    written,
)

from vp3d_deploy.camera import camera_to_world
from vp3d_deploy.data import DataFileError, load_own
from vp3d_deploy.safe_pickle import UnsafePickleError

WORLD = {**WHOLE, "pose_camera_m": None, "pose_world_m": camera_to_world(POSE_M, CAMERA)}


def with_value(array: np.ndarray, value: float) -> np.ndarray:
    changed = array.astype(np.float64)
    changed[3, 2, 1] = value
    return changed


BAD = {
    "no keypoints": ({"keypoints_px": None}, "lacks keypoints_px; it has no keypoints"),
    "no image size": ({"image_size": None}, "lacks image_size, the width and height"),
    "keypoints of other joints": (
        {"keypoints_px": PIXELS[:, :16]},
        r"keypoints_px is float32 of shape \(6, 16, 2\), expected numbers of shape \(T, 17, 2\), "
        r"or 3 with scores \(h36m17\)",
    ),
    "keypoints of one frame": ({"keypoints_px": PIXELS[0]}, r"shape \(17, 2\), expected"),
    "four columns": ({"keypoints_px": np.zeros((T, 17, 4))}, r"\(6, 17, 4\), expected"),
    "no frames": ({"keypoints_px": PIXELS[:0], "pose_camera_m": POSE_M[:0]}, "has no frames"),
    "words": ({"keypoints_px": PIXELS.astype("U8")}, "keypoints_px is <U8 of shape"),
    "complex": ({"keypoints_px": PIXELS.astype(complex)}, "keypoints_px is complex128"),
    "infinite keypoints": ({"keypoints_px": with_value(PIXELS, np.inf)}, "keypoints_px holds inf"),
    "huge keypoints": ({"keypoints_px": with_value(PIXELS, 1e300)}, "keypoints_px holds infinity"),
    "size of one number": ({"image_size": 1000}, r"image_size is int64 of shape \(\), expected"),
    "size of zero": ({"image_size": (0, 10)}, r"image_size is \[0.0, 10.0\], expected width"),
    "half a pixel": ({"image_size": (10.5, 10)}, "expected width and height in whole pixels"),
    "size that is none": ({"image_size": (np.nan, np.inf)}, "expected width and height in whole"),
    "fps of zero": ({"fps": 0}, "fps is 0, expected frames per second"),
    "fps that is none": ({"fps": np.nan}, "fps is nan"),
    "fps per frame": ({"fps": np.full(T, 50)}, r"fps is int64 of shape \(6,\), expected one nu"),
    "fps as text": ({"fps": "50"}, "fps is <U2"),
    "unknown skeleton": ({"skeleton": "smpl"}, "unknown skeleton 'smpl'; the known ones are h36m"),
    "skeleton by number": ({"skeleton": 17}, "skeleton is int64 .* expected one string"),
    "two subjects": ({"subject": ["a", "b"]}, r"subject is <U1 of shape \(2,\), expected one"),
    "bytes": ({"action": np.bytes_("a")}, r"action is \|S1"),
    "unprintable action": ({"action": "a\x1b[2Jb"}, "action holds characters that cannot be"),
    "poses of other joints": (
        {"pose_camera_m": np.zeros((T, 16, 3))},
        r"pose_camera_m is float64 of shape \(6, 16, 3\), expected numbers of shape \(6, 17, 3\) "
        r"\(h36m17, one pose for each frame of keypoints\)",
    ),
    "too few poses": ({"pose_camera_m": POSE_M[:5]}, r"\(5, 17, 3\), expected .*\(6, 17, 3\)"),
    "gap in poses": (
        {"pose_camera_m": with_value(POSE_M, np.nan)},
        "pose_camera_m holds NaN or infinity in frame 3; poses have no gaps, so split",
    ),
    "infinite pose": ({"pose_camera_m": with_value(POSE_M, -np.inf)}, "holds NaN or infinity"),
    "broken pose": (
        {"pose_camera_m": with_value(POSE_M, 1e300)},
        r"a person of 1e\+300 m in frame 3; expected metres",
    ),
    "millimetres": (
        {"pose_camera_m": POSE_M * 1000},
        r"pose_camera_m shows a person of 1\d\d\d m in frame \d; expected metres \(millimetres",
    ),
    "relative poses": ({"pose_camera_m": POSE_M - POSE_M[:, :1]}, "behind or at the camera"),
    "y up, z back": ({"pose_camera_m": POSE_M * [1, -1, -1]}, "z points forward from the lens"),
    "both poses": ({"pose_world_m": POSE_M}, "holds both pose_camera_m and pose_world_m; keep one"),
    "half a lens": ({"center_px": None}, "a camera without center_px; a camera has focal_px and"),
    "no lens": ({"focal_px": None, "center_px": None}, "without focal_px and center_px"),
    "nowhere": ({"position_m": None}, "a camera without position_m"),
    "not turned": ({"rotation": None}, "a camera without rotation"),
    "one focal length": ({"focal_px": 1500}, r"focal_px is int64 of shape \(\), .* \(2,\)"),
    "negative focal length": ({"focal_px": (-1, 1)}, "camera 'test/anna_walk' is 1920 x 1080"),
    "five coefficients": ({"radial": np.zeros(5)}, r"radial is float64 of shape \(5,\), .* \(3,\)"),
    "focal length as text": ({"focal_px": ["1", "2"]}, "focal_px is <U1"),
    "no rotation": ({"rotation": np.eye(3) * 2}, "rotation of camera .* is not a rotation"),
    "a mirror": ({"rotation": np.diag([1, 1, -1])}, "is not a rotation"),
    "nan in a camera": ({"position_m": (0, np.nan, 0)}, r"position_m of camera .* finite"),
    "unknown lens": ({"distortion": "fisheye"}, "distortion 'fisheye'; the models are h36m, op"),
    "misspelt key": (
        {"rotations": np.eye(3)},
        "holds 'rotations', which a clip does not have; its keys are keypoints_px, image_size",
    ),
    "truth as a detector": ({"keypoints_gt_px": PIXELS}, "holds 'keypoints_gt_px', which a clip"),
    "objects": (
        {"fps": np.array({"fps": 50}, object), "subject": np.array(None, object)},
        "holds pickled Python objects in 'fps', 'subject'; save plain arrays",
    ),
    "ragged": (
        {"keypoints_px": np.array([PIXELS[0], None], object)},
        "holds pickled Python objects in 'keypoints_px'",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("what", BAD)
def test_files_that_are_wrong(tmp_path: Path, what: str) -> None:
    changes, says = BAD[what]
    with pytest.raises(DataFileError, match=says) as caught:
        read(tmp_path, {**WHOLE, **changes})
    assert str(caught.value).startswith(str(tmp_path / "test" / "anna_walk.npz"))
    assert "\n" not in str(caught.value)


def test_poses_in_the_world_need_the_cameras_place(tmp_path: Path) -> None:
    bare = {key: WORLD[key] for key in (*PLAIN, "pose_world_m")}
    for arrays in (bare, bare | LENS):
        with pytest.raises(DataFileError, match="pose_world_m needs the camera's place, rotation"):
            read(tmp_path, arrays)


def test_a_camera_that_looks_away_is_noticed(tmp_path: Path) -> None:
    away = {**WORLD, "rotation": np.diag([1.0, -1.0, -1.0]) @ CAMERA.rotation}
    with pytest.raises(DataFileError, match="rotation turns the world's axes into the camera's"):
        read(tmp_path, away)


@pytest.mark.parametrize(
    "key", ["../x", "a/keypoints_px", "keypoints_é_px", "keypoints__", "\x1b[2J"]
)
def test_hostile_keys_are_refused_and_quoted(tmp_path: Path, key: str) -> None:
    with pytest.raises(DataFileError, match="which a clip does not have") as caught:
        read(tmp_path, {**PLAIN, key: np.zeros(1)})
    assert repr(key) in str(caught.value)


def test_many_long_hostile_keys_do_not_fill_the_screen(tmp_path: Path) -> None:
    many = {f"{number}{'x' * 5000}": np.zeros(1) for number in range(50)}
    with pytest.raises(DataFileError, match="and 45 more, which a clip") as caught:
        read(tmp_path, PLAIN | many)
    assert len(str(caught.value)) < 900


def test_text_beyond_unicode(tmp_path: Path) -> None:
    folder = written(tmp_path, {**PLAIN, "action": "abc"})
    path = folder / "test" / "anna_walk.npz"
    with zipfile.ZipFile(path) as old:
        members = {name: old.read(name) for name in old.namelist()}
    members["action.npy"] = members["action.npy"][:-4] + b"\xff\xff\xff\x7f"
    with zipfile.ZipFile(path, "w") as new:
        for name, data in members.items():
            new.writestr(name, data)
    with pytest.raises(DataFileError, match="action holds characters that cannot be printed"):
        load_own(folder)


class Runs:
    """Pickles to a call that leaves a folder behind."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.marker),)


def test_code_in_a_file_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    folder = written(tmp_path, {**PLAIN, "fps": np.array(Runs(marker), object)})
    with pytest.raises(UnsafePickleError, match=r"anna_walk\.npz.*mkdir"):
        load_own(folder)
    assert not marker.exists()
    pickle.loads(pickle.dumps(Runs(marker)))
    assert marker.exists()  # the trap works


def test_files_that_are_no_archives(tmp_path: Path) -> None:
    path = written(tmp_path, PLAIN) / "test" / "anna_walk.npz"
    whole = path.read_bytes()
    for data in (b"", b"neither", whole[:-30], whole[: len(whole) // 2]):
        path.write_bytes(data)
        with pytest.raises(DataFileError, match=r"anna_walk\.npz is not a sound \.npz archive"):
            load_own(tmp_path)


# The right folder


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'; expected one of train, test, all"):
        load_own(tmp_path, split="val")
    for keypoints in ("../x", "", "a-b", "é"):
        with pytest.raises(ValueError, match="expected gt or NAME of keypoints_NAME_px"):
            load_own(tmp_path, keypoints)


def test_folders_without_clips(tmp_path: Path) -> None:
    with pytest.raises(
        DataFileError, match=r"nothing has no clip in test/\*\.npz: it is not a dir"
    ):
        load_own(tmp_path / "nothing")
    with pytest.raises(DataFileError, match=r"no clip in train/\*\.npz or test/\*\.npz$"):
        load_own(tmp_path, split="all")
    written(tmp_path, PLAIN)
    with pytest.raises(DataFileError, match=r"no clip in train/\*\.npz; it has clips in test$"):
        load_own(tmp_path, split="train")
    with pytest.raises(DataFileError, match=r"move the \.npz files that lie in it to a folder tr"):
        load_own(tmp_path / "test")
