"""OpenPose's --write_json: one JSON file per frame, or one such file alone."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from vp3d_deploy.formats.jsonfile import keypoint_array, shown, whole
from vp3d_deploy.formats.tracks import Detection, FormatError, frames_from_ids


def is_openpose(content: Any) -> bool:
    """An object with "people", a list."""
    return isinstance(content, dict) and isinstance(content.get("people"), list)


def read_openpose(content: dict[str, Any], source: str, frame: int = 0) -> list[Detection]:
    """The people of one frame; `person_id` is taken where OpenPose tracked them."""
    detections = []
    for index, person in enumerate(content["people"]):
        where = f"{source}: person {index}"
        if not isinstance(person, dict):
            raise FormatError(f"{where}: expected an object, found {shown(person)}")
        # "pose_keypoints" is the name that OpenPose 1.0 used.
        points = person.get("pose_keypoints_2d", person.get("pose_keypoints"))
        if points is None:
            raise FormatError(f'{where}: no "pose_keypoints_2d", found {shown(person)}')
        if points:
            array = keypoint_array(points, f"{where}, pose_keypoints_2d")
            detections.append(Detection(frame, array, _person_id(person, where)))
    return detections


def frame_numbers(files: list[Path], source: str) -> list[int]:
    """Frame number of each file of a folder: the last number in its name (VIDEO_000000000012_..).

    Where names do not carry distinct numbers, their sorted order counts.
    """
    numbers = []
    for file in files:
        digits = re.findall(r"\d{1,15}", file.stem)
        numbers.append(int(digits[-1]) if digits else -1)
    if -1 in numbers or len(set(numbers)) < len(numbers):
        return list(range(len(files)))
    frames = frames_from_ids(numbers, source)
    return [frames[number] for number in numbers]


def _person_id(person: dict[str, Any], where: str) -> int | None:
    value = person.get("person_id")
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, list):
        return None
    number = whole(value, f"{where}, person_id")
    return None if number < 0 else number
