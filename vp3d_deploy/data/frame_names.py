"""Which rows of an annotation file belong to which clip, from a million image names."""

from __future__ import annotations

import numpy as np

from vp3d_deploy.data.npy import DataFileError

# Names are taken in pieces: Human3.6M's 1.5 million, four bytes a character, fill 0.4 GB, and
# as Python strings with a list or dictionary around them they would take more.
_CHUNK = 65_536
_MAX_DIGITS = 9
_EXPECTED = "expected image names like CLIP_000001.jpg"


def group_by_clip(names: np.ndarray, source: str) -> dict[str, slice | np.ndarray]:
    """Rows of each clip in order of frame number; clips in order of first appearance.

    names: (N,) strings "CLIP_FRAME.EXTENSION" in ASCII, in any order.
    Returns CLIP -> rows: a slice where they follow each other, else an index array.
    Raises DataFileError for other names and when a frame occurs twice; `source` names the file.
    """
    if names.ndim != 1 or names.dtype.kind not in "US" or len(names) == 0:
        raise DataFileError(
            f"{source}: imgname is {names.dtype} of shape {names.shape}; {_EXPECTED}"
        )
    N = len(names)
    clip_of_row, frame_of_row = np.empty(N, np.int32), np.empty(N, np.int64)
    clips: dict[bytes, int] = {}
    for start in range(0, N, _CHUNK):
        rows = slice(start, min(start + _CHUNK, N))
        stems, frame_of_row[rows] = _split_names(_characters(names[rows], source), source)
        clip_of_row[rows] = _number_clips(stems, clips)
    order = np.lexsort((frame_of_row, clip_of_row))
    bounds = np.searchsorted(clip_of_row[order], np.arange(len(clips) + 1))
    groups: dict[str, slice | np.ndarray] = {}
    for stem, number in clips.items():
        rows_of_clip = order[bounds[number] : bounds[number + 1]]
        frames = frame_of_row[rows_of_clip]
        repeated = frames[1:][np.diff(frames) == 0]
        if len(repeated):
            raise DataFileError(f"{source}: frame {repeated[0]} of {stem.decode()} occurs twice")
        groups[stem.decode("ascii")] = _as_slice(rows_of_clip)
    return groups


def _characters(names: np.ndarray, source: str) -> np.ndarray:
    """(n, L) uint8 codes, zero behind the end of each name."""
    width = np.uint32 if names.dtype.kind == "U" else np.uint8
    native = names.astype(names.dtype.newbyteorder("="), copy=False)
    codes = np.ascontiguousarray(native).view(width).reshape(len(names), -1)
    if codes.max() > 127:
        raise DataFileError(f"{source}: imgname is not in ASCII; {_EXPECTED}")
    return codes.astype(np.uint8)


def _split_names(codes: np.ndarray, source: str) -> tuple[np.ndarray, np.ndarray]:
    """Clip names (n, L) uint8 with everything from the last underscore zeroed, frames (n,)."""
    n, L = codes.shape
    columns = np.arange(L)
    underscore = L - 1 - np.argmax(codes[:, ::-1] == ord("_"), axis=1)
    dot = L - 1 - np.argmax(codes[:, ::-1] == ord("."), axis=1)
    n_digits = dot - underscore - 1
    rows = np.arange(n)
    good = (codes[rows, underscore] == ord("_")) & (codes[rows, dot] == ord("."))
    good &= (n_digits >= 1) & (n_digits <= _MAX_DIGITS)
    frames = np.zeros(n, np.int64)
    for k in range(1, _MAX_DIGITS + 1):
        inside = k <= n_digits
        digit = codes[rows, np.minimum(underscore + k, L - 1)].astype(np.int64) - ord("0")
        good &= ~inside | ((digit >= 0) & (digit <= 9))
        frames = np.where(inside, frames * 10 + digit, frames)
    if not good.all():
        first = codes[np.argmin(good)].tobytes().rstrip(b"\0").decode("ascii")
        raise DataFileError(f"{source} names an image {first!r}; {_EXPECTED}")
    return np.where(columns < underscore[:, None], codes, 0).astype(np.uint8), frames


def _number_clips(stems: np.ndarray, clips: dict[bytes, int]) -> np.ndarray:
    """The number of each row's clip, (n,); `clips` learns those that are new."""
    n, L = stems.shape
    heads = np.flatnonzero(np.r_[True, (stems[1:] != stems[:-1]).any(1)])  # where a run begins
    texts = stems[heads].view(f"S{L}").ravel()
    unique, first, inverse = np.unique(texts, return_index=True, return_inverse=True)
    numbers = np.empty(len(unique), np.int32)
    for position in np.argsort(first):  # new clips are numbered as they appear, not by alphabet
        numbers[position] = clips.setdefault(unique[position], len(clips))
    return np.repeat(numbers[inverse.ravel()], np.diff(np.r_[heads, n]))


def _as_slice(rows: np.ndarray) -> slice | np.ndarray:
    consecutive = rows[-1] - rows[0] + 1 == len(rows) and (np.diff(rows) == 1).all()
    return slice(int(rows[0]), int(rows[-1]) + 1) if consecutive else rows
