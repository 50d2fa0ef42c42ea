"""Pixels in and positions in the world out, on real hardware: the CUDA engine's own processing
beside the same in Python, around the same network."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import random_bundle
from gpu.answers import distance_mm
from gpu.hardware import skip_module_without_gpu

from vp3d_deploy import Lifter
from vp3d_deploy.camera import Camera, camera_to_world, normalize_screen
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.cuda_processing import Processing, View
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.skeleton import H36M_17, get_skeleton
from vp3d_deploy.spec import ModelSpec

skip_module_without_gpu(rehearsable=True)
pytestmark = [pytest.mark.gpu, pytest.mark.sanitizer]

SPEC = ModelSpec((3, 3), 32)
COCO = get_skeleton("coco17")
WHOLE = Processing(COCO, trajectory=True, world=True)
LIMIT_MM = 0.05


@pytest.fixture
def engine(gpu: Any, tmp_path: Path) -> Iterator[Any]:
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC, trajectory=True).bundle
    try:
        opened = open_engine(bundle, "cuda", "fp32")
    except ImportError as error:
        pytest.skip(f"needs the CUDA engine: {error}")
    yield opened
    opened.close()


def view(seed: int) -> View:
    """Another image and another camera for each seed."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    camera = Camera(
        "made up", 1280 + seed, 720, (1100.0, 1100.0), (640.0, 360.0),
        rotation=turn * np.sign(np.linalg.det(turn)), position_m=rng.uniform(-3, 3, 3),
    )  # fmt: skip
    return View((camera.width, camera.height), camera)


def by_python(pixels: np.ndarray, views: list[View]) -> np.ndarray:
    """(people, ..., 17, 2) COCO pixels -> what the network reads."""
    to_input = NetworkInput(COCO, H36M_17, H36M_17, SPEC.features)
    shown = [
        to_input(normalize_screen(own, of.image_size), np.ones(own.shape[:-1], np.float32))[0]
        for own, of in zip(pixels, views, strict=True)
    ]
    return np.ascontiguousarray(np.stack(shown), np.float32)


def in_the_world(output: Any, views: list[View]) -> np.ndarray:
    """(people, ..., 17, 3) metres."""
    pose = np.array(output.pose, np.float64) + output.trajectory
    return np.stack([camera_to_world(p, v.camera) for p, v in zip(pose, views, strict=True)])


@pytest.mark.parametrize("people", [1, 3, 40])
def test_streams_take_pixels_and_answer_in_the_world(people: int, engine: Any) -> None:
    views = [view(seed) for seed in range(people)]
    ours, plain = engine.open_stream(1, WHOLE), engine.open_stream(1)
    for own in views:
        ours.add_rows(1, own)
    plain.add_rows(people)
    rng = np.random.default_rng(people)
    for _ in range(12):
        pixels = rng.uniform(0, 700, (people, 17, 2)).astype(np.float32)
        expected = in_the_world(plain.step(by_python(pixels, views)), views)
        assert distance_mm(ours.step(pixels).pose, expected) < LIMIT_MM


@pytest.mark.parametrize("form", ["window", "sequence"])
def test_clips_take_pixels_and_answer_in_the_world(form: str, engine: Any) -> None:
    frames = SPEC.receptive_field + (0 if form == "window" else 11)
    call = getattr(engine, form)
    for people in (1, 3, 3, 3, 3):
        views = [view(seed) for seed in range(people)]
        rng = np.random.default_rng(people)
        pixels = rng.uniform(0, 700, (people, frames, 17, 2)).astype(np.float32)
        expected = in_the_world(call(by_python(pixels, views)), views)
        found = call(pixels, processing=WHOLE, views=views).pose
        assert distance_mm(found, expected) < LIMIT_MM


class _Plain:
    """An engine that does not say that its streams could take pixels."""

    def __init__(self, engine: Any) -> None:
        self.lags, self.open_stream = engine.lags, engine.open_stream


def test_live_streams_send_pixels_up(engine: Any) -> None:
    """And answer as those whose network's input Python makes, people and gaps included."""
    lifters = [Lifter(engine._bundle, own) for own in (engine, _Plain(engine))]
    streams = [lifter.stream((1280, 720), 1, skeleton="coco17") for lifter in lifters]
    rng = np.random.default_rng(3)
    clip = rng.uniform(200, 700, (3, 17, 2)) + np.cumsum(rng.normal(0, 5, (30, 3, 17, 2)), 0)
    for number, frame in enumerate(clip):
        people = {person: frame[person] for person in range(3) if person < 2 or number > 9}
        if 14 <= number < 20:
            people[0][5] = np.nan
        ours, plain = (stream.push(people) for stream in streams)
        assert list(ours) == list(plain)
        for own, other in zip(ours.values(), plain.values(), strict=True):
            assert distance_mm(own.joints_m, other.joints_m) < LIMIT_MM
