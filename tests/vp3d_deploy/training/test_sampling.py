"""Epochs of batches: what comes how often, in which mirror state, on which process."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training_clips import MIRROR_ORDER, clip  # noqa: E402

from vp3d_deploy.data.clip import Clip  # noqa: E402
from vp3d_deploy.skeleton import COCO_17, H36M_17  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.frames import Batch, Frames, frames_of, with_chunks  # noqa: E402
from vp3d_deploy.training.sampling import EpochBatches, Mirror, StepBatch  # noqa: E402
from vp3d_deploy.training.settings import TrainingSettings  # noqa: E402

SPEC = ModelSpec((3, 3), 4)
CAUSAL = ModelSpec((3, 3), 4, causal=True)
LENGTHS = [30, 1, 52, 20]
N = sum(LENGTHS)
COCO_ORDER = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]


def frames(labelled: bool = True, first_seed: int = 0) -> Frames:
    return frames_of([clip(n, first_seed + i) for i, n in enumerate(LENGTHS)], labelled)


def epoch(
    labelled: Frames,
    unlabelled: Frames | None = None,
    *,
    number: int = 0,
    rank: int = 0,
    world: int = 1,
    spec: ModelSpec = SPEC,
    **settings: object,
) -> EpochBatches:
    given = TrainingSettings(**settings)
    return EpochBatches(labelled, unlabelled, given, spec, (H36M_17, H36M_17), number, rank, world)


def states(batch: Batch, source: Frames, spec: ModelSpec = SPEC) -> list[tuple[int, bool]]:
    """(frame, mirrored) of every sample, told by the pelvis, which has no other side."""
    y = {float(row[0, 1]): n for n, row in enumerate(source.keypoints)}
    assert len(y) == len(source.keypoints)
    out = []
    for row in batch.keypoints[:, spec.pad_left, 0].tolist():
        frame = y[row[1]]
        x = float(source.keypoints[frame, 0, 0])
        assert abs(row[0]) == abs(x)
        out.append((frame, row[0] != x))
    return out


def all_states(batches: Iterable[StepBatch], source: Frames) -> Counter[tuple[int, bool]]:
    return Counter(state for step in batches for state in states(step.labelled, source))


@pytest.mark.parametrize("batch_size", [2 * N, 50, 7])
@pytest.mark.parametrize("flip", ["none", "random", "both"])
def test_an_epoch_has_every_sample_as_often_as_it_should(batch_size: int, flip: str) -> None:
    source = frames()
    batches = epoch(source, batch_size=batch_size, flip=flip)
    steps = list(batches)
    n = 2 * N if flip == "both" else N
    assert len(steps) == len(batches) == -(-n // batch_size)
    sizes = [len(step.labelled.keypoints) for step in steps]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= batch_size
    assert all(step.unlabelled is None for step in steps)
    found = all_states(steps, source)
    if flip == "both":
        assert found == Counter((t, m) for t in range(N) for m in (False, True))
    else:
        assert sorted(t for t, _ in found.elements()) == list(range(N))
        mirrored = sum(m for _, m in found)
        # 103 throws of a coin are within 4.5 standard deviations.
        assert mirrored == 0 if flip == "none" else abs(mirrored - N / 2) < 23
    order = [t for step in steps for t, _ in states(step.labelled, source)]
    assert order != sorted(order)


def test_flips_are_drawn_anew_every_epoch() -> None:
    source = frames()
    first, second = (
        {t for t, mirrored in all_states(epoch(source, number=e), source) if mirrored}
        for e in (0, 1)
    )
    assert first != second


@pytest.mark.parametrize("world", [2, 3])
@pytest.mark.parametrize("flip", ["none", "both"])
def test_processes_share_every_batch(world: int, flip: str) -> None:
    source = frames()
    settings = {"batch_size": 20, "flip": flip, "number": 4}
    whole = list(epoch(source, **settings))
    shares = [list(epoch(source, rank=r, world=world, **settings)) for r in range(world)]
    assert {len(share) for share in shares} == {len(whole)}
    for b, step in enumerate(whole):
        parts = [share[b].labelled for share in shares]
        sizes = [len(part.keypoints) for part in parts]
        assert max(sizes) - min(sizes) <= 1
        together = Counter(s for part in parts for s in states(part, source))
        assert together == Counter(states(step.labelled, source))


def assert_same(a: StepBatch, b: StepBatch) -> None:
    assert (a.unlabelled is None) == (b.unlabelled is None)
    for ours, theirs in ((a.labelled, b.labelled), (a.unlabelled, b.unlabelled)):
        for x, y in zip(ours or (), theirs or (), strict=True):
            assert torch.equal(x, y)


@pytest.mark.parametrize("semi", [False, True])
def test_an_epoch_is_the_same_whenever_it_comes(semi: bool) -> None:
    source = frames()
    other = frames(labelled=False, first_seed=10) if semi else None
    settings = {"batch_size": 16, "unlabelled_batch_size": 16 if semi else 0, "warmup_epochs": 0}
    settings |= {"lag_any": 0.5}
    torch.manual_seed(1)
    batches = epoch(source, other, number=3, **settings)
    first = list(batches)
    before = torch.get_rng_state()
    again = list(batches)
    assert torch.equal(before, torch.get_rng_state()), "the network's dropout would be disturbed"
    torch.manual_seed(2)
    anew = list(epoch(source, other, number=3, **settings))
    for a, b, c in zip(first, again, anew, strict=True):
        assert_same(a, b)
        assert_same(a, c)
    for changed in (
        epoch(source, other, number=4, **settings),
        epoch(source, other, number=3, seed=2, **settings),
    ):
        step = next(iter(changed))
        assert states(step.labelled, source) != states(first[0].labelled, source)
        if step.unlabelled is not None:
            assert first[0].unlabelled is not None
            assert states(step.unlabelled, other) != states(first[0].unlabelled, other)


def test_chunks_are_counted_in_answers() -> None:
    source = with_chunks(frames(), LENGTHS, 4, 1)
    steps = list(epoch(source, batch_size=22, chunk=4, flip="none"))
    assert len(steps) == -(-source.n_samples // 5)  # five chunks of four answers are 20
    answers = [
        round(float(root[0, 2]), 4)
        for step in steps
        for roots, weights in zip(step.labelled.root, step.labelled.weight, strict=True)
        for root, weight in zip(roots, weights, strict=True)
        if weight > 0
    ]
    assert sorted(answers) == sorted(round(float(pose[0, 2]), 4) for pose in source.pose)


@pytest.mark.parametrize("flip", ["none", "both"])
@pytest.mark.parametrize("world", [1, 2])
def test_semi_supervised_epochs_are_passes_over_the_unlabelled(flip: str, world: int) -> None:
    source, other = frames(), frames(labelled=False, first_seed=10)
    settings = {"batch_size": 12, "unlabelled_batch_size": 20, "warmup_epochs": 2, "flip": flip}
    n = 2 * N if flip == "both" else N
    drawn: Counter[tuple[int, bool]] = Counter()
    for number in range(4):
        every: Counter[tuple[int, bool]] = Counter()
        firsts = []
        for rank in range(world):
            batches = epoch(source, other, number=number, rank=rank, world=world, **settings)
            steps = list(batches)
            assert len(steps) == len(batches) == -(-n // 20)
            assert {len(step.labelled.keypoints) for step in steps} == {12 // world}
            drawn += all_states(steps, source)
            firsts.append(states(steps[0].labelled, source))
            for step in steps:
                assert (step.unlabelled is None) == (number < 2)
                if step.unlabelled is not None:
                    assert step.unlabelled.pose.shape[2] == 0
                    assert len(step.unlabelled.keypoints) <= -(-20 // world)
                    every += Counter(states(step.unlabelled, other))
        assert len({tuple(first) for first in firsts}) == world, "processes drew the same"
        if number >= 2:
            sides = (False, True) if flip == "both" else (False,)
            assert every == Counter((t, m) for t in range(N) for m in sides)
    # Labelled samples are drawn with replacement: in this many draws most of them come.
    assert len(drawn) > 0.7 * n
    assert {m for _, m in drawn} == ({False, True} if flip == "both" else {False})


def lags_of(batch: Batch, spec: ModelSpec) -> list[int]:
    """At which lag each window was cut, told by the frames at its end that are all the same."""
    out = []
    for window in batch.keypoints:
        last = spec.receptive_field - 1
        while last > 0 and torch.equal(window[last - 1], window[last]):
            last -= 1
        out.append(last - spec.pad_left)
    return out


def test_windows_are_cut_in_the_parts_asked_for() -> None:
    source = frames_of([clip(3000, 1)], labelled=True)
    at = torch.arange(4, 2996)  # windows at the edges repeat frames anyway
    inner = replace(source, start=at, first=source.first[at], last=source.last[at],
                    clip=source.clip[at])  # fmt: skip
    (step,) = epoch(inner, batch_size=3000, lag_zero=0.3, lag_any=0.4)
    lags = lags_of(step.labelled, SPEC)
    shares = np.bincount(lags, minlength=5) / len(lags)
    # Four standard deviations of 2992 draws are 0.036.
    np.testing.assert_allclose(shares, [0.38, 0.08, 0.08, 0.08, 0.38], rtol=0, atol=0.036)
    (step,) = epoch(inner, batch_size=3000, lag_zero=1.0)
    assert set(lags_of(step.labelled, SPEC)) == {0}
    (step,) = epoch(inner, batch_size=3000)
    assert set(lags_of(step.labelled, SPEC)) == {4}


def test_clips_without_labels_keep_their_future() -> None:
    source, other = frames(), frames_of([clip(300, 1)], labelled=False)
    at = torch.arange(4, 296)
    inner = replace(other, start=at, first=other.first[at], last=other.last[at],
                    clip=other.clip[at])  # fmt: skip
    settings = {"batch_size": 100, "unlabelled_batch_size": 300, "warmup_epochs": 0}
    (step,) = epoch(source, inner, lag_zero=1.0, **settings)
    assert step.unlabelled is not None
    assert set(lags_of(step.unlabelled, SPEC)) == {4}


def projected(points: np.ndarray, intrinsics: np.ndarray) -> np.ndarray:
    """Human3.6M's projection written out, one point at a time, float64."""
    fx, fy, cx, cy, k1, k2, k3, p1, p2, gain = intrinsics.tolist()
    out = []
    for X, Y, Z in points.reshape(-1, 3).tolist():
        x, y = X / Z, Y / Z
        r2 = x * x + y * y
        scale = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + gain * (p1 * y + p2 * x)
        out.append((fx * (x * scale + p2 * r2) + cx, fy * (y * scale + p1 * r2) + cy))
    return np.array(out).reshape(*points.shape[:-1], 2)


@pytest.mark.parametrize("distortion", ["h36m", "opencv"])
@pytest.mark.parametrize("spec", [SPEC, CAUSAL], ids=["symmetric", "causal"])
def test_a_mirrored_person_projects_to_the_mirrored_image(distortion: str, spec: ModelSpec) -> None:
    source = frames_of([clip(9, i, distortion=distortion) for i in range(3)], labelled=True)
    batch = source.gather(torch.arange(source.n_samples), spec, 1)
    batch = Batch(*(part.double() for part in batch))
    mirrored = Mirror(H36M_17, H36M_17)(batch, torch.ones(27, dtype=torch.bool))
    for i in range(27):
        seen, seen_mirrored = (
            projected((b.pose[i] + b.root[i]).numpy(), b.intrinsics[i].numpy())
            for b in (batch, mirrored)
        )
        expected = seen[:, MIRROR_ORDER] * [-1, 1]
        np.testing.assert_allclose(seen_mirrored, expected, rtol=0, atol=1e-12)
        assert np.abs(seen_mirrored - seen).max() > 0.1
        # ... which is what the network is shown, float32 pixels apart.
        np.testing.assert_allclose(
            mirrored.keypoints[i, spec.pad_left], seen_mirrored[0], rtol=0, atol=1e-5
        )


def in_a_mirror(one: Clip) -> Clip:
    """The clip as a camera films it in which left and right are exchanged."""
    assert one.camera is not None
    assert one.pose_m is not None
    width = one.image_size[0]
    camera = replace(
        one.camera,
        center_px=[width - one.camera.center_px[0], one.camera.center_px[1]],
        tangential=one.camera.tangential * [1, -1],
    )
    pixels = one.keypoints_px[:, MIRROR_ORDER]
    pixels = np.stack([width - pixels[..., 0], pixels[..., 1]], axis=-1)
    pose = one.pose_m[:, MIRROR_ORDER] * [-1, 1, 1]
    return replace(one, camera=camera, keypoints_px=pixels, pose_m=pose)


def test_mirrored_samples_are_those_of_mirrored_clips() -> None:
    every = [clip(n, i) for i, n in enumerate(LENGTHS)]
    here = frames_of(every, labelled=True)
    there = frames_of([in_a_mirror(one) for one in every], labelled=True)
    samples = torch.arange(0, N, 3)
    rows = torch.arange(len(samples)) % 2 == 0
    found = Mirror(H36M_17, H36M_17)(here.gather(samples, SPEC, 1), rows)
    plain, mirrored = here.gather(samples, SPEC, 1), there.gather(samples, SPEC, 1)
    for name in Batch._fields:
        ours = getattr(found, name)
        for i, is_mirrored in enumerate(rows.tolist()):
            theirs = getattr(mirrored if is_mirrored else plain, name)[i]
            torch.testing.assert_close(ours[i], theirs, rtol=0, atol=1e-6, msg=name)


def test_mirroring_twice_changes_nothing() -> None:
    batch = frames().gather(torch.arange(10), SPEC, 1)
    mirror, rows = Mirror(H36M_17, H36M_17), torch.ones(10, dtype=torch.bool)
    once = mirror(batch, rows)
    for name, a, b, c in zip(Batch._fields, batch, once, mirror(once, rows), strict=True):
        assert torch.equal(a, c), name
        assert torch.equal(a, b) == (name == "weight"), name


def test_2d_and_3d_have_sides_of_their_own() -> None:
    batch = frames().gather(torch.arange(10), SPEC, 1)
    found = Mirror(COCO_17, H36M_17)(batch, torch.ones(10, dtype=torch.bool))
    sign = torch.tensor([-1.0, 1.0, 1.0])
    assert torch.equal(found.keypoints, batch.keypoints[:, :, COCO_ORDER] * sign[:2])
    assert torch.equal(found.pose, batch.pose[:, :, MIRROR_ORDER] * sign)


def test_too_little_motion_for_a_batch_is_refused() -> None:
    """Batch normalisation needs two samples on every process."""
    few = frames_of([clip(3, 1)], labelled=True)
    with pytest.raises(ValueError, match="3 training samples in 1 batches for 2 processes"):
        epoch(few, world=2)
    assert len(epoch(few)) == 1
    with pytest.raises(ValueError, match="1 training samples"):
        epoch(frames_of([clip(1, 1)], labelled=True))
    long = with_chunks(frames(), LENGTHS, 64, 0)
    with pytest.raises(ValueError, match="shorter chunks"):
        epoch(long, batch_size=64, chunk=64)
    with pytest.raises(ValueError, match="less than two"):
        epoch(frames(), frames(labelled=False), unlabelled_batch_size=1)
