"""All engines of a bundle: built one by one, each run at once and compared with PyTorch.

An engine that TensorRT does not build, that came out in another precision or that strays from
PyTorch beyond a limit is deleted, and the report says which and by how much; the others stay.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import (
    MANIFEST,
    PARITY,
    Bundle,
    EngineEntry,
    GraphEntry,
    sha256_of_files,
)
from vp3d_deploy.engines.gpu import Gpu, GpuError, open_gpu
from vp3d_deploy.engines.tensorrt import TensorRTEngine
from vp3d_deploy.engines.tensorrt_api import TensorRTError, import_tensorrt
from vp3d_deploy.progress import ProgressBar
from vp3d_export.compare import Expected
from vp3d_export.parity import Limits, ParityRow, check_parity
from vp3d_export.tensorrt.api import Advance
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions

Progress = Callable[[str], None]
# Of an engine's files: itself, and what the inspector said.
_SUFFIXES = (".engine", ".engine.inspector.json")
# In a row of parity.json: the engine's file; rows of other engines have none.
_FILE = "engine_file"


@dataclass
class EngineReport:
    """built: engines that are in the bundle now. compared: every comparison, by the engine's file.
    failures: one sentence for each engine that is not there. absent: why none was tried at all, or
    None."""

    built: list[EngineEntry] = field(default_factory=list)
    compared: dict[str, list[ParityRow]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    absent: str | None = None

    @property
    def rows(self) -> list[ParityRow]:
        return [row for rows in self.compared.values() for row in rows]


def why_absent() -> str | None:
    """Why no engine can be built here, or None."""
    try:
        import_tensorrt(), open_gpu()
    except (ImportError, GpuError) as error:
        return str(error)
    return None


def add_engines(
    directory: Path,
    expected: Expected,
    limits: Mapping[str, Limits],
    options: EngineOptions,
    progress: Progress = lambda step: None,
    advance: Advance | None = None,
) -> EngineReport:
    """Build an engine for every graph of the bundle in `directory`, and list it there.

    expected: PyTorch's answers. limits: by precision. progress: called before each step.
    advance: called with the steps of a build that are done, and how many there are; without it a
    terminal shows a bar.
    """
    absent = why_absent()
    if absent is not None:
        return EngineReport(absent=absent)
    trt, gpu = import_tensorrt(), open_gpu()
    bundle = Bundle.open(directory, verify=False)
    report = EngineReport()
    for graph in bundle.graphs:
        label = graph.file.removesuffix(".onnx")
        progress(f"building the TensorRT engine {label}")
        try:
            with _bar(advance, label) as bar, gpu.active():
                entry = build_engine(trt, gpu, bundle, graph, options, directory, bar)
        except (TensorRTError, GpuError) as error:
            report.failures.append(str(error))
            continue
        _check(bundle, graph, entry, expected, limits, options, progress, report)
    record_engines(directory, report.built, report.compared, gpu)
    return report


def _bar(advance: Advance | None, label: str) -> AbstractContextManager[Advance]:
    return ProgressBar(label) if advance is None else nullcontext(advance)


def _check(
    bundle: Bundle,
    graph: GraphEntry,
    entry: EngineEntry,
    expected: Expected,
    limits: Mapping[str, Limits],
    options: EngineOptions,
    progress: Progress,
    report: EngineReport,
) -> None:
    """Run the engine as a user would; it stays if it answers as PyTorch does."""
    alone = dataclasses.replace(bundle, graphs=(graph,), engines=(entry,))
    failures: list[str] = []
    try:
        engine = TensorRTEngine(
            alone, graph.precision, host_code_allowed=options.version_compatible
        )
        try:
            rows = check_parity(alone, engine, expected, limits[graph.precision], progress)
        finally:
            engine.close()
        report.compared[entry.file] = rows
        failures = [failure for row in rows for failure in row.failures]
    except (TensorRTError, GpuError, ValueError) as error:
        failures = [str(error)]
    if failures:
        for path in bundle.path.glob(f"{entry.file}*"):
            path.unlink()
        report.failures += [f"{entry.file} was deleted: {failure}" for failure in failures]
    else:
        report.built.append(entry)


def record_engines(
    directory: Path,
    built: list[EngineEntry],
    compared: Mapping[str, list[ParityRow]],
    gpu: Gpu,
) -> None:
    """Put new engines into the manifest and their comparisons into parity.json.

    Engines that were there before stay, with their comparisons, but for those that these replace or
    whose rebuilding left no file. compared: by the engine's file, those that failed included.
    """
    path = directory / MANIFEST
    manifest = json.loads(path.read_text("utf-8"))
    new = {entry.file for entry in built}
    listed = manifest["files"]
    for name in [n for n in listed if n.endswith(_SUFFIXES) and not (directory / n).is_file()]:
        del listed[name]
    engines = manifest.get("engines", ())
    old = [e for e in engines if e["file"] not in new and e["file"] in listed]
    manifest["engines"] = old + [_values(entry) for entry in built]
    parity = directory / PARITY
    changed = [name for entry in built for name in _files_of(directory, entry)]
    if parity.is_file():
        report = json.loads(parity.read_text("utf-8"))
        kept = [row for row in report["rows"] if row.get(_FILE) in {None, *listed} - new]
        report["rows"] = kept + [
            {**row.to_dict(), "gpu": gpu.name, _FILE: file}
            for file in sorted(new)
            for row in compared.get(file, ())
        ]
        parity.write_text(json.dumps(report, indent=2) + "\n", "utf-8")
        changed.append(PARITY)
    digests = sha256_of_files(directory / name for name in changed)
    for name, digest in zip(changed, digests, strict=True):
        size = (directory / name).stat().st_size
        listed[name] = {"bytes": size, "sha256": digest}
    path.write_text(json.dumps(manifest, indent=2) + "\n", "utf-8")


def _files_of(directory: Path, entry: EngineEntry) -> list[str]:
    """The engine, and what the inspector said of it where that is kept."""
    return sorted(path.name for path in directory.glob(f"{entry.file}*"))


def _values(entry: EngineEntry) -> dict[str, Any]:
    return {key: value for key, value in vars(entry).items() if value is not None}
