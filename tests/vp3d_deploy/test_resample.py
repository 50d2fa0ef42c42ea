"""Frame rates: clips there and back, and the grid of a live stream."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vp3d_deploy.resample import MAX_GAP_S, FrameGrid, n_resampled, resample

FPS = 50.0


@pytest.mark.parametrize(
    ("n_frames", "from_fps", "expected"), [(1, 25, 1), (2, 25, 3), (26, 25, 51), (61, 60, 51),
    (62, 60, 52), (301, 30, 501), (1, 1000, 1), (30, 29.97, 50)]
)  # fmt: skip
def test_the_end_of_a_clip_is_covered(n_frames, from_fps, expected):
    assert n_resampled(n_frames, from_fps, FPS) == expected


@pytest.mark.parametrize("from_fps", [24, 25, 29.97, 30, 50, 60, 120, 1000])
def test_linear_motion_survives_there_and_back(from_fps):
    n_frames = 77
    values = np.arange(2 * n_frames * 3).reshape(2, n_frames, 3) / 10
    there = resample(values, from_fps, FPS, n_resampled(n_frames, from_fps, FPS))
    at = np.minimum(np.arange(there.shape[1]) / FPS, (n_frames - 1) / from_fps)
    np.testing.assert_allclose(there[1, :, 2], values[1, 0, 2] + at * from_fps * 0.3, atol=1e-9)
    back = resample(there, FPS, from_fps, n_frames)
    # The last point of the grid may lie past the end, where the last value stays.
    exact = np.arange(n_frames) / from_fps <= (there.shape[1] - 2) / FPS
    np.testing.assert_allclose(back[:, exact], values[:, exact], rtol=0, atol=1e-9)
    assert np.abs(back - values).max() <= 0.3 * max(1, from_fps / FPS)
    assert resample(values.astype(np.float32), from_fps, FPS, 5).dtype == np.float32


def test_resampling_is_interpolation():
    values = np.random.default_rng(0).normal(size=(1, 40, 2, 2))
    got = resample(values, 30.0, FPS, 60)
    at = np.arange(60) / FPS
    expected = np.interp(at, np.arange(40) / 30.0, values[0, :, 1, 0])
    np.testing.assert_allclose(got[0, :, 1, 0], expected, rtol=0, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(st.floats(0.001, MAX_GAP_S - 0.01), min_size=1, max_size=40),
    origin=st.sampled_from([0.0, -3.7, 12345.678, 1.7e9]),
)
def test_the_grid_meets_every_point_once_with_the_right_weight(steps, origin):
    times = origin + np.concatenate([[0.0], np.cumsum(steps)])
    grid, met = FrameGrid(FPS), []
    before = origin
    for at in times.tolist():
        grid.check(at)
        for index, weight in grid.advance(at):
            value = weight * at + (1 - weight) * before
            assert value == pytest.approx(origin + index / FPS, abs=3e-5)
            assert 0 <= weight <= 1
            met.append(index)
        before = at
    assert grid.origin_s == origin
    reached = (times[-1] - origin) * FPS
    assert met == list(range(len(met)))
    assert len(met) - 1 <= reached + 2e-3
    assert len(met) >= reached - 2e-3


def test_frames_on_the_grid_are_taken_as_they_are():
    for origin in (0.0, 1.7e9):
        grid = FrameGrid(FPS)
        for k in range(500):
            assert grid.advance(origin + k / FPS) == [(k, 1.0)]


def test_after_a_gap_the_grid_goes_on_without_the_points_in_between():
    grid = FrameGrid(FPS)
    assert grid.advance(10.0) == [(0, 1.0)]
    assert grid.elapsed_s(10.5) == pytest.approx(0.5)
    assert len(grid.advance(10.5)) == 25  # not yet a gap
    assert grid.advance(11.51) == []
    ((index, weight),) = grid.advance(11.53)
    assert (index, weight) == (76, pytest.approx(0.5))
    assert grid.advance(12.04) == [(102, 1.0)]


def test_times_must_increase():
    grid = FrameGrid(FPS)
    grid.check(-5.0)
    grid.advance(1.0)
    for at in (1.0, 0.98, -1.0):
        with pytest.raises(ValueError, match=r"after 1.0; times must increase"):
            grid.check(at)
