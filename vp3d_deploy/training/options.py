"""The options of vp3d-train: every field of the settings is one."""

from __future__ import annotations

import argparse
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from vp3d_deploy.training.presets import PRESETS
from vp3d_deploy.training.settings import (
    FLIPS,
    PRECISIONS,
    SCHEDULES,
    SettingsError,
    TrainingSettings,
)

_EXAMPLES = """\
examples:
  vp3d-train --list
  vp3d-train h36m-27f --list
  vp3d-train h36m-27f --data h36m/ --out runs/27f
  vp3d-train h36m-27f --data h36m/ --out runs/small --channels 256 --epochs 20 --schedule cosine
  vp3d-train h36m-243f --data h36m/ --out runs/243f --devices 8 --precision 16-mixed
  vp3d-train h36m-243f --data h36m/ --out runs/grown --init runs/27f/checkpoint.pth --epochs 10
  vp3d-train h36m-27f --data h36m/ --out runs/27f --resume
"""


@dataclass(frozen=True)
class _Option:
    """A field of the settings as an option. kind: what argparse makes of its words."""

    field: str
    text: str
    kind: dict[str, Any]
    name: str = ""

    @property
    def flag(self) -> str:
        return "--" + (self.name or self.field.replace("_", "-"))


def _number(kind: type, metavar: str = "N") -> dict[str, Any]:
    return {"type": kind, "metavar": metavar}


_SWITCH = {"action": argparse.BooleanOptionalAction}
_NETWORK = (
    _Option("filter_widths", "odd filter widths, such as 3,3,3", {"metavar": "LIST"}, "widths"),
    _Option("channels", "channels of every level", _number(int)),
    _Option("causal", "look only back", _SWITCH),
    _Option("dropout", "part of the activations dropped", _number(float, "P")),
    _Option("trajectory", "train a network for the root's position too", _SWITCH),
)
_LEARNING = (
    _Option("epochs", "passes over the data", _number(int)),
    _Option("batch_size", "answers per step, over all devices", _number(int)),
    _Option("chunk", "consecutive answers per sample, 1 for single windows", _number(int)),
    _Option("learning_rate", "learning rate at its highest", _number(float, "RATE"), "lr"),
    _Option("schedule", "what becomes of it", {"choices": SCHEDULES}),
    _Option("lr_decay", "exponential: factor per epoch", _number(float, "F")),
    _Option("lr_decay_epochs", "exponential: for so many epochs", _number(int)),
    _Option("amsgrad", "Adam's AMSGrad variant", _SWITCH),
    _Option("weight_decay", "AdamW's", _number(float, "W")),
    _Option(
        "bn_momentum",
        "batch-norm momentum at the start, and what it falls towards",
        {"type": float, "nargs": 2, "metavar": ("FIRST", "LAST")},
    ),
    _Option("bn_frozen", "normalise with the running statistics, with --init", _SWITCH),
    _Option("precision", "arithmetic of training", {"choices": PRECISIONS}),
    _Option("seed", "of everything that is drawn", _number(int)),
)
_DATA = (
    _Option("keypoints", "gt, cpn or a detector's name", {"metavar": "KIND"}),
    _Option("subjects", "those with labels (default: all)", {"nargs": "*", "metavar": "S"}),
    _Option("subset", "part of each of their clips", _number(float, "PART")),
    _Option("flip", "mirror images: at random, or each sample in both", {"choices": FLIPS}),
    _Option("lag_zero", "part of windows cut at their own frame", _number(float, "PART")),
    _Option("lag_any", "part of windows cut at any lag", _number(float, "PART")),
    _Option("views", "see the poses anew each epoch: cameras, bodies, noise", _SWITCH),
    _Option("foreign_joints", "with --views: joints are another marker set's", _SWITCH),
    _Option("procedural_clips", "invented clips to add, with --views", _number(int)),
)
_SEMI = (
    _Option("unlabelled_subjects", "seen without labels (none: the clips without)",
            {"nargs": "*", "metavar": "S"}, "unlabelled"),
    _Option("unlabelled_batch_size", "answers per step on these", _number(int)),
    _Option("warmup_epochs", "epochs on labels alone", _number(int)),
    _Option("projection_weight", "weight of the projection loss", _number(float, "W")),
    _Option("bone_weight", "weight of the bone-length loss", _number(float, "W")),
)  # fmt: skip
_GROUPS = {
    "the network": _NETWORK,
    "learning": _LEARNING,
    "the data": _DATA,
    "semi-supervised training": _SEMI,
}


def build_parser() -> argparse.ArgumentParser:
    """The command's options; those of the settings have no default, the preset's value stands."""
    parser = argparse.ArgumentParser(
        prog="vp3d-train",
        description="Train a VideoPose3D network from a preset, any of whose settings can be "
        "overridden, to a checkpoint for vp3d-export.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("preset", nargs="?", choices=tuple(PRESETS), metavar="PRESET", help="see --list")
    add("--list", action="store_true", help="print the presets, or with PRESET all of its settings")
    add("--data", type=Path, metavar="DIR", help="Human3.6M in a published layout, or your own")
    add("--out", type=Path, metavar="DIR", help="the run's folder, new; see its run.json")
    add("--resume", action="store_true", help="go on with the run in --out")
    add("--init", type=Path, metavar="FILE",
        help="begin from any checkpoint of this network, or of one with fewer levels")  # fmt: skip
    machine = parser.add_argument_group("the machine")
    add = machine.add_argument
    add("--accelerator", choices=("auto", "cpu", "gpu"), default="auto", help="default auto")
    add("--devices", type=_positive, default=1, metavar="N", help="per machine (default 1)")
    add("--nodes", type=_positive, default=1, metavar="N", help="machines (default 1)")
    add("--threads", type=_positive, metavar="N", help="of the CPU (default all cores)")
    add("--check-every", type=_from_zero, metavar="N",
        help="epochs between errors on the test split, 0 to read none of it")  # fmt: skip
    for title, options in _GROUPS.items():
        group = parser.add_argument_group(f"{title} (default: the preset's)")
        for option in options:
            group.add_argument(
                option.flag, dest=option.field, default=None, help=option.text, **option.kind
            )
    return parser


def option_names() -> dict[str, str]:
    """Field of the settings -> its option, in the order of the help."""
    return {option.field: option.flag for group in _GROUPS.values() for option in group}


def settings_of(given: argparse.Namespace) -> TrainingSettings:
    """The preset with what was overridden. Raises ValueError for values that make no run."""
    changes = {
        field.name: getattr(given, field.name)
        for field in fields(TrainingSettings)
        if getattr(given, field.name) is not None
    }
    if "filter_widths" in changes:
        changes["filter_widths"] = _widths(changes["filter_widths"])
    lists = {name: tuple(v) for name, v in changes.items() if isinstance(v, list)}
    try:
        settings = replace(PRESETS[given.preset].settings, **{**changes, **lists})
    except SettingsError as error:
        flags = option_names()
        if error.field not in flags:
            raise
        raise SettingsError(str(error).replace(error.field, flags[error.field], 1)) from None
    settings.pose_spec(1, 2, 1)  # widths and channels that are none
    return settings


def _widths(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(width) for width in text.split(","))
    except ValueError:
        raise ValueError(f"--widths is {text!r}, expected odd numbers such as 3,3,3") from None


def _positive(text: str) -> int:
    return _at_least(text, 1)


def _from_zero(text: str) -> int:
    return _at_least(text, 0)


def _at_least(text: str, least: int) -> int:
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from {least}")
    return value
