"""Everything that decides what a training run learns, beside the data and the machine."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from vp3d_deploy.spec import ModelSpec

SCHEDULES = ("exponential", "cosine")
FLIPS = ("random", "both", "none")
# Precisions that Lightning knows and this network trains in.
PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")
# A run's learning rate rises over this part of a cosine schedule.
WARM_UP = 0.02


class SettingsError(ValueError):
    """Settings that describe no training run. field: the one that is wrong, if it is a single one,
    with which the message then begins."""

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(message)
        self.field = field


_KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word",
          tuple: "a list"}  # fmt: skip


def _is_of(value: object, kind: type) -> bool:
    """Whether a value is what a field with a default of this type holds."""
    if kind in (int, float):
        numbers = (int,) if kind is int else (int, float)
        return isinstance(value, numbers) and not isinstance(value, bool)
    return isinstance(value, kind)


@dataclass(frozen=True)
class TrainingSettings:
    """One training run. Presets are instances of it; every field is an option of vp3d-train.

    keypoints: which 2D the network reads: "gt", "cpn" or another detector's name.
    batch_size: answers (frames with a loss) per step, over all devices.
    unlabelled_batch_size: answers per step on clips without labels; 0 trains supervised.
    chunk: consecutive answers per sample. 1 trains the strided form on single windows; more
        trains the dilated form, whose answers share their columns.
    learning_rate, schedule: "exponential" multiplies the rate by `lr_decay` after each of the
        first `lr_decay_epochs` epochs; "cosine" lets it rise for 2 % of the run and fall to zero.
    weight_decay: decoupled from the gradient (AdamW).
    flip: "random" mirrors half of the samples (MMPose); "both" makes every sample and its mirror
        image part of an epoch, which is then twice as long (the original repository); "none".
    bn_momentum: the weight of a batch in the running statistics at the start of the run and what
        it falls towards: epoch e of n has first * (last / first) ** (e / n).
    bn_frozen: normalise with the running statistics and leave them as they are; for runs that
        begin from trained weights with batches of few chunks, whose own statistics are poor.
    subjects: those with labels; none means all of the training split. subset: the part of each of
        their clips that is used. unlabelled_subjects: seen without labels, in semi-supervised runs;
        none means all clips that have no labels.
    trajectory: train a second network for the root's position (semi-supervised runs always do).
    warmup_epochs: epochs on labelled data alone, before the unlabelled join.
    lag_zero, lag_any: parts of the windows whose frames after t + lag are replaced by frame
        t + lag, as a live stream sees them: at lag 0, and at a lag drawn from 0 .. full.
    views: see the recorded poses anew every epoch, by other cameras and on other bodies
        (views.py). foreign_joints: with `views`, the recorded joints are another marker set's
        under Human3.6M's names, and part of the bodies get Human3.6M's own (bodies.py).
        procedural_clips: clips of invented motion to add (with `views`).
    """

    keypoints: str = "gt"
    filter_widths: tuple[int, ...] = (3, 3, 3)
    channels: int = 1024
    causal: bool = False
    dropout: float = 0.25
    epochs: int = 160
    batch_size: int = 1024
    unlabelled_batch_size: int = 0
    chunk: int = 1
    learning_rate: float = 1e-3
    schedule: str = "exponential"
    lr_decay: float = 0.975
    lr_decay_epochs: int = 80
    amsgrad: bool = False
    weight_decay: float = 0.0
    bn_momentum: tuple[float, float] = (0.1, 0.1)
    bn_frozen: bool = False
    flip: str = "random"
    subjects: tuple[str, ...] = ()
    subset: float = 1.0
    unlabelled_subjects: tuple[str, ...] = ()
    trajectory: bool = False
    warmup_epochs: int = 5
    projection_weight: float = 1.0
    bone_weight: float = 1.0
    lag_zero: float = 0.0
    lag_any: float = 0.0
    views: bool = False
    foreign_joints: bool = False
    procedural_clips: int = 0
    precision: str = "32-true"
    seed: int = 1

    def __post_init__(self) -> None:
        for field in fields(self):
            if not _is_of(getattr(self, field.name), type(field.default)):
                kind = _KINDS[type(field.default)]
                raise SettingsError(
                    f"{field.name} is {getattr(self, field.name)!r}, expected {kind}", field.name
                )
        for name, wrong, expected in self._problems():
            if wrong:
                raise SettingsError(f"{name} is {getattr(self, name)!r}, expected {expected}", name)
        if self.unlabelled_subjects and not self.semi_supervised:
            raise SettingsError(
                f"unlabelled_subjects are {list(self.unlabelled_subjects)}, but "
                "unlabelled_batch_size is 0; give both"
            )
        if self.semi_supervised and self.views:
            raise SettingsError("views invents poses with labels; it does not go with unlabelled")
        if (self.procedural_clips or self.foreign_joints) and not self.views:
            raise SettingsError("procedural_clips and foreign_joints are only used with views")
        both = sorted({*self.subjects} & {*self.unlabelled_subjects})
        if both:
            raise SettingsError(f"{', '.join(both)} cannot be seen both with labels and without")
        if self.lag_zero + self.lag_any > 0 and (self.chunk > 1 or self.causal):
            raise SettingsError(
                "lag_zero and lag_any cut single windows: they need chunk 1 and a network that "
                "looks ahead"
            )

    def _problems(self) -> list[tuple[str, bool, str]]:
        momentum = self.bn_momentum
        falls = len(momentum) == 2 and 0 < momentum[1] <= momentum[0] <= 1
        return [
            ("epochs", self.epochs < 1, "at least 1"),
            ("batch_size", self.batch_size < 2, "at least 2, which batch normalisation needs"),
            ("unlabelled_batch_size", self.unlabelled_batch_size < 0, "0 or more"),
            ("chunk", not 1 <= self.chunk <= self.batch_size, "1 to the batch size"),
            ("learning_rate", not 0 < self.learning_rate < math.inf, "a positive number"),
            ("schedule", self.schedule not in SCHEDULES, f"one of {', '.join(SCHEDULES)}"),
            ("lr_decay", not 0 < self.lr_decay <= 1, "above 0 and at most 1"),
            ("lr_decay_epochs", self.lr_decay_epochs < 0, "0 or more"),
            ("weight_decay", not 0 <= self.weight_decay < 1, "at least 0 and below 1"),
            ("dropout", not 0 <= self.dropout < 1, "at least 0 and below 1"),
            ("bn_momentum", not falls, "two numbers, 1 >= first >= last > 0"),
            ("flip", self.flip not in FLIPS, f"one of {', '.join(FLIPS)}"),
            ("subset", not 0 < self.subset <= 1, "above 0 and at most 1"),
            ("warmup_epochs", self.warmup_epochs < 0, "0 or more"),
            ("projection_weight", not 0 <= self.projection_weight < math.inf, "0 or more"),
            ("bone_weight", not 0 <= self.bone_weight < math.inf, "0 or more"),
            ("lag_any", not 0 <= self.lag_any <= 1, "0 to 1"),
            # The sum of such parts rounds to 1 where 1 - lag_any would round below lag_zero.
            (
                "lag_zero",
                not (self.lag_zero >= 0 and self.lag_zero + self.lag_any <= 1),
                "0 to 1 - lag_any",
            ),
            ("procedural_clips", self.procedural_clips < 0, "0 or more"),
            ("precision", self.precision not in PRECISIONS, f"one of {', '.join(PRECISIONS)}"),
            ("seed", not 0 <= self.seed < 2**31, "0 to 2147483647"),
        ]

    @property
    def semi_supervised(self) -> bool:
        return self.unlabelled_batch_size > 0

    @property
    def has_trajectory(self) -> bool:
        return self.trajectory or self.semi_supervised

    def pose_spec(self, joints_in: int, features: int, joints_out: int) -> ModelSpec:
        """The pose network; raises ValueError for widths and channels that are none."""
        return ModelSpec(
            self.filter_widths, self.channels, joints_in, features, joints_out, self.causal
        )

    def learning_rate_at(self, epoch: float) -> float:
        """After `epoch` epochs, a fraction within one."""
        if self.schedule == "cosine":
            done = epoch / self.epochs
            return self.learning_rate * min(done / WARM_UP, 1) * (1 + math.cos(math.pi * done)) / 2
        return self.learning_rate * self.lr_decay ** min(int(epoch), self.lr_decay_epochs)

    def bn_momentum_at(self, epoch: int) -> float:
        """In epoch 0 .. epochs - 1."""
        first, last = self.bn_momentum
        return first * (last / first) ** (epoch / self.epochs)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as stored in a run's run.json and in its checkpoints."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> TrainingSettings:
        """The inverse of `to_dict`. Raises SettingsError for unknown fields and wrong values."""
        if not isinstance(values, Mapping):
            raise SettingsError(f"training settings are {values!r}, expected names and values")
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise SettingsError(f"training settings have the unknown fields {', '.join(unknown)}")
        given: dict[str, Any] = {
            k: tuple(v) if isinstance(v, list) else v for k, v in values.items()
        }
        try:
            return cls(**given)
        except TypeError as error:
            raise SettingsError(f"training settings are damaged: {error}") from None
