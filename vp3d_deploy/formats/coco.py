"""COCO keypoint results and annotations, and AlphaPose's results, which look alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from vp3d_deploy.formats.jsonfile import keypoint_array, number, shown, whole
from vp3d_deploy.formats.tracks import MAX_COORDINATE, Detection, FormatError, frames_from_ids


def is_coco(content: Any) -> bool:
    """A list of results (COCO, AlphaPose), or a data set with "annotations" (COCO)."""
    if isinstance(content, dict):
        return isinstance(content.get("annotations"), list)
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and {"image_id", "keypoints"} <= set(content[0])
    )


def is_alphapose_by_image(content: Any) -> bool:
    """AlphaPose's --format cmu and open: image name -> {"bodies" or "people": [..]}."""
    return (
        isinstance(content, dict)
        and bool(content)
        and all(isinstance(v, dict) and ({"bodies", "people"} & set(v)) for v in content.values())
    )


def read_coco(
    content: Any, source: str
) -> tuple[list[Detection], tuple[int, int] | None, tuple[str, ...] | None]:
    """Detections, the image size if the file says it, and its joint names if it has them.

    People are told apart by "track_id" or AlphaPose's "idx", where every entry has one. A third
    value of keypoints that is 0 for everyone is no score (COCO's own evaluation ignores it).
    """
    size, names = None, None
    images: dict[int, int] = {}
    entries = content
    if isinstance(content, dict):
        entries = content["annotations"]
        size, images = _images(content.get("images"), source)
        names = _joint_names(content.get("categories"))
    parsed = [_entry(entry, index, source) for index, entry in enumerate(entries)]
    found = [entry for entry in parsed if entry is not None]
    frames = image_frames([image for image, _, _, _ in found], images, source)
    keypoints = [points for _, points, _, _ in found]
    if isinstance(content, dict):
        keypoints = [_visibility_as_score(points) for points in keypoints]
    elif keypoints and not any((points[:, 2] > 0).any() for points in keypoints):
        keypoints = [_without_scores(points) for points in keypoints]
    detections = [
        Detection(frames[image], points.astype(np.float32), track_id, score)
        for (image, _, track_id, score), points in zip(found, keypoints, strict=True)
    ]
    return detections, size, names


def read_alphapose_by_image(content: dict[str, Any], source: str) -> list[Detection]:
    """Detections of AlphaPose's --format cmu ("bodies") and open ("people")."""
    frames = image_frames(list(content), {}, source)
    detections = []
    for image, entry in content.items():
        people = entry.get("bodies", entry.get("people"))
        if not isinstance(people, list):
            raise FormatError(f"{source}: {image!r}: expected a list of people")
        for index, person in enumerate(people):
            where = f"{source}: {image!r}, person {index}"
            if not isinstance(person, dict):
                raise FormatError(f"{where}: expected an object, found {shown(person)}")
            points = person.get("joints", person.get("pose_keypoints_2d"))
            detections.append(Detection(frames[image], keypoint_array(points, where)))
    return detections


_Entry = tuple[Any, np.ndarray, "int | str | None", float]


def _entry(entry: Any, index: int, source: str) -> _Entry | None:
    """Image id, keypoints, track id and score of one person; None where nothing was annotated."""
    where = f"{source}: entry {index}"
    if not isinstance(entry, dict) or "image_id" not in entry:
        raise FormatError(f'{where}: expected an object with "image_id", found {shown(entry)}')
    if entry.get("keypoints") in (None, []) or entry.get("num_keypoints") == 0:
        return None
    image = entry["image_id"]
    if not isinstance(image, str):
        image = whole(image, f"{where}, image_id")
    points = keypoint_array(entry["keypoints"], f"{where}, keypoints")
    score = number(entry.get("score"), f"{where}, score", default=1.0)
    return image, points, _track_id(entry, where), score


def _track_id(entry: dict[str, Any], where: str) -> int | str | None:
    value = entry.get("track_id", entry.get("idx"))
    # AlphaPose writes some of its ids as [3.0] or nested lists.
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or isinstance(value, (list, dict)):
        return None
    return value[:200] if isinstance(value, str) else whole(value, f"{where}, track id")


def image_frames(images: Sequence[Any], order: dict[int, int], source: str) -> dict[Any, int]:
    """Frame number of each image id: a number itself, or the last number in a file name."""
    if order and all(image in order for image in images):
        return {image: order[image] for image in images}
    distinct = list(dict.fromkeys(images))
    if all(isinstance(image, int) for image in distinct):
        return dict(frames_from_ids(distinct, source))
    numbers = {image: _last_number(str(image)) for image in distinct}
    known = [n for n in numbers.values() if n is not None]
    if len(known) == len(distinct) == len(set(known)):
        frames = frames_from_ids(known, source)
        return {image: frames[n] for image, n in numbers.items() if n is not None}
    ordered = sorted(distinct, key=lambda image: _natural_key(str(image)))
    return {image: index for index, image in enumerate(ordered)}


def _last_number(name: str) -> int | None:
    digits = re.findall(r"\d{1,15}", re.sub(r"\.[A-Za-z0-9]{1,5}$", "", name))
    return int(digits[-1]) if digits else None


def _natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sorts "img2" before "img10"."""
    parts = re.findall(r"\d{1,15}|\D+", name)
    return [(0, int(p), "") if p[0].isdecimal() else (1, 0, p) for p in parts]


def _images(images: Any, source: str) -> tuple[tuple[int, int] | None, dict[int, int]]:
    """The size that all images share, and the frame number of each image id.

    "frame_id" (video data sets) counts where every image has one, else the order of the list.
    """
    if not isinstance(images, list) or not all(
        isinstance(image, dict) and isinstance(image.get("id"), int) for image in images
    ):
        return None, {}
    sizes = [(image.get("width"), image.get("height")) for image in images]
    size = None
    if sizes and all(pair == sizes[0] for pair in sizes) and all(_is_size(v) for v in sizes[0]):
        size = (int(sizes[0][0]), int(sizes[0][1]))
    ids = [image.get("frame_id") for image in images]
    if all(isinstance(i, int) for i in ids) and len(set(ids)) == len(ids):
        frames = frames_from_ids(ids, source)
        return size, {image["id"]: frames[image["frame_id"]] for image in images}
    return size, {image["id"]: index for index, image in enumerate(images)}


def _is_size(value: Any) -> bool:
    return isinstance(value, (int, float)) and 1 <= value <= MAX_COORDINATE


def _joint_names(categories: Any) -> tuple[str, ...] | None:
    if isinstance(categories, list) and categories and isinstance(categories[0], dict):
        names = categories[0].get("keypoints")
        if isinstance(names, list) and all(isinstance(name, str) for name in names):
            return tuple(names)
    return None


def _without_scores(points: np.ndarray) -> np.ndarray:
    """Joints at exactly (0, 0) stay missing: that is how COCO writes a joint without a place."""
    nowhere = (points[:, :2] == 0).all(-1)
    return np.c_[np.where(nowhere[:, None], np.nan, points[:, :2]), np.full(len(points), np.nan)]


def _visibility_as_score(points: np.ndarray) -> np.ndarray:
    """COCO annotations say 0 not labelled, 1 hidden, 2 visible: the last two are positions."""
    return np.c_[points[:, :2], (points[:, 2] > 0).astype(np.float32)]
