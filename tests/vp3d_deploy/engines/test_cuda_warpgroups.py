"""Kernels for Hopper's warpgroups are taken where a trial finds that they answer as others do."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_doubles import Cuda, People, assert_close, opened_cuda, skip_without_grid
from stored_networks import random_clips
from tensorrt_contract.gpu_double import FakeGpu

from vp3d_deploy.engines.cuda_clips import Clips
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

# As many channels as a tile of these kernels has rows.
SPEC = ModelSpec((3, 3), 128, joints_in=7, joints_out=5)


def hopper() -> FakeGpu:
    gpu = FakeGpu("H200", (9, 0))
    gpu.attributes["MAX_SHARED_MEMORY_PER_BLOCK_OPTIN"] = 227 << 10
    return gpu


def run(cuda: Cuda, precision: str) -> set[str]:
    """A long clip and many people; which shapes of kernels ran for them."""
    cuda.engine.window(random_clips(SPEC, 1, SPEC.receptive_field))
    cuda.driver.launched.clear()
    clips = random_clips(SPEC, 2, 300)
    assert_close(cuda.engine.sequence(clips), cuda.networks.sequence(clips), precision)
    people = People(cuda, 0)
    people.come(90)
    for _ in range(4):
        people.step()
    assert people.stream.launch == "wide"
    return {name.split("_")[2] for name in cuda.kernels}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_they_are_tried_and_taken(precision: str) -> None:
    with opened_cuda(SPEC, precision, gpu=hopper(), warpgroups=None) as cuda:
        assert "group" in run(cuda, precision)


def test_they_are_not_taken_where_they_answer_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    right = Clips.answers_of

    def answers_of(self: Clips, shape: str, keypoints: np.ndarray) -> np.ndarray:
        found = right(self, shape, keypoints)
        return found[:, ::-1] if shape == "group" else found

    monkeypatch.setattr(Clips, "answers_of", answers_of)
    noticed = pytest.warns(RuntimeWarning, match=r"does without .* which are .* m large; please")
    with opened_cuda(SPEC, "fp16", gpu=hopper(), warpgroups=None) as cuda, noticed:
        assert "group" not in run(cuda, "fp16")


def test_they_are_not_taken_where_they_were_not_built() -> None:
    with opened_cuda(SPEC, "fp16", gpu=hopper(), warpgroups=None) as cuda:
        cuda.driver.without = "group"
        with pytest.warns(RuntimeWarning, match="CUDA_ERROR_NOT_FOUND"):
            assert "group" not in run(cuda, "fp16")


def test_they_are_not_tried_where_nobody_wants_them() -> None:
    for gpu, precision, options in (
        (hopper(), "fp16", {}),
        (hopper(), "fp32", {"warpgroups": None}),
        (FakeGpu("B200", (10, 0)), "fp16", {"warpgroups": None}),
    ):
        with opened_cuda(SPEC, precision, gpu=gpu, **options) as cuda:
            cuda.engine.window(random_clips(SPEC, 1, SPEC.receptive_field))
            assert not [name for name in cuda.kernels if "group" in name]
            assert "group" not in run(cuda, precision)


def test_without_a_trial_they_are_taken_or_refused() -> None:
    with opened_cuda(SPEC, "fp16", gpu=hopper(), warpgroups=True) as cuda:
        cuda.engine.window(random_clips(SPEC, 1, SPEC.receptive_field))
        assert not [name for name in cuda.kernels if "group" in name]
        assert "group" in run(cuda, "fp16")
    refused = pytest.raises(GpuError, match="B200 of compute capability 10.0 has no warpgroups")
    elsewhere = opened_cuda(SPEC, "fp16", gpu=FakeGpu("B200", (10, 0)), warpgroups=True)
    with refused, elsewhere:
        pass
