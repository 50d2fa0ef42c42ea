"""From a recognised checkpoint to networks: every key there, every shape right, every value sane.

The architecture is read off the shapes: a convolution's weight is (C_out, C_in, taps).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vp3d_deploy.safe_pickle import brief
from vp3d_deploy.spec import ModelSpec
from vp3d_export.families import NetworkError, Recognised, StateDict, is_harmless
from vp3d_export.torch_tensors import StoredTensor, TensorError

# More names than any network has; beyond it a message would be of no use.
MAX_NAMES_SHOWN = 400
_FLOATS = ("float64", "float32", "float16", "bfloat16")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class NetworkParameters:
    """One network in training form.

    tensors: canonical name (vp3d_deploy/training/networks.py) -> contiguous float32 array; shapes
        as in `parameter_shapes`. The counts num_batches_tracked are dropped.
    """

    spec: ModelSpec
    tensors: dict[str, np.ndarray[Any, Any]]


def parameter_shapes(spec: ModelSpec) -> Shapes:
    """Canonical name -> shape of every parameter of a network; convolutions (C_out, C_in, taps)."""
    c = spec.channels
    shapes: Shapes = {
        "expand.conv.weight": (c, spec.joints_in * spec.features, spec.filter_widths[0])
    }
    norms = ["expand.bn"]
    for level, width in enumerate(spec.filter_widths[1:], 1):
        shapes[f"levels.{level}.conv.weight"] = (c, c, width)
        shapes[f"levels.{level}.mix.weight"] = (c, c, 1)
        norms += [f"levels.{level}.conv_bn", f"levels.{level}.mix_bn"]
    for norm in norms:
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (c,)
    return {
        **shapes,
        "shrink.weight": (spec.joints_out * 3, c, 1),
        "shrink.bias": (spec.joints_out * 3,),
    }


def read_networks(
    found: Recognised, causal: bool | None
) -> tuple[NetworkParameters, NetworkParameters | None, tuple[str, ...]]:
    """The pose network, the trajectory network if there is one, and the keys that were ignored.

    causal: for families that do not say; None means not causal. Raises NetworkError.
    """
    specs = {name: _given_spec(name, spec) for name, spec in found.specs.items()}
    causal = _agree_on_causal(specs.get("pose"), causal)
    located = [_locate(state, specs) for state in found.states]
    problems = [problem for _, _, problem in located if problem]
    if problems:
        raise NetworkError("; ".join(problems))
    networks: dict[str, NetworkParameters] = {}
    for (keys_by_network, _, _), state in zip(located, found.states, strict=True):
        for name, keys in keys_by_network.items():
            pose = networks["pose"].spec if name == "trajectory" else None
            networks[name] = _read_network(state, keys, specs.get(name), pose, causal)
    ignored = tuple(key for _, keys, _ in located for key in keys)
    return networks["pose"], networks.get("trajectory"), ignored


# -- specifications and keys --------------------------------------------------------------------


def _given_spec(name: str, values: object) -> ModelSpec:
    if not isinstance(values, Mapping):
        raise NetworkError(f"its {name} specification is a {type(values).__name__}, not a mapping")
    try:
        return ModelSpec.from_dict(values)
    except (ValueError, TypeError) as error:
        raise NetworkError(f"its {name} specification is wrong: {error}") from None


def _agree_on_causal(spec: ModelSpec | None, causal: bool | None) -> bool:
    if spec is None:
        return bool(causal)
    if causal is not None and causal != spec.causal:
        kinds = {True: "causal", False: "not causal"}
        raise NetworkError(
            f"it was trained {kinds[spec.causal]}, and you say {kinds[causal]}; "
            "leave the option away for our own checkpoints"
        )
    return spec.causal


def _locate(
    state: StateDict, specs: Mapping[str, ModelSpec]
) -> tuple[dict[str, dict[str, str]], list[str], str]:
    """Where each network's parameters are: canonical name -> key, by network; then the keys that
    do no harm, and a complaint about all that are missing and unexpected, or ""."""
    keys_by_network = {}
    n_levels = 0
    for name, table in state.networks.items():
        spec = specs.get(name)
        # A trajectory network beside a pose network has as many levels, so none goes unmissed.
        n_levels = max(n_levels, table.count_levels(state.tensors))
        keys_by_network[name] = table.keys(len(spec.filter_widths) - 1 if spec else n_levels)
    expected = {key for keys in keys_by_network.values() for key in keys.values()}
    counts = {
        key.replace("running_var", "num_batches_tracked")
        for key in expected
        if key.endswith(".running_var")
    }
    missing = [key for key in sorted(expected, key=_natural) if key not in state.tensors]
    others = [key for key in state.tensors if key not in expected and key not in counts]
    ignored = [key for key in others if is_harmless(key)]
    unexpected = [key for key in others if not is_harmless(key)]
    complaints = []
    if missing:
        complaints.append(f"lacks {_names(missing)}")
    if unexpected:
        complaints.append(f"has the unexpected {_names(unexpected)}")
    return (
        keys_by_network,
        ignored,
        f"{state.label} " + " and ".join(complaints) if complaints else "",
    )


# -- shapes -------------------------------------------------------------------------------------


def _read_network(
    state: StateDict,
    keys: Mapping[str, str],
    spec: ModelSpec | None,
    pose: ModelSpec | None,
    causal: bool,
) -> NetworkParameters:
    """One network whose keys are all there. pose: the pose network's, for a trajectory network."""
    stored = _stored_tensors(state, keys)
    shapes = {canonical: tensor.shape for canonical, tensor in stored.items()}
    if spec is None:
        spec = _spec_from_shapes(state.label, shapes, keys, pose, causal)
    wrong = [
        f"{keys[name]} {list(shapes[name])}, expected {list(shape)}"
        for name, shape in parameter_shapes(spec).items()
        if shapes[name] != shape
    ]
    if wrong:
        raise NetworkError(f"{state.label} has the wrong shapes {_names(wrong, '; ')}")
    if pose is not None:
        _check_trajectory(spec, pose)
    return NetworkParameters(spec, _read_values(state.label, stored, keys))


def _stored_tensors(state: StateDict, keys: Mapping[str, str]) -> dict[str, StoredTensor]:
    stored: dict[str, StoredTensor] = {}
    wrong = []
    for canonical, key in keys.items():
        tensor = state.tensors[key]
        if not isinstance(tensor, StoredTensor):
            wrong.append(f"{brief(tensor)} as {key}")
        elif tensor.dtype not in _FLOATS:
            wrong.append(f"{tensor.dtype} values in {key}")
        else:
            stored[canonical] = tensor
    if wrong:
        raise NetworkError(f"{state.label} has {_names(wrong)}, expected tensors of floats")
    return stored


def _spec_from_shapes(
    label: str, shapes: Shapes, keys: Mapping[str, str], pose: ModelSpec | None, causal: bool
) -> ModelSpec:
    convs = ["expand.conv.weight"]
    convs += [name for name in shapes if name.startswith("levels.") and ".conv.weight" in name]
    wrong = [
        f"{keys[name]} {list(shapes[name])}"
        for name in (*convs, "shrink.weight")
        if len(shapes[name]) != 3
    ]
    if wrong:
        raise NetworkError(f"{label} has {', '.join(wrong)}, expected three sizes (out, in, taps)")
    # By majority, so that of two layers that disagree the one is named that differs from the rest.
    hidden = (shape[0] for name, shape in shapes.items() if not name.startswith("shrink") and shape)
    channels = Counter(hidden).most_common(1)[0][0]
    inputs = shapes["expand.conv.weight"][1]
    outputs = shapes["shrink.weight"][0]
    if outputs == 0 or outputs % 3:
        raise NetworkError(
            f"{label} has {outputs} outputs in {keys['shrink.weight']}, expected three per joint"
        )
    joints_in, features = _split_inputs(inputs, outputs // 3)
    if pose is not None and inputs == pose.joints_in * pose.features:
        joints_in, features = pose.joints_in, pose.features
    widths = tuple(shapes[name][2] for name in convs)
    try:
        spec = ModelSpec(widths, channels, joints_in, features, outputs // 3, causal)
    except ValueError as error:
        raise NetworkError(f"{label} describes no network of this kind: {error}") from None
    if _is_dense(widths):
        raise NetworkError(
            f"{label} has filter widths {list(widths)}, which are those of the original "
            "repository's --dense networks; only dilated networks are read"
        )
    return spec


def _split_inputs(inputs: int, joints_out: int) -> tuple[int, int]:
    """Joints and features per joint, of which the weights show only the product: as many joints as
    come out if they then have two or three features, else x and y, else x, y and a score."""
    if inputs in (2 * joints_out, 3 * joints_out):
        return joints_out, inputs // joints_out
    features = 2 if inputs % 2 == 0 else 3 if inputs % 3 == 0 else 1
    return inputs // features, features


def _is_dense(widths: Sequence[int]) -> bool:
    """Whether each width spans the taps of a dilated network: the ablation in the paper's
    appendix, 3 7 19 55 for 3 3 3 3, whose convolutions are not dilated."""
    first = widths[0]
    spans = [first] + [(first - 1) * first**level + 1 for level in range(1, len(widths))]
    return len(widths) > 2 and first > 1 and list(widths) == spans


def _check_trajectory(spec: ModelSpec, pose: ModelSpec) -> None:
    """It runs beside the pose network on the same input; only channels and outputs may differ."""
    expected = replace(pose, channels=spec.channels, joints_out=1)
    if spec != expected:
        raise NetworkError(
            f"its trajectory network is {_architecture(spec)}, expected {_architecture(expected)} "
            "to go with its pose network"
        )


def _architecture(spec: ModelSpec) -> str:
    causal = "causal" if spec.causal else "not causal"
    return (
        f"filter widths {list(spec.filter_widths)}, {spec.joints_in} joints of {spec.features} in, "
        f"{spec.joints_out} out, {causal}"
    )


# -- values -------------------------------------------------------------------------------------


def _read_values(
    label: str, stored: Mapping[str, StoredTensor], keys: Mapping[str, str]
) -> dict[str, np.ndarray[Any, Any]]:
    tensors, not_finite, negative = {}, [], []
    for name, tensor in stored.items():
        try:
            values = tensor.read()
        except TensorError as error:
            raise NetworkError(f"{label} has a damaged {keys[name]}: {error}") from None
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, and are reported
            tensors[name] = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(tensors[name]).all():
            not_finite.append(keys[name])
        elif name.endswith("running_var") and (tensors[name] < 0).any():
            negative.append(keys[name])
    problems = []
    if not_finite:
        problems.append(f"NaN or infinite values in {_names(not_finite)}")
    if negative:
        problems.append(f"negative variances in {_names(negative)}")
    if problems:
        raise NetworkError(
            f"{label} has {' and '.join(problems)}; training diverged or it is damaged"
        )
    return tensors


def _natural(key: str) -> list[tuple[int, str]]:
    """Sorts layer 10 after layer 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in key.split(".")]


def _names(names: Sequence[str], separator: str = ", ") -> str:
    shown = separator.join(
        name if name.isprintable() else repr(name) for name in names[:MAX_NAMES_SHOWN]
    )
    hidden = len(names) - MAX_NAMES_SHOWN
    return f"{shown} and {hidden} more" if hidden > 0 else shown
