"""Pixels in and positions out on the GPU: the CUDA engine's processing beside the same in Python,
around the same network. Over doubles, as test_cuda.py."""

from __future__ import annotations

import numpy as np
import pytest
from cuda_doubles import Cuda, opened_cuda, skip_without_grid

from vp3d_deploy.camera import Camera, camera_to_world, normalize_screen
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.cuda_processing import Processing, View
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.skeleton import H36M_17, Skeleton, SkeletonError, get_skeleton
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 16)
COCO = get_skeleton("coco17")
WHOLE = Processing(COCO, trajectory=True, world=True)
every_launch = pytest.mark.parametrize("launch", ["step", "phases", "wide"])


def view(seed: int) -> View:
    """Another image and another camera for each seed."""
    rng = np.random.default_rng(seed)
    turn, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    camera = Camera(
        "made up", 1280 + seed, 720, (1100.0, 1100.0), (640.0, 360.0),
        rotation=turn * np.sign(np.linalg.det(turn)), position_m=rng.uniform(-3, 3, 3),
    )  # fmt: skip
    return View((camera.width, camera.height), camera)


def seen_by(views: list[View], features: int, skeleton: Skeleton, *frames: int) -> np.ndarray:
    """(people, *frames, J, F) float32 pixels, and scores."""
    rng = np.random.default_rng(len(views))
    shape = (len(views), *frames, skeleton.n_joints)
    pixels = rng.uniform(0, 700, (*shape, 2))
    scores = rng.uniform(0.1, 1, (*shape, features - 2))
    return np.concatenate([pixels, scores], -1).astype(np.float32)


def prepared(pixels: np.ndarray, own: View, skeleton: Skeleton, spec: ModelSpec) -> np.ndarray:
    """What the network reads of one person's (..., J, F), by Python."""
    to_input = NetworkInput(skeleton, H36M_17, H36M_17, spec.features)
    scores = pixels[..., 2] if spec.features == 3 else np.ones(pixels.shape[:-1], np.float32)
    shown, _ = to_input(normalize_screen(pixels[..., :2], own.image_size), scores)
    return shown


def finished(found: Output, views: list[View], processing: Processing) -> Output:
    """What becomes of answers (people, ...), by Python."""
    pose, root = (np.array(array, np.float64) for array in found)
    if processing.trajectory:
        pose = pose + root
    if processing.world:
        for person, own in enumerate(views):
            assert own.camera is not None
            pose[person] = camera_to_world(pose[person], own.camera)
            root[person] = camera_to_world(root[person], own.camera)
    return Output(pose, root)


def assert_near(found: Output, expected: Output) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        assert ours is not None
        assert theirs is not None
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5)


def run_streams(cuda: Cuda, processing: Processing, n_people: int) -> None:
    spec = cuda.networks.bundle.spec
    skeleton = processing.skeleton or H36M_17
    ours, plain = cuda.engine.open_stream(1, processing), cuda.engine.open_stream(1)
    views = [view(seed) for seed in range(n_people)]
    for own in views:
        ours.add_rows(1, own if processing.needs_views else None)
    plain.add_rows(n_people)
    for frame in range(12):
        if frame == 4:  # one leaves, and another's camera moves
            ours.remove_rows([0])
            plain.remove_rows([0])
            views = [*views[1:-1], view(99)]
            if processing.needs_views:
                ours.set_view(len(views) - 1, views[-1])
        pixels = seen_by(views, spec.features, skeleton)
        if processing.skeleton is None:
            shown = pixels = pixels / np.float32(700)
        else:
            shown = np.stack(
                [prepared(*each, skeleton, spec) for each in zip(pixels, views, strict=True)]
            )
        expected = finished(plain.step(np.ascontiguousarray(shown)), views, processing)
        assert_near(ours.step(pixels), expected)


@every_launch
@pytest.mark.parametrize(
    "processing",
    [Processing(COCO), Processing(trajectory=True), Processing(None, True, True), WHOLE],
    ids=["input", "placed", "world", "whole"],
)
def test_streams_take_pixels_and_say_where_people_are(processing: Processing, launch: str) -> None:
    with opened_cuda(SPEC, "fp32", trajectory=True, launch=launch) as cuda:
        run_streams(cuda, processing, 3)


@every_launch
def test_many_people_and_scores(launch: str) -> None:
    """More than a block prepares again for itself."""
    spec = ModelSpec((3, 3), 16, features=3)
    with opened_cuda(spec, "fp32", trajectory=True, launch=launch) as cuda:
        run_streams(cuda, WHOLE, 20)


@pytest.mark.parametrize("form", ["window", "sequence"])
@pytest.mark.parametrize("processing", [Processing(COCO), WHOLE], ids=["input", "whole"])
def test_clips_take_pixels_and_say_where_people_are(processing: Processing, form: str) -> None:
    frames = SPEC.receptive_field + (0 if form == "window" else 11)
    with opened_cuda(SPEC, "fp32", trajectory=True) as cuda:
        call = getattr(cuda.engine, form)
        for n_people in (1, 3, 3, 3, 3):
            views = [view(seed) for seed in range(n_people)]
            pixels = seen_by(views, 2, COCO, frames)
            shown = np.stack(
                [prepared(*each, COCO, SPEC) for each in zip(pixels, views, strict=True)]
            )
            expected = finished(call(shown), views, processing)
            assert_near(call(pixels, processing=processing, views=views), expected)


def test_what_cannot_be_is_refused() -> None:
    with opened_cuda(SPEC, "fp32", trajectory=True) as cuda:
        engine = cuda.engine
        with pytest.raises(ValueError, match="follow from the trajectory: ask for it too"):
            engine.open_stream(0, Processing(world=True))
        with pytest.raises(SkeletonError, match="cannot become"):
            engine.open_stream(0, Processing(Skeleton("dot", ("dot",), (-1,), (), ())))
        stream = engine.open_stream(0, WHOLE)
        with pytest.raises(ValueError, match="need to know each person's view"):
            stream.add_rows(1)
        stream.add_rows(1, view(0))
        with pytest.raises(ValueError, match=r"expect \(1, 17, 2\)"):
            stream.step(np.zeros((1, 16, 2), np.float32))
        with pytest.raises(ValueError, match="row 1 is not one of the 1 open streams"):
            stream.set_view(1, view(0))
        with pytest.raises(ValueError, match="0 x 720 pixels; sizes are positive"):
            stream.set_view(0, View((0, 720)))
        plain = engine.open_stream(0)
        with pytest.raises(ValueError, match="no processing that takes views"):
            plain.add_rows(1, view(0))
        plain.add_rows(1)
        with pytest.raises(ValueError, match="no processing that takes views"):
            plain.set_view(0, view(0))
        clips = seen_by([view(0)] * 2, 2, COCO, 9)
        with pytest.raises(ValueError, match="2 items need 2 views, not 1"):
            engine.window(clips, processing=WHOLE, views=[view(0)])
        with pytest.raises(ValueError, match="2 items need 0 views, not 1"):
            engine.window(clips, views=[view(0)])
    alone = opened_cuda(SPEC, "fp32")
    with alone as cuda, pytest.raises(ValueError, match="has no trajectory network"):
        cuda.engine.open_stream(0, Processing(trajectory=True))
