"""Weights as whole numbers, against what they should come to by definition."""

from __future__ import annotations

import itertools

import numpy as np

from vp3d_export.int8.rounding import (
    LARGEST,
    damped,
    round_nearest,
    round_with_feedback,
    row_steps,
)


def correlated_moments(n: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(200, 3)) @ rng.normal(size=(3, n)) + 0.1 * rng.normal(size=(200, n))
    return rows.T @ rows / len(rows)


def output_errors(error: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """(C, in) -> (C,) mean squares of what each row's product is wrong by."""
    return np.einsum("ci,ij,cj->c", error, moments, error)


def test_steps_reach_the_largest_weight_of_each_row() -> None:
    weight = np.array([[0.5, -2.54, 1.0], [0.0, 0.0, 0.0], [1e-9, 0.0, 0.0]])
    steps = row_steps(weight)
    np.testing.assert_allclose(steps, [0.02, 1.0, 1e-9 / 127], rtol=1e-12)
    whole = round_nearest(weight, steps)
    assert whole.dtype == np.int8
    np.testing.assert_array_equal(whole, [[25, -127, 50], [0, 0, 0], [127, 0, 0]])


def test_without_correlation_feedback_is_the_nearest() -> None:
    weight = np.random.default_rng(0).normal(size=(20, 130))
    moments = np.diag(np.random.default_rng(1).uniform(0.1, 3, 130))
    found = round_with_feedback(weight, row_steps(weight), moments)
    np.testing.assert_array_equal(found, round_nearest(weight, row_steps(weight)))


def test_feedback_makes_products_of_correlated_inputs_better() -> None:
    """150 inputs: more than are worked out together at a time."""
    weight = np.random.default_rng(0).normal(size=(30, 150))
    steps, moments = row_steps(weight), damped(correlated_moments(150, 2))
    near = round_nearest(weight, steps) * steps[:, None] - weight
    fed = round_with_feedback(weight, steps, moments) * steps[:, None] - weight
    assert output_errors(fed, moments).mean() < 0.3 * output_errors(near, moments).mean()


def test_feedback_is_near_the_best_there_is() -> None:
    """All roundings up and down of four inputs are tried."""
    rng = np.random.default_rng(4)
    fed_total = nearest_total = best_total = 0.0
    for seed in range(40):
        weight = rng.normal(size=(1, 4))
        steps, moments = row_steps(weight), damped(correlated_moments(4, seed))
        below = np.floor(weight / steps[:, None])
        choices = np.array(list(itertools.product((0, 1), repeat=4))) + below
        choices = np.clip(choices, -LARGEST, LARGEST)
        best_total += output_errors(choices * steps - weight, moments).min()
        fed = round_with_feedback(weight, steps, moments) * steps[:, None] - weight
        near = round_nearest(weight, steps) * steps[:, None] - weight
        fed_total += output_errors(fed, moments)[0]
        nearest_total += output_errors(near, moments)[0]
    assert fed_total < (best_total + nearest_total) / 2


def test_numbers_stay_within_a_byte_whatever_is_fed_back() -> None:
    weight = np.ones((4, 40))
    weight[:, ::2] *= -1
    whole = round_with_feedback(weight, row_steps(weight) * 0.9, damped(np.ones((40, 40))))
    assert whole.dtype == np.int8
    assert np.abs(whole.astype(int)).max() <= LARGEST


def test_inputs_that_never_speak_can_be_rounded() -> None:
    weight = np.random.default_rng(0).normal(size=(3, 5))
    whole = round_with_feedback(weight, row_steps(weight), damped(np.zeros((5, 5))))
    np.testing.assert_array_equal(whole, round_nearest(weight, row_steps(weight)))
