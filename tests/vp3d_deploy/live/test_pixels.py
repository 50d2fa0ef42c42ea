"""Live streams whose engine takes pixels answer as those that make the network's input themselves.

The CUDA engine, over doubles and the simulated grid: the same network with one way and the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
from cuda_doubles import Cuda, opened_cuda, skip_without_grid
from stored_networks import PRECISIONS

from vp3d_deploy import Lifter
from vp3d_deploy.engines.cuda_stream import CudaPixelStream
from vp3d_deploy.live import LiveStream
from vp3d_deploy.poses import Poses
from vp3d_deploy.screen import Screen
from vp3d_deploy.spec import ModelSpec

skip_without_grid()

SPEC = ModelSpec((3, 3), 16)
SIZE = (1280, 720)
# Pixels are rounded to float32 where the other way rounds what it makes of them.
ATOL = 2e-5


class Plain:
    """The same engine, which does not say that its streams could take pixels."""

    def __init__(self, engine: Any) -> None:
        self._engine = engine
        self.lags = engine.lags
        self.open_stream = engine.open_stream


class Pair:
    """Two live streams that are shown the same, and have to answer alike."""

    def __init__(self, cuda: Cuda, lag: int = 1, **options: Any) -> None:
        bundle, engine = cuda.networks.bundle, cuda.engine
        self.ours = Lifter(bundle, engine).stream(SIZE, lag, **options)
        plain: Any = Plain(engine)
        self.plain = Lifter(bundle, plain).stream(SIZE, lag, **options)
        self.sizes: list[Any] = []
        stream = self.ours._engine
        if isinstance(stream, CudaPixelStream):
            tell = stream.set_image_size

            def told(rows: list[int], image_size: Any) -> None:
                self.sizes.append(image_size)
                tell(rows, image_size)

            stream.set_image_size = told  # type: ignore[method-assign]

    @property
    def both(self) -> tuple[LiveStream, LiveStream]:
        return self.ours, self.plain

    def push(self, keypoints: Any, *arguments: Any) -> None:
        assert_alike(*(stream.push(keypoints, *arguments) for stream in self.both))

    def flush(self) -> None:
        assert_alike(*(stream.flush() for stream in self.both))


def assert_alike(ours: Any, plain: Any) -> None:
    if isinstance(plain, dict):
        assert list(ours) == list(plain)
        for own, other in zip(ours.values(), plain.values(), strict=True):
            assert_alike(own, other)
        return
    if plain is None:
        assert ours is None
        return
    assert isinstance(ours, Poses)
    np.testing.assert_allclose(ours.joints_m, plain.joints_m, rtol=0, atol=ATOL)
    np.testing.assert_allclose(ours.trajectory_m, plain.trajectory_m, rtol=0, atol=ATOL)
    np.testing.assert_allclose(ours.confidence, plain.confidence, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(ours.frame_indices, plain.frame_indices)


@contextmanager
def paired(
    lag: int = 1, spec: ModelSpec = SPEC, precision: str = "fp32", **options: Any
) -> Iterator[Pair]:
    options = {"skeleton": "coco17", **options}
    with opened_cuda(spec, precision, trajectory=True) as cuda:
        yield Pair(cuda, lag, **options)


def walk(n_frames: int, seed: int = 0, columns: int = 2, dtype: Any = np.float32) -> np.ndarray:
    """(T, 17, columns) of somebody who wanders through the image; the third holds scores."""
    rng = np.random.default_rng(seed)
    centre = np.cumsum(rng.normal(0, 6, (n_frames, 1, 2)), 0) + rng.uniform(300, 600, 2)
    points = centre + rng.normal(0, 50, (n_frames, 17, 2))
    scores = rng.uniform(0.2, 1.1, (n_frames, 17, columns - 2))
    return np.concatenate([points, scores], -1).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32])
@pytest.mark.parametrize("skeleton", ["coco17", None])
def test_one_person_whom_nothing_hides(skeleton: str | None, dtype: Any) -> None:
    with paired(skeleton=skeleton) as pair:
        shown = walk(8, dtype=dtype)
        for frame in shown:
            given = frame.copy()
            pair.push(given)
            given[...] = 0  # theirs again
        # Told once, of the first frame: everything that was shown went up as it came in.
        assert pair.sizes == [SIZE]
        hidden = walk(9, dtype=np.float32)[8]
        hidden[6] = np.nan  # held where it was, relative to the others
        pair.push(hidden)
        pair.flush()


@pytest.mark.parametrize("precision", PRECISIONS)
def test_pixels_of_the_networks_own_joints_are_normalised_to_the_same_bits(precision: str) -> None:
    with paired(precision=precision, skeleton=None) as pair:
        for number, frame in enumerate(walk(12)):
            if number == 6:
                frame[4] = np.nan
            ours, plain = (stream.push(frame) for stream in pair.both)
            if number:
                np.testing.assert_array_equal(ours.joints_m, plain.joints_m)
                np.testing.assert_array_equal(ours.trajectory_m, plain.trajectory_m)
        assert pair.sizes == [SIZE, None, SIZE]


def test_joints_that_are_hidden_are_held_and_fade() -> None:
    """In frames with gaps, the network's input is what Python made of it, in its own units."""
    rng = np.random.default_rng(4)
    with paired(lag=2) as pair:
        for number, frame in enumerate(walk(40, columns=3)):
            if 4 <= number < 12 or number == 20:
                frame[rng.integers(0, 17, 3)] = np.nan
            if 24 <= number < 30:
                frame[:, 2] = 0  # nothing is seen
            pair.push(frame)
        pair.flush()
        assert {None, SIZE} == set(pair.sizes)


def test_people_come_and_go() -> None:
    rng = np.random.default_rng(7)
    clips = [walk(90, seed) for seed in range(5)]
    with paired(lag=3) as pair:
        for frame in range(90):
            here = [person for person in range(5) if (frame // (5 + person)) % 3 or person == 0]
            shown = {person: clips[person][frame].copy() for person in here}
            if frame % 11 == 5:
                shown[here[-1]][rng.integers(17)] = np.nan
            pair.push(shown)
        pair.push(None)
        pair.flush()
        pair.push({0: clips[0][0]})
        assert {None, SIZE} == set(pair.sizes)


def test_a_crowd_of_which_some_are_hidden() -> None:
    """So many that their frames are launched otherwise."""
    clips = [walk(8, seed) for seed in range(60)]
    with paired(lag=0) as pair:
        for frame in range(8):
            shown = {person: clip[frame].copy() for person, clip in enumerate(clips)}
            if frame in (3, 4):
                shown[7][2] = np.nan
            if frame == 6:
                del shown[11]
            pair.push(shown)
        stream: Any = pair.ours._engine
        assert stream.launch == "wide"


def test_someone_fades_while_another_stays() -> None:
    """The last frame of who is gone is shown again, in the units that it was in."""
    first, second = walk(80, 1), walk(80, 2)
    with paired(lag=4) as pair:
        for frame in range(80):
            pair.push({1: first[frame]} | ({2: second[frame]} if frame < 10 else {}))


def test_images_change_their_size() -> None:
    with paired() as pair:
        for number, frame in enumerate(walk(12)):
            frame = frame.copy()
            if number == 6:
                frame[3] = np.nan
            pair.push(frame, None, (1280, 720) if number < 4 else (1000, 900))
        assert (1000, 900) in pair.sizes


@pytest.mark.parametrize("fps", [25.0, 50.0, 60.0])
def test_frames_are_interpolated_to_the_networks_rate(fps: float) -> None:
    with paired(fps=fps) as pair:
        for number, frame in enumerate(walk(20)):
            if number == 9:
                frame[5] = np.nan
            pair.push(frame)
        pair.flush()


def test_frames_have_times() -> None:
    """Some on a frame of the network, others between two; after a gap everyone begins anew."""
    times = [0, 1, 2, 2.5, 3.75, 4, 5, 5.1, 6, 7, 60, 61, 62.5, 63]
    with paired() as pair:
        for time, frame in zip(times, walk(len(times)), strict=True):
            pair.push(frame, time / 50)


def test_a_stream_that_is_reset() -> None:
    clips = [walk(12, seed) for seed in range(2)]
    with paired() as pair:
        for frame in range(12):
            if frame in (4, 8):
                for stream in pair.both:
                    stream.reset(None if frame == 4 else 0)
            pair.push({0: clips[0][frame], 1: clips[1][frame]})


@pytest.mark.parametrize(("skeleton", "takes"), [("h36m17", True), ("coco17", False)])
def test_networks_that_read_scores(skeleton: str, takes: bool) -> None:
    """Where joints are made of others, the ordinary way is taken."""
    spec = ModelSpec((3, 3), 16, features=3)
    with paired(spec=spec, skeleton=skeleton) as pair:
        assert isinstance(pair.ours._engine, CudaPixelStream) == takes
        for number, frame in enumerate(walk(12, columns=3)):
            if number == 5:
                frame[2] = np.nan
            pair.push(frame)
        pair.flush()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("size", [(1920, 1080), (640, 480), (333.3, 777.7), (1, 1), (7, 100000)])
def test_what_is_seen_is_decided_alike_to_the_last_bit(
    size: tuple[float, float], dtype: type
) -> None:
    """Frames of one joint at every number around each bound."""
    screen = Screen(size)
    for column, length in enumerate(size):
        for edge in (-length, 2 * length):
            value = dtype(edge)
            for toward in (-np.inf, np.inf):
                at = value
                for _ in range(40):
                    frame = np.full((1, 1, 3), length / 2, dtype)
                    frame[0, 0, :2] = np.array(size, dtype) / 2
                    frame[0, 0, column] = at
                    frame[0, 0, 2] = 0.5
                    for shown in (frame[..., :2].copy(), frame):
                        _, seen = screen.frame(shown)
                        assert screen.all_seen(shown) == (seen is None)
                    at = np.nextafter(at, dtype(toward))
    for score in (0, 2.0**-150, 2.0**-149, 2.0**-148, 1, 7, np.inf, -1, np.nan):
        frame = np.full((1, 1, 3), min(size) / 2, dtype)
        frame[..., 2] = score
        _, seen = screen.frame(frame)
        assert screen.all_seen(frame) == (seen is None)
    for pixel in (np.nan, np.inf, -np.inf):
        assert not screen.all_seen(np.full((1, 1, 2), pixel, dtype))
