"""One clip in one .npz of plain arrays; `own.py` lists the keys.

`clip_from_arrays` and `arrays_of_clip` are each other's inverse.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import numpy as np

from vp3d_deploy.camera import Camera, CameraError, world_to_camera
from vp3d_deploy.data.clip import Clip, ClipError
from vp3d_deploy.data.npy import DataFileError
from vp3d_deploy.skeleton import H36M_17, SKELETONS, Skeleton, SkeletonError, get_skeleton

Arrays = Mapping[str, np.ndarray]

_LENS_SHAPES = {"focal_px": (2,), "center_px": (2,), "radial": (3,), "tangential": (2,)}
_PLACE_SHAPES = {"rotation": (3, 3), "position_m": (3,)}
_CAMERA_KEYS = (*_LENS_SHAPES, *_PLACE_SHAPES, "distortion", "camera_name")
_POSE_KEYS = ("pose_camera_m", "pose_world_m")
_POSES_ARE = f" ({H36M_17.name}, one pose for each frame of keypoints)"
_KEYS = (
    "keypoints_px",
    "image_size",
    "fps",
    "skeleton",
    *_POSE_KEYS,
    *_CAMERA_KEYS,
    "subject",
    "action",
)
_DETECTIONS = re.compile(r"keypoints_(\w+)_px", re.ASCII)
_DETECTION_SKELETON = re.compile(r"skeleton_(\w+)", re.ASCII)

_MAX_PIXELS = 1_000_000
_MAX_SPAN_M = 10.0  # no person is larger; one in millimetres, read as metres, spans a thousand


def clip_from_arrays(arrays: Arrays, name: str, subject: str, keypoints: str, source: str) -> Clip:
    """The clip that these arrays describe.

    name: of the clip; subject: where the file names none. keypoints: "gt" or a detector's name.
    Raises DataFileError, which starts with `source`, for what is missing, unknown or unfit.
    """
    _check_keys(arrays, source)
    image_size = _image_size(arrays, source)
    points, skeleton = _keypoints(arrays, keypoints, source)
    try:
        camera = _camera(arrays, name, image_size, source)
        return Clip(
            name=name,
            subject=_text(arrays, "subject", subject, source),
            action=_text(arrays, "action", None, source),
            camera=camera,
            image_size=image_size,
            fps=_fps(arrays, source),
            keypoints_px=points[..., :2],
            scores=points[..., 2] if points.shape[2] == 3 else None,
            keypoint_skeleton=skeleton,
            pose_m=_pose(arrays, len(points), camera, source),
        )
    except (ClipError, CameraError) as error:
        raise DataFileError(f"{source}: {error}") from None


def arrays_of_clip(clip: Clip) -> dict[str, np.ndarray]:
    """The arrays from which `clip_from_arrays` makes this clip again, poses in the camera frame.

    Raises ClipError for what a file cannot say: keypoints of a skeleton that is not one of ours,
    a camera whose image has another size than the clip's.
    """
    skeleton = clip.keypoint_skeleton
    if SKELETONS.get(skeleton.name) != skeleton:
        raise ClipError(
            f"clip {clip.name!r} has keypoints of a skeleton {skeleton.name!r} of its own; "
            f"a file can name {', '.join(SKELETONS)}"
        )
    points = clip.keypoints_px
    if clip.scores is not None:
        points = np.concatenate([points, clip.scores[..., None]], axis=-1)
    arrays = {
        "keypoints_px": points,
        "image_size": np.array(clip.image_size),
        "skeleton": np.array(skeleton.name),
        # "" says that there is none; where the key is missing, the file's name gives a subject.
        "subject": np.array(clip.subject or ""),
        "action": np.array(clip.action or ""),
    }
    if clip.fps is not None:
        arrays["fps"] = np.array(clip.fps)
    if clip.pose_m is not None:
        arrays["pose_camera_m"] = clip.pose_m
    return arrays if clip.camera is None else arrays | _arrays_of_camera(clip.camera, clip)


def _arrays_of_camera(camera: Camera, clip: Clip) -> dict[str, np.ndarray]:
    if camera.image_size != tuple(clip.image_size):
        raise ClipError(
            f"clip {clip.name!r} has images of {clip.image_size} pixels, but its camera "
            f"{camera.image_size}"
        )
    arrays = {key: getattr(camera, key) for key in (*_LENS_SHAPES, *_PLACE_SHAPES)}
    texts = {"distortion": camera.distortion, "camera_name": camera.name}
    return arrays | {key: np.array(text) for key, text in texts.items()}


def _check_keys(arrays: Arrays, source: str) -> None:
    """Refuse unknown keys, because a misspelt one would silently change the clip, and objects."""
    unknown = [
        key
        for key in arrays
        if key not in _KEYS and _detector(key) is None and not _DETECTION_SKELETON.fullmatch(key)
    ]
    if unknown:
        raise DataFileError(
            f"{source} holds {_shown(unknown)}, which a clip does not have; its keys are "
            f"{', '.join(_KEYS)}, keypoints_NAME_px and skeleton_NAME"
        )
    objects = [key for key, array in arrays.items() if array.dtype == object]
    if objects:
        raise DataFileError(
            f"{source} holds pickled Python objects in {_shown(objects)}; save plain arrays, with "
            "the same shape in every frame"
        )


def _detector(key: str) -> str | None:
    """The NAME in "keypoints_NAME_px"; "gt" is none, for its key has no name."""
    match = _DETECTIONS.fullmatch(key)
    return None if match is None or match[1] == "gt" else match[1]


def _shown(keys: Iterable[str]) -> str:
    """Keys from a stranger, quoted; a few of them, and not more of each than identifies it."""
    quoted = [repr(key[:40]) for key in sorted(keys)]
    more = f" and {len(quoted) - 5} more" if len(quoted) > 5 else ""
    return ", ".join(quoted[:5]) + more


def _keypoints(arrays: Arrays, name: str, source: str) -> tuple[np.ndarray, Skeleton]:
    """(T, J, 2 or 3) float32 and the skeleton of the J joints."""
    key = "keypoints_px" if name == "gt" else f"keypoints_{name}_px"
    if key not in arrays:
        others = [_detector(found) or "gt" for found in sorted(arrays) if "keypoints" in found]
        there = f"keypoints {', '.join(others)}" if others else "no keypoints"
        raise DataFileError(f"{source} lacks {key}; it has {there}")
    skeleton = _skeleton(arrays, name, source)
    J = skeleton.n_joints
    columns = 3 if arrays[key].ndim == 3 and arrays[key].shape[2] == 3 else 2
    points = _numbers(
        arrays, key, ("T", J, columns), source, f", or 3 with scores ({skeleton.name})"
    )
    with np.errstate(over="ignore"):
        points = points.astype(np.float32)
    if np.isinf(points).any():
        raise DataFileError(f"{source}: {key} holds infinity; a joint that was not seen is NaN")
    return points, skeleton


def _skeleton(arrays: Arrays, name: str, source: str) -> Skeleton:
    """What skeleton_NAME says, else skeleton, else Human3.6M-17."""
    general = _text(arrays, "skeleton", None, source) or H36M_17.name
    own = None if name == "gt" else _text(arrays, f"skeleton_{name}", None, source)
    try:
        return get_skeleton(own or general)
    except SkeletonError as error:
        raise DataFileError(f"{source}: {error}") from None


def _pose(arrays: Arrays, T: int, camera: Camera | None, source: str) -> np.ndarray | None:
    """(T, 17, 3) float32, metres, camera frame; None where the file has no poses."""
    given = [key for key in _POSE_KEYS if key in arrays]
    if not given:
        return None
    if len(given) == 2:
        raise DataFileError(f"{source} holds both {' and '.join(_POSE_KEYS)}; keep one of them")
    key = given[0]
    pose_m = _numbers(arrays, key, (T, H36M_17.n_joints, 3), source, _POSES_ARE)
    broken = ~np.isfinite(pose_m).all(axis=(1, 2))
    if broken.any():
        raise DataFileError(
            f"{source}: {key} holds NaN or infinity in frame {np.argmax(broken)}; poses have no "
            "gaps, so split the clip there"
        )
    if key == "pose_world_m":
        if camera is None or "rotation" not in arrays:
            raise DataFileError(
                f"{source}: pose_world_m needs the camera's place, rotation and position_m"
            )
        pose_m = world_to_camera(pose_m, camera)
    _check_plausible(pose_m, key, source)
    return pose_m.astype(np.float32)


def _check_plausible(pose_m: np.ndarray, key: str, source: str) -> None:
    """Find millimetres and mistaken frames of reference, from which a network learns nonsense."""
    if len(pose_m) == 0:
        return
    span_m = np.ptp(pose_m, axis=1).max(axis=1)
    if span_m.max() > _MAX_SPAN_M:
        raise DataFileError(
            f"{source}: {key} shows a person of {span_m.max():.4g} m in frame "
            f"{np.argmax(span_m)}; expected metres (millimetres must be divided by 1000)"
        )
    if np.median(pose_m[:, H36M_17.root, 2]) <= 0:
        raise DataFileError(
            f"{source}: {key} puts the person behind or at the camera; in the camera's frame z "
            "points forward from the lens, poses are not relative to the root, and rotation "
            "turns the world's axes into the camera's"
        )


def _camera(arrays: Arrays, name: str, image_size: tuple[int, int], source: str) -> Camera | None:
    """The camera, None where no key describes one. Raises CameraError or DataFileError."""
    if not any(key in arrays for key in _CAMERA_KEYS):
        return None
    place = [key for key in _PLACE_SHAPES if key in arrays]
    needed = ("focal_px", "center_px", *(_PLACE_SHAPES if place else ()))
    missing = [key for key in needed if key not in arrays]
    if missing:
        raise DataFileError(
            f"{source} describes a camera without {' and '.join(missing)}; a camera has focal_px "
            "and center_px, and rotation together with position_m"
        )
    values = {
        key: _numbers(arrays, key, shape, source)
        for key, shape in (_LENS_SHAPES | _PLACE_SHAPES).items()
        if key in arrays
    }
    return Camera(
        name=_text(arrays, "camera_name", None, source) or name,
        width=image_size[0],
        height=image_size[1],
        distortion=_text(arrays, "distortion", None, source) or "opencv",
        **values,
    )


def _image_size(arrays: Arrays, source: str) -> tuple[int, int]:
    if "image_size" not in arrays:
        raise DataFileError(f"{source} lacks image_size, the width and height in pixels")
    size = _numbers(arrays, "image_size", (2,), source)
    if not ((size >= 1) & (size <= _MAX_PIXELS)).all() or (size % 1).any():
        raise DataFileError(
            f"{source}: image_size is {size.tolist()}, expected width and height in whole pixels"
        )
    return int(size[0]), int(size[1])


def _fps(arrays: Arrays, source: str) -> float | None:
    if "fps" not in arrays:
        return None
    fps = float(_numbers(arrays, "fps", (), source))
    if not 0 < fps < np.inf:
        raise DataFileError(f"{source}: fps is {fps:g}, expected frames per second")
    return fps


def _numbers(
    arrays: Arrays, key: str, shape: tuple[int | str, ...], source: str, remark: str = ""
) -> np.ndarray:
    """float64 of this shape, in which a letter stands for any number of rows."""
    array = arrays[key]
    fits = array.ndim == len(shape) and all(
        isinstance(wanted, str) or found == wanted
        for found, wanted in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "fiu":
        wanted = ", ".join(map(str, shape)) + ("," if len(shape) == 1 else "")
        expected = f"numbers of shape ({wanted})" if shape else "one number"
        raise DataFileError(
            f"{source}: {key} is {array.dtype} of shape {array.shape}, expected {expected}{remark}"
        )
    return array.astype(np.float64)


def _text(arrays: Arrays, key: str, default: str | None, source: str) -> str | None:
    """A string; None where it is empty, the default where the key is missing."""
    if key not in arrays:
        return default
    array = arrays[key]
    if array.dtype.kind != "U" or array.shape != ():
        raise DataFileError(
            f"{source}: {key} is {array.dtype} of shape {array.shape}, expected one string"
        )
    try:
        text = str(array.item())
    except ValueError:  # numbers beyond Unicode
        text = "\0"
    if not text.isprintable():
        raise DataFileError(f"{source}: {key} holds characters that cannot be printed")
    return text or None
