"""Gathered samples against loops over clips, frame by frame."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training_clips import camera, clip  # noqa: E402

from vp3d_deploy.data.clip import Clip  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.frames import (  # noqa: E402
    Frames,
    chunk_samples,
    fits_on_device,
    frames_of,
    intrinsics_of,
    with_chunks,
)

SPECS = [
    ModelSpec((3, 3), 4),
    ModelSpec((3, 5), 4, causal=True),
    ModelSpec((5,), 4),
    ModelSpec((1, 1), 4),
]
IDS = [f"{list(s.filter_widths)}{' causal' if s.causal else ''}" for s in SPECS]
# Shorter than every receptive field but 1, of one frame, and longer.
LENGTHS = [4, 1, 23, 2, 17]


def clips(labelled: bool = True) -> list[Clip]:
    sizes = [(1000, 1002), (1920, 1080), (640, 480), (1000, 1000), (720, 1280)]
    return [
        clip(length, seed=i, labelled=labelled, size=sizes[i], distortion=("h36m", "opencv")[i % 2])
        for i, length in enumerate(LENGTHS)
    ]


def screen(clip: Clip) -> np.ndarray:
    w, h = clip.image_size
    return (clip.keypoints_px.astype(np.float64) - [w / 2, h / 2]) / (w / 2)


def window(spec: ModelSpec, clip: Clip, at: int, until: int | None) -> list[np.ndarray]:
    """The 2D that the answer for frame `at`, perhaps outside the clip, is computed from."""
    if spec.causal:
        wanted = range(at - spec.receptive_field + 1, at + 1)
    else:
        half = spec.receptive_field // 2
        wanted = range(at - half, at + half + 1)
    points = screen(clip)
    out = []
    for frame in wanted:
        if until is not None and frame > until:
            frame = until
        out.append(points[min(max(frame, 0), clip.n_frames - 1)])
    return out


def sample_of(frames: Frames, all_clips: list[Clip], number: int) -> tuple[Clip, int]:
    """The clip of a sample and where in it the first answer lies, from the lengths alone."""
    c = int(frames.clip[number])
    return all_clips[c], int(frames.start[number]) - sum(LENGTHS[:c])


def assert_close(found: torch.Tensor, expected: object, atol: float) -> None:
    np.testing.assert_allclose(found.numpy(), np.array(expected), rtol=0, atol=atol)


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("lagged", [False, True], ids=["", "lagged"])
def test_windows(spec: ModelSpec, lagged: bool) -> None:
    every = clips()
    frames = frames_of(every, labelled=True)
    assert frames.n_samples == sum(LENGTHS)
    order = np.random.default_rng(1).permutation(sum(LENGTHS))
    # A lag beyond what the network sees changes nothing.
    lags = np.arange(len(order)) % 7
    lag = torch.from_numpy(lags) if lagged else None
    batch = frames.gather(torch.from_numpy(order), spec, 1, lag)

    seen = set()
    for i, number in enumerate(order):
        one, at = sample_of(frames, every, number)
        seen.add((one.name, at))
        keypoints = window(spec, one, at, at + lags[i] if lagged else None)
        assert_close(batch.keypoints[i], keypoints, 1e-6)
        assert one.pose_m is not None
        pose = one.pose_m[at].astype(np.float64)
        assert_close(batch.root[i], [[pose[0]]], 1e-6)
        assert_close(batch.pose[i], [pose - pose[0]], 1e-6)
        assert_close(batch.intrinsics[i], intrinsics_of(one.camera), 0)
    assert seen == {(one.name, t) for one in every for t in range(one.n_frames)}
    assert batch.weight.tolist() == [[1.0]] * len(order)
    assert batch.keypoints.dtype == batch.pose.dtype == batch.weight.dtype == torch.float32


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize(("chunk", "phase"), [(5, 0), (5, 3), (40, 39)])
def test_chunks(spec: ModelSpec, chunk: int, phase: int) -> None:
    every = clips()
    frames = with_chunks(frames_of(every, labelled=True), LENGTHS, chunk, phase)
    batch = frames.gather(torch.arange(frames.n_samples), spec, chunk)
    R = spec.receptive_field
    assert batch.keypoints.shape == (frames.n_samples, chunk + R - 1, 17, 2)
    answered = []
    for i in range(frames.n_samples):
        one, start = sample_of(frames, every, i)
        assert one.pose_m is not None
        for k in range(chunk):
            at = start + k
            inside = 0 <= at < one.n_frames
            assert float(batch.weight[i, k]) == inside
            assert_close(batch.keypoints[i, k : k + R], window(spec, one, at, None), 1e-6)
            if inside:
                answered.append((one.name, at))
                pose = one.pose_m[at].astype(np.float64)
                assert_close(batch.root[i, k], pose[:1], 1e-6)
                assert_close(batch.pose[i, k], pose - pose[0], 1e-6)
        assert_close(batch.intrinsics[i], intrinsics_of(one.camera), 0)
    assert sorted(answered) == sorted((o.name, t) for o in every for t in range(o.n_frames))


@pytest.mark.parametrize("chunk", [1, 2, 3, 7, 30])
def test_chunks_hold_every_frame_once_and_stay_in_their_clip(chunk: int) -> None:
    for phase in range(chunk):
        found = chunk_samples(LENGTHS, chunk, phase)
        held: list[int] = []
        for start, first, last, c in zip(
            *(found[name].tolist() for name in ("start", "first", "last", "clip")), strict=True
        ):
            assert (first, last) == (sum(LENGTHS[:c]), sum(LENGTHS[: c + 1]) - 1)
            inside = [t for t in range(start, start + chunk) if first <= t <= last]
            assert inside, "a sample without answers"
            assert (start - first + phase) % chunk == 0, "seams lie where the phase says"
            held += inside
        assert sorted(held) == list(range(sum(LENGTHS)))
        assert all(found[name].dtype == torch.int64 for name in found)


def test_clips_without_labels_have_empty_poses() -> None:
    frames = frames_of(clips(labelled=False), labelled=False)
    batch = frames.gather(torch.tensor([3, 0, 9]), SPECS[0], 1)
    assert batch.pose.shape == batch.root.shape == (3, 1, 0, 3)
    assert batch.weight.tolist() == [[1.0]] * 3
    # Poses that are there are not looked at.
    hidden = frames_of(clips(), labelled=False)
    assert hidden.pose.shape == (sum(LENGTHS), 0, 3)
    torch.testing.assert_close(hidden.keypoints, frames.keypoints)


@pytest.mark.parametrize("distortion", ["h36m", "opencv"])
def test_intrinsics_are_the_cameras_in_screen_units(distortion: str) -> None:
    view = camera(5, distortion, size=(1280, 720))
    fx, fy = (float(v) / 640 for v in view.focal_px)
    cx, cy = (float(view.center_px[0]) - 640) / 640, (float(view.center_px[1]) - 360) / 640
    gain = {"h36m": 1.0, "opencv": 2.0}[distortion]
    expected = [fx, fy, cx, cy, *view.radial, *view.tangential, gain]
    found = intrinsics_of(view)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_an_unknown_camera_does_for_labelled_clips_only() -> None:
    assert intrinsics_of(None).shape == (10,)
    assert np.isnan(intrinsics_of(None)).all()
    lost = [replace(one, camera=None) for one in clips()]
    frames = frames_of(lost, labelled=True)
    assert bool(torch.isnan(frames.gather(torch.tensor([0]), SPECS[0], 1).intrinsics).all())
    with pytest.raises(ValueError, match=r"S1/Walking 1\.camera 0.*has no camera"):
        frames_of(lost, labelled=False)


def test_clips_that_cannot_be_trained_on_are_named() -> None:
    every = clips()
    with pytest.raises(ValueError, match="no clips"):
        frames_of([], labelled=True)
    no_pose = [*every[:2], replace(every[2], pose_m=None)]
    with pytest.raises(ValueError, match="camera 2.*no 3D poses"):
        frames_of(no_pose, labelled=True)
    for hole in (np.nan, np.inf):
        pixels = every[1].keypoints_px.copy()
        pixels[0, 16, 1] = hole
        with pytest.raises(ValueError, match="camera 1.*not finite"):
            frames_of([every[0], replace(every[1], keypoints_px=pixels)], labelled=True)


def test_all_of_human36m_fits_in_memory() -> None:
    """1.56 million frames, counted from what a smaller set takes."""
    frames = frames_of(clips(), labelled=True)
    per_frame = frames.n_bytes / sum(LENGTHS)
    floats = 17 * (2 + 3) * 4
    assert floats <= per_frame < floats + 50  # four numbers that say what a sample is, cameras
    assert per_frame * 1.56e6 < 0.7e9
    assert fits_on_device(500, 1000)
    assert not fits_on_device(501, 1000)


def test_frames_move_as_a_whole() -> None:
    moved = frames_of(clips(), labelled=True).to("meta")
    assert moved.device.type == "meta"
    batch = moved.gather(torch.zeros(3, dtype=torch.int64), SPECS[0], 1, torch.tensor([0, 1, 2]))
    assert {part.device.type for part in batch} == {"meta"}
    assert batch.keypoints.shape == (3, 9, 17, 2)
