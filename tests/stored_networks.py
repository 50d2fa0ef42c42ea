"""Weights files of random networks, and what they answer by definition, for tests of engines.

The definition is computed in float64 from the numbers that the file holds, so that precision is
the engine's alone: dilated convolutions as loops over taps, for int8 the whole numbers of
integer_network.py. Live answers are the full network on edited clips. Nothing is shared with the
product but ModelSpec's plain numbers and, to write the files, the exporter.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from bundles import trajectory_spec
from integer_network import integer_sequence, random_int8_tensors
from reference import random_parameters

from vp3d_deploy.bundle import Bundle, GraphEntry
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.native import NativeEngine
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import fold_batch_norm
from vp3d_export.weights import weights_file_name, write_weights

PRECISIONS = ("fp32", "fp16", "int8")

# How far float32 may carry an activation between 0 and 127 from where float64 has it, in steps.
LEAN = 5e-5


@dataclass(frozen=True)
class StoredNetworks:
    """A bundle of nothing but weights in one precision, which is all that the native engine reads.

    parameters: as before folding, by network name; of fp32 and fp16 only.
    """

    bundle: Bundle
    precision: str
    parameters: dict[str, dict[str, np.ndarray]]

    @property
    def file(self) -> Path:
        return self.bundle.file(weights_file_name(self.precision))

    def sequence(self, clips: np.ndarray) -> tuple[Defined, ...]:
        """(B, T+R-1, J_in, F) -> what each network answers to (B, T) windows by definition."""
        tensors = safetensors.numpy.load_file(self.file)
        return tuple(
            _int8_sequence(spec, tensors, name, clips)
            if self.precision == "int8"
            else _float_sequence(spec, tensors, name, clips)
            for name, spec in self.bundle.networks.items()
        )

    def windows(self, clips: np.ndarray) -> tuple[Defined, ...]:
        """(B, R, J_in, F) -> what each network answers to (B,) windows."""
        return first_of(self.sequence(clips))


class Defined(NamedTuple):
    """answers: (..., J_out, 3) float64. sure: (...) bool, False where an 8-bit activation lies so
    close to halfway between two whole numbers that float32 may take the other one."""

    answers: np.ndarray
    sure: np.ndarray


def first_of(whole: tuple[Defined, ...]) -> tuple[Defined, ...]:
    """(B, T) answers -> (B,), those of each clip's first frame."""
    return tuple(Defined(answers[:, 0], sure[:, 0]) for answers, sure in whole)


def assert_agrees(found: Output, expected: tuple[Defined, ...]) -> None:
    """An engine's answers are those of the definition.

    To 1e-5 m in float32 arithmetic; in 8 bits to 2e-5 m, answers being larger there, and where one
    activation may be rounded either way to 0.1 m: a wrong tap, scale or bias moves all answers of
    these networks by more than that.
    """
    arrays = [array for array in found if array is not None]
    for ours, (theirs, sure) in zip(arrays, expected, strict=True):
        assert ours.dtype == np.float32
        assert ours.shape == theirs.shape
        error = np.abs(ours - theirs)
        assert np.isfinite(error).all()
        tolerance = 1e-5 if sure.all() else 2e-5
        assert error[sure].max(initial=0) <= tolerance
        assert error[~sure].max(initial=0) < 0.1


def stored_networks(
    directory: Path, spec: ModelSpec, precision: str, *, trajectory: bool = False, seed: int = 1
) -> StoredNetworks:
    """Write random weights into `directory`."""
    networks = {"pose": spec} | ({"trajectory": trajectory_spec(spec)} if trajectory else {})
    parameters = {}
    if precision == "int8":
        tensors = {}
        for index, (name, own) in enumerate(networks.items()):
            tensors |= random_int8_tensors(own, name, seed + index)
        safetensors.numpy.save_file(tensors, directory / weights_file_name(precision))
    else:
        parameters = {
            name: random_parameters(own, seed + i) for i, (name, own) in enumerate(networks.items())
        }
        folded = {name: fold_batch_norm(networks[name], parameters[name]) for name in networks}
        write_weights(directory, networks=folded, precision=precision)
    entry = GraphEntry("none.onnx", weights_file_name(precision), "window", precision)
    bundle = Bundle(directory, networks, H36M_17, H36M_17, 50.0, (entry,), {})
    return StoredNetworks(bundle, precision, parameters)


@contextmanager
def opened(
    spec: ModelSpec,
    precision: str,
    isa: str = "auto",
    threads: int = 1,
    *,
    trajectory: bool = False,
    seed: int = 1,
) -> Iterator[tuple[NativeEngine, StoredNetworks]]:
    """An engine on random weights, and the definition of what it should answer."""
    with tempfile.TemporaryDirectory() as directory:
        networks = stored_networks(
            Path(directory), spec, precision, trajectory=trajectory, seed=seed
        )
        engine = NativeEngine(networks.bundle, precision, threads, isa=isa)
        yield engine, networks
        engine.close()


def random_clips(spec: ModelSpec, count: int, n_frames: int, seed: int = 0) -> np.ndarray:
    """(count, n_frames, J_in, F) float32."""
    shape = (count, n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(seed).normal(0, 0.5, shape).astype(np.float32)


def live_window(spec: ModelSpec, seen: Sequence[np.ndarray], lag: int) -> np.ndarray:
    """What the full network is shown for the frame `lag` frames before the newest of `seen`.

    Every frame after the newest is the newest, every frame before the first is the first.
    """
    newest = len(seen) - 1
    around = np.arange(spec.receptive_field) - spec.pad_left
    return np.stack([seen[i] for i in np.clip(newest - lag + around, 0, newest)])


def _int8_sequence(
    spec: ModelSpec, tensors: dict[str, np.ndarray], name: str, clips: np.ndarray
) -> Defined:
    exact, low, high = (
        integer_sequence(spec, tensors, name, clips, lean) for lean in (0.0, -LEAN, LEAN)
    )
    return Defined(exact, np.isclose(low, high, rtol=0, atol=1e-9).all(axis=(2, 3)))


def _float_sequence(
    spec: ModelSpec, tensors: dict[str, np.ndarray], name: str, clips: np.ndarray
) -> Defined:
    def product(layer: str, x: np.ndarray) -> np.ndarray:
        weight, bias = (tensors[f"{name}.{layer}.{part}"] for part in ("weight", "bias"))
        return x @ weight.astype(np.float64).T + bias.astype(np.float64)

    h = clips.astype(np.float64).reshape(*clips.shape[:2], -1)
    dilation = 1
    for level, width in enumerate(spec.filter_widths):
        n_out = h.shape[1] - (width - 1) * dilation
        taps = [h[:, tap * dilation : tap * dilation + n_out] for tap in range(width)]
        new = np.maximum(product(f"level{level}.conv", np.concatenate(taps, axis=2)), 0)
        if level:
            new = np.maximum(product(f"level{level}.mix", new), 0)
            new += taps[width - 1 if spec.causal else width // 2]
        h = new
        dilation *= width
    answers = product("shrink", h)
    answers = answers.reshape(*answers.shape[:2], spec.joints_out, 3)
    return Defined(answers, np.ones(answers.shape[:2], bool))
