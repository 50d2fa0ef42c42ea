"""Human3.6M folders that are incomplete, damaged or hostile, and what is said about them."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h36m_files import WORLD_M, camera_facts, views_px, write_mmpose, write_videopose3d

from vp3d_deploy.data import DataFileError, load_h36m
from vp3d_deploy.safe_pickle import UnsafePickleError


def test_what_is_asked_for_is_checked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="split is 'val'; expected one of train, test, all"):
        load_h36m(tmp_path, split="val")
    with pytest.raises(ValueError, match=r"'\.\./x'; expected gt, cpn or"):
        load_h36m(tmp_path, keypoints="../x")
    with pytest.raises(DataFileError, match=r"holds neither data_3d_h36m\.npz .* nor annotation_"):
        load_h36m(tmp_path)
    with pytest.raises(DataFileError, match="is not a directory"):
        load_h36m(tmp_path / "missing")


def test_missing_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    write_videopose3d(tmp_path / "v")
    (tmp_path / "v" / "data_3d_h36m.npz").unlink()
    with pytest.raises(
        DataFileError, match=r"data_3d_h36m\.npz is not there; the folder has data_2"
    ):
        load_h36m(tmp_path / "v")
    inner = write_mmpose(tmp_path / "m") / "annotation_body3d"
    (inner / "fps50" / "h36m_test.npz").unlink()
    with pytest.raises(
        DataFileError, match=r"neither of .*fps50/h36m_test\.npz and .*fps10/h36m_t"
    ):
        load_h36m(tmp_path / "m")
    (inner / "cameras.pkl").unlink()
    with pytest.raises(DataFileError, match=r"cameras\.pkl is not there"):
        load_h36m(tmp_path / "m", split="train")


def changed_poses(value: Any) -> dict[str, Any]:
    return {"S9": {"Photo": value}}


VIEWS = views_px(WORLD_M[1], "S9")


@pytest.mark.parametrize(
    ("poses", "keypoints", "meta", "says"),
    [
        ({"S2": {}, "S3": {}}, None, None, r"3d_h36m.*none of the subjects S9, S11; it has S2, S3"),
        ({"S9": 5}, None, None, "3d_h36m.*S9 must map the names of actions"),
        (changed_poses([1]), None, None, r"S9 'Photo' is list, expected \(T, 32, 3\)"),
        (changed_poses(WORLD_M[1][:, :20]), None, None, r"is \(6, 20, 3\), expected \(T, 32, 3\)"),
        (changed_poses(WORLD_M[1][:0]), None, None, r"is \(0, 32, 3\), expected"),
        (changed_poses(WORLD_M[1]), {"S9": {}}, None, "2d_h36m_gt.*0 views of S9 'Photo'"),
        (changed_poses(WORLD_M[1]), {}, None, "0 views of S9 'Photo'; expected one per camera"),
        (changed_poses(WORLD_M[1]), changed_poses(VIEWS[:3]), None, "3 views of S9 'Photo'"),
        (changed_poses(WORLD_M[1]), changed_poses([v[:5] for v in VIEWS]), None,
         "S9/Photo.54138969 has 5 frames of keypoints for 6 poses; 2D may be longer"),
        (changed_poses(WORLD_M[1]), changed_poses([v[:, :16] for v in VIEWS]), None,
         r"S9/Photo.54138969 are \(6, 16, 2\), expected \(T, 17, 2\) in pixels \(h36m17\)"),
        (changed_poses(WORLD_M[1]), changed_poses([1, 2, 3, 4]), None, "are int, expected"),
        (None, 5, None, "'positions_2d' must hold a dictionary"),
        (None, None, {"layout_name": "smpl"}, "2d_h36m_gt.*unknown skeleton 'smpl'"),
        (None, None, 5, "'metadata' must hold a dictionary"),
    ],
)  # fmt: skip
def test_videopose3d_files_that_are_wrong(
    tmp_path: Path, poses: Any, keypoints: Any, meta: Any, says: str
) -> None:
    with pytest.raises(DataFileError, match=says):
        load_h36m(write_videopose3d(tmp_path, poses, keypoints, meta))


def test_poses_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    pose = WORLD_M[1].copy()
    pose[2, 3, 1] = np.nan
    with pytest.raises(ValueError, match=r"S9/Photo\.54138969.*NaN"):
        load_h36m(write_videopose3d(tmp_path, changed_poses(pose), changed_poses(VIEWS)))


def changed_camera(**changes: Any) -> dict[Any, Any]:
    facts = camera_facts()
    facts["S9", "54138969"] = {
        key: value
        for key, value in {**facts["S9", "54138969"], **changes}.items()
        if value is not None
    }
    return facts


@pytest.mark.parametrize(
    ("cameras", "says"),
    [
        ([1], "holds a list, expected a dictionary"),
        ({"S9": {}}, r"'S9' must be \(subject, camera id\)"),
        (changed_camera(f=None, k=None), "S9 54138969 lacks f, k"),
        (changed_camera(R=np.eye(3) * 2), "S9 54138969: rotation .* is not a rotation"),
        (changed_camera(k=np.zeros(2)), r"radial of camera '54138969' must be \(3,\)"),
        (changed_camera(w="wide"), "S9 54138969 is not a camera"),
        (changed_camera(f=["a", "b"]), "S9 54138969 is not a camera"),
        ({key: v for key, v in camera_facts().items() if key[1] != "54138969"},
         r"S9_Directions_1\.54138969, but cameras\.pkl lacks that camera"),
    ],
)  # fmt: skip
def test_cameras_that_are_wrong(tmp_path: Path, cameras: Any, says: str) -> None:
    with pytest.raises(DataFileError, match=f"cameras\\.pkl.*{says}|{says}"):
        load_h36m(write_mmpose(tmp_path, cameras))


def test_cameras_are_not_run(tmp_path: Path) -> None:
    folder = write_mmpose(tmp_path)
    path = folder / "annotation_body3d" / "cameras.pkl"
    path.write_bytes(b"cos\nmkdir\n(V" + str(tmp_path / "ran").encode() + b"\ntR.")
    with pytest.raises(UnsafePickleError, match=r"cameras\.pkl.*mkdir"):
        load_h36m(folder)
    assert not (tmp_path / "ran").exists()
    pickle.loads(path.read_bytes())
    assert (tmp_path / "ran").exists()  # the trap works


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"S": np.zeros((96, 17, 2))},
            r"S is float64 of shape \(96, 17, 2\), expected \(96, 17, 3",
        ),
        ({"S": np.zeros((95, 17, 4))}, r"\(95, 17, 4\)"),
        ({"part": np.zeros((96, 16, 3))}, r"part is .*\(96, 16, 3\)"),
        ({"part": np.zeros((96, 17, 3), "S3")}, "part is"),
        ({"imgname": np.array([f"S9/x.5_{i}.jpg" for i in range(96)])}, "start with 'S9/x.5'"),
        ({"imgname": np.array([f"frame{i}" for i in range(96)])}, "expected image names like"),
    ],
)
def test_annotations_that_are_wrong(
    tmp_path: Path, changes: dict[str, np.ndarray], says: str
) -> None:
    with pytest.raises(DataFileError, match=f"h36m_test.*{says}"):
        load_h36m(write_mmpose(tmp_path, **changes))
