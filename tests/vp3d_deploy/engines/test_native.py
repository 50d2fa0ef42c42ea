"""The native engine against the definition of its network: any spec, any lag, people who come and
go, every precision and instruction set at hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from stored_networks import (
    PRECISIONS,
    StoredNetworks,
    assert_agrees,
    first_of,
    live_window,
    opened,
    random_clips,
)

from vp3d_deploy import _native
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.spec import ModelSpec

ISAS = _native.available_isas()
every_isa = pytest.mark.parametrize("isa", ISAS)
every_precision = pytest.mark.parametrize("precision", PRECISIONS)


@st.composite
def filter_widths(draw: st.DrawFn) -> tuple[int, ...]:
    """One to five levels, receptive fields up to 243."""
    widths: list[int] = []
    left = 243
    for _ in range(draw(st.integers(1, 5))):
        widths.append(draw(st.sampled_from([w for w in (3, 1, 5, 7) if w <= left])))
        left //= widths[-1]
    return tuple(widths)


@st.composite
def specs(draw: st.DrawFn, least_channels: int = 1) -> ModelSpec:
    return ModelSpec(
        draw(filter_widths()),
        draw(st.integers(least_channels, 70)),
        joints_in=draw(st.integers(1, 20)),
        features=draw(st.integers(1, 3)),
        joints_out=draw(st.integers(1, 20)),
        causal=draw(st.booleans()),
    )


def check_forms(engine: NativeEngine, networks: StoredNetworks, batch: int, extra: int) -> None:
    spec = networks.bundle.spec
    clips = random_clips(spec, batch, spec.receptive_field + extra)
    windows = np.ascontiguousarray(clips[:, : spec.receptive_field])
    expected = networks.sequence(clips)
    assert_agrees(engine.sequence(clips), expected)
    assert_agrees(engine.window(windows), first_of(expected))


class People:
    """Rows of a stream that come and go, and what each was shown."""

    def __init__(self, engine: NativeEngine, networks: StoredNetworks, lag: int) -> None:
        self.networks, self.lag = networks, lag
        self.stream = engine.open_stream(lag)
        self.rng = np.random.default_rng(5)
        self.seen: list[list[np.ndarray]] = []
        self.found: list[tuple[np.ndarray, ...]] = []
        self.windows: list[np.ndarray] = []

    def arrive(self, count: int) -> None:
        self.stream.add_rows(count)
        self.seen += [[] for _ in range(count)]

    def leave(self, rows: set[int]) -> None:
        self.stream.remove_rows(sorted(rows, reverse=True))
        self.seen = [frames for row, frames in enumerate(self.seen) if row not in rows]

    def step(self) -> None:
        spec = self.networks.bundle.spec
        shape = (len(self.seen), spec.joints_in, spec.features)
        frames = self.rng.normal(0, 0.5, shape).astype(np.float32)
        output = self.stream.step(frames)
        assert self.stream.n_rows == len(self.seen) == len(output.pose)
        for row, (seen, frame) in enumerate(zip(self.seen, frames, strict=True)):
            seen.append(frame)
            if len(seen) > self.lag:  # the first answers are for frames before the first
                self.windows.append(live_window(spec, seen, self.lag))
                self.found.append(output.copied(row))

    def check(self) -> None:
        """Compare all answers, or where there are many 60 of them."""
        if not self.found:
            return
        chosen = self.rng.permutation(len(self.found))[:60]
        poses, roots = zip(*(self.found[i] for i in chosen), strict=True)
        found = Output(np.stack(poses), None if roots[0] is None else np.stack(roots))
        assert_agrees(found, self.networks.windows(np.stack([self.windows[i] for i in chosen])))


@every_isa
@every_precision
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_windows_and_clips(isa: str, precision: str, data: st.DataObject) -> None:
    spec = data.draw(specs(8 if precision == "int8" else 1))
    threads, batch = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    trajectory, extra = data.draw(st.booleans()), data.draw(st.integers(0, 40))
    with opened(spec, precision, isa, threads, trajectory=trajectory) as (engine, networks):
        assert (engine.isa, engine.threads) == (isa, threads)
        check_forms(engine, networks, batch, extra)


@every_isa
@every_precision
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_people_who_come_and_go(isa: str, precision: str, data: st.DataObject) -> None:
    spec = data.draw(specs(8 if precision == "int8" else 1))
    threads, trajectory = data.draw(st.integers(1, 3)), data.draw(st.booleans())
    lag = data.draw(st.integers(0, spec.lookahead))
    with opened(spec, precision, isa, threads, trajectory=trajectory) as (engine, networks):
        people = People(engine, networks, lag)
        people.arrive(data.draw(st.integers(1, 3)))
        for _ in range(data.draw(st.integers(1, 4))):
            for _ in range(data.draw(st.sampled_from([0, 1, 2, 5, spec.receptive_field // 2]))):
                people.step()
            gone = data.draw(st.sets(st.integers(0, 9), max_size=3))
            people.leave({row for row in gone if row < len(people.seen)})
            people.arrive(data.draw(st.integers(0, 2)))
        for _ in range(lag + 3):
            people.step()
        people.check()


@every_isa
@every_precision
def test_more_channels_and_columns_than_a_block_holds(isa: str, precision: str) -> None:
    spec = ModelSpec((3, 3), 330, joints_out=3)
    with opened(spec, precision, isa, 2) as (engine, networks):
        check_forms(engine, networks, 3, 250)
        people = People(engine, networks, 2)
        people.arrive(70)
        for _ in range(4):
            people.step()
        people.check()


@every_precision
@pytest.mark.parametrize("causal", [False, True])
def test_five_levels_at_several_lags(precision: str, causal: bool) -> None:
    spec = ModelSpec((3, 3, 3, 3, 3), 24, joints_out=4, causal=causal)
    with opened(spec, precision, trajectory=True) as (engine, networks):
        for lag in (0,) if causal else (0, 1, 40, 41, 60, 121):
            people = People(engine, networks, lag)
            people.arrive(1)
            for _ in range(lag + 12):
                people.step()
            people.check()


@every_isa
def test_eight_bits_are_whole_numbers(isa: str) -> None:
    """Wherever no activation lies halfway between two, answers are exact but for float32's sums."""
    with opened(ModelSpec((3, 3), 40, joints_out=4), "int8", isa) as (engine, networks):
        clips = random_clips(networks.bundle.spec, 60, 9)
        expected = networks.windows(clips)
        assert expected[0].sure.mean() > 0.9
        assert_agrees(engine.window(clips), expected)


def test_nothing_in_nothing_out() -> None:
    with opened(ModelSpec((3,), 4), "fp32", trajectory=True) as (engine, _):
        assert engine.window(np.zeros((0, 3, 17, 2), np.float32)).pose.shape == (0, 17, 3)
        assert engine.sequence(np.zeros((0, 5, 17, 2), np.float32)).pose.shape == (0, 3, 17, 3)
        stream = engine.open_stream(1)
        output = stream.step(np.zeros((0, 17, 2), np.float32))
        assert output.pose.shape == (0, 17, 3)
        assert output.trajectory is not None
        assert output.trajectory.shape == (0, 1, 3)


def test_instruction_sets_agree() -> None:
    """And int8's whole numbers, alike in all, leave nothing but float32's round-off."""
    spec = ModelSpec((3, 3, 3), 48)
    clips = random_clips(spec, 1, 27 + 60)
    for precision in PRECISIONS:
        answers = []
        for isa in ISAS:
            with opened(spec, precision, isa) as (engine, _):
                answers.append(engine.sequence(clips).pose)
        for other in answers[1:]:
            assert np.quantile(np.abs(other - answers[0]), 0.9) < 5e-6


def test_weights_are_counted_once_a_frame() -> None:
    with opened(ModelSpec((3, 3), 64), "fp32", "portable") as (engine, _):
        matrices = (64 * 3 * 34, 64 * 3 * 64, 64 * 64, 64 * 64)  # 51 outputs fill 64 rows
        assert engine.weight_bytes == 4 * sum(matrices)
