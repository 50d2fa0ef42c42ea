"""The stream plan, executed in float64 as it stands, against the definition of a live answer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference import live_answers, random_parameters

from vp3d_deploy.plan import Column, StreamPlan, stream_plan
from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import fold_batch_norm


def run_plan(
    spec: ModelSpec, plan: StreamPlan, weights: dict[str, np.ndarray], frames: np.ndarray
) -> np.ndarray:
    """The plan in the plainest numpy: rings are lists, newest last; what is older than the list
    reads as its oldest entry, which is never dropped."""
    rings: list[list[np.ndarray]] = [[] for _ in plan.levels]
    answers = []
    for frame in frames.astype(np.float64):
        at_hand = {Column.TRUE: frame.reshape(-1)}
        for level, work in enumerate(plan.levels):
            below, at_hand = at_hand, {}
            ring = rings[level]
            for column, taps in work.columns.items():
                reads = []
                for tap in taps:
                    if tap.column is not None:
                        reads.append(below[tap.column])
                    elif ring:
                        reads.append(ring[max(len(ring) - tap.age, 0)])
                    else:
                        reads.append(below[Column.TRUE])
                rows = np.concatenate(reads)
                name = f"level{level}"
                h = np.maximum(
                    rows @ weights[f"{name}.conv.weight"].T + weights[f"{name}.conv.bias"], 0
                )
                if level:
                    mixed = h @ weights[f"{name}.mix.weight"].T + weights[f"{name}.mix.bias"]
                    h = reads[spec.residual_tap(level)] + np.maximum(mixed, 0)
                at_hand[column] = h
            if plan.ring_lengths[level]:
                ring.append(below[Column.TRUE])
        answers.append(at_hand[plan.answer] @ weights["shrink.weight"].T + weights["shrink.bias"])
    return np.array(answers).reshape(len(frames), spec.joints_out, 3)


def assert_plan_gives_the_definition(spec: ModelSpec, lag: int, n_frames: int, seed: int) -> None:
    tensors = random_parameters(spec, seed)
    keypoints = np.random.default_rng(seed).normal(
        0, 0.5, (n_frames, spec.joints_in, spec.features)
    )
    frames = np.concatenate([keypoints, np.repeat(keypoints[-1:], lag, 0)])
    plan = stream_plan(spec, lag)
    found = run_plan(spec, plan, fold_batch_norm(spec, tensors), frames)[lag:]
    expected = live_answers(spec, tensors, keypoints, lag)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("lag", [0, 1, 5, 20, 60, 80, 100, 121])
def test_243_frames_at_any_lag(lag: int) -> None:
    assert_plan_gives_the_definition(ModelSpec((3,) * 5, 4, 3, 2, 2), lag, 30, seed=lag)


@pytest.mark.parametrize("lag", [0, 5, 13])
def test_long_clip_turns_the_rings_over(lag: int) -> None:
    assert_plan_gives_the_definition(ModelSpec((3, 3, 3), 5, 3, 2, 2), lag, 90, seed=1)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_any_widths_causal_or_not(data: st.DataObject) -> None:
    widths = tuple(data.draw(st.lists(st.sampled_from([1, 3, 5, 7]), min_size=1, max_size=4)))
    spec = ModelSpec(widths, 3, 2, 2, 1, data.draw(st.booleans()))
    if spec.receptive_field > 300:
        return
    lag = data.draw(st.integers(0, spec.lookahead))
    n_frames = data.draw(st.integers(1, 25))
    assert_plan_gives_the_definition(spec, lag, n_frames, data.draw(st.integers(0, 99)))


def test_at_most_three_columns_and_one_at_full_lag() -> None:
    spec = ModelSpec((3,) * 5, 1024)
    for lag in range(spec.lookahead + 1):
        assert all(len(level.columns) <= 3 for level in stream_plan(spec, lag).levels)
    full = stream_plan(spec, spec.lookahead)
    assert all(list(level.columns) == [Column.TRUE] for level in full.levels)
    assert full.ring_lengths == (2, 6, 18, 54, 162)


@pytest.mark.parametrize("lag", [-1, 14, True, 1.0, None])
def test_impossible_lags_are_refused(lag: object) -> None:
    with pytest.raises(ValueError, match="27-frame network can trail by 0 to 13 frames"):
        stream_plan(ModelSpec((3, 3, 3), 8), lag)  # type: ignore[arg-type]


def test_a_causal_network_has_no_lag() -> None:
    with pytest.raises(ValueError, match="causal network can trail by 0 to 0"):
        stream_plan(ModelSpec((3, 3, 3), 8, causal=True), 1)
