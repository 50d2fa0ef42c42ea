"""The client example speaks gRPC to a server that simulates Triton's rules."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from bundles import random_bundle
from triton_server import Service, serving

from vp3d_deploy import Lifter
from vp3d_deploy.spec import ModelSpec
from vp3d_export.triton.repository import write_repository

IMAGE_SIZE = (1920, 1080)
LAGS = (0, 2, 4)


@pytest.fixture(scope="module")
def example() -> ModuleType:
    path = Path(__file__).parents[3] / "examples" / "triton_client.py"
    spec = importlib.util.spec_from_file_location("triton_client_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def lifter(tmp_path_factory: pytest.TempPathFactory) -> Lifter:
    path = tmp_path_factory.mktemp("client") / "walker.vp3d"
    return Lifter.open(random_bundle(path, ModelSpec((3, 3), 16), lags=LAGS).bundle.path, "onnx")


@pytest.fixture(scope="module")
def server(lifter: Lifter, tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    directory = tmp_path_factory.mktemp("served")
    write_repository(lifter.bundle, directory)
    with serving(directory) as (address, service):
        yield address, service


@pytest.fixture(scope="module")
def keypoints() -> np.ndarray:
    rng = np.random.default_rng(2)
    return (rng.uniform(0.2, 0.8, (40, 17, 2)) * IMAGE_SIZE).astype(np.float32)


def test_windows_give_what_lifting_the_clip_gives(
    example: ModuleType, lifter: Lifter, server: tuple[str, Service], keypoints: np.ndarray
) -> None:
    # 40 windows are more than the 32 that one call takes.
    found = example.lift(server[0], "walker_window", keypoints, IMAGE_SIZE)
    expected = lifter.lift(keypoints, image_size=IMAGE_SIZE).joints_m
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)


@pytest.mark.parametrize("lag", LAGS)
def test_a_stream_gives_what_our_own_gives(
    example: ModuleType,
    lifter: Lifter,
    server: tuple[str, Service],
    keypoints: np.ndarray,
    lag: int,
) -> None:
    found = example.lift(server[0], f"walker_stream_lag{lag}", keypoints, IMAGE_SIZE)
    with lifter.stream(image_size=IMAGE_SIZE, lag=lag) as stream:
        answers = [*(stream.push(frame) for frame in keypoints), stream.flush()]
    joints = [answer.joints_m.reshape(-1, 17, 3) for answer in answers if answer is not None]
    expected = np.concatenate(joints)
    assert found.shape == (40, 17, 3)
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5)
    assert not server[1].models[f"walker_stream_lag{lag}"].states, "the sequence was not ended"


def test_command_line(
    example: ModuleType,
    server: tuple[str, Service],
    keypoints: np.ndarray,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    np.save(tmp_path / "in.npy", keypoints[:3])
    given = [str(tmp_path / "in.npy"), "--image-size", "1920x1080", "--url", server[0]]
    output = tmp_path / "out.npy"
    assert example.main([*given, "--model", "walker_stream_lag0", "-o", str(output)]) == 0
    assert np.load(output).shape == (3, 17, 3)
    capsys.readouterr()
    assert example.main([*given, "--model", "runner", "-o", str(output)]) == 1
    assert "unknown model 'runner'" in capsys.readouterr().err
