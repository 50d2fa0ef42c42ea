"""The CUDA engine broken on purpose, to see that the tests over doubles would notice: a wrong grid,
missing shared memory, mixed-up addresses, memory that was not cleared or sent, frames that were not
waited for. Without a fault the same flow passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from cuda_doubles import Cuda, People, assert_close, opened_cuda, skip_without_grid
from stored_networks import random_clips
from tensorrt_contract.gpu_double import FakeGpu

from vp3d_deploy.engines import cuda_clips, cuda_program
from vp3d_deploy.engines.cuda_kernels import Launch
from vp3d_deploy.engines.cuda_program import Memory, StreamProgram
from vp3d_deploy.engines.cuda_stream import CudaStream
from vp3d_deploy.engines.cuda_turn import Turn
from vp3d_deploy.engines.gpu import Gpu, GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 20, joints_in=7, joints_out=5)
Patch = pytest.MonkeyPatch


def live(cuda: Cuda) -> None:
    people = People(cuda, 1)
    people.come(2)
    for frame in range(14):
        if frame == 8:
            people.come(1)
        people.step()


def clips(cuda: Cuda) -> None:
    for frames in (20, 20, 20, 20, 12):
        shown = random_clips(SPEC, 2, frames, frames)
        assert_close(cuda.engine.sequence(shown), cuda.networks.sequence(shown), "fp32")


def run(flow: Callable[[Cuda], None], launch: str = "step", gpu: FakeGpu | None = None) -> None:
    """What is left behind of a flow that fails is not looked at."""
    failed: list[BaseException] = []
    try:
        with opened_cuda(SPEC, "fp32", gpu=gpu, launch=launch, zero_copy=False) as cuda:
            try:
                flow(cuda)
            except BaseException as error:
                failed.append(error)
                raise
    except BaseException as error:
        raise (failed or [error])[0] from None


def launched_with(
    patch: Patch, change: Callable[[dict[str, Any]], dict[str, Any]], module: Any = cuda_program
) -> None:
    """Every launch is another than the engine meant."""

    def launch(*arguments: Any, **options: Any) -> Launch:
        return Launch(*arguments, **{**options, **change(options)})

    patch.setattr(module, "Launch", launch)


@pytest.mark.parametrize("launch", ["step", "phases", "wide"])
@pytest.mark.parametrize("flow", [live, clips])
def test_a_whole_engine_passes(flow: Callable[[Cuda], None], launch: str) -> None:
    run(flow, launch)


@pytest.mark.parametrize("launch", ["step", "phases", "wide"])
def test_a_smaller_grid(launch: str, monkeypatch: Patch) -> None:
    launched_with(monkeypatch, lambda whole: {"blocks": whole["blocks"] - 1 or 2})
    with pytest.raises(AssertionError, match=r"the grid has \d blocks"):
        run(live, launch)


def test_a_grid_that_is_not_on_the_device_at_once(monkeypatch: Patch) -> None:
    launched_with(monkeypatch, lambda whole: {"blocks": 100 * whole["blocks"]})
    with pytest.raises(RuntimeError, match="COOPERATIVE_LAUNCH_TOO_LARGE"):
        run(live)


def test_a_launch_that_is_not_cooperative(monkeypatch: Patch) -> None:
    launched_with(monkeypatch, lambda _: {"cooperative": False})
    with pytest.raises(AssertionError, match="wait for others that may not be on the device"):
        run(live)


@pytest.mark.parametrize("launch", ["step", "phases", "wide"])
def test_threads_that_are_no_whole_warps(launch: str, monkeypatch: Patch) -> None:
    launched_with(monkeypatch, lambda whole: {"threads": whole["threads"] - 1})
    with pytest.raises(AssertionError, match=r"blocks have \d+ threads"):
        run(live, launch)


@pytest.mark.parametrize("launch", ["step", "phases", "wide"])
def test_missing_shared_memory(launch: str, monkeypatch: Patch) -> None:
    launched_with(monkeypatch, lambda whole: {"shared_bytes": whole["shared_bytes"] - 1024})
    with pytest.raises(AssertionError, match=r"\d+ bytes of shared memory, and touch \d+"):
        run(live, launch)


def test_shared_memory_that_was_not_asked_for(monkeypatch: Patch) -> None:
    gpu = FakeGpu()
    gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 64 << 10
    spec = ModelSpec((3, 3), 80, joints_in=7, joints_out=5)
    with opened_cuda(spec, "fp32", gpu=gpu) as cuda:
        people = People(cuda, 0)
        people.come(1)
        people.step()
        assert all(launched.shared_bytes > 48 << 10 for launched in cuda.driver.launched)
    monkeypatch.setattr("vp3d_deploy.engines.cuda_kernels._SHARED_BYTES_UNASKED", 1 << 20)
    whole = opened_cuda(spec, "fp32", launch="step")
    with whole as cuda, pytest.raises(GpuError, match="INVALID_VALUE"):
        cuda.engine.open_stream(0)


@pytest.mark.parametrize("launch", ["step", "phases", "wide"])
@pytest.mark.parametrize(
    "order", [(1, 0, 2, 3, 4), (0, 2, 1, 3, 4), (0, 1, 3, 2, 4), (3, 1, 2, 0, 4)]
)
def test_addresses_that_are_mixed_up(
    order: tuple[int, ...], launch: str, monkeypatch: Patch
) -> None:
    right = Memory.addresses

    def wrong(self: Memory, program: StreamProgram) -> tuple[int, ...]:
        whole = right(self, program)
        return tuple(whole[i] for i in order)

    monkeypatch.setattr(Memory, "addresses", wrong)
    with pytest.raises(AssertionError):
        run(live, launch)


def test_arrivals_that_were_not_cleared(monkeypatch: Patch) -> None:
    right = Gpu.clear

    def clear(self: Gpu, buffer: Any, start: int, n_bytes: int, stream: Any) -> None:
        if n_bytes != 8:
            right(self, buffer, start, n_bytes, stream)

    monkeypatch.setattr(Gpu, "clear", clear)
    with pytest.raises(AssertionError, match="the grid hangs"):
        run(live)


def test_places_that_were_not_cleared(monkeypatch: Patch) -> None:
    right = Gpu.clear

    def clear(self: Gpu, buffer: Any, start: int, n_bytes: int, stream: Any) -> None:
        if n_bytes == 8:
            right(self, buffer, start, n_bytes, stream)

    monkeypatch.setattr(Gpu, "clear", clear)
    with pytest.raises(AssertionError):
        run(live)


@pytest.mark.parametrize("flow", [live, clips])
@pytest.mark.parametrize("lost", ["upload", "download"])
def test_copies_that_are_left_out(
    lost: str, flow: Callable[[Cuda], None], monkeypatch: Patch
) -> None:
    monkeypatch.setattr(Gpu, lost, lambda *_: None)
    with pytest.raises(AssertionError):
        run(flow)


def test_weights_that_were_not_sent(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Gpu, "send", lambda *_: None)
    with pytest.raises(AssertionError):
        run(live)
    with pytest.raises(AssertionError):
        run(clips)


def test_state_that_does_not_move_into_larger_memory(monkeypatch: Patch) -> None:
    monkeypatch.setattr(Gpu, "copy", lambda *_: None)
    with pytest.raises(AssertionError):
        run(live)


@pytest.mark.parametrize("missed", ["wait", "run"])
def test_frames_that_are_not_run_or_not_waited_for(missed: str, monkeypatch: Patch) -> None:
    monkeypatch.setattr(Turn, missed, lambda *_: None)
    with pytest.raises(AssertionError):
        run(live)


def test_rows_whose_frames_are_not_counted(monkeypatch: Patch) -> None:
    right = CudaStream._begin

    def begin(self: CudaStream, *arguments: Any, **options: Any) -> None:
        before = self._rows.copy()
        right(self, *arguments, **options)
        self._rows[...] = before

    monkeypatch.setattr(CudaStream, "_begin", begin)
    with pytest.raises(AssertionError):
        run(live)


def test_rows_that_share_a_place(monkeypatch: Patch) -> None:
    right = CudaStream._make_places

    def make(self: CudaStream, count: int) -> None:
        right(self, count)
        self._free = [0] * count

    monkeypatch.setattr(CudaStream, "_make_places", make)
    with pytest.raises(AssertionError):
        run(live)


@pytest.mark.parametrize("launch", ["phases", "wide"])
@pytest.mark.parametrize(
    "change", [lambda all_: all_[::-1], lambda all_: all_[1:], lambda all_: all_[:-1]]
)
def test_phases_that_are_left_out_or_in_another_order(
    change: Callable[[list[Launch]], list[Launch]], launch: str, monkeypatch: Patch
) -> None:
    right = StreamProgram.launches
    monkeypatch.setattr(StreamProgram, "launches", lambda *arguments: change(right(*arguments)))
    with pytest.raises(AssertionError):
        run(live, launch)


@pytest.mark.parametrize(
    ("change", "noticed"),
    [
        (lambda whole: {"blocks": whole["blocks"] - 1}, r"the grid has \d+ blocks"),
        (lambda whole: {"threads": whole["threads"] - 32}, r"blocks have \d+ threads, not"),
        (lambda whole: {"shared_bytes": 1024}, "1024 bytes of shared memory, and touch"),
    ],
)
def test_clips_that_are_launched_otherwise(
    change: Callable[[dict[str, Any]], dict[str, Any]], noticed: str, monkeypatch: Patch
) -> None:
    launched_with(monkeypatch, change, cuda_clips)
    with pytest.raises(AssertionError, match=noticed):
        run(clips)


def test_memory_of_clips_that_is_kept_although_it_has_moved(monkeypatch: Patch) -> None:
    """A graph that was captured knows addresses of memory that is another's by then."""
    right = cuda_clips.Clips._drop

    def drop(self: cuda_clips.Clips) -> None:
        kept = dict(self._plans)
        self._plans.clear()
        right(self)
        self._plans = kept

    def flow(cuda: Cuda) -> None:
        for frames in (12, 12, 12, 20, 12):
            shown = random_clips(SPEC, 2, frames, frames)
            assert_close(cuda.engine.sequence(shown), cuda.networks.sequence(shown), "fp32")

    run(flow)
    monkeypatch.setattr(cuda_clips.Clips, "_drop", drop)
    with pytest.raises((AssertionError, ValueError)):
        run(flow)
