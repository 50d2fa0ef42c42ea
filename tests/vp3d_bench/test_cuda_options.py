"""Live frames with options of the CUDA engine and without, over doubles."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from cuda_doubles import hopper, opened_cuda, skip_without_grid
from stored_networks import random_clips

from vp3d_bench import cuda_options
from vp3d_bench.cuda_options import QUESTIONS, Question
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.spec import ModelSpec

skip_without_grid()


def test_both_ways_answer_alike() -> None:
    spec = ModelSpec((3, 3), 32, joints_in=7, joints_out=5)
    with opened_cuda(spec, "fp16") as cuda:
        bundle = cuda.networks.bundle
        engines: dict[str, Any] = {
            kind: open_engine(bundle, "cuda", "fp16", **options)
            for kind, options in QUESTIONS["zero_copy"].kinds.items()
        }
        clips = random_clips(spec, 1, 6)
        found = cuda_options.compare(engines, clips, 2)
        assert found["same"]
        assert set(found["median_us"]) == {"mapped", "mapped_no_graph", "copied"}
        engines["copied"].close()
        engines.pop("mapped_no_graph").close()
        engines["copied"] = engines["mapped"]
        steps = iter(range(100))
        plain = engines["mapped"].open_stream

        def opened(lag: int) -> Any:
            stream = plain(lag)
            step = stream.step

            def spoiled(keypoints: np.ndarray) -> Any:
                output = step(keypoints).copied()
                output.pose[...] += next(steps)
                return output

            stream.step = spoiled
            return stream

        engines["mapped"].open_stream = opened
        assert not cuda_options.compare(engines, clips, 2)["same"]
        engines["mapped"].close()


def test_many_people_with_launches_that_overlap_and_without() -> None:
    spec = ModelSpec((3, 3), 32, joints_in=7, joints_out=5)
    with opened_cuda(spec, "fp16", gpu=hopper()) as cuda:
        bundle = cuda.networks.bundle
        kinds = QUESTIONS["overlap"].kinds
        engines = {kind: open_engine(bundle, "cuda", "fp16", **kinds[kind]) for kind in kinds}
        found = cuda_options.compare(engines, random_clips(spec, 5, 4), 1)
        assert found["same"]
        assert set(found["p99_us"]) == {"overlapping", "one_after_another"}
        for engine in engines.values():
            engine.close()


ONE = {"zero_copy": Question({"a": {}, "b": {}}, people=(1, 3), warm_up=0, rounds=1)}


def test_no_engine_is_no_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise GpuError("none here")

    monkeypatch.setattr(cuda_options, "open_engine", refuse)
    path, out = tmp_path / "net.vp3d", tmp_path / "out.json"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    assert cuda_options.main(["zero_copy", str(path), "-o", str(out)], questions=ONE) == 2
    assert not out.exists()


@pytest.mark.parametrize(("same", "code"), [(True, 0), (False, 1)])
def test_answers_decide(
    same: bool, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Closed:
        def close(self) -> None:
            pass

    def compare(_: Any, clips: np.ndarray, __: int) -> dict[str, Any]:
        return {"same": same or len(clips) == 1}

    monkeypatch.setattr(cuda_options, "open_engine", lambda *_, **__: Closed())
    monkeypatch.setattr(cuda_options, "compare", compare)
    path, out = tmp_path / "net.vp3d", tmp_path / "out.json"
    random_bundle(path, ModelSpec((3,), 8), precisions=("fp16",))
    assert cuda_options.main(["zero_copy", str(path), "-o", str(out)], questions=ONE) == code
    assert json.loads(out.read_text()) == {"fp16": {"1": {"same": True}, "3": {"same": same}}}
