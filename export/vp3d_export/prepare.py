"""All that an export needs before it writes anything: the networks, and motion to check them on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vp3d_deploy.evaluation.lags import lags_in_frames
from vp3d_deploy.skeleton import H36M_17, Skeleton, get_skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_export.calibration import Calibration, built_in_calibration, calibration_from
from vp3d_export.checkpoint import Checkpoint, load_checkpoint
from vp3d_export.evaluation import EvaluationSet, built_in_set, h36m_set
from vp3d_export.fold import FoldedWeights, fold_batch_norm
from vp3d_export.options import ExportError, ExportOptions

# What the published networks were trained at: Human3.6M's cameras run at 50 Hz.
H36M_FPS = 50.0


@dataclass(frozen=True)
class Prepared:
    """networks, folded: by name, "pose" and, where the checkpoint has one, "trajectory".

    skeletons: of the keypoints and of the poses. data: what the export is checked on. calibration:
    what rounded weights are fitted to, None where none are rounded.
    """

    checkpoint: Checkpoint
    networks: dict[str, ModelSpec]
    folded: dict[str, FoldedWeights]
    skeletons: tuple[Skeleton, Skeleton]
    lags: tuple[int, ...]
    fps: float
    data: EvaluationSet
    calibration: Calibration | None

    @property
    def spec(self) -> ModelSpec:
        return self.networks["pose"]


def prepare(options: ExportOptions, progress: Callable[[str], None]) -> Prepared:
    """Raises ValueError with one sentence for what cannot be exported as asked."""
    progress(f"reading {options.checkpoint.name}")
    checkpoint = load_checkpoint(options.checkpoint, options.causal)
    networks = _networks(checkpoint)
    skeletons = _skeletons(checkpoint, options)
    lags = resolve_lags(networks["pose"], options.lags)
    progress("loading motion to check on")
    data = _evaluation_set(networks["pose"], skeletons, options)
    calibration = _calibration(networks["pose"], skeletons, options, data)
    progress("folding batch normalisation")
    folded = _fold(checkpoint)
    fps = _fps(checkpoint, options)
    return Prepared(checkpoint, networks, folded, skeletons, lags, fps, data, calibration)


def resolve_lags(spec: ModelSpec, lags: tuple[int | str, ...]) -> tuple[int, ...]:
    """Lags in frames, sorted, each once; raises ExportError for those the network cannot have."""
    try:
        return lags_in_frames(spec, lags)
    except ValueError as error:
        raise ExportError(str(error)) from None


def _networks(checkpoint: Checkpoint) -> dict[str, ModelSpec]:
    networks = {"pose": checkpoint.pose.spec}
    if checkpoint.trajectory is not None:
        networks["trajectory"] = checkpoint.trajectory.spec
    return networks


def _fold(checkpoint: Checkpoint) -> dict[str, FoldedWeights]:
    folded = {"pose": fold_batch_norm(checkpoint.pose.spec, checkpoint.pose.tensors)}
    if checkpoint.trajectory is not None:
        parameters = checkpoint.trajectory
        folded["trajectory"] = fold_batch_norm(parameters.spec, parameters.tensors)
    return folded


def _skeletons(checkpoint: Checkpoint, options: ExportOptions) -> tuple[Skeleton, Skeleton]:
    spec = checkpoint.pose.spec
    stored = checkpoint.trained_on("keypoint_skeleton")
    name = options.input_skeleton or (stored if isinstance(stored, str) else None)
    return (
        _skeleton(name, spec.joints_in, "input"),
        _skeleton(options.output_skeleton, spec.joints_out, "output"),
    )


def _skeleton(name: str | None, n_joints: int, side: str) -> Skeleton:
    if name is None:
        return H36M_17 if n_joints == H36M_17.n_joints else _unnamed(n_joints)
    skeleton = get_skeleton(name)
    if skeleton.n_joints != n_joints:
        raise ExportError(
            f"--{side}-skeleton {name} has {skeleton.n_joints} joints, the network {n_joints}"
        )
    return skeleton


def _unnamed(n_joints: int) -> Skeleton:
    """For networks of other data sets: numbered joints around the first."""
    names = tuple(f"joint_{joint}" for joint in range(n_joints))
    return Skeleton(f"unnamed{n_joints}", names, (-1, *[0] * (n_joints - 1)), (), ())


def _evaluation_set(
    spec: ModelSpec, skeletons: tuple[Skeleton, Skeleton], options: ExportOptions
) -> EvaluationSet:
    if options.h36m is None:
        return built_in_set(spec, *skeletons)
    return h36m_set(options.h36m, options.keypoints, spec, *skeletons, options.max_frames)


def _calibration(
    spec: ModelSpec,
    skeletons: tuple[Skeleton, Skeleton],
    options: ExportOptions,
    data: EvaluationSet,
) -> Calibration | None:
    """Motion to fit weights to, if they are rounded; raises ExportError if it is what the result
    is checked on."""
    if set(options.precisions) == {"fp32"}:
        return None
    if not options.calibration:
        return built_in_calibration(spec, *skeletons)
    calibration = calibration_from(options.calibration, spec, *skeletons)
    shared = calibration.shared_with(data)
    if shared:
        raise ExportError(
            f"--calibration has clip {shared}, on which the export is checked: a network looks "
            "too good on what it was fitted to; leave it out, or check on other motion"
        )
    return calibration


def _fps(checkpoint: Checkpoint, options: ExportOptions) -> float:
    if options.fps is not None:
        return options.fps
    stored = checkpoint.trained_on("fps")
    return float(stored) if isinstance(stored, (int, float)) and 0 < stored < 1000 else H36M_FPS
