"""Launches of "wide" frames that begin while the ones before them end, where the GPU and its driver
have them, over the doubles of pycuda and the driver."""

from __future__ import annotations

import pytest
from cuda_doubles import Cuda, People, hopper, opened_cuda, skip_without_grid
from tensorrt_contract.driver_double import Launched
from tensorrt_contract.gpu_double import FakeGpu

from vp3d_deploy.engines import cuda_program
from vp3d_deploy.engines.cuda_processing import Processing, View
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.skeleton import get_skeleton
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 20, joints_in=17, joints_out=17)


def live(cuda: Cuda, processing: Processing | None = None) -> list[Launched]:
    """Some frames, the last ones by a graph; what was launched for the first."""
    if processing is not None:
        stream = cuda.engine.open_stream(0, processing)
        stream.add_rows(2, View(None))
        stream.step(People(cuda, 0).random.normal(0, 0.5, (2, 17, 2)).astype("float32"))
        return list(cuda.driver.launched)
    people = People(cuda, 1)
    people.come(3)
    people.step()
    first = list(cuda.driver.launched)
    for _ in range(5):
        people.step()
    return first


@pytest.mark.parametrize(("overlap", "graphs"), [(None, True), (True, False)])
def test_all_launches_of_a_frame_but_the_first(overlap: bool | None, graphs: bool) -> None:
    with opened_cuda(
        SPEC, "fp16", gpu=hopper(), launch="wide", overlap=overlap, graphs=graphs, splits=2
    ) as cuda:
        assert [launched.overlaps for launched in live(cuda)] == [False, True, True, True]


@pytest.mark.parametrize("launch", ["step", "phases"])
def test_none_of_the_other_kinds(launch: str) -> None:
    with opened_cuda(SPEC, "fp16", gpu=hopper(), launch=launch) as cuda:
        live(cuda)
        assert not any(launched.overlaps for launched in cuda.driver.launched)


def test_what_surrounds_the_network_waits_as_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    around = Processing(get_skeleton("h36m17"), trajectory=True)
    options = {"gpu": hopper(), "launch": "wide", "trajectory": True}
    with opened_cuda(SPEC, "fp16", **options) as cuda:
        overlaps = [launched.overlaps for launched in live(cuda, around)]
        assert overlaps[:2] + overlaps[-1:] == [False, False, False]
        assert all(overlaps[2:-1])
    monkeypatch.setattr(cuda_program, "_waits", lambda _: True)
    options["gpu"] = hopper()
    with pytest.raises(AssertionError), opened_cuda(SPEC, "fp16", **options) as cuda:
        with pytest.raises(AssertionError, match="does not wait for launches before it"):
            live(cuda, around)
        raise AssertionError


@pytest.mark.parametrize("gpu", [hopper(12020), FakeGpu()])
def test_where_they_are_missing_launches_follow_one_another(gpu: FakeGpu) -> None:
    with opened_cuda(SPEC, "fp16", gpu=gpu, launch="wide") as cuda:
        assert not any(launched.overlaps for launched in live(cuda))


def test_they_can_be_switched_off() -> None:
    with opened_cuda(SPEC, "fp16", gpu=hopper(), launch="wide", overlap=False) as cuda:
        assert not any(launched.overlaps for launched in live(cuda))


@pytest.mark.parametrize(
    ("gpu", "found"),
    [
        (FakeGpu(), "Orin of compute capability 8.7 with a driver for CUDA 12.6 has no launches"),
        (hopper(12020), "9.0 with a driver for CUDA 12.2 has no .* take overlap=False"),
    ],
)
def test_asked_for_they_are_refused_where_they_are_missing(gpu: FakeGpu, found: str) -> None:
    with pytest.raises(GpuError, match=found), opened_cuda(SPEC, "fp16", gpu=gpu, overlap=True):
        pass
