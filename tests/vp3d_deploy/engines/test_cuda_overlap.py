"""The CUDA engine's frames under way while threads wait; over doubles, as test_cuda.py."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from cuda_doubles import People, opened_cuda, skip_without_grid

from vp3d_deploy.engines.base import Output
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 20, joints_in=7, joints_out=5)


def test_a_frame_is_pushed_while_another_thread_waits_for_a_result() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        people = People(cuda, 0)
        people.come(1)
        stream = people.stream
        waits, goes_on = threading.Event(), threading.Event()
        for turn in stream._turns:

            def wait(plain: Callable[[], None] = turn.wait) -> None:
                waits.set()
                assert goes_on.wait(60)
                plain()

            turn.wait = wait  # type: ignore[method-assign]
        seen, answers = [], list[Output]()
        stream.push_async(people.next_frame())
        seen.append([own.copy() for own in people.seen])
        consumer = threading.Thread(target=lambda: answers.append(stream.result().copied()))
        consumer.start()
        assert waits.wait(60)
        pusher = threading.Thread(target=lambda: stream.push_async(people.next_frame()))
        pusher.start()
        pusher.join(60)
        assert not pusher.is_alive(), "push_async waited for the result of the frame before"
        goes_on.set()
        consumer.join(60)
        people.check(answers[0], seen[0])
        people.check(stream.result())
        stream.close()
        with pytest.raises(RuntimeError, match="streams are closed"):
            stream.result()


def test_a_stream_is_closed_behind_the_result_that_is_waited_for() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        people = People(cuda, 0)
        people.come(1)
        stream = people.stream
        waits, goes_on = threading.Event(), threading.Event()
        plain = stream._turns[0].wait

        def wait() -> None:
            waits.set()
            assert goes_on.wait(60)
            plain()

        stream._turns[0].wait = wait  # type: ignore[method-assign]
        answers: list[Output] = []
        stream.push_async(people.next_frame())
        consumer = threading.Thread(target=lambda: answers.append(stream.result().copied()))
        consumer.start()
        assert waits.wait(60)
        closer = threading.Thread(target=stream.close)
        closer.start()
        closer.join(0.2)
        assert closer.is_alive(), "memory was given back while a result was waited for"
        goes_on.set()
        for thread in (consumer, closer):
            thread.join(60)
        people.check(answers[0])
