"""MMPose predictions: the JSON of 1.x's inferencer and demo scripts, and of 0.x's test script."""

from __future__ import annotations

from typing import Any

import numpy as np

from vp3d_deploy.formats.coco import image_frames
from vp3d_deploy.formats.jsonfile import keypoint_array, number, shown, whole
from vp3d_deploy.formats.tracks import Detection, FormatError, frames_from_ids


def is_mmpose(content: Any) -> bool:
    """Frames with "instances" (a video), {"instance_info": ..} (a demo), or a list of instances."""
    if isinstance(content, dict):
        return isinstance(content.get("instance_info"), list)
    if not isinstance(content, list) or not content or not isinstance(content[0], dict):
        return False
    return "instances" in content[0] or {"keypoints", "keypoint_scores"} <= set(content[0])


def read_mmpose(content: Any, source: str, frame: int = 0) -> tuple[list[Detection], str | None]:
    """Detections, and the data set that the model was trained for if the file says it.

    content: as told apart by `is_mmpose`. A plain list of instances is one picture: `frame`.
    """
    dataset = None
    if isinstance(content, dict):
        meta = content.get("meta_info")
        if isinstance(meta, dict) and isinstance(meta.get("dataset_name"), str):
            dataset = meta["dataset_name"]
        content = content["instance_info"]
    if not content:
        return [], dataset
    if isinstance(content[0], dict) and "instances" not in content[0]:
        return _instances(content, source, frame), dataset
    numbers = []
    for index, entry in enumerate(content):
        if not isinstance(entry, dict) or not isinstance(entry.get("instances"), list):
            raise FormatError(
                f'{source}: entry {index}: expected an object with "instances", '
                f"found {shown(entry)}"
            )
        numbers.append(whole(entry.get("frame_id", index), f"{source}: entry {index}, frame_id"))
    frames = frames_from_ids(numbers, source)
    detections = []
    for entry, frame_id in zip(content, numbers, strict=True):
        where = f"{source}: frame {frame_id}"
        detections += _instances(entry["instances"], where, frames[frame_id])
    return detections, dataset


def is_mmpose_0(content: Any) -> bool:
    """A list of batches with "preds" and "image_paths", which MMPose 0.x dumps after a test."""
    return (
        isinstance(content, list)
        and bool(content)
        and isinstance(content[0], dict)
        and {"preds", "image_paths"} <= set(content[0])
    )


def read_mmpose_0(content: list[Any], source: str) -> list[Detection]:
    """Detections of MMPose 0.x, frames by the names of the images.

    A batch holds "preds", for each person [[x, y, score], ..] in pixels (and perhaps a tag, from
    bottom-up models), and "image_paths", one for each person or one for all. The last value of
    each of "boxes" is the person's score, if there are any. Nobody is told apart.
    """
    found: list[tuple[str, np.ndarray, float]] = []
    for index, batch in enumerate(content):
        where = f"{source}: batch {index}"
        people, paths = (_list_of(batch, name, where) for name in ("preds", "image_paths"))
        if len(paths) == 1:
            paths = paths * len(people)
        if len(paths) != len(people) or not all(isinstance(path, str) for path in paths):
            raise FormatError(
                f"{where}: preds are a list of {len(people)}; expected the path of an image for "
                f"each of them or for all, found {shown(paths)}"
            )
        for person, (path, joints) in enumerate(zip(paths, people, strict=True)):
            if isinstance(joints, list) and all(isinstance(j, list) for j in joints):
                joints = [joint[:3] for joint in joints]
            points = keypoint_array(joints, f"{where}, preds of person {person}")
            found.append((path, points, _box_score(batch.get("boxes"), person)))
    frames = image_frames([path for path, _, _ in found], {}, source)
    return [Detection(frames[path], points, None, score) for path, points, score in found]


def _list_of(batch: Any, name: str, where: str) -> list[Any]:
    if not isinstance(batch, dict) or not isinstance(batch.get(name), list):
        raise FormatError(f'{where}: expected an object with a list "{name}", found {shown(batch)}')
    values: list[Any] = batch[name]
    return values


def _box_score(boxes: Any, person: int) -> float:
    try:
        return number(boxes[person][5], "score")
    except (TypeError, LookupError, FormatError):
        return 1.0


def _instances(instances: list[Any], where: str, frame: int) -> list[Detection]:
    return [_instance(item, f"{where}: instance {i}", frame) for i, item in enumerate(instances)]


def _instance(instance: Any, where: str, frame: int) -> Detection:
    if not isinstance(instance, dict) or "keypoints" not in instance:
        raise FormatError(f'{where}: expected an object with "keypoints", found {shown(instance)}')
    keypoints = instance["keypoints"]
    if isinstance(keypoints, list) and keypoints and not isinstance(keypoints[0], list):
        raise FormatError(f"{where}: expected keypoints [[x, y], ..], found {shown(keypoints)}")
    points = keypoint_array(keypoints, f"{where}, keypoints")
    if instance.get("keypoint_scores") is not None:
        scores = _scores(instance["keypoint_scores"], len(points), where)
        points = np.concatenate([points[:, :2], scores[:, None]], axis=1)
    elif np.isfinite(points[:, 2]).any():
        raise FormatError(
            f"{where}: keypoints have three coordinates; these are 3D poses already, and 2D "
            "keypoints are expected"
        )
    value = instance.get("track_id", instance.get("instance_id"))
    track_id = None if value is None else whole(value, f"{where}, track id")
    score = instance.get("bbox_score")
    return Detection(
        frame,
        points,
        None if track_id is None or track_id < 0 else track_id,
        number(score, f"{where}, bbox_score", default=1.0),
    )


def _scores(values: Any, n_joints: int, where: str) -> np.ndarray:
    if not isinstance(values, list) or len(values) != n_joints:
        raise FormatError(f"{where}: {n_joints} keypoints, but scores are {shown(values)}")
    scores = np.array([number(v, f"{where}, score", default=np.nan) for v in values])
    return np.clip(scores, -1.0, 1e6).astype(np.float32)
