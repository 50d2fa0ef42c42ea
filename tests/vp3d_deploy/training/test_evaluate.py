"""Scores of a network whose errors are known, and the demo's training step by step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the training package needs PyTorch")

from vp3d_deploy.camera import normalize_screen  # noqa: E402
from vp3d_deploy.data.clip import Clip  # noqa: E402
from vp3d_deploy.skeleton import H36M_17  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_deploy.training.evaluate import evaluate, mirror, predict  # noqa: E402
from vp3d_deploy.training.networks import TemporalModel, TemporalModelStrided  # noqa: E402

SPEC = ModelSpec((3, 3), 8)


def network(seed: int = 0) -> TemporalModelStrided:
    torch.manual_seed(seed)
    return TemporalModelStrided(SPEC)


def clip(action: str, n_frames: int, seed: int, pose: bool = True) -> Clip:
    rng = np.random.default_rng(seed)
    return Clip(
        name=f"{action}.{seed}",
        subject="S9",
        action=action,
        keypoints_px=rng.uniform(200, 800, (n_frames, 17, 2)).astype(np.float32),
        image_size=(1000, 1002),
        pose_m=rng.normal((0, 0, 5), 0.3, (n_frames, 17, 3)) if pose else None,
    )


@pytest.mark.parametrize("flip", [False, True])
def test_prediction_at_full_lag_is_the_dilated_network_on_the_padded_clip(flip: bool) -> None:
    strided, one = network(), clip("Walking", 20, 1)
    dilated = TemporalModel(SPEC).eval()
    dilated.load_state_dict(strided.state_dict())
    keypoints = normalize_screen(one.keypoints_px, one.image_size)
    padded = np.concatenate([keypoints[:1]] * 4 + [keypoints] + [keypoints[-1:]] * 4)
    order = list(H36M_17.flip_order)

    def lift(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return dilated(torch.from_numpy(x)[None])[0].numpy()

    expected = lift(padded)
    if flip:
        mirrored = padded[:, order] * np.float32([-1, 1])
        expected = (expected + lift(mirrored)[:, order] * [-1, 1, 1]) / 2
    np.testing.assert_allclose(predict(strided, one, flip=flip), expected, rtol=0, atol=1e-5)


def test_prediction_at_lag_0_reads_nothing_that_comes_later() -> None:
    strided, one = network(), clip("Walking", 20, 1)
    whole = predict(strided, one, lag=0)
    for n_frames in (1, 7, 19):
        np.testing.assert_allclose(
            whole[:n_frames], predict(strided, one.cut(0, n_frames), lag=0), rtol=0, atol=1e-6
        )
    assert np.abs(whole - predict(strided, one)).max() > 1e-3


def test_flipping_twice_is_nothing() -> None:
    pose = np.random.default_rng(0).normal(0, 1, (3, 17, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        mirror(mirror(pose, H36M_17.flip_order), H36M_17.flip_order), pose
    )
    once = mirror(pose, H36M_17.flip_order)
    np.testing.assert_array_equal(once[:, 1], pose[:, 4] * np.float32([-1, 1, 1]))


def test_errors_are_averaged_over_frames_and_over_actions() -> None:
    """Ground truth that is off by 10 mm in one action and 40 mm in the other."""
    strided = network()
    with torch.no_grad():  # the root's own coordinates are zero, as in the ground truth
        strided.shrink.weight[:3] = 0
        strided.shrink.bias[:3] = 0
    clips = [clip("Walking 1", 5, 1), clip("Walking 2", 15, 2), clip("Sitting", 60, 3)]
    for one, offset_m in zip(clips, (0.010, 0.010, 0.040), strict=True):
        truth = predict(strided, one)
        truth[:, 1:, 0] += offset_m * 17 / 16
        one.pose_m = truth + np.float32([1, 2, 5])  # targets are taken relative to joint 0
    found = evaluate(strided, clips)
    assert found["frames"]["mpjpe_mm"] == pytest.approx((20 * 10 + 60 * 40) / 80, abs=1e-3)
    assert found["actions"]["mpjpe_mm"] == pytest.approx((10 + 40) / 2, abs=1e-3)
    assert found["actions"]["mpjve_mm"] == pytest.approx(0, abs=1e-3)
    assert set(found["frames"]) == {"mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm"}


def test_nothing_to_measure_is_an_error() -> None:
    with pytest.raises(ValueError, match="no clips"):
        evaluate(network(), [])
    with pytest.raises(ValueError, match="Walking.1.*no 3D ground truth"):
        evaluate(network(), [clip("Walking", 5, 1, pose=False)])


def test_two_epochs_on_real_motion_learn_something_and_repeat(
    shared_data: Path, tmp_path: Path
) -> None:
    from vp3d_deploy.data import load_h36m
    from vp3d_deploy.training import demo

    clips = load_h36m(shared_data / "motion" / "videopose3d", "gt", "train")[:4]
    recording = demo.Recording(clips)
    settings = demo.DemoSettings(epochs=2, batch=128, bfloat16=False)
    first, second = (demo.train(recording, settings) for _ in range(2))
    for a, b in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(a, b)
    untrained = evaluate(TemporalModelStrided(demo.SPEC), clips)["frames"]["mpjpe_mm"]
    trained = evaluate(first, clips)["frames"]["mpjpe_mm"]
    assert trained < 0.8 * untrained  # false for NaN, too

    demo.save_checkpoint(tmp_path / "demo.pth", first, {"seed": 1})
    saved = torch.load(tmp_path / "demo.pth", weights_only=True)
    assert (saved["format"], saved["version"], saved["meta"]) == ("vp3d-deploy", 1, {"seed": 1})
    assert ModelSpec.from_dict(saved["spec"]) == demo.SPEC
    again = TemporalModelStrided(demo.SPEC)
    again.load_state_dict(saved["pose"])
    assert list(tmp_path.iterdir()) == [tmp_path / "demo.pth"]


def test_too_little_motion_for_one_batch_is_an_error() -> None:
    from vp3d_deploy.training import demo

    recording = object.__new__(demo.Recording)
    recording.lengths = [60]
    with pytest.raises(ValueError, match="60 training frames.*1024"):
        demo.train(recording, demo.DemoSettings())


def test_training_windows_end_early_at_every_lag_and_most_often_at_once() -> None:
    from vp3d_deploy.training import demo

    offsets = demo._offsets(demo.SPEC, 0.5, 4000, np.random.default_rng(0))
    assert offsets.shape == (4000, 27)
    last = offsets[:, -1]
    np.testing.assert_array_equal(offsets, np.minimum(np.arange(-13, 14), last[:, None]))
    shares = np.bincount(last, minlength=14) / 4000
    assert shares[0] == pytest.approx(0.5 * 14 / 27, abs=0.03)
    assert shares[13] == pytest.approx(0.5 + 0.5 / 27, abs=0.03)
    assert shares.min() > 0
