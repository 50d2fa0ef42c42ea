"""What a finished run leaves beside its checkpoint: results.json and curves.png."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import torch

from vp3d_deploy.bundle import sha256_of_files
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.evaluation.clips import EvaluationClip, prepare_clip
from vp3d_deploy.evaluation.contenders import Contender
from vp3d_deploy.evaluation.measure import Result, Task, measure_all
from vp3d_deploy.evaluation.predict import over_clip
from vp3d_deploy.evaluation.pytorch import PyTorchNetworks, PyTorchPredictor
from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.progress import ProgressBar
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.curves import draw_curves
from vp3d_deploy.training.module import LiftingModule
from vp3d_deploy.training.run_folder import RunFolder, write_json
from vp3d_deploy.training.settings import TrainingSettings


def finish_run(
    folder: RunFolder,
    settings: TrainingSettings,
    facts: dict[str, Any],
    module: LiftingModule,
    test: Sequence[Clip],
) -> dict[str, Any]:
    """Measure the trained network on the test clips, draw its curves, mark the run finished.

    facts: what run.json tells beside the settings. Returns what is in results.json.
    """
    epochs = module.history
    results = {
        **facts,
        "settings": settings.to_dict(),
        "spec": module.spec.to_dict(),
        "checkpoint_sha256": sha256_of_files([folder.checkpoint])[0],
        "training_seconds": round(sum(epoch["seconds"] for epoch in epochs)),
        "threads": torch.get_num_threads(),
        "errors": _errors(module, test) if test else {},
        "epochs": epochs,
    }
    write_json(folder.results, results)
    draw_curves(epochs, folder.curves)
    folder.write(settings, facts, finished=True)
    return results


def _errors(module: LiftingModule, test: Sequence[Clip]) -> dict[str, Any]:
    """Errors of recorded clips and of live answers at lag 0, with and without flips, mm."""
    spec, state = module.trained()["pose"]
    skeleton_in = test[0].keypoint_skeleton
    clips = [prepare_clip(clip, spec, skeleton_in, H36M_17) for clip in test]
    lags = (0,) if spec.lookahead else ()
    errors: dict[str, Any] = {"clips": len(clips), "frames": sum(len(c.keypoints) for c in clips)}
    for flip in (False, True):
        task = Task(clips, skeleton_in, H36M_17, flip=flip, lags=lags)
        result = _measured(spec, state, task)
        with_flips = ", flip" if flip else ""
        errors[f"recorded{with_flips}"] = _averages(result.report)
        for point in result.lags:
            errors[f"lag {point.lag}{with_flips}"] = _averages(point)
        if not flip:
            values = result.values()
            errors["per_action"] = values["per_action"]
            errors["per_joint_mpjpe_mm"] = values["per_joint_mpjpe_mm"]
    if "trajectory" in module.trained():
        errors["root_mm"] = _root_error_mm(module, clips, test)
    return errors


def _root_error_mm(
    module: LiftingModule, clips: Sequence[EvaluationClip], test: Sequence[Clip]
) -> float:
    """Mean distance between the trajectory network's root and the true one over all frames, mm."""
    networks = PyTorchNetworks(
        {name: (spec, _arrays(state)) for name, (spec, state) in module.trained().items()}
    )
    distances = []
    for seen, clip in zip(clips, test, strict=True):
        root = over_clip(networks.sequence, module.spec, seen.keypoints).trajectory
        assert root is not None
        assert clip.pose_m is not None
        distances.append(np.linalg.norm(root[:, 0] - clip.pose_m[:, 0], axis=-1))
    return float(MM_PER_M * np.concatenate(distances).mean())


def _measured(spec: ModelSpec, state: dict[str, torch.Tensor], task: Task) -> Result:
    tensors = _arrays(state)
    contender = Contender(
        "PyTorch", "pytorch", "fp32", lambda: PyTorchPredictor(spec, tensors), True
    )
    results, _ = measure_all([contender], task, lambda label: ProgressBar(f"measuring, {label}"))
    return results[0]


def _arrays(state: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in state.items() if "num_batches" not in name}


def _averages(errors: Any) -> dict[str, Any]:
    return {"frames": asdict(errors.frames), "actions": asdict(errors.actions)}
