"""What is evaluated: a bundle, or a checkpoint of any family."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vp3d_deploy.bundle import MANIFEST, Bundle, sha256_of_files
from vp3d_deploy.evaluation.clips import has_truth_for
from vp3d_deploy.skeleton import H36M_17, Skeleton, get_skeleton
from vp3d_deploy.spec import ModelSpec

Parameters = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Model:
    """A network, and where it can be run from.

    bundle: None for a checkpoint. parameters: a checkpoint's own weights in the names of
    vp3d_deploy/training/networks.py; None where there is none. fps: of the motion that the
    network was trained on, None where nothing says. provenance: ready for JSON.
    """

    name: str
    spec: ModelSpec
    skeleton_in: Skeleton
    skeleton_out: Skeleton
    fps: float | None
    bundle: Bundle | None
    parameters: Parameters | None
    provenance: dict[str, Any] = field(default_factory=dict)


def open_model(
    path: Path,
    *,
    checkpoint: Path | None = None,
    causal: bool | None = None,
    input_skeleton: str | None = None,
    output_skeleton: str | None = None,
) -> Model:
    """Open what the command was given.

    path: a bundle's directory, or a checkpoint. checkpoint: of a bundle, the file that it was
    exported from. causal and the skeletons: of a checkpoint, which (unless it is ours) says
    nothing about them.
    Raises ValueError (BundleError, CheckpointError, SkeletonError) or OSError in one sentence.
    """
    if path.is_dir():
        if causal is not None or input_skeleton is not None or output_skeleton is not None:
            raise ValueError(
                f"{path} is a bundle, which says itself whether its network is causal and whose "
                "joints it has; --causal and the skeletons are for checkpoints"
            )
        return _from_bundle(path, checkpoint)
    if checkpoint is not None:
        raise ValueError(f"{path} is not a bundle; --ckpt goes with one")
    if not path.exists():
        raise FileNotFoundError(
            f"{path} does not exist; expected a bundle (a folder with {MANIFEST}) or a checkpoint"
        )
    return _from_checkpoint(path, causal, input_skeleton, output_skeleton)


def _from_bundle(path: Path, checkpoint: Path | None) -> Model:
    bundle = Bundle.open(path)
    parameters = None if checkpoint is None else _own_parameters(bundle, checkpoint)
    provenance = bundle.manifest.get("provenance")
    return Model(
        name=path.resolve().name,
        spec=bundle.spec,
        skeleton_in=bundle.skeleton_in,
        skeleton_out=bundle.skeleton_out,
        fps=bundle.fps,
        bundle=bundle,
        parameters=parameters,
        provenance=dict(provenance) if isinstance(provenance, Mapping) else {},
    )


def _own_parameters(bundle: Bundle, checkpoint: Path) -> Parameters:
    """The weights of the checkpoint that a bundle was exported from, and of no other."""
    from vp3d_export.checkpoint import load_checkpoint

    stored = bundle.manifest.get("provenance")
    expected = stored.get("checkpoint_sha256") if isinstance(stored, Mapping) else None
    found = sha256_of_files([checkpoint])[0]
    if found != expected:
        known = f"one with SHA-256 {expected:.12}..." if expected else "a file it does not name"
        raise ValueError(
            f"{bundle.path} was not exported from {checkpoint} (SHA-256 {found:.12}...) but from "
            f"{known}; give the checkpoint that it was exported from"
        )
    pose = load_checkpoint(checkpoint, bundle.spec.causal or None).pose
    if pose.spec != bundle.spec:
        raise ValueError(f"{checkpoint} holds a network of {pose.spec}, the bundle {bundle.spec}")
    return pose.tensors


def _from_checkpoint(
    path: Path, causal: bool | None, input_skeleton: str | None, output_skeleton: str | None
) -> Model:
    from vp3d_export.checkpoint import load_checkpoint

    checkpoint = load_checkpoint(path, causal)
    spec = checkpoint.pose.spec
    stored = checkpoint.trained_on("keypoint_skeleton")
    return Model(
        name=path.name,
        spec=spec,
        skeleton_in=_skeleton(input_skeleton or stored, spec.joints_in, "input"),
        skeleton_out=_skeleton(output_skeleton, spec.joints_out, "output"),
        fps=checkpoint.trained_on("fps"),
        bundle=None,
        parameters=checkpoint.pose.tensors,
        provenance={
            "checkpoint": path.name,
            "checkpoint_sha256": sha256_of_files([path])[0],
            "checkpoint_family": checkpoint.family,
            "checkpoint_meta": checkpoint.meta,
        },
    )


def check_truth(model: Model) -> None:
    """Raises ValueError for a network whose output no data has the truth for."""
    if not has_truth_for(model.skeleton_out):
        raise ValueError(
            f"{model.name} writes the {model.skeleton_out.n_joints} joints of skeleton "
            f"{model.skeleton_out.name!r}, and there is ground truth for {H36M_17.name!r} only; "
            "its engines can be compared with PyTorch by vp3d-export"
        )


def _skeleton(name: str | None, n_joints: int, side: str) -> Skeleton:
    if name is None and n_joints == H36M_17.n_joints:
        return H36M_17
    if name is None:
        raise ValueError(
            f"the network's {side} has {n_joints} joints, and nothing says which; "
            f"name them with --{side}-skeleton"
        )
    skeleton = get_skeleton(name)
    if skeleton.n_joints != n_joints:
        raise ValueError(
            f"--{side}-skeleton {name} has {skeleton.n_joints} joints, the network {n_joints}"
        )
    return skeleton
