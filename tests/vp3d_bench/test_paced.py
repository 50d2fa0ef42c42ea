"""A camera with a clock of our own: what is late, and by how much."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from vp3d_bench.paced import Camera, Paced, pace


def paced(
    cost_s: Callable[[int], float], frames: int, wake_s: float = 0.0, between_s: float = 0.0
) -> Paced:
    """A camera of 100 Hz; push n takes cost_s(n), what is done afterwards `between_s`, waking up
    `wake_s` too long."""
    now = [50.0]

    def push(number: int) -> None:
        now[0] += cost_s(number)

    def sleep(seconds: float) -> None:
        now[0] += seconds + wake_s

    def between() -> None:
        now[0] += between_s

    camera = Camera(100.0, frames)
    return pace(push, camera, clock=lambda: now[0], sleep=sleep, between=between)


def test_answers_in_time_are_not_missed() -> None:
    found = paced(lambda number: 0.002, 50, wake_s=0.001)
    assert found.missed == found.behind == 0
    assert found.answer.p50 == pytest.approx(3.0)
    assert found.push.p50 == pytest.approx(2.0)
    assert found.woken is not None
    assert found.woken.worst == pytest.approx(1.0)
    assert found.answer.calls == 50


def test_what_is_done_between_frames_is_no_part_of_an_answer() -> None:
    found = paced(lambda number: 0.002, 20, between_s=0.003)
    assert found.answer.worst == pytest.approx(2.0)
    # Unless the next frame has to wait for it: it is due 10 ms after the one before.
    found = paced(lambda number: 0.002, 20, between_s=0.009)
    assert found.answer.p50 > 3.0
    assert found.push.worst == pytest.approx(2.0)


def test_the_first_push_does_not_count() -> None:
    found = paced(lambda number: 5.0 if number == 0 else 0.001, 20)
    assert found.missed == 0
    assert found.answer.worst == pytest.approx(1.0)


def test_a_camera_does_not_wait_for_a_late_answer() -> None:
    # Push 3 takes 35 ms: its answer is 35 ms late, the next ones 26, 17 and 8 after their frames.
    found = paced(lambda number: 0.035 if number == 3 else 0.001, 10)
    assert found.missed == 3
    assert found.behind == 2
    assert found.answer.worst == pytest.approx(35.0)
    assert found.answer.calls == 10
    assert sorted(found.answer.rounds) == [pytest.approx(1.0)]


def test_who_is_always_too_slow_never_waits() -> None:
    found = paced(lambda number: 0.03, 10)
    assert found.missed == 10
    assert found.behind == 18
    assert found.woken is not None  # for the very first frame it had time
    assert found.woken.calls == 1
