"""Poses: what is refused, views of people, merging, saving and loading."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest
from pose_samples import STANDING_M, lose, make_poses

from vp3d_deploy.poses import Poses, PosesError, merge_people
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton


def assert_same(a: Poses, b: Poses) -> None:
    for name in ("joints_m", "confidence", "trajectory_m", "frame_indices"):
        x, y = getattr(a, name), getattr(b, name)
        if x is None:
            assert y is None, name
            continue
        assert x.dtype == y.dtype
        assert x.shape == y.shape
        np.testing.assert_array_equal(x, y, err_msg=name)  # NaN equals NaN
    assert a.skeleton == b.skeleton
    assert a.fps == b.fps
    assert a.track_ids == b.track_ids


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints_m": np.zeros((5, 16, 3), np.float32)}, r"\(5, 16, 3\); expected \(T, 17, 3\)"),
        ({"joints_m": np.zeros((5, 17, 3))}, "joints_m is float64; expected float32"),
        ({"joints_m": [[0.0]]}, "of a list, not an array"),
        ({"confidence": np.zeros((4, 17), np.float32)}, r"\(4, 17\); expected \(5, 17\)"),
        ({"trajectory_m": np.zeros((5, 3), np.float32)}, r"\(5, 3\); expected \(5, 1, 3\)"),
        ({"frame_indices": np.arange(5, dtype=np.int32)}, "int32; expected int64"),
        ({"frame_indices": np.arange(6)}, r"\(6,\); expected \(5,\)"),
        ({"fps": 0.0}, "fps is 0.0"),
        ({"fps": float("nan")}, "fps is nan"),
        ({"track_ids": (1, 2)}, "expected 1 names or numbers"),
        ({"track_ids": (1.5,)}, "whole numbers or strings"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    arguments = {
        "joints_m": np.zeros((5, 17, 3), np.float32),
        "trajectory_m": None,
        "confidence": np.zeros((5, 17), np.float32),
        "skeleton": H36M_17,
    }
    with pytest.raises(PosesError, match=message):
        Poses(**{**arguments, **change})


def test_two_people_need_two_names():
    poses = make_poses(n_people=2)
    with pytest.raises(PosesError, match="one of their own"):
        Poses(poses.joints_m, None, poses.confidence, H36M_17, track_ids=(7, 7))


def test_properties():
    poses = make_poses(6, n_people=2)
    assert (poses.n_frames, poses.n_people) == (6, 2)
    assert poses.names[10] == "head"
    assert poses.parents[0] == -1
    assert poses.frame_indices.tolist() == [0, 1, 2, 3, 4, 5]
    np.testing.assert_array_equal(poses.absolute_m[:, :, 0], poses.trajectory_m[:, :, 0])
    second = poses.person(1)
    assert second.joints_m.shape == (6, 17, 3)
    assert second.track_ids == (4,)
    np.testing.assert_array_equal(second.trajectory_m, poses.trajectory_m[1])
    assert second.as_people().joints_m.shape == (1, 6, 17, 3)
    with pytest.raises(PosesError, match="no trajectory"):
        _ = make_poses(trajectory=False).absolute_m


@pytest.mark.parametrize("suffix", [".npz", ".json"])
@pytest.mark.parametrize("n_people", [None, 1, 3])
@pytest.mark.parametrize("trajectory", [True, False])
def test_loads_exactly_what_was_saved(tmp_path, suffix, n_people, trajectory):
    poses = make_poses(9, n_people, trajectory)
    poses.joints_m[..., 2, 5, 1] = np.nan  # one coordinate alone
    poses.joints_m[..., 3, 4, :] = np.nan  # a joint
    poses.joints_m[..., 4, :, :] = np.nan  # a frame
    poses.joints_m[..., 5, 3, :] = np.float32([1e-41, -1e20, 0.1])
    poses.confidence[..., 4, :] = 0
    poses.frame_indices = poses.frame_indices * 3 + 7
    path = tmp_path / f"out{suffix}"
    assert poses.save(path) == (path,)
    assert_same(Poses.load(path), poses)


@pytest.mark.parametrize("suffix", [".npz", ".json"])
def test_other_skeletons_ids_and_no_frames_survive(tmp_path, suffix):
    skeleton = Skeleton("stick", ("a", "left_b", "right_b"), (-1, 0, 0), (1,), (2,))
    poses = Poses(
        np.zeros((2, 0, 3, 3), np.float32),
        np.zeros((2, 0, 1, 3), np.float32),
        np.zeros((2, 0, 3), np.float32),
        skeleton,
        track_ids=(5, "left \u00e9"),
    )
    poses.save(tmp_path / f"out{suffix}")
    assert_same(Poses.load(tmp_path / f"out{suffix}"), poses)
    coco = Poses(
        np.zeros((1, 17, 3), np.float32), None, np.ones((1, 17), np.float32), COCO_17, fps=25.0
    )
    coco.save(tmp_path / f"coco{suffix}")
    assert Poses.load(tmp_path / f"coco{suffix}").skeleton == COCO_17


def test_npz_opens_without_pickle(tmp_path):
    make_poses(4, 2).save(tmp_path / "out.npz")
    with np.load(tmp_path / "out.npz", allow_pickle=False) as file:
        assert file["joints_m"].shape == (2, 4, 17, 3)
        assert file["joint_names"].tolist() == list(H36M_17.joints)
        assert file["track_ids"].tolist() == [3, 4]
        assert float(file["fps"]) == 50.0


def test_json_is_as_documented(tmp_path):
    poses = make_poses(3, 1)
    lose(poses, 0, slice(1, 2))
    poses.save(tmp_path / "out.json")

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    content = json.loads((tmp_path / "out.json").read_text(), parse_constant=refuse)
    assert (content["format"], content["version"], content["units"]) == ("vp3d-poses", 1, "metres")
    assert content["frame_indices"] == [0, 1, 2]
    (person,) = content["people"]
    assert person["track_id"] == 3
    assert person["joints_m"][1] is None
    assert person["trajectory_m"][1] is None
    assert person["confidence"][1] == [0] * 17
    assert np.float32(person["joints_m"][2][5]).tolist() == poses.joints_m[0, 2, 5].tolist()


def test_csv_columns_and_rows(tmp_path):
    poses = make_poses(3, 2)
    lose(poses, 1, slice(0, 2))
    poses.frame_indices = poses.frame_indices + 10
    poses.save(tmp_path / "out.csv")
    lines = (tmp_path / "out.csv").read_text().splitlines()
    header = lines[0].split(",")
    assert lines[0] == (
        "frame,time_s,person,joint,x_m,y_m,z_m,confidence,root_x_m,root_y_m,root_z_m"
    )
    assert len(lines) == 1 + 3 * 2 * 17
    rows = [dict(zip(header, line.split(","), strict=True)) for line in lines[1:]]
    first = rows[5]
    assert (first["frame"], first["time_s"], first["person"]) == ("10", "0.200000", "3")
    assert first["joint"] == "left_knee"
    read_back = np.float32([first["x_m"], first["y_m"], first["z_m"]])
    np.testing.assert_array_equal(read_back, poses.joints_m[0, 0, 5])
    lost = rows[17]
    assert (lost["person"], lost["x_m"], lost["root_z_m"], lost["confidence"]) == ("4", "", "", "0")


def test_csv_keeps_every_float32(tmp_path):
    poses = make_poses(2)
    poses.confidence[...] = np.random.default_rng(0).uniform(0, 1, poses.confidence.shape)
    poses.save(tmp_path / "out.csv")
    rows = [line.split(",") for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    read_back = np.float32([row[7] for row in rows]).reshape(2, 17)
    np.testing.assert_array_equal(read_back, poses.confidence)


def test_shown_in_a_line():
    poses = make_poses(40, 2)
    assert repr(poses) == f"Poses(2 people, 40 frames at {poses.fps:g} fps, h36m17, trajectory)"
    poses = poses.person(0)
    poses.trajectory_m = None
    assert repr(poses) == f"Poses(1 person, 40 frames at {poses.fps:g} fps, h36m17, no trajectory)"
    single = Poses(poses.joints_m[:1], None, poses.confidence[:1], poses.skeleton)
    assert repr(single) == "Poses(1 person, 1 frame, h36m17, no trajectory)"


def test_unknown_suffix_and_missing_folder(tmp_path):
    poses = make_poses(2)
    with pytest.raises(PosesError, match=r"out\.fbx: cannot write \.fbx; .*\.npz, \.json"):
        poses.save(tmp_path / "out.fbx")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        poses.save(tmp_path / "no" / "out.npz")
    with pytest.raises(PosesError, match=r"load from \.npz and \.json, not from \.bvh"):
        Poses.load(tmp_path / "out.bvh")


def test_a_failed_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "out.json"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vp3d_deploy.formats.poses_json._write_frames", fail)
    with pytest.raises(KeyboardInterrupt):
        make_poses(2).save(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"]


def test_saved_files_have_the_usual_permissions_and_links_stay_links(tmp_path):
    target, link = tmp_path / "real.npz", tmp_path / "link.npz"
    target.write_text("old")
    link.symlink_to(target)
    before = os.umask(0o022)
    try:
        make_poses(2).save(link)
    finally:
        os.umask(before)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o644
    assert Poses.load(target).n_frames == 2


def broken(content: dict, **changes: object) -> str:
    return json.dumps({**content, **changes})


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda c: "{", "line 1, column 2: not valid JSON"),
        (lambda c: "[" * 100_000, "nested too deeply"),
        (lambda c: "[1, 2]", "not poses; found a list of 2"),
        (lambda c: broken(c, version=9), "version 9; this program reads 1"),
        (lambda c: broken(c, people=[]), "nobody"),
        (lambda c: broken(c, people=[{"joints_m": 3}]), "person 0, joints_m: expected a list of 2"),
        (lambda c: broken(c, frame_indices=["x"]), "frame_indices: expected a number"),
        (lambda c: broken(c, frame_indices=[0]), "expected a list of 1, found a list of 2"),
        (lambda c: broken(c, fps="fast"), "fps is 'fast'"),
        (lambda c: broken(c, skeleton={"joints": ["a"], "parents": [0]}), "'left'"),
        (
            lambda c: broken(c, skeleton={**c["skeleton"], "parents": [0] * 17}),
            "not a tree with one root",
        ),
    ],
)
def test_damaged_json_is_refused_in_one_sentence(tmp_path, make, message):
    path = tmp_path / "in.json"
    make_poses(2, 1).save(path)
    path.write_text(make(json.loads(path.read_text())))
    with pytest.raises(ValueError, match=message) as caught:
        Poses.load(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": np.array("else")}, "not poses"),
        ({"version": np.array(2)}, "version 2"),
        ({"joints_m": np.zeros((2, 5), np.float32)}, r"\(2, 5\); expected"),
        ({"joints_m": np.zeros((2, 17, 3), np.int64)}, "int64; expected float32"),
        ({"joint_names": np.arange(17)}, "expected J names"),
        ({"fps": np.array([1.0, 2.0])}, "expected one number"),
        ({"parents": np.zeros(17)}, "float64; expected whole numbers"),
    ],
)
def test_damaged_npz_is_refused_in_one_sentence(tmp_path, changes, message):
    path = tmp_path / "in.npz"
    make_poses(2).save(path)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, **changes})
    with pytest.raises(ValueError, match=message) as caught:
        Poses.load(path)
    assert str(path) in str(caught.value)


def test_merge_places_people_at_their_frames():
    def person(first: int, n: int, trajectory: bool = True) -> Poses:
        poses = make_poses(n, trajectory=trajectory, seed=first)
        poses.frame_indices = np.arange(first, first + n, dtype=np.int64)
        return poses

    early, late = person(4, 3), person(9, 2)
    merged = merge_people([early, late], [7, "b"], H36M_17)
    assert merged.joints_m.shape == (2, 7, 17, 3)
    assert merged.frame_indices.tolist() == list(range(4, 11))
    assert merged.track_ids == (7, "b")
    np.testing.assert_array_equal(merged.joints_m[0, :3], early.joints_m)
    np.testing.assert_array_equal(merged.trajectory_m[1, 5:], late.trajectory_m)
    assert np.isnan(merged.joints_m[0, 3:]).all()
    assert (merged.confidence[1, :5] == 0).all()
    assert merge_people([early, person(0, 2, False)], [0, 1], H36M_17).trajectory_m is None
    with pytest.raises(PosesError, match="0 people with 1 track ids"):
        merge_people([], [1], H36M_17)


def test_sample_person_stands_upright():
    """The samples that other tests draw on: y is down, the head on top."""
    assert STANDING_M[10, 1] == STANDING_M[:, 1].min()
