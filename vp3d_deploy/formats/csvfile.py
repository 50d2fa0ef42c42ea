"""Keypoints from CSV: one row per joint, one row per frame, or numbers without a header."""

from __future__ import annotations

import csv
import io
import itertools
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vp3d_deploy.formats.tracks import (
    MAX_COORDINATE,
    Detection,
    FormatError,
    frames_from_ids,
)
from vp3d_deploy.skeleton import SKELETONS, Skeleton

MAX_BYTES = 1 << 30
KNOWN = tuple(SKELETONS.values())

_FRAME = ("frame", "frame_id", "frame_index", "image_id")
_PERSON = ("person", "person_id", "track_id", "track", "id")
_JOINT = ("joint", "keypoint", "joint_name", "joint_id")
_X, _Y = ("x", "x_px"), ("y", "y_px")
_SCORE = ("score", "confidence", "likelihood", "s", "c", "v")
_NUMBERED = re.compile(r"(?:kp|joint|keypoint|point|p)?_?(\d+)")

Row = tuple[int, dict[str, str]]  # line number in the file, value of each column


@dataclass(frozen=True)
class CsvKeypoints:
    """Detections of a CSV file, and the skeleton if its joint names say which."""

    detections: list[Detection]
    skeleton: Skeleton | None


def read_csv(path: Path, known: Sequence[Skeleton] = KNOWN) -> CsvKeypoints:
    """Keypoints of a CSV file in one of three layouts; separators , ; and tab.

    Long: a header with frame, joint (name or number), x, y and, if you like, person and score;
    one row per joint. Wide: a header of JOINT_x, JOINT_y and, if you like, JOINT_score (or x0,
    y0, s0 ..), frame and person; one row per person and frame. Bare: no header, 2 J or 3 J
    numbers in each row (x, y or x, y, score), one row per frame. Empty fields are missing joints.

    known: skeletons whose joint names and counts the file may have.
    Raises FormatError naming the line, OSError if the file cannot be read.
    """
    lines = _lines(path)
    if not lines:
        raise FormatError(f"{path}: no rows")
    if _is_number(lines[0][1][0]):
        return CsvKeypoints(_bare(lines, path, known), None)
    header = [_label(name.strip().lstrip("#")) for name in lines[0][1]]
    duplicates = sorted({name for name in header if header.count(name) > 1})
    if duplicates:
        raise FormatError(f"{path}: the header names {', '.join(duplicates)} more than once")
    rows = list(_rows(header, lines[1:], path))
    if _column(header, _JOINT) and _column(header, _X) and _column(header, _Y):
        return _long(header, rows, path, known)
    return _wide(header, rows, path, known)


def _lines(path: Path) -> list[tuple[int, list[str]]]:
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(f"{path}: {size:,} bytes of CSV; at most {MAX_BYTES:,} are read")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a CSV file: byte {error.start} is no UTF-8 text") from None
    start = text[: text.find("\n")] if "\n" in text else text
    delimiter = max(",;\t", key=start.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        return [(reader.line_num, row) for row in reader if any(field.strip() for field in row)]
    except csv.Error as error:
        raise FormatError(f"{path}: line {reader.line_num}: {error}") from None


def _rows(header: list[str], lines: list[tuple[int, list[str]]], path: Path) -> Iterator[Row]:
    for line, fields in lines:
        if len(fields) != len(header):
            raise FormatError(
                f"{path}: line {line}: {len(fields)} fields under a header of {len(header)}"
            )
        yield line, dict(zip(header, fields, strict=True))


def _long(
    header: list[str], rows: list[Row], path: Path, known: Sequence[Skeleton]
) -> CsvKeypoints:
    joint, x, y = (_column(header, names) for names in (_JOINT, _X, _Y))
    assert joint is not None
    assert x is not None
    assert y is not None
    score = _column(header, _SCORE)
    labels = list(dict.fromkeys(_label(row[joint]) for _, row in rows))
    skeleton, order = _joint_order(labels, str(path), known)
    frames, people = _frames_and_people(header, rows, path)
    poses: dict[tuple[int, int | str | None], np.ndarray] = {}
    for (line, row), frame, person in zip(rows, frames, people, strict=True):
        pose = poses.setdefault((frame, person), np.full((len(order), 3), np.nan, np.float32))
        where = f"{path}: line {line}"
        pose[order[_label(row[joint])]] = (
            _value(row[x], where),
            _value(row[y], where),
            _value(row[score], where) if score else np.nan,
        )
    found = [Detection(frame, pose, person) for (frame, person), pose in poses.items()]
    return CsvKeypoints(found, skeleton)


def _wide(
    header: list[str], rows: list[Row], path: Path, known: Sequence[Skeleton]
) -> CsvKeypoints:
    columns: dict[str, dict[str, str]] = {}
    for name in header:
        if name not in (*_FRAME, *_PERSON):
            label, part = _split_wide(name)
            if part:
                columns.setdefault(label, {})[part] = name
    joints = {label: parts for label, parts in columns.items() if {"x", "y"} <= set(parts)}
    if not joints:
        raise FormatError(
            f"{path}: line 1: no keypoints under the header {', '.join(header[:8])}; expected "
            "frame, joint, x, y or JOINT_x, JOINT_y, .."
        )
    skeleton, order = _joint_order(list(joints), str(path), known)
    frames, people = _frames_and_people(header, rows, path)
    found = []
    for (line, row), frame, person in zip(rows, frames, people, strict=True):
        pose = np.full((len(order), 3), np.nan, np.float32)
        for label, parts in joints.items():
            for index, part in enumerate(("x", "y", "score")):
                if part in parts:
                    pose[order[label], index] = _value(row[parts[part]], f"{path}: line {line}")
        found.append(Detection(frame, pose, person))
    return CsvKeypoints(found, skeleton)


def _bare(
    lines: list[tuple[int, list[str]]], path: Path, known: Sequence[Skeleton]
) -> list[Detection]:
    width = len(lines[0][1])
    # 17 x 3 = 51 and 26 x 3 = 78 against 17 x 2 = 34 and 26 x 2 = 52: known counts decide.
    counts = {skeleton.n_joints for skeleton in known}
    options = [n for n in (3, 2) if width % n == 0]
    likely = [n for n in options if width // n in counts]
    if not options:
        raise FormatError(f"{path}: line 1: {width} numbers; expected 2 or 3 for each joint")
    per_joint = (likely or options)[0]
    found = []
    for index, (line, fields) in enumerate(lines):
        if len(fields) != width:
            raise FormatError(f"{path}: line {line}: {len(fields)} numbers; line 1 has {width}")
        values = np.array([_value(f, f"{path}: line {line}") for f in fields], np.float32)
        pose = np.full((width // per_joint, 3), np.nan, np.float32)
        pose[:, :per_joint] = values.reshape(-1, per_joint)
        found.append(Detection(index, pose, 0))
    return found


def _joint_order(
    labels: list[str], source: str, known: Sequence[Skeleton]
) -> tuple[Skeleton | None, dict[str, int]]:
    """The index of each joint label: in the skeleton that has exactly these, or its number."""
    for skeleton in known:
        if set(skeleton.joints) == set(labels):
            return skeleton, {label: skeleton.index(label) for label in labels}
    numbers = {label: _NUMBERED.fullmatch(label) for label in labels}
    order = {label: int(match[1]) for label, match in numbers.items() if match}
    if len(order) == len(labels) and sorted(order.values()) == list(range(len(labels))):
        return None, order
    raise FormatError(
        f"{source}: the joints {', '.join(labels[:6])}{', ..' if labels[6:] else ''} are those of "
        f"no known skeleton ({', '.join(skeleton.name for skeleton in known)}) and do not count "
        "0, 1, 2 .."
    )


def _frames_and_people(
    header: list[str], rows: list[Row], path: Path
) -> tuple[list[int], list[int | str | None]]:
    """Frame and person of each row; without a frame column each row is a person's next frame."""
    frame, person = _column(header, _FRAME), _column(header, _PERSON)
    if frame is None and _column(header, _JOINT):
        raise FormatError(f"{path}: line 1: no column called frame")
    people = [_person(row[person]) if person else 0 for _, row in rows]
    if frame is None:
        counters = {name: itertools.count() for name in people}
        return [next(counters[name]) for name in people], list(people)
    numbers = [_whole(row[frame], f"{path}: line {line}, {frame}") for line, row in rows]
    frames = frames_from_ids(numbers, str(path))
    return [frames[n] for n in numbers], list(people)


def _person(text: str) -> int | str:
    text = text.strip()
    return int(text) if re.fullmatch(r"-?\d{1,15}", text) else text[:200]


def _split_wide(name: str) -> tuple[str, str]:
    """("left_knee", "x") of "left_knee_x" or "left_knee.x_px"; ("3", "x") of "x3"."""
    match = re.fullmatch(r"([xysc])_?(\d+)", name)
    if match:
        return match[2], "score" if match[1] in "sc" else match[1]
    match = re.fullmatch(r"(.+)[_. ](x|y|x_px|y_px|score|confidence|likelihood|s|c|v)", name)
    if not match:
        return name, ""
    part = match[2]
    return match[1], part[0] if part[0] in "xy" else "score"


def _label(text: str) -> str:
    """A name in lower case on one line; an unclosed quote can make one of half the file."""
    return " ".join(text.lower().split())[:60]


def _column(header: list[str], names: tuple[str, ...]) -> str | None:
    return next((name for name in names if name in header), None)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True


def _value(text: str, where: str) -> float:
    if not text.strip():
        return math.nan
    try:
        value = float(text)
    except ValueError:
        raise FormatError(f"{where}: expected a number, found {text[:40]!r}") from None
    if MAX_COORDINATE < abs(value) < math.inf:
        raise FormatError(f"{where}: {text[:40]} is too large for a pixel or a frame number")
    return value


def _whole(text: str, where: str) -> int:
    value = _value(text, where)
    if not math.isfinite(value) or value != int(value):
        raise FormatError(f"{where}: expected a whole number, found {text[:40]!r}")
    return int(value)
