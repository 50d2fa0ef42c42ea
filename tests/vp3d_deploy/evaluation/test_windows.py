"""Windows against their definition in words, written as plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.evaluation.windows import window_frames
from vp3d_deploy.spec import ModelSpec

SYMMETRIC = ModelSpec((3, 3), 4)
CAUSAL = ModelSpec((3, 3), 4, causal=True)


@pytest.mark.parametrize("spec", [SYMMETRIC, CAUSAL, ModelSpec((1, 1), 4)])
@pytest.mark.parametrize("n_frames", [1, 2, 5, 30])
@pytest.mark.parametrize("lag", [None, 0, 2, 100])
def test_window_frames(spec: ModelSpec, n_frames: int, lag: int | None) -> None:
    found = window_frames(n_frames, spec, lag)
    assert found.shape == (n_frames, spec.receptive_field)
    for t in range(n_frames):
        clip = list(range(n_frames))
        if lag is not None:  # the camera has shown frames up to t + lag
            clip = [min(frame, t + lag) for frame in clip]
        padded = [clip[0]] * spec.pad_left + clip + [clip[-1]] * spec.pad_right
        assert found[t].tolist() == padded[t : t + spec.receptive_field]


def test_each_window_may_have_its_own_lag() -> None:
    found = window_frames(20, SYMMETRIC, np.arange(20) % 3)
    for t in range(20):
        np.testing.assert_array_equal(found[t], window_frames(20, SYMMETRIC, t % 3)[t])


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame, not 0"):
        window_frames(0, SYMMETRIC)
    with pytest.raises(ValueError, match="not -1"):
        window_frames(5, SYMMETRIC, -1)
