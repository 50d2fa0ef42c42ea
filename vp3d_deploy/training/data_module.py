"""The Lightning data module: which frames an epoch has, and where they are kept."""

from __future__ import annotations

from collections.abc import Sequence

import lightning.pytorch as lightning
import torch
from torch.utils.data import DataLoader

from vp3d_deploy.data.clip import Clip
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.frames import fits_on_device
from vp3d_deploy.training.module import CheckClip, check_clips
from vp3d_deploy.training.sampling import EpochBatches
from vp3d_deploy.training.settings import TrainingSettings
from vp3d_deploy.training.sources import RecordedMotion, SeenAnew, TrainingClips


class MotionData(lightning.LightningDataModule):
    """Training frames by epoch, and the test clips of the curve."""

    def __init__(
        self,
        clips: TrainingClips,
        test: Sequence[Clip],
        settings: TrainingSettings,
        spec: ModelSpec,
    ) -> None:
        """test: clips with ground truth to measure on during training, perhaps none.

        Raises ValueError for clips that cannot be trained on.
        """
        super().__init__()
        self._settings, self._spec = settings, spec
        self._skeletons = clips.skeleton_in, H36M_17
        self._labelled: RecordedMotion | SeenAnew
        if settings.views:
            self._labelled = SeenAnew(clips.labelled, spec, settings)
        else:
            self._labelled = RecordedMotion(clips.labelled, True, settings)
        self._unlabelled = None
        if settings.semi_supervised:
            self._unlabelled = RecordedMotion(clips.unlabelled, False, settings)
        self._test = check_clips(test, spec)
        self.epoch_batches(0)  # what cannot be trained on is refused before training begins

    def setup(self, stage: str) -> None:
        """Keep the frames on the GPU if they leave room there."""
        assert self.trainer is not None
        device = self.trainer.strategy.root_device
        recorded = [m for m in (self._labelled, self._unlabelled) if isinstance(m, RecordedMotion)]
        if device.type != "cuda" or not recorded:
            return
        free, _ = torch.cuda.mem_get_info(device)
        if fits_on_device(sum(motion.frames.n_bytes for motion in recorded), free):
            for motion in recorded:
                motion.move_to(device)

    def epoch_batches(self, epoch: int, rank: int = 0, world: int = 1) -> EpochBatches:
        """What a process trains on in an epoch; a matter of the settings and the epoch alone."""
        unlabelled = None if self._unlabelled is None else self._unlabelled.epoch(epoch)
        return EpochBatches(
            self._labelled.epoch(epoch),
            unlabelled,
            self._settings,
            self._spec,
            self._skeletons,
            epoch,
            rank,
            world,
        )

    def train_dataloader(self) -> EpochBatches:
        assert self.trainer is not None
        at = self.trainer.current_epoch
        return self.epoch_batches(at, self.trainer.global_rank, self.trainer.world_size)

    def val_dataloader(self) -> DataLoader[CheckClip]:
        return DataLoader(self._test, batch_size=None)  # type: ignore[arg-type]
