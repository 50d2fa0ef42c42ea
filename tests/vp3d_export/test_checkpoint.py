"""load_checkpoint: the four families as their tools write them, and what is wrong with the rest."""

from __future__ import annotations

import os
import random
import re
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpoint_files import FAMILIES, save, write_checkpoint
from hostile_pickles import Call, marker
from reference import random_parameters

from vp3d_deploy.spec import ModelSpec
from vp3d_export.checkpoint import CheckpointError, load_checkpoint, parameter_shapes

SPECS = {
    "27 frames": ModelSpec((3, 3, 3), 8),
    "mixed widths": ModelSpec((5, 1, 3), 6, joints_in=16, features=2, joints_out=16),
    "five": ModelSpec((5, 5), 4, joints_in=15, features=2, joints_out=15),
    "one frame": ModelSpec((1, 1, 1, 1, 1), 4),
    "one level": ModelSpec((3,), 4),
    "scores": ModelSpec((3, 3), 4, joints_in=17, features=3, joints_out=17),
    "other joints in": ModelSpec((3, 3), 4, joints_in=20, features=2, joints_out=17),
    "twelve levels": ModelSpec((3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 3), 2),
}
SPEC = SPECS["27 frames"]
POSE = random_parameters(SPEC, 0)
TRAJECTORY_SPEC = replace(SPEC, channels=6, joints_out=1)
TRAJECTORY = random_parameters(TRAJECTORY_SPEC, 1)

every_family = pytest.mark.parametrize("family", FAMILIES)


def equal(tensors: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert set(tensors) == set(expected)
    for name, array in expected.items():
        assert tensors[name].dtype == np.float32
        assert tensors[name].flags.c_contiguous
        np.testing.assert_array_equal(tensors[name], array, err_msg=name)


@every_family
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_what_was_trained_is_what_is_read(
    family: str, legacy: bool, spec: ModelSpec, tmp_path: Path
) -> None:
    pose = random_parameters(spec, 0)
    write_checkpoint(tmp_path / "x.pth", family, pose, spec=spec, legacy=legacy)
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    assert checkpoint.family == family
    assert checkpoint.pose.spec == spec
    assert checkpoint.trajectory is None
    equal(checkpoint.pose.tensors, pose)
    shapes = {name: array.shape for name, array in checkpoint.pose.tensors.items()}
    assert shapes == parameter_shapes(spec)


@every_family
@pytest.mark.parametrize("wrapper", ["", "module.", "module._orig_mod."])
def test_trajectory_networks_and_wrappers(family: str, wrapper: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.pth", family, POSE, TRAJECTORY, spec=SPEC, wrapper=wrapper)
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    equal(checkpoint.pose.tensors, POSE)
    assert checkpoint.trajectory is not None
    assert checkpoint.trajectory.spec == TRAJECTORY_SPEC
    equal(checkpoint.trajectory.tensors, TRAJECTORY)


# The tables of names once more, layer by layer, so that no two layers can be confused.
NAMES = {
    "videopose3d": {
        "expand_conv.weight": "expand.conv.weight",
        "expand_bn.running_mean": "expand.bn.running_mean",
        "layers_conv.0.weight": "levels.1.conv.weight",
        "layers_conv.1.weight": "levels.1.mix.weight",
        "layers_conv.2.weight": "levels.2.conv.weight",
        "layers_bn.0.weight": "levels.1.conv_bn.weight",
        "layers_bn.1.bias": "levels.1.mix_bn.bias",
        "layers_bn.2.running_var": "levels.2.conv_bn.running_var",
        "layers_bn.3.running_mean": "levels.2.mix_bn.running_mean",
        "shrink.bias": "shrink.bias",
    },
    "mmpose-1.x": {
        "backbone.expand_conv.conv.weight": "expand.conv.weight",
        "backbone.expand_conv.bn.running_var": "expand.bn.running_var",
        "backbone.tcn_blocks.0.conv1.0.conv.weight": "levels.1.conv.weight",
        "backbone.tcn_blocks.0.conv2.0.conv.weight": "levels.1.mix.weight",
        "backbone.tcn_blocks.1.conv1.0.bn.weight": "levels.2.conv_bn.weight",
        "backbone.tcn_blocks.1.conv2.0.bn.bias": "levels.2.mix_bn.bias",
        "head.conv.weight": "shrink.weight",
    },
}
NAMES["mmpose-0.x"] = {
    key.replace("head.", "keypoint_head."): name for key, name in NAMES["mmpose-1.x"].items()
}


@pytest.mark.parametrize("family", NAMES)
def test_names(family: str, tmp_path: Path) -> None:
    contents = write_checkpoint(tmp_path / "x.pth", family, POSE)
    state = contents["model_pos" if family == "videopose3d" else "state_dict"]
    tensors = load_checkpoint(tmp_path / "x.pth").pose.tensors
    for key, name in NAMES[family].items():
        np.testing.assert_array_equal(tensors[name], state[key].numpy(), err_msg=key)


@every_family
@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16], ids=str)
def test_other_precisions_become_float32(family: str, dtype: torch.dtype, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.pth", family, POSE, spec=SPEC, dtype=dtype)
    expected = {
        name: torch.from_numpy(array).to(dtype).float().numpy() for name, array in POSE.items()
    }
    equal(load_checkpoint(tmp_path / "x.pth").pose.tensors, expected)


@pytest.mark.parametrize(
    ("family", "entry", "read_as"),
    [
        ("videopose3d", "model_pos", "videopose3d"),
        ("mmpose-1.x", "state_dict", "mmpose-1.x"),
        ("mmpose-0.x", "state_dict", "mmpose-0.x"),
        ("vp3d-deploy", "pose", "vp3d-deploy"),
    ],
)
@pytest.mark.parametrize("nested", [False, True], ids=["bare", "state_dict"])
def test_bare_state_dictionaries(
    family: str, entry: str, read_as: str, nested: bool, tmp_path: Path
) -> None:
    state = write_checkpoint(tmp_path / "x.pth", family, POSE, spec=SPEC)[entry]
    save({"state_dict": state} if nested else state, tmp_path / "x.pth")
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    assert checkpoint.family == read_as
    equal(checkpoint.pose.tensors, POSE)


def test_mmpose_trajectory_head_on_the_shared_backbone(tmp_path: Path) -> None:
    trajectory = {**POSE, **{name: TRAJECTORY[name] for name in ("shrink.bias",)}}
    trajectory["shrink.weight"] = POSE["shrink.weight"][:3] * 2
    contents = write_checkpoint(tmp_path / "x.pth", "mmpose-1.x", POSE, trajectory)
    state = contents["state_dict"]
    for key in [key for key in state if key.startswith("traj_backbone.")]:
        del state[key]
    save(contents, tmp_path / "x.pth")
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    assert checkpoint.trajectory is not None
    equal(checkpoint.trajectory.tensors, trajectory)


def test_averaged_weights_are_those_of_the_state_dictionary(tmp_path: Path) -> None:
    """mmengine's EMA hook swaps on saving: `state_dict` has the averages, `ema_state_dict` not."""
    contents = write_checkpoint(tmp_path / "x.pth", "mmpose-1.x", POSE)
    assert "module.head.conv.weight" in contents["ema_state_dict"]
    checkpoint = load_checkpoint(tmp_path / "x.pth")
    equal(checkpoint.pose.tensors, POSE)
    assert checkpoint.ignored_keys == ("head.loss_module.keypoint_weights",)


def test_batch_norm_counts_may_be_missing(tmp_path: Path) -> None:
    """They came with torch 0.4.1; the original repository is older."""
    contents = write_checkpoint(tmp_path / "x.bin", "videopose3d", POSE, legacy=True)
    state = contents["model_pos"]
    for key in [key for key in state if key.endswith("num_batches_tracked")]:
        del state[key]
    save(contents, tmp_path / "x.bin", legacy=True)
    equal(load_checkpoint(tmp_path / "x.bin").pose.tensors, POSE)


META = {
    "videopose3d": {"epoch": 60, "lr": 4.85e-05},
    "mmpose-1.x": {
        "epoch": 160,
        "iter": 243_840,
        "mmengine_version": "0.8.4",
        "time": "20230815_101112",
        "experiment_name": "videopose3d",
    },
    "mmpose-0.x": {
        "epoch": 160,
        "iter": 243_840,
        "mmpose_version": "0.15.0+1a2b3c4",
        "time": "Thu May 27 10:00:00 2021",
    },
    "vp3d-deploy": {
        "epochs": 8,
        "mpjpe_mm": 61.5,
        "data": "procedural motion",
        "losses": [3.0, 2.0],
    },
}


@every_family
def test_provenance(family: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.pth", family, POSE, spec=SPEC)
    assert load_checkpoint(tmp_path / "x.pth").meta == META[family]


# -- causal -------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", FAMILIES[:3])
def test_causal_is_what_the_user_says(family: str, tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.pth", family, POSE, TRAJECTORY)
    for causal, expected in ((None, False), (False, False), (True, True)):
        checkpoint = load_checkpoint(tmp_path / "x.pth", causal)
        assert checkpoint.pose.spec.causal is expected
        assert checkpoint.trajectory is not None
        assert checkpoint.trajectory.spec.causal is expected


@pytest.mark.parametrize("causal", [False, True])
def test_causal_is_known_of_our_own(causal: bool, tmp_path: Path) -> None:
    spec = replace(SPEC, causal=causal)
    write_checkpoint(tmp_path / "x.pth", "vp3d-deploy", POSE, TRAJECTORY, spec=spec)
    for said in (None, causal):
        checkpoint = load_checkpoint(tmp_path / "x.pth", said)
        assert checkpoint.pose.spec == spec
        assert checkpoint.trajectory is not None
        assert checkpoint.trajectory.spec.causal is causal
    with pytest.raises(CheckpointError, match=r"was trained (not )?causal, and you say"):
        load_checkpoint(tmp_path / "x.pth", not causal)


# -- what is wrong ------------------------------------------------------------------------------


def _pop(entry: str, *patterns: str) -> Callable[[Any], None]:
    def change(contents: Any) -> None:
        for key in list(contents[entry]):
            if any(re.fullmatch(pattern, key) for pattern in patterns):
                del contents[entry][key]

    return change


def _set(entry: str, **values: object) -> Callable[[Any], None]:
    def change(contents: Any) -> None:
        contents[entry].update({key.replace("__", "."): value for key, value in values.items()})

    return change


def _top(**values: object) -> Callable[[Any], None]:
    return lambda contents: contents.update(values)


PROBLEMS: dict[str, tuple[str, Callable[[Any], None], list[str]]] = {
    "missing and unexpected at once": (
        "videopose3d",
        lambda contents: (
            _pop("model_pos", "shrink.weight", r"layers_bn\.2\.bias")(contents),
            _set("model_pos", layers_bn__9__bias=torch.ones(8), extra=torch.ones(1))(contents),
            _pop("model_traj", "shrink.bias")(contents),
        ),
        [
            "model_pos lacks layers_bn.2.bias, shrink.weight; has the unexpected "
            "layers_bn.9.bias, extra; model_traj lacks shrink.bias",
        ],
    ),
    "missing, unexpected, misshapen and integers at once": (
        "mmpose-1.x",
        lambda contents: (
            _pop("state_dict", r"head\.conv\.bias", r"backbone\.expand_conv\.conv\.weight")(
                contents
            ),
            _set(
                "state_dict",
                extra__x=torch.ones(1),
                head__conv__weight=torch.ones(50, 9, 1),
                backbone__tcn_blocks__0__conv1__0__conv__weight=torch.ones(32, 32, 5),
                backbone__tcn_blocks__1__conv2__0__bn__bias=torch.ones(9, dtype=torch.int32),
                traj_backbone__tcn_blocks__1__conv2__0__conv__weight=torch.ones(6, 6, 5),
            )(contents),
        ),
        [
            "state_dict lacks backbone.expand_conv.conv.weight, head.conv.bias; "
            "has the unexpected extra.x; "
            "has int32 values in backbone.tcn_blocks.1.conv2.0.bn.bias, expected tensors of "
            "floats; has the wrong shapes "
            "backbone.tcn_blocks.0.conv1.0.conv.weight [32, 32, 5], expected [8, 8, 5]; "
            "backbone.tcn_blocks.1.conv2.0.bn.bias [9], expected [8]; "
            "head.conv.weight [50, 9, 1], expected [three per joint, 8, 1]; "
            "traj_backbone.tcn_blocks.1.conv2.0.conv.weight [6, 6, 5], expected [6, 6, 1]",
        ],
    ),
    "misshapen in both networks": (
        "vp3d-deploy",
        lambda contents: (
            _set("pose", shrink__bias=torch.ones(48), levels__1__mix__weight=torch.ones(()))(
                contents
            ),
            _set("trajectory", shrink__bias=torch.ones(51))(contents),
        ),
        [
            "pose has the wrong shapes levels.1.mix.weight [], expected [8, 8, 1]; "
            "shrink.bias [48], expected [51]; "
            "trajectory has the wrong shapes shrink.bias [51], expected [3]",
        ],
    ),
    "a level is missing": (
        "videopose3d",
        _pop("model_pos", r"layers_(conv|bn)\.[01]\..*"),
        ["model_pos lacks layers_bn.0.bias, ", "layers_conv.1.weight"],
    ),
    "a stray key of a level": (
        "mmpose-1.x",
        _set("state_dict", backbone__tcn_blocks__5__conv1__0__bn__bias=torch.ones(8)),
        ["x.pth: state_dict has the unexpected backbone.tcn_blocks.5.conv1.0.bn.bias"],
    ),
    "no trajectory backbone": (
        "mmpose-0.x",
        _pop("state_dict", r"traj_backbone\..*"),
        ["traj_backbone.expand_conv.conv.weight", "traj_backbone.tcn_blocks.1.conv2.0.bn.weight"],
    ),
    "no trajectory head": (
        "mmpose-1.x",
        _pop("state_dict", r"traj_head\..*"),
        ["state_dict lacks traj_head.conv.bias, traj_head.conv.weight"],
    ),
    "no head": ("mmpose-1.x", _pop("state_dict", r"head\..*"), ["head.conv.weight"]),
    "neck": (
        "mmpose-1.x",
        _set("state_dict", neck__conv__weight=torch.ones(2)),
        ["has the unexpected neck.conv.weight"],
    ),
    "one wrong width": (
        "videopose3d",
        _set("model_pos", expand_conv__weight=torch.ones(9, 34, 3)),
        ["wrong shapes expand_conv.weight [9, 34, 3], expected [8, 34, 3]"],
    ),
    "two wrong shapes": (
        "mmpose-0.x",
        _set(
            "state_dict",
            keypoint_head__conv__bias=torch.ones(48),
            backbone__tcn_blocks__0__conv2__0__conv__weight=torch.ones(8, 8, 3),
        ),
        [
            "keypoint_head.conv.bias [48], expected [51]",
            "backbone.tcn_blocks.0.conv2.0.conv.weight [8, 8, 3], expected [8, 8, 1]",
        ],
    ),
    "even width": (
        "videopose3d",
        _set("model_pos", layers_conv__2__weight=torch.ones(8, 8, 2)),
        ["layers_conv.2.weight [8, 8, 2], expected [8, 8, an odd number of taps]"],
    ),
    "flat weight": (
        "videopose3d",
        _set("model_pos", layers_conv__2__weight=torch.ones(8, 8)),
        ["layers_conv.2.weight [8, 8], expected [8, 8, an odd number of taps]"],
    ),
    "outputs not by three": (
        "videopose3d",
        _set("model_pos", shrink__weight=torch.ones(50, 8, 1), shrink__bias=torch.ones(50)),
        [
            "shrink.weight [50, 8, 1], expected [three per joint, 8, 1]",
            "shrink.bias [50], expected [three per joint]",
        ],
    ),
    "one output too few": (
        "videopose3d",
        _set("model_pos", shrink__weight=torch.ones(50, 8, 1)),
        ["wrong shapes shrink.weight [50, 8, 1], expected [51, 8, 1]"],
    ),
    "no outputs": (
        "videopose3d",
        _set("model_pos", shrink__weight=torch.ones(0, 8, 1)),
        ["shrink.weight [0, 8, 1], expected [51, 8, 1]"],
    ),
    "no inputs": (
        "videopose3d",
        _set("model_pos", expand_conv__weight=torch.ones(8, 0, 3)),
        ["expand_conv.weight [8, 0, 3], expected [8, inputs, 3]"],
    ),
    "dense variant": (
        "videopose3d",
        lambda contents: (
            _set(
                "model_pos",
                layers_conv__0__weight=torch.ones(8, 8, 7),
                layers_conv__2__weight=torch.ones(8, 8, 19),
            )(contents),
            _top(model_traj=None)(contents),
        ),
        ["filter widths [3, 7, 19]", "-arch 3,3,3 --dense; only dilated networks are read"],
    ),
    "too many frames": (
        "videopose3d",
        lambda contents: (
            _set(
                "model_pos",
                layers_conv__0__weight=torch.ones(8, 8, 301),
                layers_conv__2__weight=torch.ones(8, 8, 301),
            )(contents),
            _top(model_traj=None)(contents),
        ),
        ["model_pos describes no network of this kind", "receptive field of 271803"],
    ),
    "not finite": (
        "videopose3d",
        _set(
            "model_pos",
            layers_bn__1__bias=torch.full((8,), torch.nan),
            shrink__bias=torch.full((51,), -torch.inf),
        ),
        ["NaN or infinite values in layers_bn.1.bias, shrink.bias"],
    ),
    "too large for float32": (
        "videopose3d",
        _set("model_pos", shrink__bias=torch.full((51,), 1e300, dtype=torch.float64)),
        ["infinite values in shrink.bias"],
    ),
    "negative variance": (
        "mmpose-1.x",
        _set("state_dict", traj_backbone__expand_conv__bn__running_var=-torch.ones(6)),
        ["negative variances in traj_backbone.expand_conv.bn.running_var"],
    ),
    "integers": (
        "videopose3d",
        _set("model_pos", shrink__bias=torch.ones(51, dtype=torch.int64), expand_bn__bias=None),
        ["None as expand_bn.bias, int64 values in shrink.bias, expected tensors of floats"],
    ),
    "meta tensors": (
        "mmpose-1.x",
        lambda contents: contents["state_dict"].update(
            {key: value.to("meta") for key, value in contents["state_dict"].items()}
        ),
        [
            "state_dict has no values (meta tensors) in backbone.expand_conv.conv.weight, "
            "backbone.expand_conv.bn.weight, ",
            "backbone.tcn_blocks.0.conv1.0.bn.bias and 46 more, expected tensors of floats",
        ],
    ),
    "expanded tensor": (
        "videopose3d",
        _set("model_pos", shrink__bias=torch.ones(1).expand(51)),
        ["damaged shrink.bias", "repeats 1 values"],
    ),
    "trajectory of two joints": (
        "videopose3d",
        _set("model_traj", shrink__weight=torch.ones(6, 6, 1), shrink__bias=torch.ones(6)),
        ["its trajectory network", "2 out", "expected", "1 out"],
    ),
    "trajectory of other widths": (
        "videopose3d",
        _set("model_traj", layers_conv__0__weight=torch.ones(6, 6, 5)),
        ["filter widths [3, 5, 3]", "expected filter widths [3, 3, 3]"],
    ),
    "trajectory of other input": (
        "vp3d-deploy",
        lambda contents: contents["trajectory_spec"].update(joints_in=16),
        ["trajectory has the wrong shapes expand.conv.weight [6, 34, 3], expected [6, 32, 3]"],
    ),
    "empty network": ("videopose3d", _top(model_traj={}), ["model_traj has 0 entries"]),
    "no network": ("videopose3d", _top(model_pos=None), ["model_pos is None, expected a dict"]),
    "list": ("mmpose-1.x", _top(state_dict=[1]), ["state_dict is a list"]),
    "whole model inside": (
        "mmpose-1.x",
        _top(state_dict=torch.nn.Linear(2, 2)),
        ["state_dict is a pickled torch.nn.modules.linear.Linear, expected a dictionary"],
    ),
    "unknown keys": (
        "mmpose-0.x",
        _top(state_dict={"layer1.weight": torch.ones(2)}),
        ["state_dict has the keys 'layer1.weight', expected those of VideoPose3D"],
    ),
    "numbered keys": ("mmpose-0.x", _top(state_dict={1: torch.ones(2)}), ["the key 1"]),
    "newer version": ("vp3d-deploy", _top(version=2), ["version 2, expected", "newer"]),
    "other format": ("vp3d-deploy", _top(format="x"), ["format 'x'"]),
    "no specification": ("vp3d-deploy", lambda contents: contents.pop("spec"), ["lacks spec"]),
    "specification of text": ("vp3d-deploy", _top(spec="x"), ["specification is a str"]),
    "specification lacks": ("vp3d-deploy", _top(spec={}), ["pose specification is wrong"]),
    "specification of another": (
        "vp3d-deploy",
        lambda contents: contents["spec"].update(channels=9),
        ["expand.conv.weight [8, 34, 3], expected [9, 34, 3]"],
    ),
    "specification with more levels": (
        "vp3d-deploy",
        lambda contents: contents["spec"].update(filter_widths=[3, 3, 3, 3]),
        ["pose lacks levels.3.conv.weight"],
    ),
    "specification with fewer levels": (
        "vp3d-deploy",
        lambda contents: contents["spec"].update(filter_widths=[3, 3]),
        ["unexpected levels.2.conv.weight"],
    ),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_problems_are_told_in_one_sentence(name: str, tmp_path: Path) -> None:
    family, change, reasons = PROBLEMS[name]
    path = tmp_path / "x.pth"
    contents = write_checkpoint(path, family, POSE, TRAJECTORY, spec=SPEC)
    load_checkpoint(path)
    change(contents)
    save(contents, path)
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(path)
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    for reason in reasons:
        assert reason in message


def test_networks_on_one_backbone_complain_about_it_once(tmp_path: Path) -> None:
    contents = write_checkpoint(tmp_path / "x.pth", "mmpose-1.x", POSE, POSE)
    state = contents["state_dict"]
    for key in [key for key in state if key.startswith("traj_backbone.")]:
        del state[key]
    state["backbone.expand_conv.bn.bias"] = torch.ones(9, dtype=torch.int64)
    save(contents, tmp_path / "x.pth")
    with pytest.raises(CheckpointError) as error:
        load_checkpoint(tmp_path / "x.pth")
    assert str(error.value).count("int64 values in backbone.expand_conv.bn.bias") == 1
    assert str(error.value).count("backbone.expand_conv.bn.bias [9], expected [8]") == 1


OTHERS: dict[str, tuple[object, str]] = {
    "list": ([1], "it holds a list"),
    "tensor": (torch.ones(2), "it holds a single tensor"),
    "empty": ({}, "no keys, expected `model_pos`"),
    "other dictionary": ({"weights": 1}, "a dictionary with 'weights', expected `model_pos`"),
    "other network": ({"fc.weight": torch.ones(2)}, "keys 'fc.weight', expected those of"),
    "whole model": (
        torch.nn.Linear(2, 2),
        "a whole pickled object (torch.nn.modules.linear.Linear)",
    ),
}


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("name", OTHERS)
def test_torch_files_that_are_no_checkpoints(name: str, legacy: bool, tmp_path: Path) -> None:
    contents, reason = OTHERS[name]
    save(contents, tmp_path / "x.pth", legacy)
    with pytest.raises(CheckpointError, match=re.escape(reason)):
        load_checkpoint(tmp_path / "x.pth")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nothing\.pth: cannot be read \(No such file"):
        load_checkpoint(tmp_path / "nothing.pth")


# -- hostile ------------------------------------------------------------------------------------


@every_family
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_code_beside_a_good_network_is_not_run(family: str, legacy: bool, tmp_path: Path) -> None:
    trace = marker(tmp_path)
    hook = Call(os.system, f"touch {trace}")
    changes = {"hook": hook}
    write_checkpoint(tmp_path / "x.pth", family, POSE, spec=SPEC, legacy=legacy, changes=changes)
    with pytest.raises(CheckpointError, match=r"asks to run \w+\.system when it is read"):
        load_checkpoint(tmp_path / "x.pth")
    assert not trace.exists()


def test_a_tensor_made_by_code_is_no_tensor(tmp_path: Path) -> None:
    contents = write_checkpoint(tmp_path / "x.pth", "videopose3d", POSE)
    contents["model_pos"]["shrink.bias"] = Call(getattr, torch.ones(51), "data")
    save(contents, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"a pickled builtins\.getattr as shrink\.bias"):
        load_checkpoint(tmp_path / "x.pth")


SMALL = ModelSpec((3, 1), 2, joints_in=2, joints_out=2)


@every_family
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_truncated_files_are_refused(family: str, legacy: bool, tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    write_checkpoint(path, family, random_parameters(SMALL, 0), spec=SMALL, legacy=legacy)
    data = path.read_bytes()
    load_checkpoint(path)
    for length in [*range(0, len(data), len(data) // 150), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError):
            load_checkpoint(path)


@every_family
@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_damaged_files_give_a_network_or_a_checkpoint_error(
    family: str, legacy: bool, tmp_path: Path
) -> None:
    path = tmp_path / "x.pth"
    write_checkpoint(path, family, random_parameters(SMALL, 0), spec=SMALL, legacy=legacy)
    data = path.read_bytes()
    rng = random.Random(0)
    for _ in range(150):
        damaged = bytearray(data)
        damaged[rng.randrange(len(data))] = rng.randrange(256)
        path.write_bytes(damaged)
        with suppress(CheckpointError):
            load_checkpoint(path)


def test_many_keys_give_a_short_message(tmp_path: Path) -> None:
    state = OrderedDict((f"expand_conv.{n}", torch.ones(1)) for n in range(2000))
    save(state, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="and 1600 more") as error:
        load_checkpoint(tmp_path / "x.pth")
    assert len(str(error.value)) < 20_000
