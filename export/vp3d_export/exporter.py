"""Checkpoint -> verified bundle, as a short list of steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import FORMS, PARITY, Bundle
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.native import is_built
from vp3d_deploy.evaluation.lags import lags_in_frames
from vp3d_deploy.skeleton import H36M_17, Skeleton, get_skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.versions import installed_versions
from vp3d_export.bias_correction import correct_last_bias
from vp3d_export.bundle_writer import LOCK, check_target, partial_directory, publish, write_manifest
from vp3d_export.calibration import Calibration, built_in_calibration, calibration_from
from vp3d_export.checkpoint import Checkpoint, load_checkpoint
from vp3d_export.compare import Expected
from vp3d_export.evaluation import EvaluationSet, built_in_set, h36m_set
from vp3d_export.fold import FoldedWeights, fold_batch_norm
from vp3d_export.graphs.write import write_graphs
from vp3d_export.int8.quantise import quantise
from vp3d_export.parity import DEFAULT_LIMITS, Limits, ParityRow, check_parity
from vp3d_export.reference import PyTorchReference
from vp3d_export.tensorrt.engines import EngineReport, add_engines
from vp3d_export.tensorrt.options import EngineOptions
from vp3d_export.tensorrt.recorded import RECORDED, write_recorded

# What the published networks were trained at: Human3.6M's cameras run at 50 Hz.
H36M_FPS = 50.0

Progress = Callable[[str], None]


class ExportError(ValueError):
    """Options that do not fit the checkpoint."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export and how to check it.

    out: the bundle's directory; by default the checkpoint's name with `.vp3d`, beside it.
    lags: stream lags in frames, or "full" for the network's whole lookahead.
    causal: None takes what the checkpoint says, which only our own do; others count as not causal.
    input_skeleton: whose joints the network reads; by default what the checkpoint says, as above,
        or else Human3.6M's for 17 joints.
    fps: the frame rate of the motion that the network was trained on; None takes what the
        checkpoint says, which only our own do, or else Human3.6M's.
    h36m: a Human3.6M directory in either published layout; None checks on built-in motion.
    max_frames: check on at most this many frames of it.
    calibration: the motion that int8 is fitted to, files or folders as
        `calibration.calibration_from` takes them; none takes built-in motion.
    engines: how TensorRT engines are built, where TensorRT and a GPU are; None builds none.
    """

    checkpoint: Path
    out: Path | None = None
    precisions: tuple[str, ...] = ("fp32",)
    forms: tuple[str, ...] = FORMS
    lags: tuple[int | str, ...] = (0,)
    causal: bool | None = None
    input_skeleton: str | None = None
    output_skeleton: str | None = None
    fps: float | None = None
    h36m: Path | None = None
    keypoints: str = "gt"
    max_frames: int | None = None
    calibration: tuple[Path, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    engines: EngineOptions | None = field(default_factory=EngineOptions)

    @property
    def target(self) -> Path:
        return self.out or self.checkpoint.with_suffix(".vp3d")


@dataclass(frozen=True)
class ExportResult:
    """rows: every comparison; the bundle was written if all of them passed.

    sizes: bytes by file name. engines: what became of TensorRT's, which are in the bundle only if
    they passed comparisons of their own.
    """

    target: Path
    data_title: str
    rows: list[ParityRow]
    sizes: dict[str, int]
    spec: ModelSpec
    engines: EngineReport = field(default_factory=EngineReport)

    @property
    def passed(self) -> bool:
        return bool(self.rows) and all(row.passed for row in self.rows)


def export_bundle(
    options: ExportOptions,
    progress: Progress = lambda step: None,
    advance: Callable[[int, int], None] | None = None,
) -> ExportResult:
    """Read, fold, write graphs, compare with PyTorch, build TensorRT engines, publish.

    progress is called with the name of each step before it starts, advance with how much of an
    engine's build is done and how much there is; without it, that draws a bar of its own.
    Raises ValueError (CheckpointError, OutputError, ...) with one sentence for bad input; nothing
    is written then, nor when a comparison fails.
    """
    target = options.target
    check_target(target)
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

    provenance = _provenance(options, checkpoint, calibration)
    with partial_directory(target) as partial:
        graphs = []
        for precision in options.precisions:
            weights = _suited(folded, networks, calibration, precision, progress)
            progress(f"writing {precision} weights and graphs")
            graphs += write_graphs(partial, networks, weights, precision, options.forms, lags)
        describe = (networks, *skeletons, _fps(checkpoint, options), graphs, provenance)
        write_manifest(partial, *describe)
        expected = Expected(networks["pose"], PyTorchReference(checkpoint), data)
        rows = _check(partial, expected, options, progress)
        report = {
            "data": data.title,
            "limits": {
                precision: asdict(options.limits[precision]) for precision in options.precisions
            },
            "rows": [row.to_dict() for row in rows],
        }
        (partial / PARITY).write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        if all(row.passed for row in rows):
            progress("keeping PyTorch's answers for engines that are built later")
            kept = _kept_answers(expected, skeletons, options)
            write_recorded(partial / RECORDED, kept, lags if "stream" in options.forms else ())
        write_manifest(partial, *describe)
        engines = EngineReport()
        if options.engines is not None and all(row.passed for row in rows):
            build = (options.limits, options.engines, progress, advance)
            engines = add_engines(partial, expected, *build)
        sizes = {p.name: p.stat().st_size for p in sorted(partial.iterdir()) if p.name != LOCK}
        result = ExportResult(target, data.title, rows, sizes, networks["pose"], engines)
        if result.passed:
            progress(f"publishing {target.name}")
            publish(partial, target)
    return result


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


def _suited(
    folded: dict[str, FoldedWeights],
    networks: dict[str, ModelSpec],
    calibration: Calibration | None,
    precision: str,
    progress: Progress,
) -> dict[str, FoldedWeights]:
    """The weights to store in a precision: where rounding matters, fitted to motion."""
    if calibration is None or precision == "fp32":
        return folded
    suited = {}
    for name, weights in folded.items():
        spec = networks[name]
        if precision == "int8":
            steps = _named(progress, f"{name} in int8: ")
            suited[name] = quantise(spec, weights, calibration.padded, progress=steps)
        else:
            suited[name] = correct_last_bias(spec, weights, calibration.few, precision)
    return suited


def _named(progress: Progress, what: str) -> Progress:
    return lambda step: progress(what + step)


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


def _kept_answers(
    expected: Expected, skeletons: tuple[Skeleton, Skeleton], options: ExportOptions
) -> Expected:
    """What the bundle keeps is of built-in motion: measured motion may not be passed on."""
    if options.h36m is None:
        return expected
    return Expected(expected.spec, expected.reference, built_in_set(expected.spec, *skeletons))


def _check(
    partial: Path, expected: Expected, options: ExportOptions, progress: Progress
) -> list[ParityRow]:
    bundle = Bundle.open(partial)
    rows = []
    for precision in options.precisions:
        for name in ("onnx", "native") if is_built() else ("onnx",):
            engine = open_engine(bundle, name, precision)
            try:
                limits = options.limits[precision]
                rows += check_parity(bundle, engine, expected, limits, progress)
            finally:
                engine.close()
    return rows


def _provenance(
    options: ExportOptions, checkpoint: Checkpoint, calibration: Calibration | None
) -> dict[str, Any]:
    """Where the bundle comes from; no paths, which are nobody else's business."""
    digest = hashlib.sha256(options.checkpoint.read_bytes()).hexdigest()
    packages = ("vp3d-deploy", "torch", "onnx", "onnxruntime", "numpy")
    fitted = {} if calibration is None else {"calibration": calibration.title}
    return {
        "checkpoint": options.checkpoint.name,
        "checkpoint_sha256": digest,
        "checkpoint_family": checkpoint.family,
        "checkpoint_meta": checkpoint.meta,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": installed_versions(packages),
        **fitted,
    }
