"""Open and verify a bundle: the directory that vp3d-export writes and every engine runs from.

A bundle holds `manifest.json`, weights (safetensors, once per precision), ONNX graphs that point
into them, perhaps TensorRT engines built from those, and `parity.json`. The manifest names every
file with its size and SHA-256. Bundles may come from strangers: nothing in one is run as code,
TensorRT engines excepted (engines/tensorrt.py), file names may not leave the directory, and every
file is checked before any engine reads it.

The writer is vp3d_export/bundle_writer.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

FORMAT = "vp3d-bundle"
SCHEMA = 1
MANIFEST = "manifest.json"
PARITY = "parity.json"
FORMS = ("window", "sequence", "stream")
PRECISIONS = ("fp32", "fp16", "int8")

_MANIFEST_LIMIT_BYTES = 16 << 20
_FILE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_CHUNK_BYTES = 4 << 20


class BundleError(ValueError):
    """A bundle is damaged, incomplete, of another kind, or lacks what was asked for."""


@dataclass(frozen=True)
class GraphEntry:
    """One ONNX graph: its file, its weights file, and what it computes (`lag` for streams)."""

    file: str
    weights: str
    form: str
    precision: str
    lag: int | None = None


@dataclass(frozen=True)
class EngineEntry:
    """One TensorRT engine: its file, what it computes, and where it runs.

    gpu, compute_capability: what it was built on, for example "Orin" and "8.7".
    tensorrt: the version that built it. version_compatible: later versions run it too, if they are
    allowed its host code. hardware_compatible: which other GPUs run it, "none", "ampere_plus" or
    "same_compute_capability". platform: where it was built and runs, for example "Linux aarch64";
    empty where nobody wrote it down.
    rows: how many streams a stream engine advances in one run; None for other forms.
    details: driver and CUDA versions, build time, options, and what else the builder recorded.
    """

    file: str
    form: str
    precision: str
    gpu: str
    compute_capability: str
    tensorrt: str
    lag: int | None = None
    rows: int | None = None
    version_compatible: bool = False
    hardware_compatible: str = "none"
    platform: str = ""
    details: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True)
class Bundle:
    """A verified bundle.

    networks: specification by output name, "pose" and, where there is one, "trajectory".
    fps: the frame rate of the motion that the network was trained on, frames per second.
    manifest: everything as stored, provenance included.
    """

    path: Path
    networks: Mapping[str, ModelSpec]
    skeleton_in: Skeleton
    skeleton_out: Skeleton
    fps: float
    graphs: tuple[GraphEntry, ...]
    manifest: Mapping[str, Any] = field(repr=False)
    engines: tuple[EngineEntry, ...] = ()

    @property
    def spec(self) -> ModelSpec:
        """The pose network's."""
        return self.networks["pose"]

    @property
    def has_trajectory(self) -> bool:
        return "trajectory" in self.networks

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(form for form in FORMS if any(g.form == form for g in self.graphs))

    @property
    def precisions(self) -> tuple[str, ...]:
        return tuple(p for p in PRECISIONS if any(g.precision == p for g in self.graphs))

    @property
    def lags(self) -> tuple[int, ...]:
        """Lags at which live streams are at hand."""
        return tuple(sorted({g.lag for g in self.graphs if g.lag is not None}))

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = True) -> Bundle:
        """Read the manifest and check every file it names against its size and SHA-256.

        verify: False skips the hashes, not the sizes; for bundles that were just checked.
        Raises BundleError, which says which file is wrong and why.
        """
        root = Path(path)
        manifest = _read_manifest(root)
        bundle = _bundle_from_manifest(root, manifest)
        _check_files(root, manifest["files"], verify)
        return bundle

    def graph(self, form: str, precision: str, lag: int | None = None) -> GraphEntry:
        """The entry for one form, precision and (streams) lag; raises BundleError without one."""
        for entry in self.graphs:
            if (entry.form, entry.precision, entry.lag) == (form, precision, lag):
                return entry
        wanted = f"{form} at lag {lag}" if lag is not None else form
        held = ", ".join(
            f"{g.form}{'' if g.lag is None else f' at lag {g.lag}'} {g.precision}"
            for g in self.graphs
        )
        remedy = f" --lag {lag}" if lag is not None else f" --forms {form}"
        raise BundleError(
            f"{self.path} has no {wanted} in {precision}; it holds {held}. "
            f"Export again with{remedy}{'' if precision == 'fp32' else f' --{precision}'}"
        )

    def file(self, name: str) -> Path:
        return self.path / name


def _read_manifest(root: Path) -> dict[str, Any]:
    if not root.is_dir():
        what = "a file" if root.exists() else "not there"
        raise BundleError(f"{root} is {what}; a bundle is a directory made by vp3d-export")
    path = root / MANIFEST
    if not path.is_file():
        raise BundleError(
            f"{root} holds no {MANIFEST}; a bundle is a directory made by vp3d-export"
        )
    if path.stat().st_size > _MANIFEST_LIMIT_BYTES:
        raise BundleError(f"{path} has {path.stat().st_size} bytes; a manifest is far smaller")
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{path} is damaged: it is not JSON ({error})") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise BundleError(f'{path} is not a bundle\'s: its "format" is not "{FORMAT}"')
    schema = manifest.get("schema")
    if schema != SCHEMA:
        newer = isinstance(schema, int) and schema > SCHEMA
        remedy = "upgrade vp3d-deploy" if newer else "export the checkpoint again"
        raise BundleError(f"{path} has schema {schema!r}, this version reads {SCHEMA}; {remedy}")
    return manifest


def _bundle_from_manifest(root: Path, manifest: Mapping[str, Any]) -> Bundle:
    try:
        networks = {
            str(name): ModelSpec.from_dict(spec) for name, spec in manifest["networks"].items()
        }
        graphs = tuple(GraphEntry(**entry) for entry in manifest["graphs"])
        engines = tuple(EngineEntry(**entry) for entry in manifest.get("engines", ()))
        skeleton_in = _skeleton(manifest["skeleton_in"])
        skeleton_out = _skeleton(manifest["skeleton_out"])
        fps = float(manifest["fps"])
        files = manifest["files"]
        entries = [(str(n), int(f["bytes"]), str(f["sha256"])) for n, f in files.items()]
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"it lacks {error}" if isinstance(error, KeyError) else str(error)
        raise BundleError(f"{root / MANIFEST} is damaged: {what}") from None
    problem = (
        _network_problem(networks, skeleton_in, skeleton_out)
        or next((f"odd file name {name!r}" for name, *_ in entries if not _plain(name)), None)
        or next(filter(None, (_graph_problem(graph, files) for graph in graphs)), None)
        or next(filter(None, (_engine_problem(engine, files) for engine in engines)), None)
        or (None if 0 < fps < 1e4 else f"fps is {fps}")
    )
    if problem:
        raise BundleError(f"{root / MANIFEST} is damaged: {problem}")
    return Bundle(root, networks, skeleton_in, skeleton_out, fps, graphs, manifest, engines)


def _skeleton(values: Mapping[str, Any]) -> Skeleton:
    return Skeleton(
        name=str(values["name"]),
        joints=tuple(str(joint) for joint in values["joints"]),
        parents=tuple(int(parent) for parent in values["parents"]),
        left=tuple(int(joint) for joint in values["left"]),
        right=tuple(int(joint) for joint in values["right"]),
        extra_edges=tuple((int(a), int(b)) for a, b in values["extra_edges"]),
    )


def _network_problem(
    networks: Mapping[str, ModelSpec], skeleton_in: Skeleton, skeleton_out: Skeleton
) -> str | None:
    if "pose" not in networks or set(networks) - {"pose", "trajectory"}:
        return f'its networks are {sorted(networks)}, not "pose" and perhaps "trajectory"'
    pose = networks["pose"]
    for spec in networks.values():
        if (spec.filter_widths, spec.causal, spec.joints_in, spec.features) != (
            pose.filter_widths,
            pose.causal,
            pose.joints_in,
            pose.features,
        ):
            return "its two networks do not read the same frames"
    if skeleton_in.n_joints != pose.joints_in or skeleton_out.n_joints != pose.joints_out:
        return "its skeletons do not have as many joints as its network"
    return None


def _graph_problem(graph: GraphEntry, files: Mapping[str, Any]) -> str | None:
    if graph.form not in FORMS or graph.precision not in PRECISIONS:
        return f"unknown form or precision {graph.form!r} {graph.precision!r}"
    if (graph.form == "stream") != (type(graph.lag) is int):
        return f"{graph.file} has lag {graph.lag!r}"
    missing = [name for name in (graph.file, graph.weights) if name not in files]
    return f"it lists no file {missing[0]!r}" if missing else None


def _engine_problem(engine: EngineEntry, files: Mapping[str, Any]) -> str | None:
    if engine.form not in FORMS or engine.precision not in PRECISIONS:
        return f"unknown form or precision {engine.form!r} {engine.precision!r}"
    is_stream = engine.form == "stream"
    if is_stream != (type(engine.lag) is int) or is_stream != (type(engine.rows) is int):
        return f"{engine.file} has lag {engine.lag!r} and rows {engine.rows!r}"
    if is_stream and not 1 <= int(engine.rows or 0) <= 4096:
        return f"{engine.file} has {engine.rows} rows"
    texts = (engine.gpu, engine.compute_capability, engine.tensorrt, engine.hardware_compatible)
    if not all(isinstance(text, str) for text in texts) or not isinstance(engine.details, dict):
        return f"{engine.file} does not say on which GPU and by which TensorRT it was built"
    return None if engine.file in files else f"it lists no file {engine.file!r}"


def _plain(name: str) -> bool:
    return bool(_FILE_NAME.fullmatch(name)) and name != MANIFEST


def _check_files(root: Path, files: Mapping[str, Mapping[str, Any]], verify: bool) -> None:
    for name, entry in files.items():
        path = root / name
        try:
            status = path.lstat()
        except OSError:
            raise BundleError(f"{root} is incomplete: {name} is missing") from None
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{path} is a link or a special file; a bundle holds plain files")
        if status.st_size != entry["bytes"]:
            raise BundleError(
                f"{path} is damaged: it has {status.st_size} bytes, not {entry['bytes']}"
            )
    if not verify:
        return
    for name, digest in zip(files, sha256_of_files([root / name for name in files]), strict=True):
        if digest != files[name]["sha256"]:
            raise BundleError(f"{root / name} is damaged: its SHA-256 is not the manifest's")


def sha256_of_files(paths: Iterable[Path]) -> list[str]:
    """Hex SHA-256 of each file; several at once, since hashing releases the GIL."""
    with ThreadPoolExecutor(max_workers=min(4, os.cpu_count() or 1)) as pool:
        return list(pool.map(_sha256, paths))


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    buffer = bytearray(_CHUNK_BYTES)
    view = memoryview(buffer)
    try:
        with path.open("rb", buffering=0) as file:
            while count := file.readinto(view):
                digest.update(view[:count])
    except OSError as error:
        raise BundleError(f"{path} cannot be read: {error.strerror}") from None
    return digest.hexdigest()
