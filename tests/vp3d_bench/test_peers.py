"""What is measured must be what it says: the contenders compute the network of the definition."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from reference import dilated_network

from vp3d_bench.machine import describe_machine
from vp3d_bench.networks import random_bundle, random_state
from vp3d_bench.onnx_session import INPUT, onnxruntime_session
from vp3d_bench.peers import StridedConvolutions, plain_onnx_export
from vp3d_deploy import Bundle, ModelSpec
from vp3d_deploy.engines import open_engine


@pytest.mark.parametrize("causal", [False, True])
def test_the_peer_and_our_window_are_the_same_network(causal: bool, tmp_path: Path) -> None:
    spec = ModelSpec((3, 5, 3), 16, causal=causal)
    state = random_state(spec, seed=2)
    shape = (4, spec.receptive_field, spec.joints_in, spec.features)
    windows = np.random.default_rng(0).normal(0, 0.4, shape).astype(np.float32)
    expected = np.stack([dilated_network(spec, state, window)[0] for window in windows])
    assert np.ptp(expected) > 0.1

    session = onnxruntime_session(plain_onnx_export(StridedConvolutions(spec, state)), threads=1)
    found = session.run(None, {INPUT: windows})[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    random_bundle(tmp_path / "net.vp3d", spec, state)
    bundle = Bundle.open(tmp_path / "net.vp3d")
    ours = open_engine(bundle, "onnx", threads=1).window(windows).pose
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


def test_a_result_says_what_it_was_measured_on() -> None:
    machine = describe_machine()
    assert machine["cores"] > 0
    assert machine["packages"]["onnxruntime"]
