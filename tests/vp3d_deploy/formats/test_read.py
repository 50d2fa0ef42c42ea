"""Keypoint files as the tools write them, and damaged ones."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pose_samples import make_poses, project_px

from vp3d_deploy.formats import FormatError, Track, read_tracks
from vp3d_deploy.formats.tracks import frames_from_ids
from vp3d_deploy.skeleton import COCO_17, H36M_17, OPENPOSE_25, Skeleton

RNG = np.random.default_rng(5)


def coco_person(n_frames: int = 6, x: float = 300.0, n_joints: int = 17) -> np.ndarray:
    """(T, J, 3): somebody about 200 pixels tall who walks slowly to the right, and scores."""
    body = np.random.default_rng(3).uniform([-50, -100, 0.4], [50, 100, 1.0], (n_joints, 3))
    body[1:5, :2] = body[0, :2] + np.array([[3, -3], [-3, -3], [6, 0], [-6, 0]])[: n_joints - 1]
    poses = np.tile(body, (n_frames, 1, 1))
    poses[..., 0] += x + 4.0 * np.arange(n_frames)[:, None]
    poses[..., 1] += 400
    return poses.astype(np.float32)


def assert_track(track: Track, expected: np.ndarray, first_frame: int = 0) -> None:
    """The track holds `expected` (T, J, 3), in which scores of 0 mark what is missing."""
    assert track.keypoints_px.dtype == np.float32
    np.testing.assert_array_equal(
        track.frame_indices, np.arange(first_frame, first_frame + len(expected))
    )
    seen = np.isfinite(expected).all(-1) & (expected[..., 2] > 0)
    np.testing.assert_allclose(track.keypoints_px[seen], expected[seen][:, :2], rtol=1e-6, atol=0)
    assert np.isnan(track.keypoints_px[~seen]).all()
    assert track.scores is not None
    np.testing.assert_allclose(track.scores[seen], expected[seen][:, 2], rtol=1e-6, atol=0)
    assert (track.scores[~seen] == 0).all()


def write(path, content) -> str:
    path.write_text(json.dumps(content))
    return path


def results(people: list[np.ndarray], **extra: object) -> list[dict]:
    """COCO results: entries for each person and frame, image ids from 0."""
    return [
        {"image_id": t, "category_id": 1, "keypoints": pose.ravel().tolist(), "score": 0.9, **extra}
        for t in range(len(people[0]))
        for pose in (person[t] for person in people)
        if np.isfinite(pose).any()
    ]


# ---------------------------------------------------------------- COCO and AlphaPose


def test_coco_results_without_ids_are_followed(tmp_path):
    left, right = coco_person(6, 200), coco_person(6, 700)
    entries = results([left, right])
    entries[2:4] = entries[3:1:-1]  # the detector does not keep an order
    tracks = read_tracks(write(tmp_path / "r.json", entries))
    assert [track.track_id for track in tracks] == [0, 1]
    assert_track(tracks[0], left)
    assert_track(tracks[1], right)
    assert tracks[0].skeleton == COCO_17
    assert tracks[0].image_size is None


def test_coco_track_ids_win_and_gaps_are_missing(tmp_path):
    person = coco_person(6)
    person[2:4] = np.nan
    person[5, 3, 2] = 0  # a joint that was not seen
    entries = [{**entry, "track_id": 12} for entry in results([person])]
    (track,) = read_tracks(write(tmp_path / "r.json", entries))
    assert track.track_id == 12
    assert track.n_seen == 4
    assert_track(track, person)


def test_coco_results_without_scores(tmp_path):
    """Some tools write 0 for every third value, which COCO's evaluation ignores."""
    person = coco_person(4)
    entries = results([np.concatenate([person[..., :2], np.zeros((4, 17, 1))], -1)])
    (track,) = read_tracks(write(tmp_path / "r.json", entries))
    assert track.scores is None
    assert np.isfinite(track.keypoints_px).all()
    assert (track.keypoints_with_scores()[..., 2] == 1).all()


def test_coco_annotations_carry_the_image_size_and_visibility(tmp_path):
    person = coco_person(3)
    visibility = np.array([2, 1, 0] + [2] * 14)
    content = {
        "images": [
            {"id": 70 + t, "width": 640, "height": 480, "frame_id": t + 1} for t in range(3)
        ],
        "annotations": [
            {"image_id": 70 + t, "keypoints": np.c_[person[t, :, :2], visibility].ravel().tolist()}
            for t in range(3)
        ],
        "categories": [{"keypoints": list(COCO_17.joints)}],
    }
    (track,) = read_tracks(write(tmp_path / "r.json", content))
    assert track.image_size == (640, 480)
    assert track.frame_indices.tolist() == [1, 2, 3]
    assert np.isfinite(track.keypoints_px[0, :2]).all()
    assert np.isnan(track.keypoints_px[:, 2]).all()
    assert track.scores is not None
    assert track.scores[0].tolist() == [1, 1, 0] + [1] * 14


@pytest.mark.parametrize("names", ["{}.jpg", "frame_{:06d}.png", "clip7_{:04d}_rendered.png"])
def test_alphapose_results(tmp_path, names):
    person = coco_person(12)
    entries = results([person], idx=[4.0], box=[0, 0, 1, 1])
    for entry in entries:
        entry["image_id"] = names.format(entry["image_id"])
        entry["score"] = 2.9
    entries = sorted(entries, key=lambda entry: entry["image_id"])  # "10.jpg" before "2.jpg"
    (track,) = read_tracks(write(tmp_path / "alphapose-results.json", entries))
    assert track.track_id == 4
    assert_track(track, person)


@pytest.mark.parametrize("key", ["bodies", "people"])
def test_alphapose_by_image_with_18_joints(tmp_path, key):
    person = coco_person(3, n_joints=18)
    field = "joints" if key == "bodies" else "pose_keypoints_2d"
    content = {
        f"{t}.jpg": {"version": 0.1, key: [{field: person[t].ravel().tolist()}]} for t in range(3)
    }
    (track,) = read_tracks(write(tmp_path / "r.json", content))
    assert track.skeleton.name == "openpose18"
    assert_track(track, person)


def test_halpe_136_keeps_the_body(tmp_path):
    person = coco_person(3, n_joints=136)
    (track,) = read_tracks(write(tmp_path / "r.json", results([person])))
    assert track.skeleton.name == "halpe26"
    assert_track(track, person[:, :26])


def test_same_id_twice_in_a_frame_keeps_the_better(tmp_path):
    good, bad = coco_person(3), coco_person(3, 900)
    entries = results([good], track_id=1) + [
        {**entry, "track_id": 1, "score": 0.2} for entry in results([bad])
    ]
    (track,) = read_tracks(write(tmp_path / "r.json", entries))
    assert_track(track, good)


# ---------------------------------------------------------------- OpenPose and MMPose


def openpose_frame(poses: list[np.ndarray], person_id: int = -1) -> dict:
    people = [
        {"person_id": [person_id], "pose_keypoints_2d": pose.ravel().tolist(),
         "face_keypoints_2d": [], "pose_keypoints_3d": []}
        for pose in poses
    ]  # fmt: skip
    return {"version": 1.3, "people": people}


def test_openpose_folder(tmp_path):
    """Two people, one of whom leaves the picture for a while."""
    a, b = coco_person(8, 200, 25), coco_person(8, 800, 25)
    b[3:5] = np.nan
    a[4, 7] = 0
    for t in range(8):
        people = [pose[t] for pose in (b, a) if np.isfinite(pose[t]).all()]
        write(tmp_path / f"clip_{t + 5:012d}_keypoints.json", openpose_frame(people))
    tracks = read_tracks(tmp_path)
    assert [track.skeleton for track in tracks] == [OPENPOSE_25, OPENPOSE_25]
    assert_track(tracks[0], a, first_frame=5)
    assert_track(tracks[1], b, first_frame=5)


def test_openpose_single_file_and_person_ids(tmp_path):
    person = coco_person(1, n_joints=25)
    (track,) = read_tracks(write(tmp_path / "x_keypoints.json", openpose_frame([person[0]], 3)))
    assert track.track_id == 3
    assert_track(track, person)


def test_openpose_empty_frames_are_gaps(tmp_path):
    person = coco_person(4, n_joints=25)
    for t in range(4):
        people = [] if t in (0, 2) else [person[t]]
        write(tmp_path / f"{t:012d}_keypoints.json", openpose_frame(people))
    (track,) = read_tracks(tmp_path)
    assert track.frame_indices.tolist() == [1, 2, 3]
    assert track.n_seen == 2


def mmpose_instances(poses: list[np.ndarray], **extra: object) -> list[dict]:
    return [
        {"keypoints": pose[:, :2].tolist(), "keypoint_scores": pose[:, 2].tolist(),
         "bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_score": 0.8, **extra}
        for pose in poses
    ]  # fmt: skip


def test_mmpose_video(tmp_path):
    a, b = coco_person(5, 200), coco_person(5, 600)
    frames = [{"frame_id": t, "instances": mmpose_instances([b[t], a[t]])} for t in range(5)]
    frames.append({"frame_id": 5, "instances": []})
    tracks = read_tracks(write(tmp_path / "video.json", frames))
    assert len(tracks) == 2
    assert_track(tracks[0], b)
    assert_track(tracks[1], a)
    assert tracks[0].skeleton == COCO_17


def test_mmpose_demo_names_its_data_set_and_counts_from_one(tmp_path):
    h36m = np.concatenate([project_px(make_poses(4)), np.full((4, 17, 1), 0.5)], -1)
    content = {
        "meta_info": {"dataset_name": "h36m", "num_keypoints": 17},
        "instance_info": [
            {"frame_id": t + 1, "instances": mmpose_instances([h36m[t]], track_id=2)}
            for t in range(4)
        ],
    }
    (track,) = read_tracks(write(tmp_path / "demo.json", content))
    assert (track.track_id, track.skeleton) == (2, H36M_17)
    assert track.skeleton_from == "named in the file"
    assert_track(track, h36m, first_frame=1)


def test_mmpose_folder_of_pictures(tmp_path):
    person = coco_person(3)
    for t in range(3):
        write(tmp_path / f"img_{t}.json", mmpose_instances([person[t]]))
    write(tmp_path / "img_3.json", [])
    (track,) = read_tracks(tmp_path)
    assert_track(track, person)


@pytest.mark.parametrize("bottom_up", [False, True])
def test_mmpose_0(tmp_path, bottom_up):
    """Top-down: a batch holds people of several images; bottom-up: all people of one, with tags."""
    people = [coco_person(6, 300), coco_person(6, 900)]
    if bottom_up:
        batches = [
            {"preds": [np.c_[p[t], np.ones(17)].tolist() for p in people],
             "image_paths": [f"v/{t:06d}.jpg"], "scores": [0.9, 0.8]} for t in range(6)
        ]  # fmt: skip
    else:
        batches = [
            {"preds": [p[t].tolist() for t in frames for p in people],
             "image_paths": [f"v/{t:06d}.jpg" for t in frames for _ in people],
             "boxes": [[0, 0, 1, 1, 4e4, 0.9]] * 6, "bbox_ids": [0] * 6, "output_heatmap": None}
            for frames in ([0, 1, 2], [3, 4, 5])
        ]  # fmt: skip
    tracks = read_tracks(write(tmp_path / "r.json", batches))
    assert len(tracks) == 2
    for track, person in zip(sorted(tracks, key=lambda t: t.track_id), people, strict=True):
        assert track.skeleton == COCO_17
        assert_track(track, person)


def test_the_networks_own_skeleton(tmp_path):
    names = tuple(f"joint_{joint}" for joint in range(16))
    own = Skeleton("unnamed16", names, (-1, *[0] * 15), (), ())
    person = coco_person(5, n_joints=16)
    np.save(tmp_path / "k.npy", person)
    np.savez(tmp_path / "k.npz", keypoints=person, skeleton="unnamed16")
    np.savetxt(tmp_path / "k.csv", person[..., :2].reshape(5, -1), delimiter=",")
    write(tmp_path / "k.json", results([person]))
    for name, origin in (
        ("k.npy", "16 joints, as the network reads"),
        ("k.npz", "named in the file"),
        ("k.csv", "16 joints, as the network reads"),
        ("k.json", "16 joints, as the network reads"),
    ):
        (track,) = read_tracks(tmp_path / name, network=own)
        assert (track.skeleton, track.skeleton_from) == (own, origin)
    assert read_tracks(tmp_path / "k.npy", "unnamed16", own)[0].skeleton_from == "as given"
    with pytest.raises(FormatError, match=r"16 joints per person; known counts are 17 \(coco17 or"):
        read_tracks(tmp_path / "k.npy")
    np.save(tmp_path / "few.npy", person[:, :14])
    with pytest.raises(FormatError, match=r"14 joints .* known counts are 16 \(unnamed16\), 17"):
        read_tracks(tmp_path / "few.npy", network=own)
    with pytest.raises(ValueError, match="unknown skeleton 'dog'; .*, unnamed16"):
        read_tracks(tmp_path / "k.npy", "dog", own)
    # Formats and counts that mean a skeleton go on meaning it.
    np.save(tmp_path / "coco.npy", coco_person(5))
    assert read_tracks(tmp_path / "coco.npy", network=own)[0].skeleton == COCO_17


def test_bare_csv_of_a_network_with_fifteen_joints(tmp_path):
    """30 numbers in a row are 15 joints where a network reads 15, not 10 with scores."""
    own = Skeleton("own15", tuple(f"j{i}" for i in range(15)), (-1, *[0] * 14), (), ())
    person = coco_person(5, n_joints=15)
    np.savetxt(tmp_path / "k.csv", person[..., :2].reshape(5, -1), delimiter=",")
    (track,) = read_tracks(tmp_path / "k.csv", network=own)
    assert track.skeleton == own
    np.testing.assert_allclose(track.keypoints_px, person[..., :2], rtol=1e-6)


@pytest.mark.filterwarnings("error")
def test_half_precision_is_read_without_warnings(tmp_path):
    person = coco_person(4)[..., :2].astype(np.float16)
    np.save(tmp_path / "k.npy", person)
    (track,) = read_tracks(tmp_path / "k.npy")
    np.testing.assert_array_equal(track.keypoints_px, person.astype(np.float32))


def test_seventeen_joints_of_unknown_meaning_are_told_by_their_places(tmp_path):
    h36m = np.concatenate([project_px(make_poses(6)), np.full((6, 17, 1), 0.5)], -1)
    for person, skeleton in ((h36m, H36M_17), (coco_person(6), COCO_17)):
        frames = [{"frame_id": t, "instances": mmpose_instances([person[t]])} for t in range(6)]
        (track,) = read_tracks(write(tmp_path / "v.json", frames))
        assert track.skeleton == skeleton
        assert track.skeleton_from == "judged by the keypoints"
        np.save(tmp_path / "v.npy", person[..., :2])
        (track,) = read_tracks(tmp_path / "v.npy")
        assert track.skeleton == skeleton
    (track,) = read_tracks(tmp_path / "v.npy", skeleton="h36m")
    assert track.skeleton == H36M_17


def test_skeletons_are_told_apart_on_real_data(shared_data, tmp_path):
    """Every clip of the motion data, climbing included, looks like Human3.6M."""
    path = shared_data / "motion" / "videopose3d" / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    clips = read_tracks(path)
    assert len({clip.video for clip in clips}) == 120
    for clip in clips:
        np.save(tmp_path / "c.npy", clip.keypoints_px)
        assert read_tracks(tmp_path / "c.npy")[0].skeleton == H36M_17, clip.video
    wild = read_tracks(shared_data / "wild" / "data_2d_custom_myvideos.npz")
    np.save(tmp_path / "c.npy", wild[0].keypoints_px)
    assert read_tracks(tmp_path / "c.npy")[0].skeleton == COCO_17


# ---------------------------------------------------------------- arrays


def test_wild_file(shared_data):
    (track,) = read_tracks(shared_data / "wild" / "data_2d_custom_myvideos.npz")
    assert track.video == "stop.mov"
    assert track.image_size == (1920, 1080)
    assert (track.n_frames, track.n_seen) == (129, 129)
    assert (track.skeleton, track.skeleton_from) == (COCO_17, "named in the file")
    assert track.scores is None


def test_wild_layout_with_two_videos_and_two_people(tmp_path):
    a, b = coco_person(5)[..., :2], coco_person(5, 700)[..., :2]
    b[1:3] = np.nan
    np.savez(
        tmp_path / "w.npz",
        positions_2d={"a.mp4": {"custom": [a]}, "b.mp4": {"custom": [a, b]}},
        metadata={
            "layout_name": "coco",
            "video_metadata": {"a.mp4": {"w": 64, "h": 48}, "b.mp4": {"w": 640, "h": 480}},
        },
    )
    tracks = read_tracks(tmp_path / "w.npz")
    assert {(track.video, track.track_id, track.n_seen) for track in tracks} == {
        ("a.mp4", 0, 5), ("b.mp4", 0, 5), ("b.mp4", 1, 3)
    }  # fmt: skip
    assert {track.image_size for track in tracks if track.video == "b.mp4"} == {(640, 480)}


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("n_people", [None, 2])
def test_plain_arrays(tmp_path, extra, n_people):
    people = np.stack([coco_person(4), coco_person(4, 600)])[..., : 2 + extra]
    array = people if n_people else people[0]
    np.save(tmp_path / "k.npy", array)
    np.savez(tmp_path / "k.npz", array)
    for name in ("k.npy", "k.npz"):
        tracks = read_tracks(tmp_path / name)
        assert len(tracks) == (n_people or 1)
        assert (tracks[0].scores is None) == (extra == 0)
        np.testing.assert_array_equal(tracks[0].keypoints_px, people[0, ..., :2])


def test_npz_with_companions(tmp_path):
    person = coco_person(4)
    np.savez(
        tmp_path / "k.npz", keypoints_px=person[None, ..., :2], scores=person[None, ..., 2],
        image_size=[640, 480], fps=25, skeleton="coco", track_ids=["ann"], frame_indices=[9],
        other=np.zeros((3, 3, 3)),
    )  # fmt: skip
    (track,) = read_tracks(tmp_path / "k.npz")
    assert (track.image_size, track.fps, track.track_id) == ((640, 480), 25.0, "ann")
    assert_track(track, person, first_frame=9)


# ---------------------------------------------------------------- CSV


def long_csv(person: np.ndarray, joints: list[str], delimiter: str = ",") -> str:
    rows = [["frame", "person", "joint", "x", "y", "score"]]
    for t, pose in enumerate(person):
        for name, (x, y, score) in zip(joints, pose, strict=True):
            rows.append([str(t), "7", name, f"{x:.9g}", f"{y:.9g}", f"{score:.9g}"])
    return "\n".join(delimiter.join(row) for row in rows)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_long(tmp_path, delimiter):
    person = coco_person(4)
    person[1, 2] = np.nan
    order = list(COCO_17.joints)
    (tmp_path / "k.csv").write_text(
        "\ufeff" + long_csv(person, order, delimiter).replace("nan", "")
    )
    (track,) = read_tracks(tmp_path / "k.csv")
    assert (track.track_id, track.skeleton) == (7, COCO_17)
    assert_track(track, person)
    by_number = long_csv(person, [str(i) for i in range(17)])
    (tmp_path / "k.csv").write_text(by_number)
    assert_track(read_tracks(tmp_path / "k.csv")[0], person)


def test_csv_wide_and_bare(tmp_path):
    person = coco_person(4)
    names = [f"{joint}_{part}" for joint in COCO_17.joints for part in ("x", "y", "score")]
    body = "\n".join(",".join(f"{v:.9g}" for v in pose.ravel()) for pose in person)
    (tmp_path / "wide.csv").write_text(",".join(names) + "\n" + body)
    numbered = [f"{part}{i}" for i in range(17) for part in "xys"]
    (tmp_path / "numbered.csv").write_text(",".join(numbered) + "\n" + body)
    (tmp_path / "bare.csv").write_text(body)
    for name in ("wide", "numbered", "bare"):
        (track,) = read_tracks(tmp_path / f"{name}.csv")
        assert_track(track, person)
        assert track.skeleton == COCO_17


def test_our_own_skeleton_by_joint_names(tmp_path):
    person = np.concatenate([project_px(make_poses(3)), np.ones((3, 17, 1))], -1)
    (tmp_path / "k.csv").write_text(long_csv(person, list(H36M_17.joints)))
    (track,) = read_tracks(tmp_path / "k.csv")
    assert track.skeleton == H36M_17


# ---------------------------------------------------------------- frames


@pytest.mark.parametrize(
    ("ids", "expected"),
    [
        ([4, 5, 9], [4, 5, 9]),  # a video with a gap
        ([139, 397133, 785], [0, 2, 1]),  # photographs
        ([-1], [0]),
        ([2**60, 2**60 + 1], [0, 1]),
    ],
)
def test_frame_numbers_from_ids(ids, expected):
    frames = frames_from_ids(ids, "x")
    assert [frames[i] for i in ids] == expected


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a": 1}, "no keypoint format that is known: found an object with 'a'"),
        ([], "no keypoint format"),
        (3, "no keypoint format"),
        ({"format": "vp3d-poses"}, "3D poses already"),
        (results([coco_person(1, n_joints=5)]), "5 joints per person; known counts are 17"),
        (results([coco_person(1)]) + results([coco_person(1, n_joints=25)]), "17 and 25 joints"),
        ([{"image_id": 0, "keypoints": [1, 2]}], r"entry 0, keypoints: expected \[x, y, score"),
        ([{"image_id": 0, "keypoints": ["a"] * 51}], "entry 0, keypoints: expected"),
        ([{"image_id": 0, "keypoints": [True] * 51}], "entry 0, keypoints: expected"),
        ([{"image_id": 0, "keypoints": [1e300] * 51}], "a coordinate of"),
        ([{"image_id": 0, "keypoints": [10**400] * 51}], "entry 0, keypoints: expected"),
        ([{"image_id": 0.5, "keypoints": [1.0] * 51}], "image_id: expected a whole number"),
        ([{"image_id": 0, "keypoints": [1.0] * 51, "track_id": "x" * 9, "score": []}], "score"),
        ([{"image_id": 0, "keypoints": [0.5] * 51}], "the largest coordinate is 0.5"),
        ([{"image_id": 0, "keypoints": [0, 0, 0] * 17}], "nobody"),
        ([{"image_id": 0, "keypoints": None}], "nobody"),
        ([{"image_id": 0, "keypoints": [1.0] * 51}, 7], "entry 1: expected an object"),
        ({"people": [{}]}, 'person 0: no "pose_keypoints_2d"'),
        ({"people": [3]}, "person 0: expected an object"),
        ({"people": []}, "nobody"),
        ([{"frame_id": 0, "instances": 4}], 'expected an object with "instances"'),
        ([{"frame_id": 0, "instances": [{"keypoints": [[1, 2, 3]]}]}], "3D poses already"),
        (
            [{"frame_id": 0, "instances": [{"keypoints": [[1, 2]], "keypoint_scores": [1, 2]}]}],
            "frame 0: instance 0: 1 keypoints, but scores are a list of 2",
        ),
        ({"0.jpg": {"bodies": 3}}, "expected a list of people"),
        ({"people": [{"pose_keypoints_2d": [9, 9, 1]}]}, "1 joint per person; these are no whole"),
        ([{"preds": 3, "image_paths": []}], 'batch 0: expected an object with a list "preds"'),
        ([{"preds": [[[9, 9, 1]]], "image_paths": [4]}], "expected the path of an image for each"),
        ([{"preds": [[[9, 9, 1]]], "image_paths": ["a", "b"]}], "found a list of 2"),
        ([{"preds": [7], "image_paths": ["a"]}], "batch 0, preds of person 0: expected a list"),
    ],
)
def test_wrong_json_is_refused_in_one_sentence(tmp_path, content, message):
    path = write(tmp_path / "in.json", content)
    with pytest.raises(FormatError, match=message) as caught:
        read_tracks(path)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{,", "line 1, column 2: not valid JSON"),
        (b"\xff\xfe{}", "byte 0 is no UTF-8"),
        (b"[" * 200_000, "nested too deeply"),
        (b"", "not valid JSON"),
    ],
)
def test_text_that_is_no_json(tmp_path, text, message):
    (tmp_path / "in.json").write_bytes(text)
    with pytest.raises(FormatError, match=message):
        read_tracks(tmp_path / "in.json")


def test_json_nan_counts_as_missing(tmp_path):
    """Python writes NaN into JSON where a detector found nothing."""
    person = coco_person(2)
    person[0, 3] = np.nan
    (track,) = read_tracks(write(tmp_path / "r.json", results([person])))
    assert "NaN" in (tmp_path / "r.json").read_text()
    assert_track(track, person)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no rows"),
        ("frame,joint,x,y\n0,0,1\n", "line 2: 3 fields under a header of 4"),
        ("frame,joint,x,y\n0,zero,1,2\n", "zero are those of no known skeleton"),
        ("frame,joint,x,y\n0,0,a,2\n", "line 2: expected a number, found 'a'"),
        ("frame,joint,x,y\n0.5,0,1,2\n", "line 2, frame: expected a whole number"),
        ("joint,x,y\n0,1,2\n", "no column called frame"),
        ("a,b\n1,2\n", "no keypoints under the header a, b"),
        ("frame,frame\n1,2\n", "names frame more than once"),
        ("1,2,3,4,5\n", "5 numbers; expected 2 or 3"),
        ("1,2\n1,2,3,4\n", "line 2: 4 numbers; line 1 has 2"),
        ("1e30,2\n", "line 1: 1e30 is too large"),
    ],
)
def test_wrong_csv_is_refused_in_one_sentence(tmp_path, text, message):
    path = tmp_path / "in.csv"
    path.write_text(text)
    with pytest.raises(FormatError, match=message) as caught:
        read_tracks(path)
    assert str(caught.value).startswith(str(path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(3), "b": np.zeros(4)}, "no array of keypoints among a, b"),
        ({"keypoints": np.zeros((3, 17))}, r"float64 \(3, 17\); expected numbers"),
        ({"keypoints": np.ones((17, 2))}, r"save a single frame as keypoints\[None\]"),
        ({"found": np.ones((17, 2))}, r"save a single frame as keypoints\[None\]"),
        ({"keypoints": np.full((3, 17, 2), np.iinfo(np.int64).min)}, "a coordinate of 9.2"),
        ({"keypoints": np.zeros((3, 17, 4))}, r"shape \(3, 17, 4\); expected"),
        ({"keypoints": np.array([["x"]] * 3)[None]}, "expected numbers"),
        ({"keypoints": np.full((3, 17, 2), np.nan)}, "nobody is seen"),
        ({"keypoints": np.full((3, 17, 2), 1e30)}, "a coordinate of 1e"),
        ({"keypoints": coco_person()[..., :2], "scores": np.zeros((2, 17))}, "scores are"),
        ({"keypoints": coco_person()[..., :2], "image_size": np.zeros(3)}, "image_size is"),
        ({"keypoints": coco_person()[..., :2], "image_size": np.zeros(2)}, "0.0 x 0.0 is no"),
        ({"joints_m": np.zeros((3, 17, 3))}, "3D poses already"),
        ({"positions_2d": np.zeros(3)}, "expected a pickled dict"),
        ({"positions_2d": {"v": {"a": [np.zeros((3, 17))]}}}, "expected a list of arrays"),
        ({"positions_2d": {"v": 3}}, "is no dict of actions"),
        ({"positions_2d": {}}, "nobody"),
    ],
)
def test_wrong_npz_is_refused_in_one_sentence(tmp_path, arrays, message):
    path = tmp_path / "in.npz"
    np.savez(path, **arrays)
    with pytest.raises(FormatError, match=message) as caught:
        read_tracks(path)
    assert str(caught.value).startswith(str(path))


def test_frames_far_apart_do_not_exhaust_memory(tmp_path):
    """A few entries that claim frames a billion apart; and many people over a long time."""
    person = coco_person(2)
    entries = results([person], track_id=1)
    entries[1]["image_id"] = 1_000_000_000
    (track,) = read_tracks(write(tmp_path / "r.json", entries))
    assert track.n_frames == 2
    spread = [{**entries[0], "image_id": t, "track_id": n} for n in range(60) for t in (0, 99_000)]
    spread += [{**entries[0], "image_id": t, "track_id": "x"} for t in range(0, 99_000, 10)]
    with pytest.raises(FormatError, match="more than 200,000,000"):
        read_tracks(write(tmp_path / "r.json", spread))


def test_unknown_kinds_of_input(tmp_path):
    (tmp_path / "x.txt").write_text("")
    with pytest.raises(FormatError, match=r"x\.txt: cannot read \.txt; expected \.npz"):
        read_tracks(tmp_path / "x.txt")
    (tmp_path / "folder").mkdir()
    with pytest.raises(FormatError, match=r"no \.json files"):
        read_tracks(tmp_path / "folder")
    write(tmp_path / "folder" / "a.json", {"x": 1})
    with pytest.raises(FormatError, match=r"a\.json: expected one frame by OpenPose"):
        read_tracks(tmp_path / "folder")
    with pytest.raises(OSError, match=r"gone\.json"):
        read_tracks(tmp_path / "gone.json")
    with pytest.raises(ValueError, match="unknown skeleton 'dog'"):
        read_tracks(tmp_path / "gone.json", skeleton="dog")
    np.save(tmp_path / "k.npy", coco_person()[..., :2])
    with pytest.raises(FormatError, match=r"17 joints per person, .*'halpe26' \(as given\) has 26"):
        read_tracks(tmp_path / "k.npy", skeleton="halpe")
