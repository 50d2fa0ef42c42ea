"""Windows against their definition in words, written as plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.windows import segment_frames, window_frames

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


@pytest.mark.parametrize("spec", [SYMMETRIC, CAUSAL])
@pytest.mark.parametrize("phase", [0, 1, 3])
def test_segments_hold_every_window_of_every_clip_once(spec: ModelSpec, phase: int) -> None:
    lengths, n_centres = [1, 9, 4, 13], 4
    frames, clips, valid = segment_frames(lengths, n_centres, spec, phase)
    found = [
        (int(clip), frames[s, i : i + spec.receptive_field].tolist())
        for s, clip in enumerate(clips)
        for i in range(n_centres)
        if valid[s, i]
    ]
    expected, base = [], 0
    for clip, length in enumerate(lengths):
        expected += [(clip, (base + row).tolist()) for row in window_frames(length, spec)]
        base += length
    assert found == expected


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one frame, not 0"):
        window_frames(0, SYMMETRIC)
    with pytest.raises(ValueError, match="not -1"):
        window_frames(5, SYMMETRIC, -1)
    with pytest.raises(ValueError, match="0 to 3, not 4"):
        segment_frames([9], 4, SYMMETRIC, phase=4)
