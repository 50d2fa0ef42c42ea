"""From training to every engine, for each of the published systems, on Human3.6M's layout.

    VP3D_H36M=DIR pytest -m h36m

DIR holds Human3.6M in VideoPose3D's or MMPose's layout. Without it the development motion is
used where it is at hand. Networks are trained for a few seconds each: parity is about the way from
a checkpoint to an engine, which is the same for good networks and for bad ones.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("lightning", reason="training needs Lightning")

from vp3d_deploy.bundle import Bundle  # noqa: E402
from vp3d_deploy.data import Clip, load_motion  # noqa: E402
from vp3d_deploy.evaluation.clips import prepare_clip, share_frames  # noqa: E402
from vp3d_deploy.evaluation.contenders import find_contenders  # noqa: E402
from vp3d_deploy.evaluation.measure import Task, measure_all  # noqa: E402
from vp3d_deploy.evaluation.model import open_model  # noqa: E402
from vp3d_deploy.skeleton import H36M_17  # noqa: E402
from vp3d_deploy.training.presets import PRESETS  # noqa: E402
from vp3d_deploy.training.run_folder import RunFolder  # noqa: E402
from vp3d_deploy.training.sources import choose_clips  # noqa: E402
from vp3d_deploy.training.trainer import Machine, prepare, train  # noqa: E402
from vp3d_export.exporter import ExportResult, export_bundle  # noqa: E402
from vp3d_export.options import ExportOptions  # noqa: E402
from vp3d_export.parity import DEFAULT_LIMITS  # noqa: E402

pytestmark = pytest.mark.h36m

SYSTEMS = [name for name, preset in PRESETS.items() if preset.published[0] is not None]
CHANNELS = 64
TRAIN_FRAMES, TEST_FRAMES = 4000, 3000


@lru_cache
def motion(folder: Path, keypoints: str, split: str) -> list[Clip]:
    return load_motion(folder, keypoints, split)


@pytest.fixture(scope="module")
def h36m(request: pytest.FixtureRequest) -> Path:
    if "VP3D_H36M" in os.environ:
        return Path(os.environ["VP3D_H36M"])
    shared: Path = request.getfixturevalue("shared_data")
    return shared / "motion" / "videopose3d"


def briefly_trained(name: str, h36m: Path, out: Path) -> Path:
    """The checkpoint of a preset's network, narrower and trained on a little of the data."""
    preset = PRESETS[name].settings
    settings = replace(
        preset, channels=CHANNELS, epochs=5, batch_size=64, subset=1.0, warmup_epochs=2,
        unlabelled_batch_size=64 if preset.semi_supervised else 0, learning_rate=2e-3,
        schedule="cosine",
    )  # fmt: skip
    clips = choose_clips(motion(h36m, settings.keypoints, "train"), settings)
    few = replace(
        clips,
        labelled=share_frames(clips.labelled, TRAIN_FRAMES),
        unlabelled=share_frames(clips.unlabelled, TRAIN_FRAMES) if clips.unlabelled else [],
    )
    folder = RunFolder(out)
    folder.begin(settings, {})
    module, data = prepare(settings, few, [])
    train(module, data, folder, Machine(check_every=0), resume=False, meta={"preset": name})
    return folder.checkpoint


def exported(checkpoint: Path, h36m: Path, keypoints: str) -> ExportResult:
    return export_bundle(
        ExportOptions(
            checkpoint,
            precisions=("fp32", "fp16"),
            lags=(0, "full"),
            h36m=h36m,
            keypoints=keypoints,
            max_frames=TEST_FRAMES,
        )
    )


@pytest.mark.parametrize("name", SYSTEMS)
def test_every_engine_has_the_mpjpe_of_pytorch(name: str, h36m: Path, tmp_path: Path) -> None:
    keypoints = PRESETS[name].settings.keypoints
    checkpoint = briefly_trained(name, h36m, tmp_path / "run")
    result = exported(checkpoint, h36m, keypoints)
    assert result.passed
    bundle = Bundle.open(result.target)
    assert bundle.has_trajectory == ("semi" in name)
    lags = {0, bundle.spec.lookahead}
    checked = {(row.form, row.lag, row.precision) for row in result.rows}
    assert checked == {
        (form, lag, precision)
        for precision in ("fp32", "fp16")
        for form, lag in [("window", None), ("sequence", None), *(("stream", lag) for lag in lags)]
    }
    for row in result.rows:
        assert row.mpjpe_change is not None
        assert abs(row.mpjpe_change) <= DEFAULT_LIMITS[row.precision].mpjpe_change

    # Again by the way that vp3d-eval takes, which has no code of the export's check.
    clips = share_frames(motion(h36m, keypoints, "test"), TEST_FRAMES)
    model = open_model(result.target, checkpoint=checkpoint)
    contenders, missing = find_contenders(model)
    assert not missing
    prepared = [prepare_clip(clip, bundle.spec, H36M_17, H36M_17) for clip in clips]
    task = Task(prepared, H36M_17, H36M_17, lags=tuple(sorted(lags)))
    results, unavailable = measure_all(contenders, task, silent)
    assert not unavailable
    assert [r.engine for r in results][:1] == ["pytorch"]
    assert len(results) >= 1 + len(bundle.precisions)
    reference = results[0]
    assert reference.report.frames.mpjpe_mm < mean_pose_error(clips)
    for found in results[1:]:
        limits = DEFAULT_LIMITS[found.precision]
        assert found.difference is not None
        assert abs(found.difference.mpjpe_change_mm) <= limits.mpjpe_change
        assert found.difference.mean_distance_mm <= limits.mean_distance
        for point, expected in zip(found.lags, reference.lags, strict=True):
            change = point.frames.mpjpe_mm - expected.frames.mpjpe_mm
            assert abs(change) <= limits.mpjpe_change, point


def silent(label: str) -> nullcontext:
    return nullcontext(lambda done, total: None)


def mean_pose_error(clips: Sequence[Clip]) -> float:
    """MPJPE of answering everything with one pose: a trained network is better than that."""
    poses = np.concatenate([clip.pose_m - clip.pose_m[:, :1] for clip in clips])
    return float(1000 * np.linalg.norm(poses - poses.mean(0), axis=-1).mean())
