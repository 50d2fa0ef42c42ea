"""The Lightning module: which losses a step has, and what the optimiser does."""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import lightning.pytorch as lightning
import torch
from torch import Tensor, nn

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.evaluation.clips import pad_clip, prepare_clip
from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.skeleton import H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.errors import TrainingError
from vp3d_deploy.training.lagged import TemporalModelLagged
from vp3d_deploy.training.losses import (
    bone_length_loss,
    pose_loss,
    projection_loss,
    trajectory_loss,
)
from vp3d_deploy.training.networks import TemporalModel, TemporalModelStrided, twin
from vp3d_deploy.training.sampling import StepBatch
from vp3d_deploy.training.settings import TrainingSettings


class CheckClip(NamedTuple):
    """A clip with ground truth: keypoints (T+R-1, J_in, F) padded, pose (T, J_out, 3) metres,
    root-relative."""

    keypoints: Tensor
    pose: Tensor


class LiftingModule(lightning.LightningModule):
    """The pose network, and for semi-supervised runs the trajectory network beside it.

    history: the figures of every whole epoch so far: "epoch" from 0, "seconds", "lr" (mean),
    "train/..." losses, and "test/mpjpe_mm" where it was measured. It is kept in checkpoints, so
    that a run which is killed loses none. measured: whether test errors are this epoch's.
    """

    def __init__(self, settings: TrainingSettings, spec: ModelSpec, skeleton_out: Skeleton) -> None:
        super().__init__()
        self.settings = settings
        self.spec = spec
        self.history: list[dict[str, float]] = []
        self.measured = False
        self._parents = skeleton_out.parents
        form = TemporalModelStrided if settings.chunk == 1 else TemporalModel
        self.networks = nn.ModuleDict({"pose": form(spec, settings.dropout)})
        if settings.has_trajectory:
            root = ModelSpec.from_dict({**spec.to_dict(), "joints_out": 1})
            self.networks["trajectory"] = form(root, settings.dropout)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        s = self.settings
        if s.weight_decay > 0:
            return torch.optim.AdamW(
                self.parameters(),
                s.learning_rate,
                weight_decay=s.weight_decay,
                amsgrad=s.amsgrad,
            )
        return torch.optim.Adam(self.parameters(), s.learning_rate, amsgrad=s.amsgrad)

    def on_train_epoch_start(self) -> None:
        # Drawn anew from the epoch's number, so that a resumed run drops the same activations.
        torch.manual_seed(hash((self.settings.seed, self.current_epoch, self.global_rank)))
        momentum = self.settings.bn_momentum_at(self.current_epoch)
        for network in self.networks.values():
            assert isinstance(network, (TemporalModel, TemporalModelStrided))
            network.set_batch_norm_momentum(momentum)
            if self.settings.bn_frozen:
                network.freeze_batch_norm()

        self._began = time.monotonic()

    def on_train_epoch_end(self) -> None:
        seconds = time.monotonic() - self._began
        self.log("seconds", seconds)
        figures = {"epoch": self.current_epoch, "seconds": seconds}
        for name, value in self.trainer.callback_metrics.items():
            # An error that was measured in an earlier epoch is still among these.
            if name.startswith(("train/", "lr")) or (name.startswith("test/") and self.measured):
                figures[name] = float(value)
        self.history.append(figures)
        self.measured = False
        if not math.isfinite(figures["train/pose"]):
            raise TrainingError(
                f"the loss of epoch {self.current_epoch + 1} is not finite: the run diverged; "
                "begin again with a lower --lr, or with --precision 32-true"
            )

    def on_validation_epoch_end(self) -> None:
        self.measured = True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["history"] = self.history

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.history = checkpoint["history"]

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        done = self.current_epoch + batch_idx / float(self.trainer.num_training_batches)
        rate = self.settings.learning_rate_at(done)
        for group in self.trainer.optimizers[0].param_groups:
            group["lr"] = rate
        self.log("lr", rate, on_step=False, on_epoch=True)

    def training_step(self, batch: StepBatch, batch_idx: int) -> Tensor:
        losses = self.losses(batch)
        for name, value in losses.items():
            self._log(f"train/{name}", value, len(batch.labelled.keypoints))
        weights = {
            "projection": self.settings.projection_weight,
            "bones": self.settings.bone_weight,
        }
        total = sum(weights.get(name, 1.0) * value for name, value in losses.items())
        assert isinstance(total, Tensor)
        self.log("pose loss", losses["pose"].detach(), prog_bar=True, logger=False)
        return total

    def losses(self, batch: StepBatch) -> dict[str, Tensor]:
        """Each loss by name: "pose" (metres), "trajectory", "projection" (screen), "bones"
        (metres), those that the batch and the networks have.

        Labelled and unlabelled samples go through a network together, so that its batch
        statistics are those of both.
        """
        labelled, unlabelled = batch
        n = len(labelled.keypoints)
        answers = {name: self._answers(name, batch) for name in self.networks}
        pose = answers["pose"]
        losses = {"pose": pose_loss(pose[:n], labelled.pose, labelled.weight)}
        if "trajectory" in answers:
            losses["trajectory"] = trajectory_loss(
                answers["trajectory"][:n], labelled.root, labelled.weight
            )
        if unlabelled is not None:
            losses["projection"] = projection_loss(
                pose[n:],
                answers["trajectory"][n:],
                _answered(unlabelled.keypoints, self.spec)[..., :2],
                unlabelled.intrinsics,
                unlabelled.weight,
            )
            losses["bones"] = bone_length_loss(
                pose[n:], pose[:n], self._parents, unlabelled.weight, labelled.weight
            )
        return losses

    def _answers(self, name: str, batch: StepBatch) -> Tensor:
        """One network's answers for all samples of a step, (B, c, J_out, 3) float32."""
        keypoints = batch.labelled.keypoints
        if batch.unlabelled is not None:
            keypoints = torch.cat([keypoints, batch.unlabelled.keypoints])
        answers: Tensor = self.networks[name](keypoints)
        return (answers[:, None] if answers.ndim == 3 else answers).float()

    def validation_step(self, clip: CheckClip, batch_idx: int) -> None:
        """MPJPE of the pose network over whole clips, without flips, in mm; where it is trained
        for live answers, theirs at lag 0 too."""
        network = twin(TemporalModel, self.networks["pose"]).eval()
        errors = {"test/mpjpe_mm": network(clip.keypoints[None])}
        if self.settings.lag_zero + self.settings.lag_any > 0:
            live = twin(TemporalModelLagged, self.networks["pose"]).eval()
            seen = _answered(clip.keypoints[None], self.spec)
            errors["test/lag0_mpjpe_mm"] = live(seen, 0)
        for name, predicted in errors.items():
            error = MM_PER_M * pose_loss(predicted.float(), clip.pose[None])
            self._log(name, error, len(clip.pose))

    def _log(self, name: str, value: Tensor, count: int) -> None:
        self.log(
            name, value.detach(), on_step=False, on_epoch=True, batch_size=count, sync_dist=True
        )

    def trained(self) -> dict[str, tuple[ModelSpec, dict[str, Tensor]]]:
        """Specification and state dict of each network, for `save_checkpoint`."""
        trained = {}
        for name, network in self.networks.items():
            assert isinstance(network, (TemporalModel, TemporalModelStrided))
            trained[name] = network.spec, network.state_dict()
        return trained


def _answered(keypoints: Tensor, spec: ModelSpec) -> Tensor:
    """The frames that samples answer for: (B, c+R-1, J, F) -> (B, c, J, F)."""
    c = keypoints.shape[1] - spec.receptive_field + 1
    return keypoints[:, spec.pad_left : spec.pad_left + c]


def check_clips(clips: Sequence[Clip], spec: ModelSpec) -> list[CheckClip]:
    """Clips with ground truth, as the validation loop reads them: as vp3d-eval does, padded.

    Raises ValueError naming a clip without ground truth.
    """
    prepared = []
    for clip in clips:
        seen = prepare_clip(clip, spec, clip.keypoint_skeleton, H36M_17)
        if seen.pose_m is None:
            raise ValueError(f"test clip {clip.name!r} has no 3D poses to compare with")
        padded = pad_clip(spec, seen.keypoints)
        prepared.append(CheckClip(torch.from_numpy(padded), torch.from_numpy(seen.pose_m)))
    return prepared
