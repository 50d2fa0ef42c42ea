"""The native engine among threads and processes: many at once, forks, kills, and what is closed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from stored_networks import PRECISIONS, opened, random_clips, stored_networks

from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3, 3), 48)
# A deadlock must end the test, not the patience of whoever waits for it.
LIMIT_S = 120


def answers_of(engine: NativeEngine, seed: int) -> np.ndarray:
    """What one thread gets from a stream, windows and a clip of its own."""
    rng = np.random.default_rng(seed)
    stream = engine.open_stream(seed % (SPEC.lookahead + 1))
    stream.add_rows(1 + seed % 2)
    parts = []
    for frame in range(30):
        if frame == 10:
            stream.add_rows(1)
        if frame == 20:
            stream.remove_rows([0])
        parts.append(stream.step(rng.normal(0, 0.5, (stream.n_rows, 17, 2)).astype(np.float32)))
        parts[-1] = parts[-1].copied()
        if frame % 7 == 0:
            parts.append(engine.window(random_clips(SPEC, 2, 27, seed + frame)))
    parts.append(engine.sequence(random_clips(SPEC, 1, 60, seed)))
    stream.close()
    return np.concatenate([part.pose.ravel() for part in parts])


def at_once(count: int, work: Callable[[int], None]) -> None:
    """Runs work(0) .. work(count - 1) in threads that begin together; raises what they raise."""
    begin, errors = threading.Barrier(count), []

    def run(index: int) -> None:
        begin.wait()
        try:
            work(index)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(i,), daemon=True) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT_S)
    assert not any(thread.is_alive() for thread in threads), "threads wait for each other"
    if errors:
        raise errors[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_eight_threads_get_what_each_gets_alone(precision: str) -> None:
    with (
        opened(SPEC, precision, threads=2) as (one, networks),
        opened(SPEC, precision, threads=2) as (other, _),
        opened(SPEC, precision, threads=3) as (third, _),
    ):
        assert networks.precision == precision
        expected = [answers_of(one, seed) for seed in range(8)]
        for engines in ([one], [one, other, third]):

            def work(seed: int, engines: list[NativeEngine] = engines) -> None:
                for _ in range(2):
                    found = answers_of(engines[seed % len(engines)], seed)
                    np.testing.assert_array_equal(found, expected[seed])

            at_once(8, work)


def test_eight_cameras_push_at_once() -> None:
    """A LiveStream each, of one Lifter."""
    with opened(SPEC, "fp16", threads=2, trajectory=True) as (engine, networks):
        lifter = Lifter(networks.bundle, engine)

        def poses_of(seed: int) -> np.ndarray:
            frames = np.random.default_rng(seed).normal(500, 80, (60, 17, 2))
            frames[20:30, seed % 17] = np.nan
            with lifter.stream((1920, 1080), lag=seed) as stream:
                parts = [poses for frame in frames if (poses := stream.push(frame))]
                parts.append(stream.flush())
            return np.concatenate([part.joints_m for part in parts])

        expected = [poses_of(seed) for seed in range(8)]
        at_once(8, lambda seed: np.testing.assert_array_equal(poses_of(seed), expected[seed]))


def test_one_stream_takes_one_thread_at_a_time(tmp_path: Path) -> None:
    """A second thread is refused or comes at another moment; no answer is spoilt."""
    spec = ModelSpec((3, 3, 3), 512)
    engine = NativeEngine(stored_networks(tmp_path, spec, "fp32").bundle, "fp32", 1)
    stream, alone = engine.open_stream(0), engine.open_stream(0)
    stream.add_rows(1)
    alone.add_rows(1)
    frame = random_clips(spec, 1, 1)[0]  # of one person, shown again and again
    expected = alone.step(frame).pose.copy()
    refused = []

    def work(_: int) -> None:
        for _ in range(100):
            try:
                found = stream.step(frame).pose
            except RuntimeError as error:
                refused.append(str(error))
            else:
                np.testing.assert_array_equal(found, expected)

    at_once(4, work)
    assert all("another thread is using this stream" in text for text in refused)


def test_closing_while_threads_push(tmp_path: Path) -> None:
    networks = stored_networks(tmp_path, SPEC, "fp32")
    for _ in range(10):
        engine = NativeEngine(networks.bundle, "fp32", 2)
        expected = engine.window(random_clips(SPEC, 1, 27)).pose
        begun = threading.Barrier(5)

        def work(
            engine: NativeEngine = engine,
            expected: np.ndarray = expected,
            begun: threading.Barrier = begun,
        ) -> None:
            clips = random_clips(SPEC, 1, 27)
            begun.wait()
            with pytest.raises(RuntimeError, match="this engine is closed"):
                while True:
                    np.testing.assert_array_equal(engine.window(clips).pose, expected)

        def close(engine: NativeEngine = engine, begun: threading.Barrier = begun) -> None:
            begun.wait()
            time.sleep(0.005)
            engine.close()

        at_once(5, lambda index: close() if index == 0 else work())


def forked(work: Callable[[], None]) -> None:
    """Runs `work` in a fork of this process; fails if it raises, crashes or does not end."""
    with warnings.catch_warnings():  # of threads: what they leave behind is what is tested
        warnings.simplefilter("ignore", DeprecationWarning)
        child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            os.write(2, f"{error!r}\n".encode())
            os._exit(1)
        os._exit(0)
    until = time.monotonic() + LIMIT_S / 4
    while time.monotonic() < until:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            assert os.waitstatus_to_exitcode(status) == 0
            return
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    pytest.fail("the child of the fork waits for ever")


@pytest.mark.parametrize("threads", [1, 2])
def test_engines_go_on_in_a_forked_child(threads: int) -> None:
    with opened(SPEC, "fp32", threads=threads) as (engine, networks):
        expected = answers_of(engine, 3)
        stream = engine.open_stream(0)
        stream.add_rows(1)
        frames = random_clips(SPEC, 1, 2)[0]
        stream.step(frames[:1])

        def child() -> None:
            np.testing.assert_array_equal(answers_of(engine, 3), expected)
            stream.step(frames[1:])  # the child's copy of the stream
            own = NativeEngine(networks.bundle, "fp32", threads)
            np.testing.assert_array_equal(answers_of(own, 3), expected)
            forked(lambda: np.testing.assert_array_equal(answers_of(engine, 3), expected))
            engine.close()
            own.close()

        forked(child)
        np.testing.assert_array_equal(answers_of(engine, 3), expected)
        stream.step(frames[1:])


@pytest.mark.parametrize("form", ["window", "sequence", "stream"])
def test_fork_amid_the_calls_of_other_threads(form: str) -> None:
    with opened(SPEC, "fp32", threads=2) as (engine, _):
        expected = answers_of(engine, 3)
        ended = threading.Event()

        def busy() -> None:
            clips = random_clips(SPEC, 20, 60 if form == "sequence" else 27)
            stream = engine.open_stream(0)
            stream.add_rows(20)
            while not ended.is_set():
                if form == "stream":
                    stream.step(np.ascontiguousarray(clips[:, 0]))
                else:
                    getattr(engine, form)(clips)

        threads = [threading.Thread(target=busy, daemon=True) for _ in range(2)]
        for thread in threads:
            thread.start()
        try:
            for _ in range(4):
                forked(lambda: np.testing.assert_array_equal(answers_of(engine, 3), expected))
        finally:
            ended.set()
            for thread in threads:
                thread.join(LIMIT_S)
        np.testing.assert_array_equal(answers_of(engine, 3), expected)


PUSH_FOR_EVER = """
import sys
import numpy as np
from vp3d_deploy import Lifter

lifter = Lifter.open(sys.argv[1], engine="native", threads=2)
stream = lifter.stream((1920, 1080), lag=0)
points = np.random.default_rng(0).normal(500, 80, (17, 2))
while True:
    stream.push(points)
    print("pushed", flush=True)
"""


def test_killed_amid_pushes_and_opened_again(tmp_path: Path) -> None:
    path = random_bundle(tmp_path / "net.vp3d", SPEC, forms=("window",)).bundle.path
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    points = np.random.default_rng(0).normal(500, 80, (17, 2))
    with Lifter.open(path, engine="native").stream((1920, 1080), lag=0) as stream:
        expected = stream.push(points).joints_m
    for pushes in (1, 7, 40):
        command = [sys.executable, "-c", PUSH_FOR_EVER, str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            for _ in range(pushes):
                assert process.stdout is not None
                assert process.stdout.readline() == "pushed\n"
            process.send_signal(signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert {file.name: file.read_bytes() for file in path.iterdir()} == before
        with Lifter.open(path, engine="native").stream((1920, 1080), lag=0) as stream:
            np.testing.assert_array_equal(stream.push(points).joints_m, expected)
