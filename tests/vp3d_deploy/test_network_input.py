"""Joints of one skeleton as a network of another reads them, and what its answers are worth."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from vp3d_deploy import network_input
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton
from vp3d_deploy.skeleton_conversion import convert_keypoints

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(-1, 1, (4, 17, 2))
CONFIDENCE = RNG.uniform(0, 1, (4, 17)).astype(np.float32)


def test_the_networks_own_skeleton_passes_through():
    inputs, confidence = NetworkInput(H36M_17, H36M_17, H36M_17, 2)(POINTS, CONFIDENCE)
    np.testing.assert_array_equal(inputs, POINTS.astype(np.float32))
    np.testing.assert_array_equal(confidence, CONFIDENCE)


def test_a_network_of_three_features_reads_the_confidence():
    inputs, _ = NetworkInput(H36M_17, H36M_17, H36M_17, 3)(POINTS, CONFIDENCE)
    assert inputs.dtype == np.float32
    np.testing.assert_array_equal(inputs[..., 2], CONFIDENCE)
    np.testing.assert_array_equal(inputs[..., :2], POINTS.astype(np.float32))


def test_another_skeleton_is_converted_with_its_confidence():
    inputs, confidence = NetworkInput(COCO_17, H36M_17, H36M_17, 2)(POINTS, CONFIDENCE)
    both = np.concatenate([POINTS, CONFIDENCE[..., None]], axis=-1)
    expected = convert_keypoints(both, "coco", "h36m")
    np.testing.assert_array_equal(inputs, expected[..., :2].astype(np.float32))
    np.testing.assert_array_equal(confidence, expected[..., 2].astype(np.float32))
    hips = COCO_17.index("left_hip"), COCO_17.index("right_hip")
    np.testing.assert_array_equal(confidence[:, 0], CONFIDENCE[:, hips].min(-1))


def test_extra_edges_do_not_make_another_skeleton(monkeypatch):
    """A bundle's manifest stores no drawing edges; that must not cost a conversion per frame."""
    monkeypatch.setattr(network_input, "convert_keypoints", None)
    stored = dataclasses.replace(COCO_17, extra_edges=())
    inputs, _ = NetworkInput(COCO_17, stored, COCO_17, 2)(POINTS, CONFIDENCE)
    np.testing.assert_array_equal(inputs, POINTS.astype(np.float32))


def test_confidence_follows_to_the_networks_output_skeleton():
    _, confidence = NetworkInput(COCO_17, COCO_17, H36M_17, 2)(POINTS, CONFIDENCE)
    scored = np.concatenate([POINTS, CONFIDENCE[..., None]], axis=-1)
    expected = convert_keypoints(scored, COCO_17, H36M_17)[..., 2]
    np.testing.assert_array_equal(confidence, expected.astype(np.float32))


def test_where_joints_cannot_be_matched_the_person_has_one_confidence():
    custom = Skeleton("custom", ("a", "b"), (-1, 0), (), ())
    _, confidence = NetworkInput(H36M_17, H36M_17, custom, 2)(POINTS, CONFIDENCE)
    assert confidence.shape == (4, 2)
    np.testing.assert_allclose(confidence, CONFIDENCE.mean(-1)[:, None].repeat(2, 1), rtol=1e-6)


def test_what_cannot_be_done_is_said_at_once():
    with pytest.raises(ValueError, match="h36m17.*coco17"):
        NetworkInput(H36M_17, COCO_17, H36M_17, 2)
    for features in (1, 4):
        with pytest.raises(ValueError, match=f"reads {features} values"):
            NetworkInput(H36M_17, H36M_17, H36M_17, features)
