"""What is measured must be what it says: the contenders compute the network of the definition."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from reference import dilated_network

from vp3d_bench.contenders.base import UnavailableError
from vp3d_bench.contenders.line_up import line_up
from vp3d_bench.contenders.plain_files import DILATED, DYNAMO, LEGACY, STRIDED, plain_export
from vp3d_bench.machine import describe_machine
from vp3d_bench.networks import random_bundle, random_state
from vp3d_bench.onnx_session import INPUT, onnxruntime_session
from vp3d_bench.subject import Subject
from vp3d_deploy import Bundle, ModelSpec
from vp3d_deploy.engines import open_engine

DYNAMO_NAMES = ("onnxruntime-plain-dynamo", "openvino-f32-dynamo")


def subject_of(folder: Path, spec: ModelSpec, state: dict[str, np.ndarray]) -> Subject:
    random_bundle(folder / "net.vp3d", spec, state)
    return Subject(Bundle.open(folder / "net.vp3d"), 1, folder)


@pytest.mark.parametrize("exporter", [LEGACY, DYNAMO])
@pytest.mark.parametrize("causal", [False, True])
def test_exports_and_our_window_are_the_same_network(
    causal: bool, exporter: str, tmp_path: Path
) -> None:
    spec = ModelSpec((3, 5, 3), 16, causal=causal)
    state = random_state(spec, seed=2)
    subject = subject_of(tmp_path, spec, state)
    shape = (4, spec.receptive_field, spec.joints_in, spec.features)
    windows = np.random.default_rng(0).normal(0, 0.4, shape).astype(np.float32)
    expected = np.stack([dilated_network(spec, state, window)[0] for window in windows])
    assert np.ptp(expected) > 0.1

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = plain_export(subject, STRIDED, exporter)
    found = onnxruntime_session(str(model), threads=1).run(None, {INPUT: windows})[0]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)

    ours = open_engine(subject.bundle, "onnx", threads=1).window(windows).pose
    np.testing.assert_allclose(ours, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("exporter", [LEGACY, DYNAMO])
def test_exports_of_clips_take_any_number_of_frames_and_people(
    exporter: str, tmp_path: Path
) -> None:
    spec = ModelSpec((3, 3), 8)
    state = random_state(spec, seed=3)
    model = plain_export(subject_of(tmp_path, spec, state), DILATED, exporter)
    session = onnxruntime_session(str(model), threads=1)
    for people, frames in ((1, 9), (3, 40)):
        shape = (people, frames, spec.joints_in, spec.features)
        clips = np.random.default_rng(0).normal(0, 0.4, shape).astype(np.float32)
        expected = np.stack([dilated_network(spec, state, clip) for clip in clips])
        found = session.run(None, {INPUT: clips})[0]
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", DYNAMO_NAMES)
def test_an_export_that_fails_is_a_reason(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")

    def fails(*_: Any, **options: Any) -> None:
        assert options["dynamo"] is True
        raise RuntimeError("Could not guard on data-dependent expression\nand much more")

    monkeypatch.setattr(torch.onnx, "export", fails)
    spec = ModelSpec((3, 3), 4)
    subject = subject_of(tmp_path, spec, random_state(spec, seed=1))
    contender = line_up(subject.bundle, (0,))[name]()
    with pytest.raises(UnavailableError, match=r"dynamo=True\) fails: Could not guard") as refused:
        contender.open(subject)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", DYNAMO_NAMES)
def test_the_exporter_s_own_package_may_be_missing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("openvino")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    spec = ModelSpec((3, 3), 4)
    subject = subject_of(tmp_path, spec, random_state(spec, seed=1))
    with pytest.raises(UnavailableError, match="onnxscript is not installed"):
        line_up(subject.bundle, (0,))[name]().open(subject)


def test_a_result_says_what_it_was_measured_on() -> None:
    machine = describe_machine()
    assert machine["cores"] > 0
    assert machine["packages"]["onnxruntime"]
