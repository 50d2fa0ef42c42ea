"""From a recognised checkpoint to networks: all keys there, all shapes right, all values sane."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vp3d_deploy.safe_pickle import Placeholder, brief
from vp3d_deploy.spec import ModelSpec
from vp3d_export.architecture import Sizes, dense_reading, read_sizes, sizes_of, spec_of
from vp3d_export.families import NetworkError, Recognised, StateDict, is_harmless
from vp3d_export.torch_tensors import StoredTensor, TensorError

# More names than any network has; beyond it a message would be of no use.
MAX_NAMES_SHOWN = 400
# Of names that share one complaint about what kind of thing they are: all of a file's, mostly.
MAX_ALIKE_SHOWN = 8
_FLOATS = ("float64", "float32", "float16", "bfloat16")


@dataclass(frozen=True)
class NetworkParameters:
    """One network in training form.

    tensors: canonical name (vp3d_deploy/training/networks.py) -> contiguous float32 array; shapes
        as in `parameter_shapes`. The counts num_batches_tracked are dropped.
    """

    spec: ModelSpec
    tensors: dict[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class _Located:
    """A state dictionary whose keys are sorted out.

    keys: by network, canonical name -> key, whether or not it is there.
    stored: by key, those that are there and tensors (of any dtype).
    """

    state: StateDict
    keys: dict[str, dict[str, str]]
    stored: dict[str, StoredTensor]
    missing: list[str]
    unexpected: list[str]
    ignored: list[str]

    def sizes(self, network: str, spec: ModelSpec | None) -> Sizes:
        """Those of one network, from its specification or else its shapes."""
        if spec is not None:
            return sizes_of(spec)
        n_levels = sum(name.endswith(".mix.weight") for name in self.keys[network])
        return read_sizes(self.shapes(network), n_levels)

    def shapes(self, network: str) -> dict[str, tuple[int, ...]]:
        """Canonical name -> shape, of the tensors that are there."""
        return {
            name: self.stored[key].shape
            for name, key in self.keys[network].items()
            if key in self.stored
        }


def read_networks(
    found: Recognised, causal: bool | None
) -> tuple[NetworkParameters, NetworkParameters | None, tuple[str, ...]]:
    """The pose network, the trajectory network if there is one, and the keys that were ignored.

    causal: for families that do not say; None means not causal. Raises NetworkError, for all that
    is missing, unexpected, no tensor of floats or misshapen at once.
    """
    specs = {name: _given_spec(name, spec) for name, spec in found.specs.items()}
    causal = _agree_on_causal(specs.get("pose"), causal)
    located = [_locate(state, specs) for state in found.states]
    problems = [
        f"{part.state.label} {'; '.join(complaints)}"
        for part in located
        if (complaints := _complaints(part, specs))
    ]
    if problems:
        raise NetworkError("; ".join(problems))
    networks: dict[str, NetworkParameters] = {}
    for part in located:
        for name in part.keys:
            pose = networks["pose"].spec if name == "trajectory" else None
            spec = _spec(part, name, specs.get(name), pose, causal)
            if found.family == "videopose3d":
                _refuse_dense(part.state.label, spec)
            networks[name] = NetworkParameters(spec, _read_values(part, name))
    ignored = tuple(key for part in located for key in part.ignored)
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


def _locate(state: StateDict, specs: Mapping[str, ModelSpec]) -> _Located:
    """Where each network's parameters are, and the keys beside them."""
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
    others = [key for key in state.tensors if key not in expected and key not in counts]
    return _Located(
        state,
        keys_by_network,
        stored={
            key: tensor
            for key, tensor in state.tensors.items()
            if key in expected and isinstance(tensor, StoredTensor)
        },
        missing=[key for key in sorted(expected, key=_natural) if key not in state.tensors],
        unexpected=[key for key in others if not is_harmless(key)],
        ignored=[key for key in others if is_harmless(key)],
    )


# -- complaints ---------------------------------------------------------------------------------


def _complaints(part: _Located, specs: Mapping[str, ModelSpec]) -> list[str]:
    """All that is wrong with the keys, kinds and shapes of a state dictionary, as predicates."""
    complaints = []
    if part.missing:
        complaints.append(f"lacks {_names(part.missing)}")
    if part.unexpected:
        complaints.append(f"has the unexpected {_names(part.unexpected)}")
    # By key: networks that share a backbone complain about it once.
    keys = {key: None for keys in part.keys.values() for key in keys.values()}
    alike: dict[str, list[str]] = {}
    for key in keys:
        if key in part.state.tensors and (kind := _wrong_kind(part.state.tensors[key])):
            alike.setdefault(kind, []).append(key)
    if alike:
        kinds = [f"{kind} {_names(names, limit=MAX_ALIKE_SHOWN)}" for kind, names in alike.items()]
        complaints.append(f"has {', '.join(kinds)}, expected tensors of floats")
    misshapen = {
        part.keys[network][name]: shapes
        for network in part.keys
        for name, shapes in part.sizes(network, specs.get(network))
        .misshapen(part.shapes(network))
        .items()
    }
    if misshapen:
        wrong = [f"{key} {shapes}" for key, shapes in misshapen.items()]
        complaints.append(f"has the wrong shapes {_names(wrong, '; ')}")
    return complaints


def _wrong_kind(value: object) -> str:
    """What a value is if it is no tensor of floats, ready for the keys that hold it; else ""."""
    if isinstance(value, StoredTensor):
        return "" if value.dtype in _FLOATS else f"{value.dtype} values in"
    if isinstance(value, Placeholder) and value.name.startswith("torch._utils._rebuild_meta"):
        return "no values (meta tensors) in"
    return f"{brief(value)} as"


# -- architecture -------------------------------------------------------------------------------


def _spec(
    part: _Located, network: str, spec: ModelSpec | None, pose: ModelSpec | None, causal: bool
) -> ModelSpec:
    """Of a network whose shapes are right. pose: the pose network's, for a trajectory network."""
    if spec is None:
        try:
            spec = spec_of(part.sizes(network, None), pose, causal)
        except ValueError as error:
            raise NetworkError(
                f"{part.state.label} describes no network of this kind: {error}"
            ) from None
    if pose is not None:
        _check_trajectory(spec, pose)
    return spec


def _refuse_dense(label: str, spec: ModelSpec) -> None:
    """Refuse the shapes of --dense where two levels or more agree on it: dilated networks of such
    widths would see 399 frames or more, and nobody trains them. One level alone, 3 7 for 3 3, may
    be either, so `load_checkpoint` warns: refusing would shut out networks that this project
    promises to read, and keeping silent would give wrong poses for the others."""
    reading = dense_reading(spec.filter_widths)
    if reading is not None and reading[1] > 1:
        arch = ",".join(map(str, reading[0]))
        raise NetworkError(
            f"{label} has filter widths {list(spec.filter_widths)}, which are those of the "
            f"original repository's -arch {arch} --dense; only dilated networks are read, so "
            "train it without --dense"
        )


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


def _read_values(part: _Located, network: str) -> dict[str, np.ndarray[Any, Any]]:
    label = part.state.label
    tensors, not_finite, negative = {}, [], []
    for name, key in part.keys[network].items():
        try:
            values = part.stored[key].read()
        except TensorError as error:
            raise NetworkError(f"{label} has a damaged {key}: {error}") from None
        with np.errstate(over="ignore"):  # doubles beyond float32 become infinite, and are reported
            tensors[name] = np.ascontiguousarray(values, np.float32)
        if not np.isfinite(tensors[name]).all():
            not_finite.append(key)
        elif name.endswith("running_var") and (tensors[name] < 0).any():
            negative.append(key)
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


def _names(names: Sequence[str], separator: str = ", ", limit: int = MAX_NAMES_SHOWN) -> str:
    shown = separator.join(name if name.isprintable() else repr(name) for name in names[:limit])
    hidden = len(names) - limit
    return f"{shown} and {hidden} more" if hidden > 0 else shown
