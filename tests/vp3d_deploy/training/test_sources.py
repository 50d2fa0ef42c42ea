"""Which clips a run uses, and each epoch's frames, against the clips themselves."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from training_clips import clip  # noqa: E402

from vp3d_deploy.camera import normalize_screen, project  # noqa: E402
from vp3d_deploy.data.clip import Clip  # noqa: E402
from vp3d_deploy.data.procedural import make_clips  # noqa: E402
from vp3d_deploy.skeleton import COCO_17  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.bodies import BodySettings  # noqa: E402
from vp3d_deploy.training.frames import Frames  # noqa: E402
from vp3d_deploy.training.settings import TrainingSettings  # noqa: E402
from vp3d_deploy.training.sources import (  # noqa: E402
    RecordedMotion,
    SeenAnew,
    choose_clips,
    part_of_each,
)
from vp3d_deploy.training.views import ViewSettings  # noqa: E402

SPECS = [ModelSpec((3, 3), 4), ModelSpec((5,), 4, causal=True), ModelSpec((1,), 4)]
IDS = ["symmetric", "causal", "one frame"]
LENGTHS = [40, 1, 75, 7]
AS_RECORDED = ViewSettings(
    bodies=BodySettings(
        relabelled=0, exchange=0, bend_deg=0, lean_deg=0, size_spread=0, bone_spread=0
    ),
    moved=0,
    free=0,
    noisy=0,
)


def clips() -> list[Clip]:
    return [
        clip(n, i, size=[(1000, 1002), (1280, 720)][i % 2], distortion=["h36m", "opencv"][i % 2])
        for i, n in enumerate(LENGTHS)
    ]


def of_subjects() -> list[Clip]:
    """Two clips each of three people, one of whom has no poses."""
    return [
        clip(5, i, subject=subject, action=f"Walking {i % 2}", labelled=subject != "wild")
        for i, subject in enumerate(["S1", "S1", "S5", "S5", "wild", "wild"])
    ]


def names(chosen: Sequence[Clip]) -> list[str]:
    return [one.name.split(".")[0] for one in chosen]


SEMI = {"unlabelled_batch_size": 8}


@pytest.mark.parametrize(
    ("settings", "labelled", "unlabelled"),
    [
        ({}, ["S1", "S5"], []),
        ({"subjects": ("S5",)}, ["S5"], []),
        ({"subjects": ("S1",), "unlabelled_subjects": ("S5",), **SEMI}, ["S1"], ["S5"]),
        ({"subjects": ("S1",), **SEMI}, ["S1"], ["wild"]),
        (
            {"subjects": ("S1",), "unlabelled_subjects": ("S5", "wild"), **SEMI},
            ["S1"],
            ["S5", "wild"],
        ),
        ({"subjects": ("S1", "wild")}, ["S1"], []),
    ],
)
def test_subjects_are_chosen(
    settings: dict[str, object], labelled: list[str], unlabelled: list[str]
) -> None:
    chosen = choose_clips(of_subjects(), TrainingSettings(**settings))
    expected = [[f"{who}/Walking {i}" for who in people for i in (0, 1)]
                for people in (labelled, unlabelled)]  # fmt: skip
    assert [names(chosen.labelled), names(chosen.unlabelled)] == expected


def test_the_subset_is_of_the_labelled_clips_alone() -> None:
    every = [clip(50, i, subject=subject) for i, subject in enumerate(["S1", "S5"])]
    chosen = choose_clips(
        every,
        TrainingSettings(subjects=("S1",), unlabelled_subjects=("S5",), subset=0.1, **SEMI),
    )
    assert [one.n_frames for one in chosen.labelled] == [5]
    assert [one.n_frames for one in chosen.unlabelled] == [50]


def test_clips_that_are_not_there_are_named() -> None:
    with pytest.raises(ValueError, match="has no S8, S9; its subjects are S1, S5, wild"):
        choose_clips(of_subjects(), TrainingSettings(subjects=("S9", "S1", "S8")))
    with pytest.raises(ValueError, match="has no S6"):
        choose_clips(of_subjects(), TrainingSettings(unlabelled_subjects=("S6",), **SEMI))
    with pytest.raises(ValueError, match="none of the training clips has 3D poses"):
        choose_clips(of_subjects(), TrainingSettings(subjects=("wild",)))
    with pytest.raises(ValueError, match="all training clips have labels.*--unlabelled"):
        choose_clips(of_subjects()[:4], TrainingSettings(**SEMI))
    mixed = [*of_subjects()[:1], replace(of_subjects()[1], keypoint_skeleton=COCO_17)]
    with pytest.raises(ValueError, match="skeleton: .* has h36m17, .* coco17; convert them"):
        choose_clips(mixed, TrainingSettings())


def test_a_part_of_each_clip_is_the_piece_that_the_original_repository_takes() -> None:
    """Starts come from its deterministic_random(0, frames - length + 1, str(frames))."""
    for n_frames, part, length, start in (
        (1383, 0.1, 138, 403),
        (2995, 0.1, 300, 449),
        (40, 0.5, 20, 17),
        (7, 0.9, 6, 1),
    ):
        one = clip(n_frames, 3)
        (piece,) = part_of_each([one], part)
        assert one.pose_m is not None
        np.testing.assert_array_equal(piece.pose_m, one.pose_m[start : start + length])
        np.testing.assert_array_equal(piece.keypoints_px, one.keypoints_px[start : start + length])
        assert (piece.name, piece.camera) == (one.name, one.camera)


def test_all_views_of_a_take_show_the_same_piece() -> None:
    pose = clip(200, 1).pose_m
    views = [replace(clip(200, seed), pose_m=pose) for seed in range(4)]
    first, *others = part_of_each(views, 0.1)
    for other in others:
        np.testing.assert_array_equal(other.pose_m, first.pose_m)


def test_every_part_is_a_piece_of_its_clip() -> None:
    every = [clip(n, n) for n in range(1, 60)]
    for part in (0.01, 0.5, 0.99, 1.0):
        for one, piece in zip(every, part_of_each(every, part), strict=True):
            assert one.pose_m is not None
            assert piece.pose_m is not None
            assert piece.n_frames == max(1, round(one.n_frames * part))
            start = int(np.flatnonzero((one.pose_m == piece.pose_m[0]).all(axis=(1, 2)))[0])
            np.testing.assert_array_equal(piece.pose_m, one.pose_m[start : start + piece.n_frames])


def assert_same(a: Frames, b: Frames) -> None:
    for name, value in vars(a).items():
        torch.testing.assert_close(
            value, getattr(b, name), rtol=0, atol=0, equal_nan=True, msg=name
        )


def assert_complete(
    frames: Frames, every: list[Clip], spec: ModelSpec, chunk: int, atol: float
) -> None:
    """Every frame of every clip is answered once, from its own window of the recorded 2D."""
    poses = np.concatenate([one.pose_m for one in every if one.pose_m is not None])
    at = [(c, t) for c, one in enumerate(every) for t in range(one.n_frames)]
    screen = [
        normalize_screen(project(one.pose_m.astype(np.float64), one.camera), one.image_size)
        for one in every
        if one.pose_m is not None and one.camera is not None
    ]
    R = spec.receptive_field
    back = R - 1 if spec.causal else R // 2
    batch = frames.gather(torch.arange(frames.n_samples), spec, chunk)
    answered = []
    for i in range(frames.n_samples):
        for k in range(chunk):
            if batch.weight[i, k] == 0:
                continue
            pose = (batch.pose[i, k] + batch.root[i, k]).numpy()
            nearest = int(np.abs(poses - pose).max(axis=(1, 2)).argmin())
            np.testing.assert_allclose(pose, poses[nearest], rtol=0, atol=atol)
            c, t = at[nearest]
            rows = [min(max(t - back + o, 0), every[c].n_frames - 1) for o in range(R)]
            window = batch.keypoints[i, k : k + R].numpy()
            np.testing.assert_allclose(window, screen[c][rows], rtol=0, atol=atol)
            answered.append((c, t))
    assert sorted(answered) == at


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("chunk", [1, 6])
def test_recorded_motion_comes_as_it_is(spec: ModelSpec, chunk: int) -> None:
    every = clips()
    motion = RecordedMotion(every, True, TrainingSettings(chunk=chunk))
    phases = set()
    for epoch in range(6):
        frames = motion.epoch(epoch)
        assert_same(frames, motion.epoch(epoch))
        phases.add(int((frames.first - frames.start).max()))
        assert_complete(frames, every, spec, chunk, atol=1e-6)
    # Chunks begin elsewhere in other epochs.
    assert phases == {0} if chunk == 1 else len(phases) > 1


def test_chunks_stay_where_the_frames_are_moved() -> None:
    motion = RecordedMotion(clips(), True, TrainingSettings(chunk=6))
    motion.move_to(torch.device("meta"))
    frames = motion.epoch(1)
    assert {value.device.type for value in vars(frames).values()} == {"meta"}


@pytest.mark.parametrize("spec", SPECS, ids=IDS)
@pytest.mark.parametrize("chunk", [1, 6])
def test_motion_seen_anew_in_no_new_way_is_the_recorded_motion(spec: ModelSpec, chunk: int) -> None:
    every = clips()
    motion = SeenAnew(every, spec, TrainingSettings(views=True, chunk=chunk), AS_RECORDED)
    for epoch in range(3):
        # Poses went to the world and back in float32, metres.
        assert_complete(motion.epoch(epoch), every, spec, chunk, atol=1e-5)


@pytest.mark.parametrize("chunk", [1, 6])
def test_motion_is_seen_anew_every_epoch(chunk: int) -> None:
    every = make_clips(4, 250, seed=1)  # people who stay in the picture when they are moved
    settings = TrainingSettings(views=True, chunk=chunk)
    motion = SeenAnew(every, SPECS[0], settings)
    first, second = motion.epoch(0), motion.epoch(1)
    assert_same(first, SeenAnew(every, SPECS[0], settings).epoch(0))
    seen = []
    for frames in (first, second):
        batch = frames.gather(torch.arange(frames.n_samples), SPECS[0], chunk)
        assert int(batch.weight.sum()) == 1000
        assert bool(torch.isfinite(batch.keypoints).all())
        depths = batch.root[..., 0, 2][batch.weight > 0]
        seen.append({round(float(depth), 4) for depth in depths})
    # A tenth keeps its recorded view, and so do those who would leave the picture.
    recorded = {round(float(z), 4) for one in every for z in one.pose_m[:, 0, 2]}
    for depths in seen:
        assert len(depths & recorded) < 0.5 * len(depths)
    assert len(seen[0] & seen[1]) < 0.5 * len(seen[0])


def test_invented_clips_are_added() -> None:
    settings = TrainingSettings(views=True, procedural_clips=2)
    frames = SeenAnew(clips(), SPECS[0], settings, AS_RECORDED).epoch(0)
    assert frames.n_samples == sum(LENGTHS) + 2 * 500


def test_what_cannot_be_seen_anew_is_named() -> None:
    settings = TrainingSettings(views=True)
    one = clips()[0]
    for lacking in (replace(one, camera=None), replace(one, pose_m=None)):
        with pytest.raises(ValueError, match="camera 0.*no camera or no poses"):
            SeenAnew([lacking], SPECS[0], settings)
    with pytest.raises(ValueError, match="coco17"):
        SeenAnew([replace(one, keypoint_skeleton=COCO_17)], SPECS[0], settings)


def test_subjects_seen_without_labels_are_not_among_those_with() -> None:
    clips = [clip(20, seed, subject=f"S{seed}") for seed in (1, 5, 6)]
    settings = TrainingSettings(unlabelled_subjects=("S5",), unlabelled_batch_size=8)
    chosen = choose_clips(clips, settings)
    assert [one.subject for one in chosen.labelled] == ["S1", "S6"]
    assert [one.subject for one in chosen.unlabelled] == ["S5"]


def test_clips_of_two_frame_rates_or_skeletons_are_refused() -> None:
    one, other = clip(20, 1), clip(20, 2, subject="S5")
    assert len(choose_clips([one, replace(other, fps=None)], TrainingSettings()).labelled) == 2
    with pytest.raises(ValueError, match=r"frame rate: 'S1.*has 50.0, 'S5.* 25.0"):
        choose_clips([one, replace(other, fps=25.0)], TrainingSettings())
    with pytest.raises(ValueError, match="skeleton: .*h36m17.*coco17"):
        choose_clips([one, replace(other, keypoint_skeleton=COCO_17)], TrainingSettings())


def test_without_labels_keypoints_must_be_of_the_joints_that_are_projected() -> None:
    clips = [
        replace(clip(20, seed, subject=f"S{seed}"), keypoint_skeleton=COCO_17) for seed in (1, 5)
    ]
    semi = TrainingSettings(unlabelled_subjects=("S5",), unlabelled_batch_size=8)
    with pytest.raises(ValueError, match="compared with the keypoints, which are coco17"):
        choose_clips(clips, semi)
    assert choose_clips(clips, TrainingSettings()).skeleton_in == COCO_17
