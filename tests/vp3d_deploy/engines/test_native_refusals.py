"""What the native engine refuses, and that it says what was expected: arrays, options, closed
things, sizes that no machine has."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from stored_networks import StoredNetworks, opened, random_clips

from vp3d_deploy import _native
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 8, joints_out=5)


@pytest.fixture
def at_hand() -> Iterator[tuple[NativeEngine, StoredNetworks]]:
    with opened(SPEC, "fp32", trajectory=True) as (engine, networks):
        yield engine, networks


@pytest.fixture
def engine(at_hand: tuple[NativeEngine, StoredNetworks]) -> NativeEngine:
    return at_hand[0]


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (np.zeros((2, 9, 17, 3), np.float32), r"\(2, 9, 17, 3\); a window is \(\*, 9, 17, 2\)"),
        (np.zeros((2, 8, 17, 2), np.float32), r"\(2, 8, 17, 2\); a window is \(\*, 9, 17, 2\)"),
        (np.zeros((9, 17, 2), np.float32), r"\(9, 17, 2\); a window is \(\*, 9, 17, 2\)"),
        (np.zeros((1, 1, 9, 17, 2), np.float32), r"a window is \(\*, 9, 17, 2\)"),
        (np.float32(1), r"shape \(1,\)|shape \(\)"),
        (np.zeros((1, 9, 17, 2)), "keypoints are float64; expected float32"),
        (np.zeros((1, 9, 17, 2), np.float16), "keypoints are float16; expected float32"),
        (np.zeros((1, 9, 17, 2), np.int32), "keypoints are int32; expected float32"),
        (np.zeros((1, 9, 17, 2), ">f4"), "keypoints are >f4; expected float32"),
        (np.zeros((1, 9, 17, 2), np.complex64), "keypoints are complex64; expected float32"),
        (np.zeros((1, 9, 17, 2), object), "keypoints are object; expected float32"),
        ([[1.0]], r"are float64; expected float32"),
        (None, "keypoints"),
        ("keypoints", "keypoints"),
    ],
)
def test_windows_of_other_shapes_and_types(
    engine: NativeEngine, keypoints: Any, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        engine.window(keypoints)


def test_clips_of_other_shapes(engine: NativeEngine) -> None:
    expected = r"a sequence has at least 9 frames, \(\*, \*, 17, 2\)"
    with pytest.raises(ValueError, match=r"\(1, 8, 17, 2\); " + expected):
        engine.sequence(np.zeros((1, 8, 17, 2), np.float32))
    with pytest.raises(ValueError, match=r"\(1, 0, 17, 2\); " + expected):
        engine.sequence(np.zeros((1, 0, 17, 2), np.float32))
    with pytest.raises(ValueError, match=r"\(1, 9, 2, 17\); a sequence is \(\*, \*, 17, 2\)"):
        engine.sequence(np.zeros((1, 9, 2, 17), np.float32))


def test_frames_of_other_shapes(engine: NativeEngine) -> None:
    stream = engine.open_stream(0)
    with pytest.raises(ValueError, match=r"0 open streams expect \(0, 17, 2\)"):
        stream.step(np.zeros((1, 17, 2), np.float32))
    stream.add_rows(2)
    before = stream.step(np.ones((2, 17, 2), np.float32)).copied()
    for shape in ((1, 17, 2), (3, 17, 2), (2, 17), (2, 34), (2, 17, 3), ()):
        with pytest.raises(ValueError, match=r"2 open streams expect \(2, 17, 2\)"):
            stream.step(np.zeros(shape, np.float32))
    with pytest.raises(ValueError, match="are float64; expected float32"):
        stream.step(np.ones((2, 17, 2)))
    # What was refused has left the stream as it was.
    np.testing.assert_array_equal(stream.step(np.ones((2, 17, 2), np.float32)).pose, before.pose)


def test_arrays_that_are_not_dense(engine: NativeEngine) -> None:
    """Engines copy these or refuse them; they never read past what is theirs."""
    clips = random_clips(SPEC, 4, 9)
    expected = engine.window(clips).pose
    wide = np.zeros((4, 9, 17, 4), np.float32)
    wide[..., ::2] = clips
    reordered = np.asfortranarray(clips)
    for array in (wide[..., ::2], reordered, clips[::-1][::-1]):
        np.testing.assert_array_equal(engine.window(array).pose, expected)
    answers = (np.zeros((4, 5, 3), np.float32), np.zeros((4, 1, 3), np.float32))
    for array in (wide[..., ::2], reordered):
        with pytest.raises(ValueError, match="not C-contiguous; pass numpy.ascontiguousarray"):
            engine._engine.window(array, answers)
    stream = engine.open_stream(0)
    stream.add_rows(4)
    with pytest.raises(ValueError, match="not C-contiguous"):
        stream.step(reordered[:, 0])
    shifted = np.frombuffer(bytearray(clips.nbytes + 1), np.uint8)[1:].view(np.float32)
    with pytest.raises(ValueError, match="float32"):
        engine._engine.window(shifted.reshape(clips.shape), answers)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a, b: (a,), "expected 2 arrays of answers, not 1"),
        (lambda a, b: (a, b, b), "expected 2 arrays of answers, not 3"),
        (lambda a, b: (a[:1], b), r"answers 0 have shape \(1, 5, 3\); expected \(2, 5, 3\)"),
        (lambda a, b: (a, a), r"answers 1 have shape \(2, 5, 3\); expected \(2, 1, 3\)"),
        (lambda a, b: (a.astype(float), b), "answers are float64; expected float32"),
        (lambda a, b: (a[:, :, ::-1], b), "answers are not C-contiguous"),
        (lambda a, b: (a, np.broadcast_to(b[:1], b.shape)), "answers are|answers cannot be"),
        (lambda a, b: (a, bytes(24)), "answers are format B; expected float32"),
        (lambda a, b: (a, None), "answers: expected a NumPy array, not NoneType"),
    ],
)
def test_answers_have_room_and_are_writable(
    engine: NativeEngine, change: Callable[..., tuple[Any, ...]], message: str
) -> None:
    answers = change(np.zeros((2, 5, 3), np.float32), np.zeros((2, 1, 3), np.float32))
    stream = engine.open_stream(0)
    stream.add_rows(2)
    for form, keypoints in (
        (engine._engine.window, np.zeros((2, 9, 17, 2), np.float32)),
        (stream._stream.step, np.zeros((2, 17, 2), np.float32)),
    ):
        with pytest.raises(ValueError, match=message):
            form(keypoints, answers)
    constant = np.zeros((2, 5, 3), np.float32)
    constant.flags.writeable = False
    with pytest.raises(ValueError, match="answers cannot be written to"):
        engine._engine.window(
            np.zeros((2, 9, 17, 2), np.float32), (constant, np.zeros((2, 1, 3), np.float32))
        )


def test_rows_that_are_not_there(engine: NativeEngine) -> None:
    stream = engine.open_stream(4)
    stream.add_rows(3)
    with pytest.raises(IndexError, match="row 3 cannot be removed: there are 3 rows"):
        stream.remove_rows([0, 3])
    with pytest.raises(IndexError, match="row -1 cannot be removed"):
        stream.remove_rows([-1])
    assert stream.n_rows == 3
    with pytest.raises(ValueError, match="cannot add -1 rows"):
        stream.add_rows(-1)
    for wrong in ("two", 1.5, 2**70, None):
        with pytest.raises((TypeError, ValueError, OverflowError)):
            stream.add_rows(wrong)
    stream.remove_rows([1, 1])
    assert stream.n_rows == 2


@pytest.mark.parametrize("lag", [-1, 5, 2**31, 2**62])
def test_lags_that_the_network_cannot_have(engine: NativeEngine, lag: int) -> None:
    with pytest.raises(ValueError, match=f"lag {lag}"):
        engine.open_stream(lag)


def test_what_is_closed_stays_closed() -> None:
    with opened(SPEC, "fp32") as (engine, _):
        stream = engine.open_stream(0)
        stream.add_rows(1)
        frame = np.zeros((1, 17, 2), np.float32)
        engine.close()
        engine.close()
        for use in (
            lambda: engine.window(np.zeros((1, 9, 17, 2), np.float32)),
            lambda: engine.sequence(np.zeros((1, 9, 17, 2), np.float32)),
            lambda: engine.open_stream(0),
            lambda: engine.isa,
            lambda: engine.threads,
            lambda: engine.weight_bytes,
        ):
            with pytest.raises(RuntimeError, match="this engine is closed; open its bundle again"):
                use()
        # A stream keeps what it needs.
        assert np.isfinite(stream.step(frame).pose).all()
        stream.close()
        stream.close()
        assert stream.n_rows == 0
        for use in (
            lambda: stream.step(frame),
            lambda: stream.add_rows(1),
            lambda: stream.remove_rows([0]),
            lambda: stream.prepare(),
            lambda: stream.bytes_per_row,
        ):
            with pytest.raises(RuntimeError, match="this stream is closed; open another"):
                use()


def test_options_that_this_machine_does_not_have(
    at_hand: tuple[NativeEngine, StoredNetworks],
) -> None:
    bundle = at_hand[1].bundle
    with pytest.raises(ValueError, match='isa "abacus" is not at hand; this processor runs auto, '):
        NativeEngine(bundle, "fp32", isa="abacus")
    for threads in (-1, 1025, 2**31 - 1):
        with pytest.raises(ValueError, match=f"threads must be 0 to 1024, not {threads}"):
            NativeEngine(bundle, "fp32", threads)
    with pytest.raises(ValueError, match="precision fp8 is not known"):
        _native.Engine(at_hand[1].file, dict(bundle.networks), "fp8")
    with pytest.raises(ValueError, match="an engine runs at least one network"):
        _native.Engine(at_hand[1].file, {}, "fp32")


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("filter_widths", (99_999, 99_999, 99_999, 99_999)),
        ("filter_widths", (2**62 + 1,)),
        ("filter_widths", (3,) * 40),
        ("filter_widths", (3, -3)),
        ("filter_widths", (3, 0)),
        ("filter_widths", (4,)),
        ("filter_widths", ()),
        ("filter_widths", (2**80,)),
        ("filter_widths", ("three",)),
        ("filter_widths", None),
        ("channels", 2**31),
        ("channels", 2**63),
        ("channels", 0),
        ("channels", -8),
        ("joints_in", 2**40),
        ("features", 2**62),
        ("joints_out", 10**9),
        ("joints_out", None),
        ("causal", "yes"),
    ],
)
def test_specs_that_no_network_has(
    at_hand: tuple[NativeEngine, StoredNetworks], field: str, value: Any
) -> None:
    """ModelSpec refuses these; so does the engine where it is given something else instead."""
    values = {**SPEC.to_dict(), field: value}
    spec: Any = SimpleNamespace(**values)
    with pytest.raises((ValueError, TypeError, OverflowError, RuntimeError)):
        _native.Engine(at_hand[1].file, {"pose": spec}, "fp32")


def test_the_largest_spec_is_another_networks(at_hand: tuple[NativeEngine, StoredNetworks]) -> None:
    largest = ModelSpec((99_999,), 65_536, joints_in=1024, features=16, joints_out=1024)
    with pytest.raises(_native.WeightsError, match="has shape .* and this network's has"):
        _native.Engine(at_hand[1].file, {"pose": largest}, "fp32")


def test_networks_that_do_not_read_the_same_frames(
    at_hand: tuple[NativeEngine, StoredNetworks],
) -> None:
    other = ModelSpec((3, 3), 8, joints_out=1, causal=True)
    with pytest.raises(ValueError, match='must read the same frames; "trajectory" differs'):
        _native.Engine(at_hand[1].file, {"pose": SPEC, "trajectory": other}, "fp32")


MANY_ROWS = """
import resource, sys
import numpy as np
from stored_networks import opened
from vp3d_deploy.spec import ModelSpec

with opened(ModelSpec((3, 3), 8), "fp32") as (engine, _):
    stream = engine.open_stream(0)
    stream.add_rows(1)
    expected = stream.step(np.ones((1, 17, 2), np.float32)).pose.copy()
    used = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + (256 << 20), resource.RLIM_INFINITY))
    for count in (10**7, 10**9, 2**40, 2**62, 2**63 - 1):
        try:
            stream.add_rows(count)
        except (MemoryError, ValueError) as error:
            print(type(error).__name__)
        else:
            sys.exit(f"{count} rows in 256 MB")
    assert stream.n_rows == 1
    assert (stream.step(np.ones((1, 17, 2), np.float32)).pose == expected).all()
"""


def test_more_rows_than_fit_memory() -> None:
    """An exception, and the stream as it was."""
    path = ":".join(sys.path)
    done = subprocess.run(
        [sys.executable, "-c", MANY_ROWS],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": path, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)),
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 5
