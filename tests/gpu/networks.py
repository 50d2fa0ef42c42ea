"""Networks of every kind for the CUDA engine, as bundles of random weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from bundles import random_bundle as bundle_of_any_skeleton
from gpu.answers import Truth

from vp3d_bench.networks import random_bundle, random_state
from vp3d_bench.subject import Subject
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.spec import ModelSpec

PRECISIONS = ("fp32", "fp16", "int8")
# Channels that fill tiles and that do not, from one level to five.
SPECS = {
    "3-3": ModelSpec((3, 3), 32),
    "3-5-3": ModelSpec((3, 5, 3), 48),
    "7-3": ModelSpec((7, 3), 64),
    "1-1-1": ModelSpec((1, 1, 1), 32),
    "3": ModelSpec((3,), 32),
    "causal-3-3-3": ModelSpec((3, 3, 3), 32, causal=True),
    "causal-5-3": ModelSpec((5, 3), 40, causal=True),
    "odd-channels": ModelSpec((3, 3), 37),
    "tiles": ModelSpec((3, 3), 128),
    "81-frames": ModelSpec((3, 3, 3, 3), 256),
    "243-frames": ModelSpec((3, 3, 3, 3, 3), 1024),
}
# Another skeleton, a score beside x and y, and a trajectory.
OTHER_SKELETON = ModelSpec((3, 3), 20, joints_in=5, features=3, joints_out=7)


def lags_of(spec: ModelSpec) -> tuple[int, ...]:
    """None, one between, and the full one."""
    return tuple(sorted({0, spec.lookahead // 2, spec.lookahead}))


def checked_lags(spec: ModelSpec) -> tuple[int, ...]:
    """All of small networks; of others, whose definition takes a while, those of `lags_of`."""
    return tuple(range(spec.lookahead + 1)) if spec.channels <= 128 else lags_of(spec)


def make_bundle(folder: Path, name: str) -> Bundle:
    """One of SPECS in every precision."""
    spec = SPECS[name]
    path = folder / f"{name}.vp3d"
    random_bundle(path, spec, random_state(spec, seed=0), PRECISIONS, lags_of(spec))
    return Bundle.open(path)


def make_other_skeleton(folder: Path) -> Bundle:
    path = folder / "other.vp3d"
    lags = lags_of(OTHER_SKELETON)
    return bundle_of_any_skeleton(
        path, OTHER_SKELETON, trajectory=True, precisions=("fp32", "fp16"), lags=lags
    ).bundle


def random_truth(bundle: Bundle, people: int, n_frames: int) -> Truth:
    """Numbers that are no motion, for skeletons that have none."""
    spec = bundle.spec
    shape = (people, n_frames, spec.joints_in, spec.features)
    clips = np.random.default_rng(5).normal(0, 0.5, shape).astype(np.float32)
    return Truth(Subject(bundle, 1, Path()), clips)
