"""Checkpoint -> verified bundle, as a short list of steps."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import PARITY, Bundle, GraphEntry
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.native import is_built
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.versions import installed_versions
from vp3d_export.bias_correction import correct_last_bias
from vp3d_export.bundle_writer import LOCK, check_target, partial_directory, publish, write_manifest
from vp3d_export.compare import Expected
from vp3d_export.evaluation import built_in_set
from vp3d_export.fold import FoldedWeights
from vp3d_export.graphs.write import write_graphs
from vp3d_export.int8.quantise import quantise
from vp3d_export.options import ExportOptions
from vp3d_export.parity import ParityRow, check_parity
from vp3d_export.prepare import Prepared, prepare
from vp3d_export.reference import PyTorchReference
from vp3d_export.tensorrt.engines import EngineReport, add_engines
from vp3d_export.tensorrt.recorded import RECORDED, write_recorded

Progress = Callable[[str], None]


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
    prepared = prepare(options, progress)
    with partial_directory(target) as partial:
        graphs = _write_graphs(partial, prepared, options, progress)
        provenance = _provenance(options, prepared)
        describe = (prepared.networks, *prepared.skeletons, prepared.fps, graphs, provenance)
        write_manifest(partial, *describe)
        reference = PyTorchReference(prepared.checkpoint)
        expected = Expected(prepared.spec, reference, prepared.data)
        rows = _check(partial, expected, options, progress)
        _write_parity(partial / PARITY, rows, expected, options)
        passed = all(row.passed for row in rows)
        if passed:
            progress("keeping PyTorch's answers for engines that are built later")
            kept = _kept_answers(expected, prepared.skeletons, options)
            lags = prepared.lags if "stream" in options.forms else ()
            write_recorded(partial / RECORDED, kept, lags)
        write_manifest(partial, *describe)
        engines = EngineReport()
        if options.engines is not None and passed:
            build = (options.limits, options.engines, progress, advance)
            engines = add_engines(partial, expected, *build)
        sizes = {p.name: p.stat().st_size for p in sorted(partial.iterdir()) if p.name != LOCK}
        result = ExportResult(target, prepared.data.title, rows, sizes, prepared.spec, engines)
        if result.passed:
            progress(f"publishing {target.name}")
            publish(partial, target)
    return result


def _write_graphs(
    partial: Path, prepared: Prepared, options: ExportOptions, progress: Progress
) -> list[GraphEntry]:
    """And their weights, of every precision."""
    graphs = []
    for precision in options.precisions:
        weights = _suited(prepared, precision, progress)
        progress(f"writing {precision} weights and graphs")
        graphs += write_graphs(
            partial, prepared.networks, weights, precision, options.forms, prepared.lags
        )
    return graphs


def _write_parity(
    path: Path, rows: list[ParityRow], expected: Expected, options: ExportOptions
) -> None:
    limits = {precision: asdict(options.limits[precision]) for precision in options.precisions}
    report = {
        "data": expected.data.title,
        "limits": limits,
        "rows": [row.to_dict() for row in rows],
    }
    path.write_text(json.dumps(report, indent=2) + "\n", "utf-8")


def _suited(prepared: Prepared, precision: str, progress: Progress) -> dict[str, FoldedWeights]:
    """The weights to store in a precision: where rounding matters, fitted to motion."""
    calibration = prepared.calibration
    if calibration is None or precision == "fp32":
        return prepared.folded
    suited = {}
    for name, weights in prepared.folded.items():
        spec = prepared.networks[name]
        if precision == "int8":
            steps = _named(progress, f"{name} in int8: ")
            suited[name] = quantise(spec, weights, calibration.padded, progress=steps)
        else:
            suited[name] = correct_last_bias(spec, weights, calibration.few, precision)
    return suited


def _named(progress: Progress, what: str) -> Progress:
    return lambda step: progress(what + step)


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


def _provenance(options: ExportOptions, prepared: Prepared) -> dict[str, Any]:
    """Where the bundle comes from; no paths, which are nobody else's business."""
    digest = hashlib.sha256(options.checkpoint.read_bytes()).hexdigest()
    packages = ("vp3d-deploy", "torch", "onnx", "onnxruntime", "numpy")
    checkpoint, calibration = prepared.checkpoint, prepared.calibration
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
