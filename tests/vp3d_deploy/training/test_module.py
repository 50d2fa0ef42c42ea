"""What a training step adds up, from the networks' answers, and what the validation loop reads."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")
pytest.importorskip("lightning", reason="training needs Lightning")

from training_clips import clip  # noqa: E402

from vp3d_deploy.camera import normalize_screen, project  # noqa: E402
from vp3d_deploy.data.clip import Clip  # noqa: E402
from vp3d_deploy.skeleton import H36M_17  # noqa: E402
from vp3d_deploy.training.frames import Batch, frames_of, with_chunks  # noqa: E402
from vp3d_deploy.training.module import LiftingModule, check_clips  # noqa: E402
from vp3d_deploy.training.networks import TemporalModelStrided  # noqa: E402
from vp3d_deploy.training.sampling import StepBatch  # noqa: E402
from vp3d_deploy.training.settings import TrainingSettings  # noqa: E402

PARENTS = [0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15]
LENGTHS = [9, 14]


def module(**changes: Any) -> LiftingModule:
    """Untrained networks, whose people stand 5 m in front of the camera."""
    settings = TrainingSettings(filter_widths=(3, 3), channels=8, dropout=0.0, **changes)
    torch.manual_seed(3)
    made = LiftingModule(settings, settings.pose_spec(17, 2, 17), H36M_17)
    if "trajectory" in made.networks:
        with torch.no_grad():
            made.networks["trajectory"].shrink.bias.copy_(torch.tensor([0.1, -0.1, 5]))
    made.log = lambda *_, **__: None
    return made.train()


def samples(labelled: bool, chunk: int, made: LiftingModule) -> tuple[Batch, list[Clip], Any]:
    every = [
        clip(n, i + 10 * labelled, distortion=("h36m", "opencv")[i]) for i, n in enumerate(LENGTHS)
    ]
    frames = frames_of(every, labelled)
    if chunk > 1:
        frames = with_chunks(frames, LENGTHS, chunk, 2)
    batch = frames.gather(torch.arange(frames.n_samples), made.spec, chunk)
    first = [int(frames.start[i] - frames.first[i]) for i in range(frames.n_samples)]
    return batch, every, list(zip(frames.clip.tolist(), first, strict=True))


def lengths(pose: np.ndarray) -> np.ndarray:
    return np.array([np.linalg.norm(pose[j] - pose[p]) for j, p in enumerate(PARENTS) if j != p])


@pytest.mark.parametrize("causal", [False, True], ids=["symmetric", "causal"])
@pytest.mark.parametrize("chunk", [1, 4])
def test_the_losses_of_a_semi_supervised_step(chunk: int, causal: bool) -> None:
    made = module(
        unlabelled_batch_size=8, chunk=chunk, causal=causal,
        projection_weight=0.25, bone_weight=3.0,
    )  # fmt: skip
    labelled, every, places = samples(True, chunk, made)
    unlabelled, others, other_places = samples(False, chunk, made)
    n = len(places)
    with torch.no_grad():  # both parts go through the networks together
        together = torch.cat([labelled.keypoints, unlabelled.keypoints])
        pose, root = (
            made.networks[name](together).reshape(len(together), chunk, -1, 3).double().numpy()
            for name in ("pose", "trajectory")
        )
    errors, roots, bones = [], [], []
    for i, (c, start) in enumerate(places):
        for k in range(chunk):
            if 0 <= start + k < LENGTHS[c]:
                true = every[c].pose_m[start + k].astype(np.float64)
                errors.append(np.linalg.norm(pose[i, k] - (true - true[0]), axis=-1).mean())
                roots.append(np.linalg.norm(root[i, k, 0] - true[0]) / true[0, 2])
                bones.append(lengths(pose[i, k]))
    projections, other_bones = [], []
    for i, (c, start) in enumerate(other_places):
        for k in range(chunk):
            if 0 <= start + k < LENGTHS[c]:
                px = project(pose[n + i, k] + root[n + i, k], others[c].camera, clamp=True)
                seen = others[c].keypoints_px[start + k].astype(np.float64)
                projections.append(np.linalg.norm(px - seen, axis=-1).mean() / 500)
                other_bones.append(lengths(pose[n + i, k]))
    assert len(errors) == len(projections) == sum(LENGTHS)
    expected = {
        "pose": np.mean(errors),
        "trajectory": np.mean(roots),
        "projection": np.mean(projections),
        "bones": np.abs(np.mean(bones, axis=0) - np.mean(other_bones, axis=0)).mean(),
    }
    step = StepBatch(labelled, unlabelled)
    found = {name: float(value.detach()) for name, value in made.losses(step).items()}
    assert found == pytest.approx(expected, abs=1e-5)
    total = (
        expected["pose"] + expected["trajectory"] + 0.25 * expected["projection"]
        + 3 * expected["bones"]
    )  # fmt: skip
    loss = made.training_step(step, 0)
    assert float(loss.detach()) == pytest.approx(total, abs=1e-5)
    loss.backward()
    assert all(bool(p.grad.abs().sum() > 0) for p in made.parameters())


def test_before_the_unlabelled_join_only_labels_count() -> None:
    made = module(unlabelled_batch_size=8)
    labelled, _, _ = samples(True, 1, made)
    assert set(made.losses(StepBatch(labelled, None))) == {"pose", "trajectory"}
    supervised = module()
    assert set(supervised.losses(StepBatch(labelled, None))) == {"pose"}
    assert set(supervised.networks) == set(supervised.trained()) == {"pose"}
    both = module(trajectory=True).trained()
    assert [both[name][0].joints_out for name in ("pose", "trajectory")] == [17, 1]


def test_the_optimiser_is_the_one_asked_for() -> None:
    for amsgrad in (False, True):
        plain = module(amsgrad=amsgrad, learning_rate=0.25).configure_optimizers()
        decoupled = module(amsgrad=amsgrad, weight_decay=0.1).configure_optimizers()
        assert (type(plain), type(decoupled)) == (torch.optim.Adam, torch.optim.AdamW)
        assert plain.defaults["amsgrad"] is decoupled.defaults["amsgrad"] is amsgrad
        assert (plain.defaults["lr"], decoupled.defaults["weight_decay"]) == (0.25, 0.1)
    made = module(unlabelled_batch_size=8)
    (group,) = made.configure_optimizers().param_groups
    assert {id(p) for p in group["params"]} == {id(p) for p in made.parameters()}


@pytest.mark.parametrize("causal", [False, True], ids=["symmetric", "causal"])
@pytest.mark.parametrize("chunk", [1, 4])
def test_validation_is_the_error_over_whole_clips(chunk: int, causal: bool) -> None:
    made = module(chunk=chunk, causal=causal)
    logged: dict[str, float] = {}
    made.log = lambda name, value, **_: logged.update({name: float(value)})
    strided = TemporalModelStrided(made.spec)
    strided.load_state_dict(made.networks["pose"].state_dict())
    back = 8 if causal else 4
    for n_frames in (1, 5, 30):
        one = clip(n_frames, 4)
        (prepared,) = check_clips([one], made.spec)
        with torch.no_grad():
            made.eval().validation_step(prepared, 0)
        points = normalize_screen(one.keypoints_px, one.image_size)
        at = np.arange(n_frames)[:, None] - back + np.arange(9)
        with torch.no_grad():
            found = strided.eval()(torch.from_numpy(points[at.clip(0, n_frames - 1)])).numpy()
        error = np.linalg.norm(found - (one.pose_m - one.pose_m[:, :1]), axis=-1).mean()
        assert logged["test/mpjpe_mm"] == pytest.approx(1000 * error, rel=1e-4)


def test_a_test_clip_without_ground_truth_is_named() -> None:
    with pytest.raises(ValueError, match="camera 3.*no 3D poses"):
        check_clips([clip(5, 3, labelled=False)], module().spec)


def test_schedules_reach_the_optimiser_and_every_batch_norm(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = module(unlabelled_batch_size=8, epochs=10, schedule="cosine", bn_momentum=(0.1, 0.001))
    optimiser = made.configure_optimizers()
    trainer = SimpleNamespace(num_training_batches=4, optimizers=[optimiser])
    monkeypatch.setattr(LiftingModule, "trainer", trainer)
    monkeypatch.setattr(LiftingModule, "current_epoch", 5)
    monkeypatch.setattr(LiftingModule, "global_rank", 0)
    made.on_train_epoch_start()
    momenta = [m.momentum for m in made.modules() if isinstance(m, torch.nn.BatchNorm1d)]
    assert momenta == pytest.approx([0.01] * 6)  # halfway between, by their logarithms
    made.on_train_batch_start(None, 2)
    assert optimiser.param_groups[0]["lr"] == pytest.approx(
        1e-3 * (1 + math.cos(math.pi * 5.5 / 10)) / 2
    )


def test_dropout_is_the_same_when_an_epoch_is_trained_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = module()
    monkeypatch.setattr(LiftingModule, "trainer", None)
    drawn = {}
    for epoch, rank in ((0, 0), (0, 1), (1, 0), (0, 0)):
        monkeypatch.setattr(LiftingModule, "current_epoch", epoch)
        monkeypatch.setattr(LiftingModule, "global_rank", rank)
        torch.rand(3)  # whatever was drawn before
        made.on_train_epoch_start()
        number = float(torch.rand(1))
        assert drawn.setdefault((epoch, rank), number) == number
    assert len(set(drawn.values())) == 3
