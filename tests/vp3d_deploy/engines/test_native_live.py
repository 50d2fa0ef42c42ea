"""`LiveStream` on the native engine, beside one that follows the definition and keeps every frame;
and what NaN does to an engine that is given it raw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_bundle import DefinitionEngine, DefinitionStream
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_networks import PRECISIONS, StoredNetworks, live_window, opened

from vp3d_deploy import _native
from vp3d_deploy.engines.base import Output
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.live import LiveStream
from vp3d_deploy.poses import Poses
from vp3d_deploy.spec import ModelSpec

SIZE = (1920, 1080)
# In 8 bits an activation may be rounded either way (tests/stored_networks.py).
TOLERANCES_M = {"fp32": 1e-5, "fp16": 1e-5, "int8": 0.1}

small_specs = st.builds(
    ModelSpec,
    st.sampled_from([(3,), (3, 3), (5, 3), (3, 1, 5), (3, 3, 3)]),
    st.integers(8, 40),
    features=st.integers(2, 3),
    causal=st.booleans(),
)


class StoredEngine(DefinitionEngine):
    """Answers from the numbers in the weights file, by definition."""

    def __init__(self, networks: StoredNetworks) -> None:
        self.networks, self.bundle, self.spec = networks, networks.bundle, networks.bundle.spec
        self.lags = range(self.spec.lookahead + 1)
        self.calls = []

    def open_stream(self, lag: int) -> DefinitionStream:
        assert lag in self.lags
        return DefinitionStream(self, lag)

    def _evaluated(self, clips: list[np.ndarray]) -> Output:
        found = [whole.answers for whole in self.networks.sequence(np.stack(clips))]
        return Output(*(array.astype(np.float32) for array in found), *[None] * (2 - len(found)))


class Camera:
    """Up to three people who walk in and out of view, joints hidden and frames lost.

    Each pushed frame is (J, 2) or with scores (J, 3) pixels by track id.
    """

    def __init__(self, seed: int, scores: bool) -> None:
        self.rng = np.random.default_rng(seed)
        self.columns = 3 if scores else 2
        self.here = [True, False, False]

    def frame(self) -> dict[Any, np.ndarray]:
        rng = self.rng
        people = {}
        for track in range(3):
            if rng.random() < 0.08:
                self.here[track] = not self.here[track]
            if not self.here[track]:
                continue
            joints = rng.normal(0, 80, (17, self.columns)) + 700
            joints[:, 2:] = rng.uniform(0.1, 1, (17, self.columns - 2))
            hidden = rng.random(17) < rng.choice([0, 0, 0.3, 1], p=[0.4, 0.3, 0.25, 0.05])
            joints[hidden, : rng.integers(1, 3)] = np.nan
            people[track] = joints.astype(rng.choice([np.float32, np.float64]))
        return people


def assert_same(found: dict[Any, Poses], expected: dict[Any, Poses], tolerance_m: float) -> int:
    """Returns how many poses were compared."""
    assert found.keys() == expected.keys()
    for track, poses in expected.items():
        other = found[track]
        np.testing.assert_array_equal(other.frame_indices, poses.frame_indices)
        np.testing.assert_array_equal(other.confidence, poses.confidence)
        np.testing.assert_allclose(other.joints_m, poses.joints_m, rtol=0, atol=tolerance_m)
        assert (other.trajectory_m is None) == (poses.trajectory_m is None)
        if poses.trajectory_m is not None:
            np.testing.assert_allclose(
                other.trajectory_m, poses.trajectory_m, rtol=0, atol=tolerance_m
            )
    return sum(len(poses.joints_m) for poses in expected.values())


def play(
    streams: tuple[LiveStream, LiveStream], camera: Camera, tolerance_m: float, prepares: bool
) -> int:
    compared = 0
    for push in range(70):
        for stream in streams if prepares and push % 5 else ():
            stream.prepare()
        people = camera.frame()
        if push == 40:
            for stream in streams:
                stream.reset(0)
        ours, theirs = (stream.push(people) for stream in streams)
        compared += assert_same(ours, theirs, tolerance_m)
    ours, theirs = (stream.flush() for stream in streams)
    return compared + assert_same(ours, theirs, tolerance_m)


@pytest.mark.parametrize("precision", PRECISIONS)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_people_with_hidden_joints(precision: str, data: st.DataObject) -> None:
    spec, seed = data.draw(small_specs), data.draw(st.integers(0, 10_000))
    lag = data.draw(st.integers(0, spec.lookahead))
    options = {"hold_s": 0.06, "fade_s": 0.06}
    if data.draw(st.booleans()):
        options["fps"] = data.draw(st.sampled_from([25.0, 60.0]))  # beside the network's 50
    with opened(spec, precision, trajectory=data.draw(st.booleans())) as (engine, networks):
        streams = tuple(
            Lifter(networks.bundle, each).stream(SIZE, lag, **options)
            for each in (engine, StoredEngine(networks))
        )
        camera, prepares = Camera(seed, spec.features == 3), data.draw(st.booleans())
        compared = play(streams, camera, TOLERANCES_M[precision], prepares)
        assert compared > 20


@pytest.mark.parametrize("isa", _native.available_isas())
@pytest.mark.parametrize("precision", PRECISIONS)
def test_raw_nan_stays_in_its_row_and_passes(precision: str, isa: str) -> None:
    """`LiveStream` never shows an engine NaN. One that is shown it nevertheless hands it on only
    where it belongs, and is the same as ever once nothing in the rings depends on it."""
    spec, lag = ModelSpec((3, 3, 3), 40), 4
    poisoned_at, n_frames = 30, 30 + 27 + 13
    rng = np.random.default_rng(3)
    frames = rng.normal(0, 0.5, (n_frames, 3, 17, 2)).astype(np.float32)
    poisoned = frames.copy()
    poisoned[poisoned_at, 1, 5] = np.nan
    poisoned[poisoned_at + 1, 1, 6] = [np.inf, -np.inf]
    with opened(spec, precision, isa) as (engine, networks):
        clean, dirty = engine.open_stream(lag), engine.open_stream(lag)
        clean.add_rows(3)
        dirty.add_rows(3)
        for t in range(n_frames):
            expected = clean.step(frames[t]).pose.copy()
            found = dirty.step(poisoned[t]).pose
            np.testing.assert_array_equal(found[[0, 2]], expected[[0, 2]])
            if t < poisoned_at or t > poisoned_at + 1 + spec.receptive_field:
                np.testing.assert_array_equal(found[1], expected[1])
            elif precision != "int8" and t == poisoned_at:
                assert np.isnan(found[1]).any()
        window = live_window(spec, list(poisoned[:, 1]), lag)
        last = networks.windows(window[None])[0].answers
        np.testing.assert_allclose(found[1], last[0], rtol=0, atol=TOLERANCES_M[precision])


@pytest.mark.parametrize("isa", _native.available_isas())
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("causal", [False, True])
def test_frames_that_were_prepared_for(causal: bool, precision: str, isa: str) -> None:
    """At every lag, as the definition has it; at full lag to the last bit as without."""
    spec = ModelSpec((3, 3, 3), 40, causal=causal)
    rng = np.random.default_rng(5)
    frames = rng.normal(0, 0.5, (2 * spec.receptive_field + 5, 1, 17, 2)).astype(np.float32)
    with opened(spec, precision, isa, trajectory=True) as (engine, networks):
        for lag in range(0, spec.lookahead + 1, 3):
            stream, plain = engine.open_stream(lag), engine.open_stream(lag)
            stream.add_rows(1)
            plain.add_rows(1)
            answers, others = [], []
            for frame in frames:
                others.append(plain.step(frame).copied())
                answers.append(stream.step(frame).copied())
                stream.prepare()
            windows = np.stack([live_window(spec, list(frames[: t + 1, 0]), lag)
                                for t in range(lag, len(frames))])  # fmt: skip
            for network, name in enumerate(("pose", "trajectory")):
                found, without = (np.concatenate([getattr(one, name) for one in all_of])[lag:]
                                  for all_of in (answers, others))  # fmt: skip
                expected = networks.windows(windows)[network].answers
                atol = TOLERANCES_M[precision]
                np.testing.assert_allclose(found, expected, rtol=0, atol=atol)
                if lag == spec.lookahead:
                    np.testing.assert_array_equal(found, without)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_long_streams_neither_drift_nor_grow(precision: str) -> None:
    """The last answers are those of a stream that has seen the last frames only."""
    spec, lag = ModelSpec((3, 3), 16, joints_in=5, joints_out=3), 2
    needed = spec.receptive_field + lag
    frames = np.random.default_rng(4).normal(0, 0.5, (1000, 2, 5, 2)).astype(np.float32)
    with opened(spec, precision) as (engine, _):
        old, fresh = engine.open_stream(lag), engine.open_stream(lag)
        old.add_rows(2)
        fresh.add_rows(2)
        for frame in frames:
            old.step(frame)
        before = resident_pages()
        for _ in range(60):
            for frame in frames:
                old.step(frame)
        assert resident_pages() - before < 100
        for frame in frames[:needed]:
            expected = fresh.step(frame).pose
            found = old.step(frame).pose
        np.testing.assert_array_equal(found, expected)


def resident_pages() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1])
