"""Grouping image names into clips."""

from __future__ import annotations

import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vp3d_deploy.data import frame_names
from vp3d_deploy.data.frame_names import group_by_clip
from vp3d_deploy.data.npy import DataFileError


def rows_of(groups: dict[str, slice | np.ndarray], n: int) -> dict[str, list[int]]:
    return {clip: np.arange(n)[rows].tolist() for clip, rows in groups.items()}


def by_hand(names: list[str]) -> dict[str, list[int]]:
    """The same with a dictionary and a sort."""
    clips: dict[str, list[tuple[int, int]]] = {}
    for row, name in enumerate(names):
        clip, _, rest = name.rpartition("_")
        clips.setdefault(clip, []).append((int(rest.split(".")[0]), row))
    return {clip: [row for _, row in sorted(frames)] for clip, frames in clips.items()}


@given(
    frames=st.sets(
        st.tuples(st.sampled_from(["S9/S9_A_1.5/S9_A_1.5", "B", "S1/a.b_c", "B_1"]),
                  st.integers(0, 10**9 - 1)),
        min_size=1, max_size=60,
    ),
    padded=st.booleans(), kind=st.sampled_from(["U", "S", ">U"]), chunk=st.integers(1, 70),
    order=st.randoms(use_true_random=False),
)  # fmt: skip
@settings(max_examples=150, deadline=None)
def test_grouping_agrees_with_a_dictionary(frames, padded, kind, chunk, order) -> None:
    names = [f"{clip}_{frame:0{9 if padded else 1}d}.jpg" for clip, frame in sorted(frames)]
    order.shuffle(names)
    array = np.array(names)
    array = array.astype("S") if kind == "S" else array
    array = array.astype(array.dtype.newbyteorder(">")) if kind == ">U" else array
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frame_names, "_CHUNK", chunk)
        groups = group_by_clip(array, "test")
    assert rows_of(groups, len(names)) == by_hand(names)
    assert list(groups) == list(by_hand(names))  # in order of first appearance


def test_rows_that_follow_each_other_are_a_slice() -> None:
    names = [f"A_{i:06d}.jpg" for i in range(1, 5)] + [f"B_{i:06d}.jpg" for i in (3, 1, 2)]
    groups = group_by_clip(np.array(names), "test")
    assert groups["A"] == slice(0, 4)
    assert isinstance(groups["B"], np.ndarray)
    assert groups["B"].tolist() == [5, 6, 4]


@pytest.mark.parametrize(
    "name",
    [
        "",
        "A_1",
        "A.jpg",
        "_.jpg",
        "A_x1.jpg",
        "A_1.2_jpg",
        "A_-1.jpg",
        "A_1234567890.jpg",
        "A_ä.jpg",
    ],
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(DataFileError, match=r"train\.npz.*expected image names like CLIP_000001"):
        group_by_clip(np.array(["A_1.jpg", name]), "train.npz")


def test_the_refused_name_is_shown() -> None:
    with pytest.raises(DataFileError, match="'A_one.jpg'"):
        group_by_clip(np.array(["A_1.jpg", "A_one.jpg", "B.jpg"]), "train.npz")


def test_a_frame_twice_is_refused() -> None:
    with pytest.raises(DataFileError, match=r"train\.npz: frame 1 of A occurs twice"):
        group_by_clip(np.array(["A_1.jpg", "B_1.jpg", "A_01.jpg"]), "train.npz")


@pytest.mark.parametrize("names", [np.arange(3), np.array([["A_1.jpg"]]), np.array([], "U5")])
def test_other_arrays_are_refused(names: np.ndarray) -> None:
    with pytest.raises(DataFileError, match="imgname is"):
        group_by_clip(names, "train.npz")


@pytest.mark.parametrize("shuffled", [False, True])
def test_many_frames_take_little_time_and_memory(shuffled: bool) -> None:
    """A tenth of Human3.6M; Python strings alone would be 17 MB, names here are 40 MB."""
    clips = [
        f"S1/S1_Directions_1.{camera}/S1_Directions_1.{camera}" for camera in range(1000, 1075)
    ]
    frames = [f"{clip}_{frame:06d}.jpg" for clip in clips for frame in range(1, 2001)]
    names = np.array(frames, "U67")
    if shuffled:
        np.random.default_rng(0).shuffle(names)
    del frames
    tracemalloc.start()
    start = time.perf_counter()
    groups = group_by_clip(names, "test")
    seconds = time.perf_counter() - start
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(groups) == 75
    assert all(isinstance(rows, slice) != shuffled for rows in groups.values())
    assert peak < names.nbytes  # 0.5 to 0.8 of it: a piece of names and two numbers per row
    assert seconds < 20  # 0.3 s on a quiet machine
