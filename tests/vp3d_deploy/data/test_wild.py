"""VideoPose3D's layout for videos in the wild."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vp3d_deploy.data import DataFileError, load_wild
from vp3d_deploy.skeleton import COCO_17, H36M_17

TRACK = np.random.default_rng(0).uniform(0, 1000, (6, 17, 2)).astype(np.float32)


def metadata(**changes: Any) -> dict[str, Any]:
    videos = {"a.mp4": {"w": 1920, "h": 1080}, "b.mp4": {"w": np.int64(640), "h": 480.0}}
    return {"layout_name": "coco", "num_joints": 17, "video_metadata": videos, **changes}


def written(tmp_path: Path, positions: Any, meta: Any = None) -> Path:
    path = tmp_path / "data_2d_custom_test.npz"
    np.savez_compressed(
        path,
        positions_2d=np.array(positions, object),
        metadata=np.array(metadata() if meta is None else meta, object),
    )
    return path


def test_a_real_file(shared_data: Path) -> None:
    path = shared_data / "wild" / "data_2d_custom_myvideos.npz"
    (clip,) = load_wild(path)
    assert (clip.name, clip.image_size, clip.n_frames) == ("stop.mov", (1920, 1080), 129)
    assert clip.keypoint_skeleton is COCO_17
    assert (clip.subject, clip.action, clip.camera, clip.fps) == (None, None, None, None)
    assert clip.scores is None
    assert clip.pose_m is None
    original = np.load(path, allow_pickle=True)["positions_2d"].item()["stop.mov"]["custom"][0]
    np.testing.assert_array_equal(clip.keypoints_px, original)


def test_several_videos_and_tracks(tmp_path: Path) -> None:
    positions = {
        "a.mp4": {"custom": [TRACK, TRACK[:3] + 1]},
        "b.mp4": {"custom": TRACK[None] + 2, "other": [TRACK + 3]},
    }
    clips = load_wild(written(tmp_path, positions))
    assert [(clip.name, clip.n_frames, clip.image_size) for clip in clips] == [
        ("a.mp4#0", 6, (1920, 1080)),
        ("a.mp4#1", 3, (1920, 1080)),
        ("b.mp4", 6, (640, 480)),
        ("b.mp4/other", 6, (640, 480)),
    ]
    for clip, offset in zip(clips, range(4), strict=True):
        np.testing.assert_array_equal(clip.keypoints_px, TRACK[: clip.n_frames] + offset)


def test_nan_scores_and_rate(tmp_path: Path) -> None:
    track = np.concatenate([TRACK, np.full((6, 17, 1), 0.5, np.float32)], axis=-1)
    track[2] = np.nan
    videos = {"a.mp4": {"w": 10, "h": 10, "fps": 29.97}}
    meta = metadata(layout_name="h36m", video_metadata=videos)
    (clip,) = load_wild(written(tmp_path, {"a.mp4": {"custom": [track]}}, meta))
    assert clip.scores is not None
    np.testing.assert_array_equal(clip.scores, track[..., 2])
    np.testing.assert_array_equal(clip.keypoints_px, track[..., :2])
    assert np.isnan(clip.keypoints_px[2]).all()
    assert clip.fps == 29.97
    assert clip.keypoint_skeleton is H36M_17


@pytest.mark.parametrize(
    ("positions", "meta", "says"),
    [
        ({"a.mp4": {"custom": [TRACK[:, :16]]}}, None, r"a\.mp4 is \(6, 16, 2\), expected \(T, 17"),
        ({"a.mp4": {"custom": [TRACK[0]]}}, None, r"is \(17, 2\), expected"),
        ({"a.mp4": {"custom": [[1, 2]]}}, None, "is list, expected"),
        ({"a.mp4": {"custom": TRACK}}, None, r"a\.mp4#0 is \(17, 2\), expected"),
        ({"a.mp4": {"custom": [TRACK.astype("S8")]}}, None, "expected"),
        ({"a.mp4": {"custom": 3}}, None, "a int, expected a list of tracks"),
        ({"a.mp4": [TRACK]}, None, "a list, expected {'custom'"),
        ({"a.mp4": {"custom": []}}, None, "holds no tracks"),
        ({}, None, "holds no tracks"),
        (5, None, "'positions_2d' must hold a dictionary"),
        ({"a.mp4": {"custom": [TRACK]}}, 5, "'metadata' must hold a dictionary"),
        ({"c.mp4": {"custom": [TRACK]}}, None, r"no w and h for 'c\.mp4'"),
        ({"a.mp4": {"custom": [TRACK]}}, {"layout_name": "coco"}, "no w and h"),
        ({"a.mp4": {"custom": [TRACK]}}, metadata(layout_name="smpl"), "unknown skeleton 'smpl'"),
        (
            {"a.mp4": {"custom": [TRACK]}},
            metadata(video_metadata={"a.mp4": {"w": -5, "h": 10}}),
            r"w of 'a\.mp4' is -5",
        ),
        (
            {"a.mp4": {"custom": [TRACK]}},
            metadata(video_metadata={"a.mp4": {"w": 10, "h": "10"}}),
            r"h of 'a\.mp4' is '10'",
        ),
        (
            {"a.mp4": {"custom": [TRACK]}},
            metadata(video_metadata={"a.mp4": {"w": 10, "h": 10, "fps": np.nan}}),
            r"fps of 'a\.mp4' is nan",
        ),
    ],
)  # fmt: skip
def test_files_in_another_layout_are_refused(
    tmp_path: Path, positions: Any, meta: Any, says: str
) -> None:
    path = written(tmp_path, positions, meta)
    with pytest.raises(DataFileError, match=f"data_2d_custom_test.*{says}"):
        load_wild(path)


def test_other_archives_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=np.arange(3))
    with pytest.raises(DataFileError, match=r"holds \['x'\]; .* holds positions_2d and metadata"):
        load_wild(tmp_path / "a.npz")
