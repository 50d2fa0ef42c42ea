"""Files with one thing wrong in a random place: read, or refused in one sentence, never a crash."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from pose_samples import make_poses

from vp3d_deploy.formats import read_tracks
from vp3d_deploy.poses import Poses

JUNK = [None, True, -1, 0, 1.5, 1e308, 10**400, "x", "", [], {}, [[]], [None], {"a": 1}, -(2**63),
        float("nan"), float("inf"), "12.jpg", [1, 2, 3], [[1, 2], [3]]]  # fmt: skip


def keypoints(n_joints: int, n_values: int) -> list[list[float]]:
    return [[10.0 * j + v for v in range(n_values)] for j in range(n_joints)]


def flat(n_joints: int) -> list[float]:
    return [value for joint in keypoints(n_joints, 3) for value in joint]


KEYPOINT_FILES = {
    "coco": [{"image_id": t, "keypoints": flat(17), "score": 0.5, "track_id": 2} for t in range(3)],
    "alphapose": [
        {"image_id": f"{t}.jpg", "keypoints": flat(26), "score": 2.5, "idx": [3.0]}
        for t in range(3)
    ],
    "annotations": {
        "images": [{"id": t, "width": 9, "height": 9, "frame_id": t} for t in range(3)],
        "annotations": [{"image_id": t, "keypoints": flat(17)} for t in range(3)],
        "categories": [{"keypoints": ["nose"]}],
    },
    "openpose": {"people": [{"pose_keypoints_2d": flat(25), "person_id": [-1]}]},
    "mmpose": {
        "meta_info": {"dataset_name": "coco"},
        "instance_info": [
            {
                "frame_id": t,
                "instances": [{"keypoints": keypoints(17, 2), "keypoint_scores": [0.5] * 17}],
            }
            for t in range(3)
        ],
    },
    "by image": {"0.jpg": {"bodies": [{"joints": flat(18)}]}},
}


def places(value: object, path: tuple = ()) -> list[tuple]:
    """The path of every element below `value`."""
    if isinstance(value, dict):
        items = list(value.items())
    else:
        items = list(enumerate(value)) if isinstance(value, list) else []
    found = [(*path, key) for key, _ in items]
    for key, child in items:
        found += places(child, (*path, key))
    return found


def damaged(content: object, rng: random.Random) -> object:
    """The content with one element replaced or removed; higher levels are as likely as numbers."""
    result = copy.deepcopy(content)
    by_depth: dict[int, list[tuple]] = {}
    for path in places(result):
        by_depth.setdefault(len(path), []).append(path)
    path = rng.choice(by_depth[rng.choice(list(by_depth))])
    parent = result
    for key in path[:-1]:
        parent = parent[key]
    if rng.random() < 0.2:
        del parent[path[-1]]
    else:
        parent[path[-1]] = copy.deepcopy(rng.choice(JUNK))
    return result


def refusal(read: Callable[[Path], object], path: Path) -> str | None:
    """The message with which `read` refuses the file, checked for its form; None if it reads."""
    try:
        read(path)
    except ValueError as error:
        message = str(error)
    else:
        return None
    assert message.startswith(str(path))
    assert "\n" not in message
    assert len(message) < len(str(path)) + 300, message
    return message


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", KEYPOINT_FILES)
def test_damaged_keypoints(tmp_path, name):
    rng = random.Random(name)
    path = tmp_path / "in.json"
    read = refused = 0
    for _ in range(150):
        path.write_text(json.dumps(damaged(KEYPOINT_FILES[name], rng)))
        message = refusal(read_tracks, path)
        read, refused = read + (message is None), refused + (message is not None)
    assert read > 1
    assert refused > 10


@pytest.mark.filterwarnings("error")
def test_damaged_poses(tmp_path):
    rng = random.Random(1)
    path = tmp_path / "in.json"
    make_poses(2, n_people=2).save(path)
    content = json.loads(path.read_text())
    read = refused = 0
    for _ in range(300):
        path.write_text(json.dumps(damaged(content, rng)))
        message = refusal(Poses.load, path)
        read, refused = read + (message is None), refused + (message is not None)
    assert read > 1
    assert refused > 10


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("layout", ["long", "wide", "bare"])
def test_damaged_csv(tmp_path, layout):
    rng = random.Random(layout)
    rows = {
        "long": ["frame,person,joint,x,y,score"]
        + [f"{t},1,{j},{10 * j},{5 * j},0.5" for t in range(2) for j in range(17)],
        "wide": [",".join(f"{p}{j}" for j in range(17) for p in "xy")] + [",".join(["9"] * 34)] * 2,
        "bare": [",".join(["9.5"] * 51)] * 3,
    }[layout]
    path = tmp_path / "in.csv"
    read = refused = 0
    for _ in range(150):
        fields = [row.split(",") for row in rows]
        row = rng.choice(fields)
        row[rng.randrange(len(row))] = rng.choice(
            ["", "x", "-1", "1e99", "nan", "inf", '"', "1,2", "\0", "\u00e9", "99999999999", " 7 "]
        )
        path.write_text("\n".join(",".join(row) for row in fields))
        message = refusal(read_tracks, path)
        read, refused = read + (message is None), refused + (message is not None)
    assert read > 1
    assert refused > 5
