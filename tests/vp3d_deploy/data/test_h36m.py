"""Human3.6M's two layouts: the same motion from both."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from h36m_files import (
    SUBJECTS,
    WORLD_M,
    annotations,
    camera_facts,
    views_px,
    write_detections,
    write_mmpose,
    write_videopose3d,
)

from vp3d_deploy.camera import project
from vp3d_deploy.data import Clip, DataFileError, load_h36m
from vp3d_deploy.data.h36m_cameras import h36m_camera
from vp3d_deploy.data.h36m_videopose3d import KEPT_JOINTS
from vp3d_deploy.skeleton import COCO_17, H36M_17


def assert_same_clips(ours: list[Clip], theirs: list[Clip]) -> None:
    assert [clip.name for clip in ours] == [clip.name for clip in theirs]
    for a, b in zip(ours, theirs, strict=True):
        assert (a.subject, a.action, a.image_size) == (b.subject, b.action, b.image_size)
        np.testing.assert_allclose(a.keypoints_px, b.keypoints_px, rtol=0, atol=2e-3)
        assert a.pose_m is not None
        assert b.pose_m is not None
        np.testing.assert_allclose(a.pose_m, b.pose_m, rtol=0, atol=2e-6)


# The development data: one motion in both layouts


@pytest.mark.parametrize("split", ["test", "train", "all"])
@pytest.mark.parametrize("keypoints", ["gt", "cpn"])
def test_both_layouts_give_the_same_motion(shared_data: Path, keypoints: str, split: str) -> None:
    """MMPose's folder holds two of the four views and at most 400 frames of some clips."""
    motion = shared_data / "motion"
    whole = {c.name: c for c in load_h36m(motion / "videopose3d", keypoints, split)}
    parts = load_h36m(motion / "mmpose", keypoints, split)
    assert len(parts) == {"test": 14, "train": 40, "all": 54}[split]
    for part in parts:
        clip = whole[part.name].cut(0, part.n_frames)
        assert part.n_frames == min(400, whole[part.name].n_frames)
        assert part.camera is not None
        assert clip.camera is not None
        np.testing.assert_array_equal(part.camera.rotation, clip.camera.rotation)
        np.testing.assert_array_equal(part.keypoints_px, clip.keypoints_px)
        assert part.pose_m is not None
        assert clip.pose_m is not None
        # 8 m in float32 have steps of 4.8e-7
        np.testing.assert_allclose(part.pose_m, clip.pose_m, rtol=0, atol=1e-6)
        assert (part.subject, part.action) == (clip.subject, clip.action)
        assert (part.fps, clip.fps) == (50.0, 50.0)
        assert (part.scores is None) == (keypoints == "gt")


@pytest.mark.parametrize(("layout", "n_clips"), [("videopose3d", 28), ("mmpose", 14)])
def test_projected_poses_are_the_true_keypoints(
    shared_data: Path, layout: str, n_clips: int
) -> None:
    """This motion was projected by the standard lens model, half a pixel from Human3.6M's own."""
    clips = load_h36m(shared_data / "motion" / layout, "gt", "test")
    assert len(clips) == n_clips
    for clip in clips:
        assert clip.pose_m is not None
        assert clip.camera is not None
        standard = replace(clip.camera, distortion="opencv")
        off = np.abs(project(clip.pose_m, standard) - clip.keypoints_px)
        assert off.max() < 1e-3, clip.name
        assert np.abs(project(clip.pose_m, clip.camera) - clip.keypoints_px).max() < 0.5


def test_detections_are_near_the_truth_and_not_it(shared_data: Path) -> None:
    folder = shared_data / "motion" / "videopose3d"
    for gt, cpn in zip(load_h36m(folder, "gt"), load_h36m(folder, "cpn"), strict=True):
        assert gt.name == cpn.name
        assert 1 < np.median(np.abs(gt.keypoints_px - cpn.keypoints_px)) < 10


def test_a_directory_of_both_layouts_is_told(shared_data: Path, tmp_path: Path) -> None:
    shutil.copytree(
        shared_data / "motion" / "mmpose" / "annotation_body3d",
        tmp_path / "both" / "annotation_body3d",
    )
    write_videopose3d(tmp_path / "both")
    with pytest.raises(
        DataFileError, match=r"holds both data_3d_h36m\.npz .* and annotation_body3d"
    ):
        load_h36m(tmp_path / "both")


# Small files in both layouts


def test_videopose3d_layout(tmp_path: Path) -> None:
    clips = load_h36m(write_videopose3d(tmp_path), split="all")
    assert len(clips) == 3 * 2 * 4
    clip = clips[4 * 2 + 1]
    assert clip.name == "S9/Directions 1.55011271"
    assert (clip.subject, clip.action, clip.base_action) == ("S9", "Directions 1", "Directions")
    assert (clip.fps, clip.image_size, clip.n_frames) == (50.0, (1000, 1000), 6)
    assert clip.keypoint_skeleton is H36M_17
    camera = h36m_camera("S9", 1)
    kept = WORLD_M[0][:, KEPT_JOINTS]
    expected = np.einsum("ij,tkj->tki", camera.rotation, kept - camera.position_m)
    assert clip.pose_m is not None
    np.testing.assert_allclose(clip.pose_m, expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(clip.keypoints_px, views_px(WORLD_M[0], "S9")[1])


def test_mmpose_layout_is_the_same(tmp_path: Path) -> None:
    """Interleaved rows, another spelling of an action; and from the folder or its parent."""
    (tmp_path / "v").mkdir()
    expected = load_h36m(write_videopose3d(tmp_path / "v"), split="all")
    folder = write_mmpose(tmp_path / "m")
    assert_same_clips(load_h36m(folder, split="all"), expected)
    assert_same_clips(load_h36m(folder / "annotation_body3d", split="all"), expected)


@pytest.mark.parametrize(
    ("split", "subjects"), [("train", {"S1"}), ("test", {"S9", "S11"}), ("all", set(SUBJECTS))]
)
def test_splits(split: str, subjects: set[str], tmp_path: Path) -> None:
    (tmp_path / "v").mkdir()
    for folder in (write_videopose3d(tmp_path / "v"), write_mmpose(tmp_path / "m")):
        assert {clip.subject for clip in load_h36m(folder, split=split)} == subjects


def test_keypoints_of_17_joint_poses_and_longer_2d(tmp_path: Path) -> None:
    """Published detections may go on after the motion capture has ended."""
    poses = {"S9": {"Photo": WORLD_M[1][:, KEPT_JOINTS]}}
    views = views_px(np.concatenate([WORLD_M[1], WORLD_M[0]]), "S9")
    folder = write_videopose3d(tmp_path, poses, {"S9": {"Photo": views}, "S7": {}})
    clips = load_h36m(folder)
    assert [clip.n_frames for clip in clips] == [6] * 4
    for clip, view in zip(clips, views, strict=True):
        np.testing.assert_array_equal(clip.keypoints_px, view[:6])


def test_views_in_one_array(tmp_path: Path) -> None:
    poses, views = {"S9": {"Photo": WORLD_M[1]}}, np.stack(views_px(WORLD_M[1], "S9"))
    clips = load_h36m(write_videopose3d(tmp_path, poses, {"S9": {"Photo": views}}))
    np.testing.assert_array_equal(clips[2].keypoints_px, views[2])


def test_other_detectors_of_videopose3d(tmp_path: Path) -> None:
    write_videopose3d(tmp_path)
    meta = {"layout_name": "coco", "num_joints": 17}
    write_videopose3d(tmp_path, meta=meta, kind="detectron_pt_coco")
    assert load_h36m(tmp_path, "detectron_pt_coco")[0].keypoint_skeleton is COCO_17
    with pytest.raises(
        DataFileError,
        match=r"data_2d_h36m_cpn_ft_h36m_dbb\.npz is not there; the folder has "
        r"data_2d_h36m_detectron_pt_coco\.npz, data_2d_h36m_gt\.npz, data_3d_h36m\.npz",
    ):
        load_h36m(tmp_path, "cpn")


def test_detections_of_mmpose(tmp_path: Path) -> None:
    folder = write_mmpose(tmp_path)
    part = annotations("test")["part"] + [3, 4, -0.25]
    with pytest.raises(DataFileError, match=r"cpn_ft_h36m_dbb_test\.npy is not there; .* no \.npy"):
        load_h36m(folder, "cpn")
    write_detections(folder, "test", part)
    for place in (folder, folder / "annotation_body3d"):
        detected, true = load_h36m(place, "cpn"), load_h36m(place, "gt")
        for ours, theirs in zip(detected, true, strict=True):
            moved = ours.keypoints_px - theirs.keypoints_px
            np.testing.assert_allclose(moved, np.broadcast_to([3, 4], (6, 17, 2)), atol=1e-3)
            assert ours.scores is not None
            np.testing.assert_array_equal(ours.scores, np.full((6, 17), 0.75, np.float32))
    with pytest.raises(
        DataFileError, match=r"dbb_train\.npy is not .* has cpn_ft_h36m_dbb_test\.npy"
    ):
        load_h36m(folder, "cpn", "train")
    write_detections(folder, "test", part[..., :2])
    assert load_h36m(folder, "cpn")[0].scores is None
    write_detections(folder, "test", part[:-1])
    with pytest.raises(DataFileError, match=r"\(95, 17, 3\), expected \(96, 17, 2 or 3\)"):
        load_h36m(folder, "cpn")


def test_the_higher_frame_rate_is_taken(tmp_path: Path) -> None:
    slow = write_mmpose(tmp_path / "slow", fps=10)
    assert {clip.fps for clip in load_h36m(slow)} == {10.0}
    both = write_mmpose(tmp_path / "both")
    shutil.copytree(slow / "annotation_body3d" / "fps10", both / "annotation_body3d" / "fps10")
    assert {clip.fps for clip in load_h36m(both)} == {50.0}


def test_cameras_pickled_by_python_2(tmp_path: Path) -> None:
    """There strings and arrays' contents are byte strings; protocol 2 as cPickle wrote it."""

    class Python2(pickle._Pickler):  # type: ignore[name-defined]
        dispatch: ClassVar = dict(pickle._Pickler.dispatch)  # type: ignore[attr-defined]

        def save_string(self, value: str | bytes) -> None:
            data = value.encode("ascii") if isinstance(value, str) else value
            self.write(b"U" + bytes([len(data)]) + data)  # SHORT_BINSTRING
            self.memoize(value)

        dispatch[str] = dispatch[bytes] = save_string

    folder = write_mmpose(tmp_path)
    expected = load_h36m(folder)
    with open(folder / "annotation_body3d" / "cameras.pkl", "wb") as file:
        Python2(file, protocol=2).dump(camera_facts())
    data = (folder / "annotation_body3d" / "cameras.pkl").read_bytes()
    assert b"U\x02S9" in data
    assert b"_codecs" not in data  # which Python 3 would need for bytes in protocol 2
    found = load_h36m(folder)
    assert_same_clips(found, expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.camera is not None
        assert theirs.camera is not None
        np.testing.assert_array_equal(ours.camera.rotation, theirs.camera.rotation)


def test_a_folder_too_high_or_too_low_is_told_where_the_data_is(shared_data: Path) -> None:
    motion = shared_data / "motion"
    for folder in (motion, motion / "mmpose" / "annotation_body3d" / "fps50"):
        with pytest.raises(DataFileError, match=r"holds neither .*, for example \S+mmpose"):
            load_h36m(folder)
