"""JSON from strangers: size, depth and types are checked before anything is used."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.formats.tracks import MAX_COORDINATE, FormatError

MAX_BYTES = 1 << 30


def read_json(path: Path) -> Any:
    """The contents of a JSON file, as plain Python values.

    Raises FormatError for files over 1 GiB, text that is not JSON, and hostile nesting; OSError
    if the file cannot be read.
    """
    size = path.stat().st_size
    if size > MAX_BYTES:
        raise FormatError(f"{path}: {size:,} bytes of JSON; at most {MAX_BYTES:,} are read")
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FormatError(f"{path}: not a JSON file: byte {error.start} is no UTF-8 text") from None
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise FormatError(
            f"{path}: line {error.lineno}, column {error.colno}: not valid JSON: {error.msg}"
        ) from None
    except RecursionError:
        raise FormatError(f"{path}: JSON nested too deeply to be a keypoint file") from None
    except ValueError as error:  # numbers of thousands of digits
        raise FormatError(f"{path}: not valid JSON: {error}") from None


def number(value: Any, where: str, default: float | None = None) -> float:
    """A number of a JSON file as a float; None gives `default`, if there is one.

    Raises FormatError naming `where`.
    """
    if value is None and default is not None:
        return default
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FormatError(f"{where}: expected a number, found {shown(value)}")
    try:
        return float(value)
    except OverflowError:
        return math.inf


def whole(value: Any, where: str) -> int:
    """A whole number of a JSON file; raises FormatError naming `where`."""
    result = number(value, where)
    if not abs(result) < 2**53 or result != int(result):
        raise FormatError(f"{where}: expected a whole number, found {shown(value)}")
    return int(result)


def keypoint_array(value: Any, where: str) -> np.ndarray:
    """(J, 3) float32 from [x, y, score, x, y, score ..] or from [[x, y], ..], [[x, y, score], ..].

    The score is NaN where the file has none; null counts as NaN.
    Raises FormatError naming `where` for anything else and for coordinates over ten million.
    """
    if not isinstance(value, list) or not value:
        raise FormatError(f"{where}: expected a list of keypoints, found {shown(value)}")
    try:
        if isinstance(value[0], list):
            array = np.array([[_plain(v) for v in joint] for joint in value], np.float64)
        else:
            array = np.array([_plain(v) for v in value], np.float64)
            if len(array) % 3:
                raise ValueError
            array = array.reshape(-1, 3)
        if array.ndim != 2 or array.shape[1] not in (2, 3):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise FormatError(
            f"{where}: expected [x, y, score, x, y, score, ..] or [[x, y], ..], "
            f"found {shown(value)}"
        ) from None
    if array.shape[1] == 2:
        array = np.concatenate([array, np.full((len(array), 1), np.nan)], axis=1)
    array[~np.isfinite(array)] = np.nan
    largest = np.nanmax(np.abs(array[:, :2]), initial=0.0)
    if largest > MAX_COORDINATE:
        raise FormatError(f"{where}: a coordinate of {largest:g} pixels")
    # Positions are in range, but scores may be anything, even more than a float32 holds.
    return np.clip(array, -MAX_COORDINATE, MAX_COORDINATE).astype(np.float32)


def shown(value: Any) -> str:
    """A value for a message, cut short."""
    if isinstance(value, dict):
        keys = ", ".join(repr(str(key))[:24] for key in list(value)[:6])
        return f"an object with {keys or 'no fields'}{', ..' if len(value) > 6 else ''}"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    if value is None:
        return "null"
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + ".."


def _plain(value: Any) -> float:
    if value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError
    return float(value)
