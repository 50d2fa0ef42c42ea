"""Train a run from settings and clips to a checkpoint: Lightning does the loop."""

from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import lightning.pytorch as lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.exceptions import SIGTERMException

from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.training.checkpoint import save_atomically, save_checkpoint
from vp3d_deploy.training.data_module import MotionData
from vp3d_deploy.training.errors import TerminatedError, TrainingError
from vp3d_deploy.training.initial import set_initial_weights
from vp3d_deploy.training.module import LiftingModule
from vp3d_deploy.training.run_folder import RunError, RunFolder
from vp3d_deploy.training.settings import TrainingSettings
from vp3d_deploy.training.sources import TrainingClips

if TYPE_CHECKING:
    from vp3d_export.checkpoint import Checkpoint

# Test errors during a run: about this many points on its curve.
_CHECKS = 40


@dataclass(frozen=True)
class Machine:
    """Where to train. devices: per machine; check_every: epochs between test errors, 0 never."""

    accelerator: str = "auto"
    devices: int = 1
    nodes: int = 1
    threads: int | None = None
    check_every: int | None = None


def prepare(
    settings: TrainingSettings,
    clips: TrainingClips,
    test: list[Any],
    initial: Checkpoint | None = None,
) -> tuple[LiftingModule, MotionData]:
    """The networks and the data of a run; what is wrong with either shows here.

    test: clips with ground truth for the curve, perhaps none. initial: trained networks to begin
    from. Raises ValueError for data and weights that cannot be trained on.
    """
    if settings.bn_frozen and initial is None:
        raise ValueError("--bn-frozen keeps the statistics of trained weights; give them: --init")
    torch.manual_seed(settings.seed)
    spec = settings.pose_spec(clips.skeleton_in.n_joints, 2, H36M_17.n_joints)
    data = MotionData(clips, test, settings, spec)
    module = LiftingModule(settings, spec, H36M_17)
    if initial is not None:
        _begin_from(module, initial)
    return module, data


def train(
    module: LiftingModule,
    data: MotionData,
    folder: RunFolder,
    machine: Machine,
    *,
    resume: bool,
    meta: dict[str, Any],
) -> LiftingModule | None:
    """Train until the last epoch and write the checkpoint.

    resume: go on from the folder's state, if there is one. meta: plain values to keep in the
    checkpoint.

    Returns the trained module on the first process, None on the others.
    Raises TrainingError for a GPU that is too small and a run that diverges, RunError for a damaged
    state, KeyboardInterrupt and TerminatedError when it is stopped.
    """
    # cuDNN would round the dilated form's convolutions to TF32, but not the strided products.
    torch.backends.cudnn.allow_tf32 = False
    if machine.threads:
        torch.set_num_threads(machine.threads)
    begin = folder.state if resume and folder.state.is_file() else None
    if begin is not None:
        check_state(begin, module)
    with _without_hints():
        trainer = _lightning_trainer(module.settings, folder, machine)
        _fit(trainer, module, data, begin)
    if not trainer.is_global_zero:
        return None
    save_checkpoint(folder.checkpoint, module.trained(), meta)
    return module.cpu()


def _begin_from(module: LiftingModule, initial: Checkpoint) -> None:
    set_initial_weights(module.networks["pose"], initial.pose.spec, initial.pose.tensors)
    if "trajectory" in module.networks and initial.trajectory is not None:
        root = initial.trajectory
        set_initial_weights(module.networks["trajectory"], root.spec, root.tensors)


def _fit(
    trainer: lightning.Trainer,
    module: LiftingModule,
    data: MotionData,
    begin: Path | None,
) -> None:
    try:
        trainer.fit(module, datamodule=data, ckpt_path=begin, weights_only=True)
    except torch.OutOfMemoryError:
        device = trainer.strategy.root_device
        raise TrainingError(_too_small(device, module.settings)) from None
    except SIGTERMException:
        raise TerminatedError from None
    except SystemExit:  # what Lightning makes of an interrupt
        raise KeyboardInterrupt from None


def check_state(path: Path, module: LiftingModule) -> None:
    """Raises RunError if a state to resume from is damaged, or another network's."""
    problem = "it holds no training state"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        stored = {name: tuple(value.shape) for name, value in state["state_dict"].items()}
        if stored != {name: tuple(value.shape) for name, value in module.state_dict().items()}:
            problem = "it holds the state of another network"
        elif {"history", "epoch", "optimizer_states"} <= set(state):
            return
    except Exception as error:  # whatever a damaged file makes the unpickler raise
        problem = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
    raise RunError(
        f"{path} cannot be resumed from ({problem}); delete it to begin this run anew, without "
        "--resume"
    )


def check_machine(machine: Machine, settings: TrainingSettings) -> None:
    """Raises TrainingError for what this machine does not have."""
    n_gpus = torch.cuda.device_count()
    if machine.accelerator == "gpu" and n_gpus == 0:
        raise TrainingError("no NVIDIA GPU is usable here; train with --accelerator cpu")
    on_gpu = machine.accelerator == "gpu" or (machine.accelerator == "auto" and n_gpus > 0)
    if on_gpu and machine.devices > n_gpus:
        raise TrainingError(f"--devices {machine.devices} are asked for and {n_gpus} are here")
    if settings.precision == "16-mixed" and not on_gpu:
        raise TrainingError("16-mixed precision needs a GPU; use bf16-mixed or 32-true here")


def _lightning_trainer(
    settings: TrainingSettings, folder: RunFolder, machine: Machine
) -> lightning.Trainer:
    watched = sys.stderr.isatty()
    every = machine.check_every
    if every is None:
        every = max(1, settings.epochs // _CHECKS)
    saver = ModelCheckpoint(
        dirpath=folder.path,
        filename=folder.state.stem,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    logs = CSVLogger(folder.path, name="logs")
    return lightning.Trainer(
        accelerator=machine.accelerator,
        devices=machine.devices,
        num_nodes=machine.nodes,
        precision=settings.precision,  # type: ignore[arg-type]
        max_epochs=settings.epochs,
        callbacks=[saver, _Bar(leave=True) if watched else _EpochLines()],
        logger=[logs, TensorBoardLogger(folder.path, name="tensorboard", version=logs.version)],
        plugins=[_AtomicCheckpoints()],
        check_val_every_n_epoch=every or None,
        limit_val_batches=None if every else 0,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
        enable_model_summary=False,
        enable_progress_bar=watched,
        reload_dataloaders_every_n_epochs=1,
        use_distributed_sampler=False,
    )


class _AtomicCheckpoints(TorchCheckpointIO):
    """A run that is killed while it saves keeps the state before."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None
    ) -> None:
        save_atomically(checkpoint, Path(path))


class _Bar(RichProgressBar):
    """With figures that a person can read; each epoch's bar stays."""

    def get_metrics(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> dict[str, int | str | float | dict[str, float]]:
        loss = super().get_metrics(trainer, pl_module).get("pose loss")
        shown: dict[str, int | str | float | dict[str, float]] = {}
        if loss is not None:
            shown["pose loss"] = f"{MM_PER_M * float(loss):.1f} mm"  # type: ignore[arg-type]
        return shown

    def _get_train_description(self, current_epoch: int) -> str:
        return f"epoch {current_epoch + 1}/{self.trainer.max_epochs}"


class _EpochLines(Callback):
    """One line an epoch, for logs that nobody watches."""

    def on_train_epoch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule
    ) -> None:
        if not trainer.is_global_zero:
            return
        names = {
            "train/pose": ("loss", MM_PER_M, "mm"),
            "test/mpjpe_mm": ("test MPJPE", 1.0, "mm"),
            "test/lag0_mpjpe_mm": ("live at lag 0", 1.0, "mm"),
        }
        parts = [
            f"{label} {factor * float(trainer.callback_metrics[name]):.2f} {unit}"
            for name, (label, factor, unit) in names.items()
            if name in trainer.callback_metrics
            and (name.startswith("train/") or getattr(pl_module, "measured", False))
        ]
        line = f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}  {', '.join(parts)}"
        print(line, file=sys.stderr, flush=True)


def _too_small(device: torch.device, settings: TrainingSettings) -> str:
    size = settings.batch_size + settings.unlabelled_batch_size
    name, memory = "the GPU", 0.0
    if device.type == "cuda":
        facts = torch.cuda.get_device_properties(device)
        name, memory = facts.name, facts.total_memory / 2**30
    return (
        f"{name} ({memory:.0f} GiB) has too little memory for {size} answers a step; use a smaller "
        "--batch-size, a larger --chunk, more --devices or --precision bf16-mixed"
    )


@contextmanager
def _without_hints() -> Iterator[None]:
    """Lightning's hints about what we do on purpose would hide what matters."""
    loggers = [logging.getLogger(f"lightning.{part}") for part in ("pytorch", "fabric")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="lightning")
            # Gradients of 1x1 convolutions have the same memory layout under another name.
            warnings.filterwarnings("ignore", message="Grad strides do not match bucket view")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
