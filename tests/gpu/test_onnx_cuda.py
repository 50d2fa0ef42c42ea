"""The bundle's own graphs on ONNX Runtime's CUDA provider, held to the definition."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from gpu.answers import LIMITS_MM, Truth, distance_mm, stream_distance_mm
from gpu.hardware import skip_module_without_gpu

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.base import Engine
from vp3d_deploy.engines.gpu import GpuError
from vp3d_deploy.engines.onnx import PROVIDERS

skip_module_without_gpu()
pytestmark = pytest.mark.gpu

# Whether this provider takes 8-bit graphs to the GPU is its own affair.
PRECISIONS = ("fp32", "fp16")
FRAMES = 40


@pytest.fixture(params=PRECISIONS)
def engine(request: pytest.FixtureRequest, demo_bundle: Bundle) -> Iterator[Engine]:
    try:
        opened = open_engine(demo_bundle, "onnx", request.param, provider="cuda")
        opened.load()  # type: ignore[attr-defined]
    except (ImportError, GpuError, BundleError) as error:
        pytest.skip(f"needs ONNX Runtime with CUDA: {error}")
    yield opened
    opened.close()


def test_it_is_the_gpu_that_computes(engine: Engine) -> None:
    (session,) = engine._sessions.values()  # type: ignore[attr-defined]
    assert session.get_providers()[0] == PROVIDERS["cuda"]


@pytest.mark.parametrize("people", [1, 5])
def test_windows_and_clips_answer_as_the_definition(
    engine: Engine, demo_bundle: Bundle, people: int
) -> None:
    truth = Truth.of(demo_bundle, people, FRAMES)
    limit, lookahead = LIMITS_MM[engine.precision], demo_bundle.spec.lookahead
    clip = engine.sequence(truth.padded()).pose
    for frame in (0, 19, FRAMES - 1):
        expected = truth.live(frame, lookahead)
        assert distance_mm(engine.window(truth.windows(frame)).pose, expected) < limit
        assert distance_mm(clip[:, frame], expected) < limit


@pytest.mark.parametrize("lag", [0, 5, 13])
def test_streams_answer_as_the_definition(engine: Engine, demo_bundle: Bundle, lag: int) -> None:
    truth = Truth.of(demo_bundle, 2, FRAMES)
    frames = {0, 1, 13, 27, FRAMES - 1}
    found = stream_distance_mm(engine, truth, lag, frames)
    assert found < LIMITS_MM[engine.precision]
    assert np.isfinite(found)
