"""Contenders take turns: alternating rounds in a rotated order, a rest before each turn.

Machines change while one measures: clocks rise and fall, neighbours come and go. What is timed in
one piece, one contender after the other, compares the machine with itself. Here every contender
gets a short turn in every round.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from vp3d_bench.statistics import Spread, spread

# One call on inputs that are already there.
Step = Callable[[], Any]
# Something that measures itself: one turn, in milliseconds, as many as it has.
Probe = Callable[[], Sequence[float]]


@dataclass(frozen=True)
class Turns:
    """How contenders take turns.

    rest_s: worker threads of the contender before spin on for a while, on cores that the next one
        needs; they get this long to fall asleep.
    settle: calls of a turn that do not count. Cores that rested need some to come back to speed,
        and caches still hold another contender's weights.
    calls: calls of a turn that count, or fewer once they have taken `budget_s`; at least `fewest`.
    """

    rounds: int = 20
    calls: int = 30
    settle: int = 8
    fewest: int = 3
    budget_s: float = 0.3
    rest_s: float = 0.03


def take_turns(
    steps: Mapping[str, Step],
    turns: Turns,
    probes: Mapping[str, Probe] | None = None,
    between: Mapping[str, Step] | None = None,
    *,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Spread]:
    """Milliseconds of one call of each contender, and what the probes say.

    steps: warm already. probes: take one turn in each round, like everybody else.
    between: what some do after each of their calls, in time that does not count.
    clock, sleep: for tests. progress: called with (turns done, turns in all).
    """
    probes, between = probes or {}, between or {}
    names = [*steps, *probes]
    times: dict[str, list[list[float]]] = {name: [] for name in names}
    total = turns.rounds * len(names)
    with _without_collection():
        for done, name in enumerate(_order(names, turns.rounds)):
            progress(done, total)
            sleep(turns.rest_s)
            if name in steps:
                times[name].append(_turn(steps[name], between.get(name), turns, clock))
            else:
                times[name].append(list(probes[name]()))
    progress(total, total)
    return {name: spread(rounds) for name, rounds in times.items()}


def _order(names: list[str], rounds: int) -> Iterator[str]:
    """Each round begins one contender later, every second one runs backwards: whose caches and
    clocks one inherits changes from round to round."""
    for number in range(rounds):
        start = number % len(names) if names else 0
        order = names[start:] + names[:start]
        yield from reversed(order) if number % 2 else order


def _turn(
    step: Step, between: Step | None, turns: Turns, clock: Callable[[], float]
) -> list[float]:
    """Milliseconds of the calls that count."""
    begin = clock()
    for _ in range(turns.settle):
        step()
        if between is not None:
            between()
        if clock() - begin > turns.budget_s / 2:
            break
    times: list[float] = []
    begin = clock()
    while len(times) < turns.calls:
        start = clock()
        step()
        end = clock()
        times.append(1e3 * (end - start))
        if between is not None:
            between()
        if end - begin > turns.budget_s and len(times) >= turns.fewest:
            break
    return times


@contextmanager
def _without_collection() -> Iterator[None]:
    """Python's garbage collector would stop some calls and not others."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
