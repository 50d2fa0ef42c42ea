"""From a bundle to a model repository that Triton Inference Server loads.

    DIR/NAME_window/config.pbtxt            DIR/NAME_stream_lag0/config.pbtxt
    DIR/NAME_window/1/model.onnx            DIR/NAME_stream_lag0/1/model.onnx
    DIR/NAME_window/1/weights.fp32.safetensors    ...

Graphs point into their weights by a path beside them, so each version directory has its own copy:
links are refused by ONNX Runtime (symbolic) and by ONNX's checker (hard), and a server that
fetches a repository from object storage fetches that directory alone. TensorRT's engines hold
their weights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from vp3d_deploy.bundle import Bundle, EngineEntry, GraphEntry
from vp3d_deploy.engines.onnx_file import OnnxFileError, check_weights_location
from vp3d_deploy.engines.precisions import DEFAULT_PRECISIONS
from vp3d_export.bundle_writer import LOCK, OutputError, partial_directory
from vp3d_export.triton.config import BACKENDS, HEADER, Serving, TritonError, model_config
from vp3d_export.triton.engine_choice import chosen_engine

CONFIG = "config.pbtxt"
VERSION = "1"


@dataclass(frozen=True)
class _Planned:
    """A model to write: its config.pbtxt, and its files by their names in the repository."""

    name: str
    config: str
    files: dict[str, Path]


def write_repository(
    bundle: Bundle,
    directory: Path,
    serving: Serving | None = None,
    precision: str | None = None,
    progress: Callable[[str], None] = lambda step: None,
) -> list[Path]:
    """Write the bundle's window and its streams into the model repository `directory`.

    Models of the same names that we wrote before are replaced, each at once; others are left
    alone. precision: by default what the platform does best of what the bundle holds.
    Returns the models' directories. Raises TritonError, OutputError and BundleError in one
    sentence, the first two before anything is written.
    """
    serving = serving or Serving()
    planned = list(_planned(bundle, serving, precision))
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{directory} cannot be written: {error.strerror}") from None
    for model in planned:
        _check_free(directory / model.name)
    written = []
    for model in planned:
        progress(f"writing {model.name}")
        with partial_directory(directory / model.name) as partial:
            version = partial / VERSION
            version.mkdir()
            for stored_as, path in model.files.items():
                shutil.copyfile(path, version / stored_as)
            (partial / CONFIG).write_text(model.config, "utf-8")
            _put(partial, directory / model.name)
        written.append(directory / model.name)
    return written


def model_prefix(bundle: Bundle) -> str:
    """What the names of this bundle's models begin with."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", bundle.path.name.removesuffix(".vp3d")).strip("_")
    return name or "vp3d"


def _planned(bundle: Bundle, serving: Serving, precision: str | None) -> Iterator[_Planned]:
    graphs = [graph for graph in bundle.graphs if graph.form in ("window", "stream")]
    if not graphs:
        raise TritonError(
            f"{bundle.path} has neither the window nor the stream form, which are what a server "
            "runs; export again with --forms window,stream"
        )
    held = tuple(dict.fromkeys(graph.precision for graph in graphs))
    if precision is not None and precision not in held:
        raise TritonError(f"{bundle.path} has no {precision}; it holds {', '.join(held)}")
    prefix = model_prefix(bundle)
    file = BACKENDS[serving.platform][2]
    for form, lag in dict.fromkeys((graph.form, graph.lag) for graph in graphs):
        name = f"{prefix}_{form}{'' if lag is None else f'_lag{lag}'}"
        source: GraphEntry | EngineEntry
        if serving.platform == "tensorrt":
            source = chosen_engine(bundle, form, lag, precision, serving.gpu)
            files = {file: bundle.file(source.file)}
        else:
            alike = {g.precision: g for g in graphs if (g.form, g.lag) == (form, lag)}
            if precision is not None and precision not in alike:
                raise TritonError(f"{bundle.path} has no {form} in {precision}")
            graph = alike[precision or next(p for p in DEFAULT_PRECISIONS["onnx"] if p in alike)]
            files = {file: bundle.file(graph.file), graph.weights: bundle.file(graph.weights)}
            _check_graph(files[file], graph.weights)
            source = graph
        yield _Planned(name, model_config(name, bundle, source, serving), files)


def _check_graph(path: Path, weights: str) -> None:
    """A bundle may come from a stranger, and the server would follow any path in its graphs."""
    try:
        check_weights_location(path, weights)
    except OnnxFileError as error:
        raise TritonError(f"{path} is not a graph of a bundle: {error}") from None


def _check_free(model: Path) -> None:
    """Refuse to replace a model that somebody else wrote."""
    if not model.exists() and not model.is_symlink():
        return
    config = model / CONFIG
    ours = model.is_dir() and not model.is_symlink() and config.is_file()
    if not ours or not config.read_bytes().startswith(HEADER.encode()):
        raise OutputError(
            f"{model} exists and was not written by vp3d-export; move it away or choose another "
            "directory"
        )


def _put(partial: Path, target: Path) -> None:
    """Move the finished model to its place; the one that was there goes with `partial`."""
    finished = partial / "model"
    finished.mkdir()
    for path in list(partial.iterdir()):
        if path != finished and path.name != LOCK:
            path.rename(finished / path.name)
    old = partial / "old"
    if target.exists():
        target.rename(old)
    try:
        finished.rename(target)
    except OSError:
        if old.exists():
            old.rename(target)
        raise
