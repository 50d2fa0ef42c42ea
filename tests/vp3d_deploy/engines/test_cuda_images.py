"""Images, frames and plans of the CUDA engine as the native module gives them: what they hold, by
kernels/cuda/program.hpp, and what is refused. Needs no GPU, and no double of one."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_networks import PRECISIONS, StoredNetworks, stored_networks

from vp3d_deploy._native import CudaClips, CudaDevice, CudaImage, WeightsError
from vp3d_deploy.engines.cuda_processing import Processing, View, numbers_of_views, tables
from vp3d_deploy.skeleton import get_skeleton
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 20, joints_in=17, joints_out=5)
DEVICE = CudaDevice(4, 99 << 10)
MAGIC = 0x3244334456443356


@pytest.fixture
def networks(tmp_path: Path) -> StoredNetworks:
    return stored_networks(tmp_path, SPEC, "fp16", trajectory=True)


def image_of(networks: StoredNetworks, lag: int = 0, **options: Any) -> CudaImage:
    given = {"blocks": 3, "shared_bytes": 50_000, "tensor_columns": 5, **options}
    specs = dict(networks.bundle.networks)
    return CudaImage(networks.file, specs, networks.precision, lag, **given)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_image_is_handed_over_and_its_header_stays(precision: str, tmp_path: Path) -> None:
    networks = stored_networks(tmp_path, SPEC, precision, trajectory=True)
    image = image_of(networks)
    before = (image.blocks, image.phases, image.answer_floats, image.place_bytes)
    assert before[:3] == (3, 4, 6 * 3)
    packed = image.take_bytes()
    assert packed.dtype == np.uint8
    assert not packed.flags.writeable
    header = packed[:16].view(np.uint64)
    assert header.tolist() == [MAGIC, len(packed)]
    kept = packed.copy()
    assert (image.blocks, image.phases, image.answer_floats, image.place_bytes) == before
    assert image.columns(4) == 12
    assert image.wide_launches(4, DEVICE)
    with pytest.raises(RuntimeError, match="taken before"):
        image.take_bytes()
    del image
    gc.collect()
    np.testing.assert_array_equal(packed, kept)


def test_a_frame_holds_rows_and_columns_and_zeros_between(networks: StoredNetworks) -> None:
    image = image_of(networks)
    n = 9
    rows = np.array([(row % 3, 40 + row) for row in range(n)], np.uint32)
    shown = np.random.default_rng(0).normal(size=(n, 17, 2)).astype(np.float32)
    frame = np.full(image.frame_bytes(n) + 100, 0xFF, np.uint8)
    assert image.write_frame(frame, rows, shown) == image.frame_bytes(n)
    assert (frame[-100:] == 0xFF).all()
    assert frame[:4].view(np.int32)[0] == n
    np.testing.assert_array_equal(frame[64 : 64 + 8 * n].view(np.uint32).reshape(n, 2), rows)
    columns = frame[64 + 128 : -100].view(np.float32).reshape(n, 48)
    np.testing.assert_array_equal(columns[:, :34], shown.reshape(n, 34))
    assert (columns[:, 34:] == 0).all()
    image.advance(rows)
    np.testing.assert_array_equal(rows, [(row % 3 + 1, 40 + row) for row in range(n)])
    seen = [image.advance(rows) or int(rows[0, 0]) for _ in range(1000)]
    # They come round, so that they never run over; and an old stream does not become a new one.
    assert max(seen) < 100
    assert min(seen[20:]) >= SPEC.filter_widths[0]


def test_views_come_before_the_columns(networks: StoredNetworks) -> None:
    around = tables(Processing(get_skeleton("coco17"), trajectory=True), networks.bundle)
    image = image_of(networks, processing=around)
    views = numbers_of_views([View((640, 480)), View((1920, 1080))])
    assert views[1].tolist() == [960, 540, 960, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0]
    frame = np.zeros(image.frame_bytes(2), np.uint8)
    rows, shown = np.zeros((2, 2), np.uint32), np.ones((2, 17, 2), np.float32)
    image.write_frame(frame, rows, shown, views)
    np.testing.assert_array_equal(frame[128 : 128 + 128].view(np.float32).reshape(2, 16), views)
    assert (frame[256:].view(np.float32).reshape(2, 48)[:, :34] == 1).all()
    with pytest.raises(ValueError, match="views: expected a NumPy array, not NoneType"):
        image.write_frame(frame, rows, shown)
    with pytest.raises(ValueError, match=r"views have shape \(1, 16\); expected \(2, 16\)"):
        image.write_frame(frame, rows, shown, views[:1])


def test_frames_that_cannot_be_written(networks: StoredNetworks) -> None:
    image = image_of(networks)
    frame = np.zeros(image.frame_bytes(2), np.uint8)
    rows, shown = np.zeros((2, 2), np.uint32), np.zeros((2, 17, 2), np.float32)
    for arguments, why in (
        ((frame[:-1], rows, shown), r"takes \(512,\) bytes; there is room for \(511,\)"),
        ((frame.astype(np.int8), rows, shown), "frames are int8; expected uint8"),
        ((frame, rows.astype(np.int32), shown), "rows are int32; expected uint32"),
        ((frame, rows[:, :1].copy(), shown), r"rows have shape \(2, 1\); expected \(\*, 2\)"),
        ((frame, rows[:1], shown), r"shape \(2, 17, 2\); 1 open streams expect \(1, 17, 2\)"),
        ((frame, rows, [[0]]), "keypoints: expected a NumPy array, not list"),
    ):
        with pytest.raises(ValueError, match=why):
            image.write_frame(*arguments)
    frame.flags.writeable = False
    with pytest.raises(ValueError, match="frames cannot be written to"):
        image.write_frame(frame, rows, shown)
    with pytest.raises(ValueError, match="0 to 65536 rows, not 65537"):
        image.frame_bytes(65_537)


def test_images_that_cannot_be_made(networks: StoredNetworks, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lag 5: this network can trail by 0 to 4 frames"):
        image_of(networks, lag=5)
    with pytest.raises(ValueError, match="1 to 4096 blocks, not 0"):
        image_of(networks, blocks=0)
    specs = dict(networks.bundle.networks)
    with pytest.raises(ValueError, match="precision fp8 is not known"):
        CudaImage(networks.file, specs, "fp8", 0, blocks=1)
    with pytest.raises(WeightsError, match="another type than weights of this precision"):
        CudaClips(networks.file, specs, "fp32")
    with pytest.raises(WeightsError):
        CudaClips(tmp_path / "nothing", specs, "fp16")


def test_plans_say_what_memory_they_need(networks: StoredNetworks) -> None:
    clips = CudaClips(networks.file, dict(networks.bundle.networks), "fp16")
    assert len(clips.take_bytes()) > 0
    with pytest.raises(RuntimeError, match="taken before"):
        clips.take_bytes()
    for plan, frames, answers in (
        (clips.plan_window(2, DEVICE), 9, 1),
        (clips.plan_sequence(2, 30, DEVICE), 30, 22),
    ):
        assert plan.input_bytes == 2 * frames * 17 * 2 * 4
        assert plan.answer_frames == answers
        assert plan.answers == [0, 2 * answers * 5 * 3 * 4]
        assert plan.answer_bytes == 2 * answers * 6 * 3 * 4
        assert all(launch.shared_bytes <= 99 << 10 for launch in plan.launches)
        assert all(launch.arguments[:32] == bytes(32) for launch in plan.launches)
    with pytest.raises(ValueError, match="fewer than the receptive field of 9; pad it"):
        clips.plan_sequence(2, 8, DEVICE)
    with pytest.raises(ValueError, match="there are no kernels of shape round"):
        CudaDevice(4, 99 << 10, shape="round")
    with pytest.raises(ValueError, match="at least 1 item, not 0"):
        clips.plan_window(0, DEVICE)
