"""The CUDA engine over doubles of pycuda and the CUDA driver (tests/cuda_doubles.py): its kernels
run on a simulated grid, and its answers are held to the network's definition in float64 and to the
native engine's. Nothing here has run on a GPU."""

from __future__ import annotations

import itertools
import threading
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from cuda_doubles import FATBIN, People, assert_close, opened_cuda, skip_without_grid
from stored_networks import PRECISIONS, random_clips
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install_gpu

from vp3d_deploy.cli_lift import main
from vp3d_deploy.engines import cuda_kernels, open_engine
from vp3d_deploy.engines.cuda import CudaEngine
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.lifter import Lifter
from vp3d_deploy.poses import Poses
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 20, joints_in=7, joints_out=5)
SPECS = (
    SPEC,
    ModelSpec((3, 1, 3), 33, joints_in=17, features=3, causal=True),
    ModelSpec((5,), 8),
    ModelSpec((1, 3), 12, joints_in=3, joints_out=1),
)
every_precision = pytest.mark.parametrize("precision", PRECISIONS)
every_launch = pytest.mark.parametrize("launch", ["step", "phases", "wide"])


def arrivals_and_departures(people: People) -> None:
    """Long enough for every ring to have come round."""
    people.come(2)
    for frame in range(people.spec.receptive_field + 8):
        if frame == 3:
            people.come(3)
        if frame == 6:
            people.go(0, 3)
        if frame == 7:
            people.come(1)
        if frame == people.spec.receptive_field:
            people.go(2, 2)
        people.step()


@pytest.mark.parametrize("spec", SPECS, ids=str)
@every_launch
@every_precision
def test_streams_answer_as_defined_while_people_come_and_go(
    precision: str, launch: str, spec: ModelSpec
) -> None:
    lag = spec.lookahead // 2
    with opened_cuda(spec, precision, launch=launch, trajectory=True) as cuda:
        arrivals_and_departures(People(cuda, lag))
        kernels = {name.removeprefix("vp3d_stream_") for name in cuda.kernels}
        if launch == "step":
            assert kernels == {"step"}
            assert all(launched.cooperative for launched in cuda.driver.launched)
        elif launch == "phases":
            assert kernels == {"phase"}
        else:
            assert {name.split("_")[0] for name in kernels} <= {"tile", "tall", "wide"}
        assert cuda.gpu.n_launches > 0  # captured graphs


@every_precision
def test_windows_and_sequences_answer_as_defined(precision: str) -> None:
    with opened_cuda(SPEC, precision, trajectory=True, timings=True) as cuda:
        engine, networks = cuda.engine, cuda.networks
        assert engine.gpu_ms is None
        for batch in (1, 3, 3, 3, 3, 2):
            clips = random_clips(SPEC, batch, SPEC.receptive_field, batch)
            assert_close(engine.window(clips), networks.windows(clips), precision)
        assert engine.gpu_ms is not None
        for batch, frames in ((1, 9), (2, 30), (2, 30), (2, 30), (1, 40)):
            clips = random_clips(SPEC, batch, frames, frames)
            assert_close(engine.sequence(clips), networks.sequence(clips), precision)
        assert engine.window(random_clips(SPEC, 0, 9)).pose.shape == (0, 5, 3)
        assert engine.sequence(random_clips(SPEC, 0, 20)).pose.shape == (0, 12, 5, 3)


def test_large_batches_and_long_clips_go_through_in_pieces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from vp3d_deploy.engines import cuda_clips

    monkeypatch.setattr(cuda_clips, "_COLUMNS_AT_ONCE", 10)
    with opened_cuda(SPEC, "fp32", timings=True) as cuda:
        clips = random_clips(SPEC, 5, SPEC.receptive_field)
        assert_close(cuda.engine.window(clips), cuda.networks.windows(clips), "fp32")
        clips = random_clips(SPEC, 3, 8 + 25)
        assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), "fp32")
        assert cuda.engine.gpu_ms is not None
        # Never more than a few shapes are kept.
        for frames in range(9, 9 + 12):
            clips = random_clips(SPEC, 1, frames)
            assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), "fp32")


@every_precision
def test_answers_are_those_of_the_native_engine(precision: str) -> None:
    tolerance = {"fp32": 1e-5, "fp16": 1e-2, "int8": 0.1}[precision]
    with opened_cuda(SPEC, precision, trajectory=True) as cuda:
        native = NativeEngine(cuda.networks.bundle, precision, 1)
        for lag in cuda.engine.lags:
            ours, theirs = cuda.engine.open_stream(lag), native.open_stream(lag)
            ours.add_rows(3)
            theirs.add_rows(3)
            for frame in random_clips(SPEC, 3, 12, lag).swapaxes(0, 1):
                pairs = zip(ours.step(frame.copy()), theirs.step(frame.copy()), strict=True)
                assert all(np.abs(a - b).max() < tolerance for a, b in pairs)


@pytest.mark.parametrize(
    ("launch", "n_people", "integrated", "zero_copy", "sent", "fetched"),
    [
        ("step", 1, False, None, False, False),  # so little that blocks copy it anyway
        ("step", 40, False, None, True, True),
        ("step", 1, False, False, True, True),
        ("step", 40, False, True, True, False),
        ("step", 1, True, None, False, False),
        ("step", 40, True, None, True, False),
        ("step", 1, True, False, True, True),
        ("phases", 1, False, None, True, True),
        ("phases", 1, True, None, True, False),
        ("wide", 1, False, None, True, True),
        ("wide", 40, True, None, True, False),
    ],
)
def test_what_is_copied_and_what_is_read_in_its_place(
    launch: str,
    n_people: int,
    integrated: bool,
    zero_copy: bool | None,
    sent: bool,
    fetched: bool,
) -> None:
    gpu = FakeGpu()
    gpu.attributes["INTEGRATED"] = int(integrated)
    with opened_cuda(SPEC, "fp16", gpu=gpu, launch=launch, zero_copy=zero_copy) as cuda:
        people = People(cuda, 0)
        people.come(n_people)
        before = len(gpu.module.calls)
        for _ in range(5):
            people.step()
        calls = gpu.module.calls[before:]
        assert ("memcpy_htod_async" in calls) == sent
        assert ("memcpy_dtoh_async" in calls) == fetched


@pytest.mark.parametrize(
    ("integrated", "zero_copy", "fetched"),
    [(False, None, True), (False, True, False), (True, None, False), (True, False, True)],
)
def test_answers_of_clips_are_written_where_memory_is_shared(
    integrated: bool, zero_copy: bool | None, fetched: bool
) -> None:
    """Larger ones move all of it; what is kept is taken again."""
    gpu = FakeGpu()
    gpu.attributes["INTEGRATED"] = int(integrated)
    with opened_cuda(SPEC, "fp32", gpu=gpu, zero_copy=zero_copy, trajectory=True) as cuda:
        for n_clips, n_frames in ((1, 20), (1, 20), (1, 20), (3, 30), (1, 20)):
            before = len(gpu.module.calls)
            clips = random_clips(SPEC, n_clips, n_frames)
            assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), "fp32")
            windows = random_clips(SPEC, n_clips, SPEC.receptive_field)
            assert_close(cuda.engine.window(windows), cuda.networks.windows(windows), "fp32")
            calls = gpu.module.calls[before:]
            assert "memcpy_dtoh_async" not in calls or fetched
        assert ("memcpy_dtoh_async" in gpu.module.calls) == fetched
        assert "memcpy_htod_async" in gpu.module.calls


def test_by_itself_the_engine_takes_what_the_device_has() -> None:
    with opened_cuda(SPEC, "fp16") as cuda:
        people = People(cuda, 0)
        people.come(1)
        assert people.stream.launch == "step"
        people.step()
        people.come(60)
        assert people.stream.launch == "wide"
        people.step()
        people.go(*range(1, 61))
        assert people.stream.launch == "step"
        people.step()
        assert {launched.blocks for launched in cuda.driver.launched if launched.cooperative} == {4}
    without = FakeGpu()
    without.attributes["COOPERATIVE_LAUNCH"] = 0
    with opened_cuda(SPEC, "fp16", gpu=without) as cuda:
        people = People(cuda, 0)
        people.come(1)
        assert people.stream.launch == "phases"
        people.step()
    turing = FakeGpu("T4", (7, 5))
    turing.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 64 << 10
    with opened_cuda(SPEC, "fp16", gpu=turing) as cuda:
        people = People(cuda, 0)
        people.come(1)
        people.step()
        assert people.stream._program.image.staged_bytes == 0


@every_launch
def test_long_streams_answer_as_short_ones(launch: str) -> None:
    """Rings and counts of frames have come round many times."""
    with opened_cuda(SPEC, "fp16", launch=launch) as cuda:
        old, new = (cuda.engine.open_stream(1) for _ in range(2))
        for stream in (old, new):
            stream.add_rows(2)
        frames = random_clips(SPEC, 300, 2)
        for frame in frames:
            old.step(frame)
        for frame in frames[: SPEC.receptive_field + 1]:
            found, expected = old.step(frame).pose, new.step(frame).pose
        np.testing.assert_array_equal(found, expected)


def test_two_frames_may_be_under_way() -> None:
    with opened_cuda(SPEC, "fp32", trajectory=True, timings=True) as cuda:
        people = People(cuda, 2)
        people.come(2)
        stream, pushed = people.stream, []
        for _ in range(12):
            frame = people.next_frame()
            stream.push_async(frame)
            frame[...] = np.nan  # it is the caller's again
            pushed.append([list(frames) for frames in people.seen])
            if len(pushed) == 2:
                with pytest.raises(RuntimeError, match="2 frames are under way; take a result"):
                    stream.push_async(frame)
                with pytest.raises(RuntimeError, match="frames are under way; take their results"):
                    stream.add_rows(1)
                with pytest.raises(RuntimeError, match="take their results before another is"):
                    stream.step(frame)
                people.check(stream.result(), pushed.pop(0))
                assert stream.gpu_ms is not None
        people.check(stream.result(), pushed.pop(0))
        with pytest.raises(RuntimeError, match="no frame is under way"):
            stream.result()
        people.step()
        stream.push_async(people.next_frame())  # and is left behind


def test_streams_share_weights_and_not_state() -> None:
    with opened_cuda(SPEC, "fp16") as cuda:
        groups = [People(cuda, lag, seed) for seed, lag in enumerate((0, 2, 2, 4))]
        held = len(cuda.gpu.memory)
        groups.append(People(cuda, 2, 9))
        # The count of arrivals, and frame and answers of two turns: no weights.
        assert len(cuda.gpu.memory) == held + 5
        for people in groups:
            people.come(2)
        for _ in range(12):
            for people in groups:
                people.step()
        groups[1].stream.close()
        groups[2].step()
        groups[1].stream.close()
        assert groups[1].stream.n_rows == 0
        with pytest.raises(RuntimeError, match="these streams are closed"):
            groups[1].stream.step(groups[2].next_frame())


def test_memory_grows_by_doubling_and_stays_where_there_is_no_more() -> None:
    gpu = FakeGpu()
    with opened_cuda(SPEC, "fp32", gpu=gpu) as cuda:
        people = People(cuda, 1)
        size = people.stream.bytes_per_row

        def places() -> int:
            return people.stream._places.n_bytes // size

        rooms = []
        for _ in range(9):
            people.come(1)
            people.step()
            rooms.append(places())
        assert rooms == [1, 2, 4, 4, 8, 8, 8, 8, 16]
        people.go(0, 1, 2, 3, 4, 5, 6)
        people.step()
        people.come(14)
        people.step()
        assert places() == 16
        gpu.memory_bytes = sum(map(len, gpu.memory.values()))
        with pytest.raises(GpuError, match="out of memory"):
            people.stream.add_rows(1)
        assert people.stream.n_rows == 16
        people.step()
        # Room for some more, and not for twice as many.
        gpu.memory_bytes += 24 * size
        people.come(1)
        people.step()
        assert places() == 17
        gpu.memory_bytes = 1 << 40
        people.come(1)
        people.step()


def test_without_people_there_is_nothing_to_launch() -> None:
    with opened_cuda(SPEC, "fp32", trajectory=True) as cuda:
        stream = cuda.engine.open_stream(0)
        nobody = np.zeros((0, SPEC.joints_in, SPEC.features), np.float32)
        found = stream.step(nobody)
        assert found.pose.shape == (0, 5, 3)
        stream.push_async(nobody)
        assert stream.result().trajectory.shape == (0, 1, 3)
        stream.add_rows(0)
        stream.remove_rows([])
        assert cuda.driver.launched == []


def test_work_that_cannot_be_captured_runs_without_a_graph() -> None:
    gpu = FakeGpu()
    gpu.capture_fails = True
    with opened_cuda(SPEC, "fp32", gpu=gpu) as cuda:
        people = People(cuda, 0)
        people.come(1)
        people.step()
        people.step()
        with pytest.warns(RuntimeWarning, match="runs without a CUDA graph"):
            people.step()
        people.step()
    with opened_cuda(SPEC, "fp32", graphs=False) as cuda:
        people = People(cuda, 0)
        people.come(1)
        for _ in range(8):
            people.step()
        assert cuda.gpu.n_launches == 0


def test_threads_have_streams_of_their_own_and_share_clips() -> None:
    with opened_cuda(SPEC, "fp32") as cuda:
        failed: list[BaseException] = []

        def work(seed: int) -> None:
            try:
                people = People(cuda, seed % 3, seed)
                people.come(2)
                for frames in range(9, 15):
                    people.step()
                    clips = random_clips(SPEC, 1, frames, seed)
                    found = cuda.engine.sequence(clips)
                    assert_close(found, cuda.networks.sequence(clips), "fp32")
            except BaseException as error:
                failed.append(error)

        threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []


@pytest.mark.parametrize("how", [[], ["--live", "--lag", "1"]])
def test_the_command_line_takes_it_by_name(
    how: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = ModelSpec((3, 3), 16)
    made = random_bundle(tmp_path / "net.vp3d", spec, trajectory=True, lags=(1,))
    gpu = FakeGpu()
    install_gpu(monkeypatch, gpu)
    monkeypatch.setattr(cuda_kernels, "fatbin", lambda: FATBIN)
    found = {}
    for engine in ("cuda", "native"):
        out = str(tmp_path / f"{engine}.npz")
        given = [str(made.bundle.path), "builtin:walking", "--frames", "25", "-o", out]
        assert main([*given, "--engine", engine, *how]) == 0
        found[engine] = Poses.load(out)
    for name in ("joints_m", "trajectory_m"):
        ours, theirs = (getattr(found[engine], name) for engine in ("cuda", "native"))
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4)
    assert gpu.n_launches > 0 or not how
    assert gpu.leaks == {}


def test_lifter_and_live_streams_run_on_it_by_name() -> None:
    spec = ModelSpec((3, 3), 16)
    with opened_cuda(spec, "fp32") as cuda:
        bundle = cuda.networks.bundle
        engine = open_engine(bundle, "cuda", timings=True)
        assert isinstance(engine, CudaEngine)
        assert (engine.name, engine.precision) == ("cuda", "fp32")
        assert engine.forms == ("window", "sequence", "stream")
        assert list(engine.lags) == [0, 1, 2, 3, 4]
        lifters = [Lifter(bundle, each) for each in (engine, NativeEngine(bundle, "fp32", 1))]
        pixels = np.random.default_rng(0).normal(500, 80, (30, 17, 2))
        ours, theirs = (lifter.lift(pixels, (1920, 1080)) for lifter in lifters)
        np.testing.assert_allclose(ours.joints_m, theirs.joints_m, rtol=0, atol=1e-5)
        streams = [lifter.stream((1920, 1080), 1) for lifter in lifters]
        compared = 0
        for frame, track in itertools.product(pixels, ("a", "b")):
            people = {track: frame} if track == "a" else {"a": frame, "b": frame[::-1].copy()}
            ours, theirs = (stream.push(people) for stream in streams)
            assert ours.keys() == theirs.keys()
            for key, poses in theirs.items():
                found = ours[key].joints_m
                np.testing.assert_allclose(found, poses.joints_m, rtol=0, atol=1e-5)
                compared += len(found)
        assert compared > 50
        engine.close()
        engine.close()
        with pytest.raises(RuntimeError, match="this engine is closed"):
            engine.open_stream(0)
        with pytest.raises(RuntimeError, match="this engine is closed"):
            engine.window(random_clips(spec, 1, 9))
