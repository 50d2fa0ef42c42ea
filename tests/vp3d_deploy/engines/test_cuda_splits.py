"""Steps of many streams whose products are split along their inputs: the memory that their blocks
share, over the doubles of pycuda and the driver."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from cuda_doubles import Cuda, People, opened_cuda, skip_without_grid
from stored_networks import PRECISIONS
from tensorrt_contract.gpu_double import FakeGpu

from vp3d_deploy._native import CudaDevice, CudaImage
from vp3d_deploy.engines.gpu import Gpu
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

# Of every type there are two steps of each tap.
SPEC = ModelSpec((3, 3), 72, joints_in=7, joints_out=5)


def live(cuda: Cuda, lag: int = 1) -> People:
    """People come and go, each time for long enough that a graph is captured."""
    people = People(cuda, lag)
    for change in (lambda: people.come(3), lambda: people.come(70), lambda: people.go(0, 5, 40)):
        change()
        for _ in range(4):
            people.step()
    return people


def blocks_of_widest(cuda: Cuda) -> int:
    return max(launched.blocks for launched in cuda.driver.launched)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_streams_answer_as_the_definition(precision: str) -> None:
    blocks = []
    for splits in (1, 2, 3):
        with opened_cuda(SPEC, precision, launch="wide", splits=splits, trajectory=True) as cuda:
            people = live(cuda)
            assert (people.stream._workspace is None) == (splits == 1)
            blocks.append(blocks_of_widest(cuda))
    assert blocks[0] < blocks[1] < blocks[2]


def test_causal_networks_and_the_full_lag() -> None:
    for spec, lag in ((SPEC, 4), (ModelSpec((3, 3), 72, 7, 2, 5, causal=True), 0)):
        with opened_cuda(spec, "fp16", launch="wide", splits=2) as cuda:
            live(cuda, lag)


def test_two_frames_under_way_share_a_workspace() -> None:
    with opened_cuda(SPEC, "fp16", launch="wide", splits=2) as cuda:
        people = People(cuda, 0)
        people.come(30)
        pushed = []
        for _ in range(8):
            people.stream.push_async(people.next_frame())
            pushed.append([list(frames) for frames in people.seen])
            if len(pushed) == 2:
                people.check(people.stream.result(), pushed.pop(0))
        people.check(people.stream.result(), pushed.pop(0))


def test_a_workspace_grows_and_is_kept() -> None:
    with opened_cuda(SPEC, "fp16", launch="wide", splits=2) as cuda:
        people = People(cuda, 0)
        people.come(2)
        small = people.stream._workspace
        people.step()
        people.come(200)
        large = people.stream._workspace
        assert small is not None
        assert large is not None
        assert large.n_bytes > small.n_bytes > CudaImage.SPLIT_COUNT_BYTES
        people.step()
        people.go(*range(2, 202))
        assert people.stream._workspace is large
        people.step()


def test_without_room_for_one_products_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where there are fewer people, whose products could have more splits."""
    gpu, right = FakeGpu(), Gpu.allocate
    full = False

    def allocate(self: Gpu, n_bytes: int) -> Any:
        if full and n_bytes > CudaImage.SPLIT_COUNT_BYTES:
            raise self.refusal("cuMemAlloc failed: out of memory")
        return right(self, n_bytes)

    monkeypatch.setattr(Gpu, "allocate", allocate)
    with opened_cuda(SPEC, "fp16", gpu=gpu, splits=2, launch="wide") as cuda:
        people = People(cuda, 0)
        monkeypatch.setattr(type(people.stream), "_make_workspace", lambda *_: None)
        people.come(40)
        monkeypatch.undo()
        monkeypatch.setattr(Gpu, "allocate", allocate)
        people.step()
        whole = blocks_of_widest(cuda)
        full = True
        people.go(*range(30))
        people.step()
        assert people.stream._workspace is None
        full = False
        people.come(30)
        people.step()
        assert people.stream._workspace is not None
        assert blocks_of_widest(cuda) == 2 * whole


def test_counts_that_were_not_cleared(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Gpu.clear

    def clear(self: Gpu, buffer: Any, start: int, n_bytes: int, stream: Any) -> None:
        if n_bytes != CudaImage.SPLIT_COUNT_BYTES:
            right(self, buffer, start, n_bytes, stream)

    monkeypatch.setattr(Gpu, "clear", clear)
    failed = pytest.raises(AssertionError, match="count 0 of splits is 4294967295 and not zero")
    with pytest.raises(AssertionError), opened_cuda(SPEC, "fp16", launch="wide", splits=2) as cuda:
        with failed:
            live(cuda)
        raise AssertionError


def test_answers_are_the_same_bits_each_time() -> None:
    """Whatever order blocks come in, which the double draws anew for each launch."""
    found = []
    for _ in range(2):
        with opened_cuda(SPEC, "fp16", launch="wide", splits=3) as cuda:
            people = People(cuda, 0)
            people.come(20)
            if found:
                cuda.driver._seed = 1000
            found.append([people.step().pose.copy() for _ in range(4)])
    np.testing.assert_array_equal(found[0], found[1])


def test_impossible_numbers_of_splits_are_refused() -> None:
    with pytest.raises(ValueError, match="in 0 to 8 splits, not 9"):
        CudaDevice(4, 99 << 10, splits=9)
    with pytest.raises(ValueError, match="not -1"):
        CudaDevice(4, 99 << 10, splits=-1)
