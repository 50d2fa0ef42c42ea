"""Checkpoints of the four families as their own tools write them, from canonical parameters.

The modules here carry only names and shapes: they are what gives torch.save the keys, their order
and the versions that real files have. Optimizers are real and have state.
"""

from __future__ import annotations

import sys
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import nn

from vp3d_deploy.spec import ModelSpec

Arrays = Mapping[str, np.ndarray]
FAMILIES = ("videopose3d", "mmpose-1.x", "mmpose-0.x", "vp3d-deploy")


def write_checkpoint(
    path: Path | str,
    family: str,
    pose: Arrays,
    trajectory: Arrays | None = None,
    *,
    spec: ModelSpec | None = None,
    legacy: bool = False,
    wrapper: str = "",
    dtype: torch.dtype = torch.float32,
    changes: Mapping[str, object] | None = None,
) -> dict[str, Any]:
    """Write networks in canonical names (tests/reference.py makes random ones) as `family` does.

    spec: needed for "vp3d-deploy", whose files hold it. legacy: the format of torch before 1.6.
    wrapper: put before each key, such as "module.". changes: replaces or adds top-level entries.
    Returns what was saved.
    """
    if family == "videopose3d":
        contents = _videopose3d(pose, trajectory, dtype)
    elif family == "mmpose-1.x":
        contents = _mmpose_1(pose, trajectory, dtype)
    elif family == "mmpose-0.x":
        contents = _mmpose_0(pose, trajectory, dtype)
    elif family == "vp3d-deploy":
        assert spec is not None, "our own files hold a specification"
        contents = _ours(pose, trajectory, dtype, spec)
    else:
        raise ValueError(family)
    if wrapper:
        contents = {key: _wrap(value, wrapper) for key, value in contents.items()}
    contents.update(changes or {})
    save(contents, path, legacy)
    return contents


def save(contents: object, path: Path | str, legacy: bool = False) -> None:
    """torch.save, with the modules of mmengine that pickle looks the classes up in."""
    with mmengine_modules():
        torch.save(contents, path, _use_new_zipfile_serialization=not legacy)


def _wrap(value: Any, wrapper: str) -> Any:
    is_state = isinstance(value, dict) and any(
        isinstance(item, torch.Tensor) for item in value.values()
    )
    if not is_state:
        return value
    return OrderedDict((wrapper + key, item) for key, item in value.items())


# -- networks -----------------------------------------------------------------------------------


class _VideoPose3D(nn.Module):
    def __init__(self, canonical: Arrays) -> None:
        super().__init__()
        layers = list(_levels(canonical))
        self.expand_bn = nn.BatchNorm1d(_channels(canonical))
        self.shrink = _conv(canonical["shrink.weight"], bias=True)
        self.expand_conv = _conv(canonical["expand.conv.weight"])
        names = [f"levels.{k}.{part}" for k in layers for part in ("conv", "mix")]
        self.layers_conv = nn.ModuleList([_conv(canonical[f"{n}.weight"]) for n in names])
        self.layers_bn = nn.ModuleList([nn.BatchNorm1d(_channels(canonical)) for _ in names])
        _copy(self.expand_conv, canonical, "expand.conv")
        _copy(self.expand_bn, canonical, "expand.bn")
        _copy(self.shrink, canonical, "shrink")
        for name, conv, bn in zip(names, self.layers_conv, self.layers_bn, strict=True):
            _copy(conv, canonical, name)
            _copy(bn, canonical, f"{name}_bn")


class _ConvModule(nn.Module):
    def __init__(self, canonical: Arrays, conv: str, bn: str) -> None:
        super().__init__()
        self.conv = _conv(canonical[f"{conv}.weight"])
        self.bn = nn.BatchNorm1d(_channels(canonical))
        self.activate = nn.ReLU()
        _copy(self.conv, canonical, conv)
        _copy(self.bn, canonical, bn)


class _Block(nn.Module):
    def __init__(self, canonical: Arrays, level: int) -> None:
        super().__init__()
        name = f"levels.{level}"
        self.conv1 = nn.Sequential(
            _ConvModule(canonical, f"{name}.conv", f"{name}.conv_bn"), nn.Dropout()
        )
        self.conv2 = nn.Sequential(
            _ConvModule(canonical, f"{name}.mix", f"{name}.mix_bn"), nn.Dropout()
        )


class _Backbone(nn.Module):
    def __init__(self, canonical: Arrays) -> None:
        super().__init__()
        self.expand_conv = _ConvModule(canonical, "expand.conv", "expand.bn")
        self.tcn_blocks = nn.ModuleList([_Block(canonical, k) for k in _levels(canonical)])


class _Head(nn.Module):
    def __init__(self, canonical: Arrays) -> None:
        super().__init__()
        self.conv = _conv(canonical["shrink.weight"], bias=True)
        _copy(self.conv, canonical, "shrink")


def _conv(weight: np.ndarray, bias: bool = False) -> nn.Conv1d:
    outputs, inputs, taps = weight.shape
    return nn.Conv1d(inputs, outputs, taps, bias=bias)


def _copy(module: nn.Module, canonical: Arrays, name: str) -> None:
    state = module.state_dict()
    with torch.no_grad():
        for part, tensor in state.items():
            if part == "num_batches_tracked":
                tensor.fill_(1234)
            else:
                tensor.copy_(torch.from_numpy(np.array(canonical[f"{name}.{part}"])))


def _levels(canonical: Arrays) -> Iterator[int]:
    level = 1
    while f"levels.{level}.conv.weight" in canonical:
        yield level
        level += 1


def _channels(canonical: Arrays) -> int:
    return len(canonical["expand.conv.weight"])


def _optimizer(*networks: nn.Module | None) -> dict[str, Any]:
    """The state of an Adam that has seen gradients; a learning rate of 0 leaves the weights."""
    parameters = [p for network in networks if network is not None for p in network.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=0.0, amsgrad=True)
    for parameter in parameters:
        parameter.grad = torch.full_like(parameter, 0.5)
    optimizer.step()
    return optimizer.state_dict()


# -- families -----------------------------------------------------------------------------------


def _videopose3d(pose: Arrays, trajectory: Arrays | None, dtype: torch.dtype) -> dict[str, Any]:
    pose_net = _VideoPose3D(pose).to(dtype)
    trajectory_net = None if trajectory is None else _VideoPose3D(trajectory).to(dtype)
    return {
        "epoch": 60,
        "lr": 4.85e-05,
        "random_state": np.random.RandomState(1234),
        "optimizer": _optimizer(pose_net, trajectory_net),
        "model_pos": pose_net.state_dict(),
        "model_traj": None if trajectory_net is None else trajectory_net.state_dict(),
        "random_state_semi": None if trajectory is None else np.random.RandomState(4321),
    }


def _mmpose_network(
    head: str, pose: Arrays, trajectory: Arrays | None, dtype: torch.dtype
) -> nn.Module:
    network = nn.Module()
    network.add_module("backbone", _Backbone(pose))
    network.add_module(head, _Head(pose))
    if trajectory is not None:
        network.add_module("traj_head", _Head(trajectory))
        network.add_module("traj_backbone", _Backbone(trajectory))
    return network.to(dtype)


def _mmpose_0(pose: Arrays, trajectory: Arrays | None, dtype: torch.dtype) -> dict[str, Any]:
    network = _mmpose_network("keypoint_head", pose, trajectory, dtype)
    return {
        "meta": {
            "epoch": 160,
            "iter": 243_840,
            "mmpose_version": "0.15.0+1a2b3c4",
            "config": "# a configuration file\n" * 100,
            "time": "Thu May 27 10:00:00 2021",
            "hook_msgs": {},
            "seed": None,
        },
        "state_dict": network.state_dict(),
        "optimizer": _optimizer(network),
    }


def _mmpose_1(pose: Arrays, trajectory: Arrays | None, dtype: torch.dtype) -> dict[str, Any]:
    network = _mmpose_network("head", pose, trajectory, dtype)
    state = network.state_dict()
    state["head.loss_module.keypoint_weights"] = torch.ones(17)
    averaged = {f"module.{key}": value + 1 for key, value in network.state_dict().items()}
    with mmengine_modules():
        hub = _message_hub()
    return {
        "meta": {
            "epoch": 160,
            "iter": 243_840,
            "cfg": "model = dict(type='PoseLifter')\n" * 50,
            "mmengine_version": "0.8.4",
            "time": "20230815_101112",
            "experiment_name": "videopose3d",
            "dataset_meta": {"keypoint_id2name": {0: "root"}, "sigmas": np.ones(17)},
        },
        "message_hub": hub,
        "state_dict": state,
        "optimizer": _optimizer(network),
        "param_schedulers": [{"last_step": 160, "_global_step": 161, "gamma": 0.975}],
        "ema_state_dict": {"steps": torch.tensor(9), **averaged},
    }


def _ours(
    pose: Arrays, trajectory: Arrays | None, dtype: torch.dtype, spec: ModelSpec
) -> dict[str, Any]:
    trajectory_spec = None
    if trajectory is not None:
        channels = len(trajectory["expand.conv.weight"])
        trajectory_spec = {**spec.to_dict(), "channels": channels, "joints_out": 1}
    return {
        "format": "vp3d-deploy",
        "version": 1,
        "spec": spec.to_dict(),
        "pose": _our_state(pose, dtype),
        "trajectory": None if trajectory is None else _our_state(trajectory, dtype),
        "trajectory_spec": trajectory_spec,
        "meta": {"epochs": 8, "mpjpe_mm": 61.5, "data": "procedural motion", "losses": [3.0, 2.0]},
    }


def _our_state(canonical: Arrays, dtype: torch.dtype) -> dict[str, torch.Tensor]:
    state = {name: torch.from_numpy(np.array(a)).to(dtype) for name, a in canonical.items()}
    counts = [name for name in state if name.endswith("running_var")]
    for name in counts:
        state[name.replace("running_var", "num_batches_tracked")] = torch.tensor(77)
    return state


# -- mmengine's objects, as checkpoints hold them -----------------------------------------------


class HistoryBuffer:
    """Pickled with its arrays, and with its methods by name."""

    def __init__(self) -> None:
        rng = np.random.default_rng(0)
        self._log_history = rng.random(200)
        self._count_history = np.ones(200, int)
        self.max_length = 1_000_000
        self.statistics_methods = {"min": HistoryBuffer.min, "mean": HistoryBuffer.mean}

    def min(self) -> float:
        return float(self._log_history.min())

    def mean(self) -> float:
        return float(self._log_history.mean())


class MessageHub:
    """An object that refers to itself through its state."""

    def __init__(self) -> None:
        self.runtime_info = {"epoch": 160, "hub": self, "best": np.float64(37.6)}


class ConfigDict(dict):
    """A dictionary of a class that the reader does not have."""


class PackedConfigDict(dict):
    """The same, pickled as a call."""

    def __reduce_ex__(self, protocol: Any) -> Any:
        return (type(self), (dict(self.items()),), None, None, None)


_CLASSES = {
    "mmengine.logging.history_buffer": HistoryBuffer,
    "mmengine.logging.message_hub": MessageHub,
    "mmengine.config.config": ConfigDict,
    "mmengine.config.packed": PackedConfigDict,
}


def _message_hub() -> dict[str, Any]:
    return {
        "log_scalars": {"train/loss": HistoryBuffer(), "train/lr": HistoryBuffer()},
        "runtime_info": {
            "cfg": ConfigDict(model=ConfigDict(type="PoseLifter"), work_dir=PurePosixPath("/x")),
            "packed": PackedConfigDict(a=1),
            "seed": 1,
            "hub": MessageHub(),
            "dtype": np.dtype([("a", "f4")]),
            "when": np.datetime64("2023-08-15"),
        },
        "resumed_keys": {"train/loss": True},
    }


@contextmanager
def mmengine_modules() -> Iterator[None]:
    """Makes the stand-ins importable under mmengine's names, which only writing needs."""
    before = dict(sys.modules)
    for module_name, cls in _CLASSES.items():
        parts = module_name.split(".")
        for n in range(1, len(parts) + 1):
            name = ".".join(parts[:n])
            module = sys.modules.setdefault(name, ModuleType(name))
            if n > 1:
                setattr(sys.modules[".".join(parts[: n - 1])], parts[n - 1], module)
        cls.__module__ = module_name
        setattr(sys.modules[module_name], cls.__name__, cls)
    try:
        yield
    finally:
        for name in [name for name in sys.modules if name.partition(".")[0] == "mmengine"]:
            if name not in before:
                del sys.modules[name]
