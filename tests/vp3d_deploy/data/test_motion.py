"""Which layout a folder is in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from h36m_files import write_mmpose, write_videopose3d
from own_files import (
    PIXELS,
    PLAIN,
    WHOLE,
    written,
)

from vp3d_deploy.data import DataFileError, load_motion
from vp3d_deploy.data.own import is_at


def test_is_at(tmp_path: Path) -> None:
    (tmp_path / "train").mkdir()
    (tmp_path / "test").mkdir()
    assert not is_at(tmp_path)
    assert not is_at(tmp_path / "nothing")
    written(tmp_path, PLAIN)
    assert is_at(tmp_path)
    assert not is_at(tmp_path / "test")


def test_motion_of_every_layout(tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    own = written(tmp_path / "own", {**WHOLE, "keypoints_cpn_px": PIXELS + 1})
    layouts = (write_videopose3d(tmp_path / "v"), write_mmpose(tmp_path / "m"), own)
    assert [len(load_motion(str(folder))) for folder in layouts] == [16, 16, 1]
    assert len(load_motion(layouts[0], split="all")) == 24
    assert len(load_motion(layouts[1] / "annotation_body3d", split="train")) == 8
    np.testing.assert_array_equal(load_motion(own, "cpn")[0].keypoints_px, PIXELS + 1)
    for folder in layouts:
        with pytest.raises(ValueError, match="split is 'val'"):
            load_motion(folder, split="val")


def test_motion_of_no_layout(tmp_path: Path) -> None:
    with pytest.raises(DataFileError, match="nothing is not a directory; expected one with motion"):
        load_motion(tmp_path / "nothing")
    looked_for = (
        r"holds neither train/\*\.npz or test/\*\.npz \(your own clips\), nor data_3d_h36m\.npz "
        r".*, nor annotation_body3d \(in MMPose's\)"
    )
    (tmp_path / "a" / "b" / "c").mkdir(parents=True)
    with pytest.raises(DataFileError, match=f"{looked_for}$"):
        load_motion(tmp_path / "a" / "b" / "c")
    written(tmp_path / "a" / "own", PLAIN)
    for folder in (tmp_path / "a", tmp_path / "a" / "own" / "test"):
        with pytest.raises(DataFileError, match=f"{looked_for}; give a folder .* .*own$"):
            load_motion(folder)


def test_motion_of_two_layouts(tmp_path: Path) -> None:
    written(write_videopose3d(tmp_path), PLAIN)
    with pytest.raises(DataFileError, match="holds both Human3.6M's files and train or test"):
        load_motion(tmp_path)
