"""Your own clips: what users write is read, and what is saved is read back."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from h36m_files import write_videopose3d
from hypothesis import given, settings
from hypothesis import strategies as st
from own_files import (
    CAMERA,
    PIXELS,
    PLAIN,
    POSE_M,
    RNG,
    WHOLE,
    T,
    assert_same,
    assert_same_array,
    read,
    written,
)

from vp3d_deploy.camera import camera_to_world, project, world_to_camera
from vp3d_deploy.data import Clip, ClipError, DataFileError, load_motion, load_own, save_clip
from vp3d_deploy.skeleton import COCO_17, H36M_17, HALPE_26

DOCS = Path(__file__).resolve().parents[3] / "docs" / "own-data.md"


# What is there is read


def test_a_whole_clip(tmp_path: Path) -> None:
    clip = read(tmp_path, WHOLE)
    assert (clip.name, clip.subject, clip.action) == ("test/anna_walk", "anna", "Walk 1")
    assert (clip.fps, clip.image_size, clip.n_frames) == (50.0, (1920, 1080), T)
    assert all(type(side) is int for side in clip.image_size)
    assert clip.keypoint_skeleton is H36M_17
    np.testing.assert_array_equal(clip.keypoints_px, PIXELS)
    np.testing.assert_array_equal(clip.pose_m, POSE_M)  # type: ignore[arg-type]
    assert clip.scores is None
    assert clip.camera is not None
    np.testing.assert_allclose(project(POSE_M, clip.camera), PIXELS, rtol=0, atol=1e-3)


def test_keypoints_alone(tmp_path: Path) -> None:
    clip = read(tmp_path, PLAIN)
    assert (clip.pose_m, clip.camera, clip.fps, clip.action) == (None, None, None, None)
    assert clip.subject == "anna"


def test_arrays_of_any_plain_type(tmp_path: Path) -> None:
    """Lists, whole numbers, doubles, and image sizes as floats."""
    arrays = {
        "keypoints_px": np.rint(PIXELS).astype(int).tolist(),
        "image_size": [1920.0, 1080.0],
        "fps": np.float32(29.5),
        "focal_px": [1500, 1510],
        "center_px": [960, 540],
        "pose_camera_m": np.asfortranarray(POSE_M.astype(np.float64)),
    }
    clip = read(tmp_path, arrays)
    np.testing.assert_array_equal(clip.keypoints_px, np.rint(PIXELS))
    np.testing.assert_array_equal(clip.pose_m, POSE_M)  # type: ignore[arg-type]
    assert (clip.image_size, clip.fps) == ((1920, 1080), 29.5)
    assert clip.camera is not None
    assert clip.camera.distortion == "opencv"
    np.testing.assert_array_equal(clip.camera.rotation, np.eye(3))


def test_poses_in_the_world_are_put_before_the_camera(tmp_path: Path) -> None:
    world_m = camera_to_world(POSE_M.astype(np.float64), CAMERA)
    arrays = {**WHOLE, "pose_camera_m": None, "pose_world_m": world_m}
    from_world = read(tmp_path / "world", arrays)
    from_camera = read(tmp_path / "camera", WHOLE)
    assert from_world.pose_m is not None
    assert from_world.pose_m.dtype == np.float32
    expected = world_to_camera(world_m, CAMERA)
    np.testing.assert_array_equal(from_world.pose_m, expected.astype(np.float32))
    np.testing.assert_allclose(from_world.pose_m, from_camera.pose_m, rtol=0, atol=1e-6)


def test_scores_and_joints_that_were_not_seen(tmp_path: Path) -> None:
    points = np.concatenate([PIXELS, RNG.uniform(size=(T, 17, 1))], axis=-1).astype(np.float32)
    points[2, 3] = np.nan
    clip = read(tmp_path, {**PLAIN, "keypoints_px": points})
    np.testing.assert_array_equal(clip.keypoints_px, points[..., :2])
    assert_same_array(clip.scores, points[..., 2])


def test_detections_are_chosen_by_name(tmp_path: Path) -> None:
    halpe = RNG.uniform(0, 1000, (T, 26, 3)).astype(np.float32)
    arrays = {**WHOLE, "keypoints_cpn_px": PIXELS + 3, "keypoints_my_net2_px": halpe}
    folder = written(tmp_path, {**arrays, "skeleton_my_net2": "Halpe"})
    true, cpn, net = (load_own(folder, name)[0] for name in ("gt", "cpn", "my_net2"))
    np.testing.assert_array_equal(true.keypoints_px, PIXELS)
    np.testing.assert_array_equal(cpn.keypoints_px, PIXELS + 3)
    np.testing.assert_array_equal(net.keypoints_px, halpe[..., :2])
    assert_same_array(net.scores, halpe[..., 2])
    assert (true.keypoint_skeleton, net.keypoint_skeleton) == (H36M_17, HALPE_26)
    with pytest.raises(
        DataFileError, match=r"lacks keypoints_hrnet_px; it has keypoints cpn, my_n"
    ):
        load_own(folder, "hrnet")


def test_detections_without_true_keypoints(tmp_path: Path) -> None:
    arrays = {"keypoints_det_px": PIXELS, "image_size": (9, 9), "skeleton": "coco"}
    assert read(tmp_path, arrays, "det").keypoint_skeleton is COCO_17
    with pytest.raises(DataFileError, match="lacks keypoints_px; it has keypoints det"):
        load_own(tmp_path, "gt")


def test_names_and_subjects_of_files(tmp_path: Path) -> None:
    names = ["ben_run_2", "anna", "_odd", "anna.left"]
    for name in names:
        written(tmp_path, PLAIN, f"train/{name}.npz")
    written(tmp_path, {**PLAIN, "subject": "Anna", "action": "Sit 2"}, "test/anna.npz")
    clips = load_own(tmp_path, split="all")
    assert [clip.name for clip in clips] == [
        "train/_odd", "train/anna.left", "train/anna", "train/ben_run_2", "test/anna"
    ]  # fmt: skip
    assert [clip.subject for clip in clips] == ["_odd", "anna.left", "anna", "ben", "Anna"]
    assert clips[-1].base_action == "Sit"
    assert len({clip.name for clip in clips}) == len(clips)
    assert [clip.name for clip in load_own(tmp_path)] == ["test/anna"]
    assert len(load_own(tmp_path, split="train")) == 4


def test_what_is_not_a_clip_is_left_alone(tmp_path: Path) -> None:
    written(tmp_path, PLAIN)
    for name in (".anna.12345678.part.npz", "._anna_walk.npz", "notes.txt"):
        (tmp_path / "test" / name).write_bytes(b"neither")
    (tmp_path / "test" / "more.npz").mkdir()
    assert [clip.name for clip in load_own(tmp_path)] == ["test/anna_walk"]


# What is written is read back


def test_round_trip_of_a_whole_clip(tmp_path: Path) -> None:
    clip = Clip(
        name="anything",
        subject="Ännä",
        action="Walk 1",
        camera=CAMERA,
        fps=30000 / 1001,
        image_size=(1920, 1080),
        keypoints_px=np.where(RNG.uniform(size=(T, 17, 1)) < 0.1, np.nan, PIXELS),
        scores=RNG.uniform(size=(T, 17)),
        keypoint_skeleton=COCO_17,
        pose_m=POSE_M,
    )
    (tmp_path / "train").mkdir()
    save_clip(str(tmp_path / "train" / "b_1.npz"), clip)
    (again,) = load_own(tmp_path, split="train")
    assert again.name == "train/b_1"
    assert_same(again, clip)
    with np.load(tmp_path / "train" / "b_1.npz", allow_pickle=False) as arrays:
        assert all(arrays[key].dtype != object for key in arrays)


@given(
    scores=st.booleans(), poses=st.booleans(), camera=st.booleans(),
    subject=st.sampled_from([None, "b", "S 1"]), action=st.sampled_from([None, "Sit 1"]),
    fps=st.none() | st.floats(1e-3, 1e3), frames=st.integers(1, 5), seed=st.integers(0, 99),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_round_trip_of_any_clip(
    scores, poses, camera, subject, action, fps, frames, seed, tmp_path_factory
) -> None:
    rng = np.random.default_rng(seed)
    clip = Clip(
        name="x",
        subject=subject,
        action=action,
        camera=CAMERA if camera else None,
        fps=fps,
        image_size=(1920, 1080),
        keypoints_px=rng.normal(500, 900, (frames, 17, 2)),
        scores=rng.uniform(size=(frames, 17)) if scores else None,
        pose_m=rng.uniform(1, 3, (frames, 17, 3)) if poses else None,
    )
    folder = tmp_path_factory.getbasetemp() / "own"
    (folder / "test").mkdir(parents=True, exist_ok=True)
    save_clip(folder / "test" / "a_b.npz", clip)
    (again,) = load_own(folder)
    assert_same(again, clip)


def test_every_clip_of_human36m_can_be_kept_as_own(tmp_path: Path) -> None:
    clips = [c for c in load_motion(write_videopose3d(tmp_path)) if c.pose_m[0, 0, 2] > 0]  # type: ignore[index]
    assert len(clips) > 4
    (tmp_path / "own" / "test").mkdir(parents=True)
    for number, clip in enumerate(clips):
        save_clip(tmp_path / "own" / "test" / f"{number:02d}.npz", clip)
    for ours, theirs in zip(load_motion(tmp_path / "own"), clips, strict=True):
        assert_same(ours, theirs)


def test_what_cannot_be_read_back_is_not_written(tmp_path: Path) -> None:
    folder = written(tmp_path, WHOLE) / "test"
    (clip,) = load_own(tmp_path)
    target = folder / "new.npz"
    own_joints = replace(H36M_17, name="mine")
    bad = [
        (replace(clip, keypoint_skeleton=own_joints), "skeleton 'mine' of its own; a file can"),
        (replace(clip, keypoint_skeleton=replace(COCO_17, name="h36m17")), "'h36m17' of its own"),
        (replace(clip, image_size=(100, 100)), r"images of \(100, 100\) .* camera \(1920, 1080\)"),
        (replace(clip, action="a\nb"), "action holds characters"),
        (replace(clip, fps=float("nan")), "fps is nan"),
        (replace(clip, pose_m=-POSE_M), "behind"),
    ]
    for wrong, says in bad:
        with pytest.raises((ClipError, DataFileError), match=says):
            save_clip(target, wrong)
    for path in (folder / "new", folder / "new.npy", folder / ".new.npz"):
        with pytest.raises(ValueError, match=r"is called NAME\.npz"):
            save_clip(path, clip)
    with pytest.raises(FileNotFoundError, match=r"missing.new\.npz"):
        save_clip(tmp_path / "missing" / "new.npz", clip)
    assert os.listdir(folder) == ["anna_walk.npz"]


def test_a_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = written(tmp_path, WHOLE) / "test" / "anna_walk.npz"
    before = path.read_bytes()
    (clip,) = load_own(tmp_path)

    def full_disk(file: Any, **arrays: np.ndarray) -> None:
        file.write(b"PK")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_clip(path, clip)
    assert path.read_bytes() == before
    assert os.listdir(path.parent) == ["anna_walk.npz"]


# The page for users


def test_the_example_in_the_docs(tmp_path: Path) -> None:
    (code,) = re.findall(r"```python\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert made.returncode == 0, made.stderr
    assert re.search(r"anna_walk.*0\.0 px", made.stdout), made.stdout
    (clip,) = load_motion(tmp_path / "mydata", split="train")
    assert clip.pose_m is not None
    assert clip.camera is not None
    np.testing.assert_allclose(
        project(clip.pose_m, clip.camera), clip.keypoints_px, rtol=0, atol=1e-3
    )
    assert (clip.subject, clip.action) == ("anna", "Walking 1")


def test_the_docs_list_the_joints_in_order() -> None:
    table = re.findall(r"^\| (\d+) \| ([a-z_]+) \|", DOCS.read_text(encoding="utf-8"), re.MULTILINE)
    assert [(int(number), joint) for number, joint in table] == list(enumerate(H36M_17.joints))
