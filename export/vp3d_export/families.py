"""Whose checkpoint a file is, told from its contents, and what each family calls its parameters.

videopose3d   facebookresearch/VideoPose3D: run.py saves `model_pos` and `model_traj`
mmpose-1.x    open-mmlab/mmpose, PoseLifter with `backbone` and `head`, saved by mmengine
mmpose-0.x    the same before 2023, with `keypoint_head`, saved by mmcv
vp3d-deploy   ours: vp3d_deploy/training writes it, this module reads it
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from vp3d_deploy.safe_pickle import Placeholder, brief
from vp3d_deploy.spec import MAX_LEVELS
from vp3d_deploy.training.checkpoint_format import FORMAT as OUR_FORMAT
from vp3d_deploy.training.checkpoint_format import VERSION as OUR_VERSION
from vp3d_export.torch_tensors import StoredTensor

# Our networks of 16 levels have 192 parameters; two networks with doubled names have under 1000.
MAX_KEYS = 10_000
_NORM_PARTS = ("weight", "bias", "running_mean", "running_var")
# What wrappers (DataParallel, torch.compile) put before every key.
_WRAPPERS = ("module.", "_orig_mod.")
# Buffers of MMPose modules that take no part in the network.
_HARMLESS_WORDS = ("loss_module", "data_preprocessor", "semi_loss", "loss_semi", "loss")


class NetworkError(ValueError):
    """A file whose contents are not one of the networks that this project knows."""


@dataclass(frozen=True)
class KeyTable:
    """A family's names for the layers; in those of levels, {level} counts from 1, {block} from 0,
    and {even} and {odd} number the two layers of each block through the whole network."""

    expand: str
    expand_bn: str
    conv: str
    conv_bn: str
    mix: str
    mix_bn: str
    shrink: str

    def layers(self, level: int) -> dict[str, str]:
        """Canonical layer name -> the family's, for level 1 and up."""
        numbers = {
            "level": level,
            "block": level - 1,
            "even": 2 * level - 2,
            "odd": 2 * level - 1,
        }
        return {
            f"levels.{level}.{part}": getattr(self, part).format_map(numbers)
            for part in ("conv", "conv_bn", "mix", "mix_bn")
        }

    def keys(self, n_levels: int) -> dict[str, str]:
        """Canonical parameter name -> the family's key, of a network with `n_levels` residual
        levels; without num_batches_tracked, which inference does not use."""
        keys = _parameters({"expand.conv": self.expand, "expand.bn": self.expand_bn})
        for level in range(1, n_levels + 1):
            keys.update(_parameters(self.layers(level)))
        return {
            **keys,
            "shrink.weight": f"{self.shrink}.weight",
            "shrink.bias": f"{self.shrink}.bias",
        }

    def count_levels(self, found: Collection[str]) -> int:
        """How many residual levels a network with the keys `found` has: the number for which the
        fewest keys are missing or too many, so that one stray key does not make a level."""
        best = cost = least_cost = 0  # costs relative to a network without levels
        for level in range(1, MAX_LEVELS):
            keys = _parameters(self.layers(level)).values()
            present = sum(key in found for key in keys)
            cost += len(keys) - 2 * present  # those missing now, less those no longer too many
            if present and cost <= least_cost:
                best, least_cost = level, cost
        return best


def _parameters(layers: Mapping[str, str]) -> dict[str, str]:
    """Canonical name -> key of the parameters of convolutions and batch norms."""
    return {
        f"{canonical}.{part}": f"{layer}.{part}"
        for canonical, layer in layers.items()
        for part in (_NORM_PARTS if canonical.endswith("bn") else ("weight",))
    }


VIDEOPOSE3D = KeyTable(
    expand="expand_conv",
    expand_bn="expand_bn",
    conv="layers_conv.{even}",
    conv_bn="layers_bn.{even}",
    mix="layers_conv.{odd}",
    mix_bn="layers_bn.{odd}",
    shrink="shrink",
)
OURS = KeyTable(
    expand="expand.conv",
    expand_bn="expand.bn",
    conv="levels.{level}.conv",
    conv_bn="levels.{level}.conv_bn",
    mix="levels.{level}.mix",
    mix_bn="levels.{level}.mix_bn",
    shrink="shrink",
)


def mmpose_table(backbone: str, head: str) -> KeyTable:
    """The names of an MMPose network whose modules are called `backbone` and `head`."""
    block = f"{backbone}.tcn_blocks.{{block}}"
    return KeyTable(
        expand=f"{backbone}.expand_conv.conv",
        expand_bn=f"{backbone}.expand_conv.bn",
        conv=f"{block}.conv1.0.conv",
        conv_bn=f"{block}.conv1.0.bn",
        mix=f"{block}.conv2.0.conv",
        mix_bn=f"{block}.conv2.0.bn",
        shrink=f"{head}.conv",
    )


@dataclass(frozen=True)
class StateDict:
    """One dictionary of tensors in the file, and the networks ("pose", "trajectory") in it."""

    label: str
    tensors: dict[str, object]
    networks: dict[str, KeyTable]


@dataclass(frozen=True)
class Recognised:
    """A checkpoint as its family arranges it. `specs` and `meta` are as found, unchecked."""

    family: str
    states: tuple[StateDict, ...]
    specs: dict[str, object]
    meta: object


def is_harmless(key: str) -> bool:
    """Whether a key beside the networks' own belongs to a loss or to preprocessing."""
    return any(word in _HARMLESS_WORDS for word in key.split("."))


def recognise(contents: object) -> Recognised:
    """Find the family and the networks in what a torch.save file holds.

    Raises NetworkError saying what the file holds instead.
    """
    if isinstance(contents, Placeholder):
        raise NetworkError(
            f"it holds a whole pickled object ({contents.name}), expected weights; load it where "
            "its code is and save its state_dict() instead"
        )
    if not isinstance(contents, Mapping):
        kind = "a single tensor" if isinstance(contents, StoredTensor) else brief(contents)
        raise NetworkError(f"it holds {kind}, expected a dictionary with weights")
    if "format" in contents:
        return _recognise_ours(contents)
    if "model_pos" in contents:
        return _recognise_videopose3d(contents)
    if "state_dict" in contents:
        tensors = _tensors("state_dict", contents["state_dict"])
        return replace(_recognise_keys("state_dict", tensors), meta=_scalars(contents.get("meta")))
    if any(isinstance(value, StoredTensor) for value in contents.values()):
        return _recognise_keys("the file", _tensors("the file", contents))
    raise NetworkError(
        f"it holds a dictionary with {_some(contents)}, expected `model_pos` (VideoPose3D), "
        "`state_dict` (MMPose), `format` (ours) or a bare state dictionary"
    )


def _recognise_videopose3d(contents: Mapping[object, object]) -> Recognised:
    states = [_state("model_pos", contents, {"pose": VIDEOPOSE3D})]
    if contents.get("model_traj") is not None:
        states.append(_state("model_traj", contents, {"trajectory": VIDEOPOSE3D}))
    meta = {key: contents.get(key) for key in ("epoch", "lr")}
    return Recognised("videopose3d", tuple(states), {}, meta)


def _recognise_ours(contents: Mapping[object, object]) -> Recognised:
    version = contents.get("version")
    if contents["format"] != OUR_FORMAT or type(version) is not int or version != OUR_VERSION:
        raise NetworkError(
            f"it has format {brief(contents['format'])} version {brief(version)}, expected "
            f"{OUR_FORMAT!r} version {OUR_VERSION}; a newer vp3d-deploy may read it"
        )
    missing = [key for key in ("spec", "pose") if key not in contents]
    if missing:
        raise NetworkError(f"it lacks {' and '.join(missing)}; the file is incomplete")
    states = [_state("pose", contents, {"pose": OURS})]
    specs = {"pose": contents["spec"]}
    if contents.get("trajectory") is not None:
        states.append(_state("trajectory", contents, {"trajectory": OURS}))
        if contents.get("trajectory_spec") is not None:
            specs["trajectory"] = contents["trajectory_spec"]
    return Recognised("vp3d-deploy", tuple(states), specs, contents.get("meta"))


def _recognise_keys(label: str, tensors: dict[str, object]) -> Recognised:
    """A dictionary of tensors that nothing but its own keys describes."""
    modules = {key.partition(".")[0] for key in tensors}
    if modules & {"keypoint_head", "head", "backbone", "traj_backbone", "traj_head"}:
        head = "keypoint_head" if "keypoint_head" in modules else "head"
        networks = {"pose": mmpose_table("backbone", head)}
        if modules & {"traj_backbone", "traj_head"}:
            # MMPose 1.x writes nothing for a trajectory head on the pose network's backbone.
            shared = head == "head" and "traj_backbone" not in modules
            backbone = "backbone" if shared else "traj_backbone"
            networks["trajectory"] = mmpose_table(backbone, "traj_head")
        family = "mmpose-0.x" if head == "keypoint_head" else "mmpose-1.x"
        return Recognised(family, (StateDict(label, tensors, networks),), {}, None)
    if modules & {"expand_conv", "expand_bn", "layers_conv", "layers_bn"}:
        state = StateDict(label, tensors, {"pose": VIDEOPOSE3D})
        return Recognised("videopose3d", (state,), {}, None)
    if modules & {"expand", "levels"}:
        state = StateDict(label, tensors, {"pose": OURS})
        return Recognised("vp3d-deploy", (state,), {}, None)
    raise NetworkError(
        f"{label} has the keys {_some(tensors)}, expected those of VideoPose3D (expand_conv.weight "
        "..), MMPose (backbone.expand_conv.conv.weight ..) or ours (expand.conv.weight ..)"
    )


def _scalars(meta: object) -> dict[object, object]:
    """Of MMPose's meta, which also holds skeletons and whole configurations, the short facts."""
    if not isinstance(meta, Mapping):
        return {}
    kinds = (str, int, float, bool)
    return {key: value for key, value in meta.items() if isinstance(value, kinds)}


def _state(
    label: str, contents: Mapping[object, object], networks: dict[str, KeyTable]
) -> StateDict:
    return StateDict(label, _tensors(label, contents[label]), networks)


def _tensors(label: str, value: object) -> dict[str, object]:
    """A state dictionary without what wrappers put before its keys."""
    if not isinstance(value, Mapping):
        raise NetworkError(f"{label} is {brief(value)}, expected a dictionary of tensors")
    if not value or len(value) > MAX_KEYS:
        raise NetworkError(f"{label} has {len(value)} entries, expected 1 to {MAX_KEYS} tensors")
    tensors = {key: item for key, item in value.items() if isinstance(key, str)}
    if len(tensors) != len(value):
        others = [key for key in value if not isinstance(key, str)]
        raise NetworkError(f"{label} has the key {brief(others[0])}, expected names of tensors")
    while True:
        wrapper = next((w for w in _WRAPPERS if all(key.startswith(w) for key in tensors)), None)
        if wrapper is None:
            return tensors
        tensors = {key[len(wrapper) :]: item for key, item in tensors.items()}


def _some(names: Mapping[object, object] | Mapping[str, object]) -> str:
    shown = ", ".join(brief(name) for name in list(names)[:8])
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown or "no keys"
