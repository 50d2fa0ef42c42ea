"""Turns with a clock of our own: who is called when, and what of it counts."""

from __future__ import annotations

import gc

import pytest

from vp3d_bench.turns import Turns, take_turns


class Clock:
    """Time passes only when somebody works or rests."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.rests: list[float] = []

    def __call__(self) -> float:
        return self.now_s

    def sleep(self, seconds: float) -> None:
        self.rests.append(seconds)
        self.now_s += seconds

    def step(self, seconds: float, name: str = "", log: list[str] | None = None):
        def run() -> None:
            self.now_s += seconds
            if log is not None:
                log.append(name)

        return run


def test_everybody_gets_a_turn_in_every_round_in_another_order() -> None:
    clock, log = Clock(), []
    steps = {name: clock.step(0.001, name, log) for name in "abc"}
    turns = Turns(rounds=3, calls=2, settle=1)
    timed = take_turns(steps, turns, clock=clock, sleep=clock.sleep)
    # One call that does not count and two that do; a round later for each, every second backwards.
    assert "".join(log) == "aaabbbccc" + "aaacccbbb" + "cccaaabbb"
    assert [one.calls for one in timed.values()] == [6, 6, 6]
    assert all(len(one.rounds) == 3 for one in timed.values())
    assert clock.rests == [turns.rest_s] * 9


def test_what_is_done_between_calls_does_not_count() -> None:
    clock, log = Clock(), []
    steps = {name: clock.step(0.001, name, log) for name in "ab"}
    between = {"b": clock.step(0.004, "-", log)}
    turns = Turns(rounds=1, calls=2, settle=1)
    timed = take_turns(steps, turns, between=between, clock=clock, sleep=clock.sleep)
    assert "".join(log) == "aaab-b-b-"
    assert timed["b"].worst == pytest.approx(1.0)


def test_what_settles_does_not_count() -> None:
    clock = Clock()
    costs = iter([0.05, 0.05, 0.002, 0.001, 0.003])

    def step() -> None:
        clock.now_s += next(costs)

    turns = Turns(rounds=1, calls=3, settle=2, budget_s=1.0)
    found = take_turns({"a": step}, turns, clock=clock, sleep=clock.sleep)["a"]
    assert (found.min, found.p50, found.worst) == pytest.approx((1.0, 2.0, 3.0))


def test_slow_ones_get_fewer_calls_but_some() -> None:
    clock = Clock()
    turns = Turns(rounds=2, calls=30, settle=8, fewest=3, budget_s=0.3)
    steps = {"slow": clock.step(0.2), "very slow": clock.step(5.0), "fast": clock.step(0.001)}
    timed = take_turns(steps, turns, clock=clock, sleep=clock.sleep)
    assert {name: one.calls for name, one in timed.items()} == {
        "slow": 6, "very slow": 6, "fast": 60,
    }  # fmt: skip
    assert timed["slow"].p50 == pytest.approx(200.0)


def test_probes_say_their_own_milliseconds_once_a_round() -> None:
    clock, values = Clock(), iter([[4.0, 5.0, 9.0], [7.0]])
    timed = take_turns(
        {"a": clock.step(0.001)},
        Turns(rounds=2, calls=1),
        {"floor": lambda: next(values)},
        clock=clock,
        sleep=clock.sleep,
    )
    assert timed["floor"].rounds == (5.0, 7.0)
    assert (timed["floor"].min, timed["floor"].p50, timed["floor"].calls) == (4.0, 6.0, 4)


def test_progress_reaches_its_end_and_collection_returns() -> None:
    clock, seen = Clock(), []
    during = []
    take_turns(
        {"a": lambda: during.append(gc.isenabled()), "b": clock.step(0.001)},
        Turns(rounds=2, calls=1, settle=0),
        clock=clock,
        sleep=clock.sleep,
        progress=lambda done, total: seen.append((done, total)),
    )
    assert seen[0] == (0, 4)
    assert seen[-1] == (4, 4)
    assert not any(during)
    assert gc.isenabled()


def test_collection_returns_after_a_failure() -> None:
    def fails() -> None:
        raise RuntimeError("out of order")

    with pytest.raises(RuntimeError, match="out of order"):
        take_turns({"a": fails}, Turns(rounds=1), sleep=lambda seconds: None)
    assert gc.isenabled()
