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
from dataclasses import replace
from pathlib import Path
from typing import Any

from vp3d_deploy.bundle import Bundle, GraphEntry
from vp3d_deploy.engines import DEFAULT_PRECISIONS
from vp3d_deploy.engines.onnx_file import OnnxFileError, check_weights_location
from vp3d_export.bundle_writer import LOCK, OutputError, partial_directory
from vp3d_export.triton.config import BACKENDS, HEADER, Serving, TritonError, model_config

CONFIG = "config.pbtxt"
VERSION = "1"
# Of an engine file's precisions, the first that a bundle holds; graphs have engines/__init__.py's.
ENGINE_PRECISIONS = ("fp16", "int8", "fp32")


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
    for name, *_ in planned:
        _check_free(directory / name)
    written = []
    for name, graph, files, model_serving in planned:
        progress(f"writing {name}")
        with partial_directory(directory / name) as partial:
            version = partial / VERSION
            version.mkdir()
            for stored_as, path in files.items():
                shutil.copyfile(path, version / stored_as)
            text = model_config(name, bundle, graph, model_serving)
            (partial / CONFIG).write_text(text, "utf-8")
            _put(partial, directory / name)
        written.append(directory / name)
    return written


def model_prefix(bundle: Bundle) -> str:
    """What the names of this bundle's models begin with."""
    name = re.sub(r"[^A-Za-z0-9_-]+", "_", bundle.path.name.removesuffix(".vp3d")).strip("_")
    return name or "vp3d"


def _planned(
    bundle: Bundle, serving: Serving, precision: str | None
) -> Iterator[tuple[str, GraphEntry, dict[str, Path], Serving]]:
    """Of each model: its name, its graph, what files it takes from where, and how it is served."""
    graphs = [graph for graph in bundle.graphs if graph.form in ("window", "stream")]
    held = sorted({g.precision for g in graphs})
    if not graphs:
        raise TritonError(
            f"{bundle.path} has neither the window nor the stream form, which are what a server "
            "runs; export again with --forms window,stream"
        )
    if precision is not None and precision not in held:
        raise TritonError(f"{bundle.path} has no {precision}; it holds {', '.join(held)}")
    prefix = model_prefix(bundle)
    for graph in _chosen(bundle, graphs, serving.platform, precision):
        name = f"{prefix}_{graph.form}{'' if graph.lag is None else f'_lag{graph.lag}'}"
        file = BACKENDS[serving.platform][2]
        if serving.platform == "tensorrt":
            entry = next(e for e in engines_of(bundle) if _is_engine_of(e, graph))
            most = engine_batch(entry)
            batch = min(serving.max_batch, most) if most else serving.max_batch
            yield (
                name,
                graph,
                {file: bundle.file(entry["file"])},
                replace(serving, max_batch=batch),
            )
        else:
            files = {file: bundle.file(graph.file), graph.weights: bundle.file(graph.weights)}
            _check_graph(files[file], graph.weights)
            yield name, graph, files, serving


def _check_graph(path: Path, weights: str) -> None:
    """A bundle may come from a stranger, and the server would follow any path in its graphs."""
    try:
        check_weights_location(path, weights)
    except OnnxFileError as error:
        raise TritonError(f"{path} is not a graph of a bundle: {error}") from None


def _chosen(
    bundle: Bundle, graphs: list[GraphEntry], platform: str, precision: str | None
) -> list[GraphEntry]:
    """One graph for each form and lag: the first that there is in the order of preference."""
    order: tuple[str, ...] = DEFAULT_PRECISIONS["onnx"]
    if platform == "tensorrt":
        order = ENGINE_PRECISIONS
    if precision is not None:
        order = (precision,)
    engines = engines_of(bundle)
    chosen = []
    for form, lag in dict.fromkeys((g.form, g.lag) for g in graphs):
        alike = {g.precision: g for g in graphs if (g.form, g.lag) == (form, lag)}
        at_hand = [
            p
            for p in order
            if p in alike
            and (platform != "tensorrt" or any(_is_engine_of(e, alike[p]) for e in engines))
        ]
        if not at_hand:
            of = f"{form}{'' if lag is None else f' at lag {lag}'}"
            in_precision = f" in {precision}" if precision is not None else ""
            what = "TensorRT engine" if platform == "tensorrt" else "graph"
            raise TritonError(
                f"{bundle.path} holds no {what} of the {of}{in_precision}"
                + ("; engines are built on the GPU that is to run them" if engines == [] else "")
            )
        chosen.append(alike[at_hand[0]])
    return chosen


def engines_of(bundle: Bundle) -> list[dict[str, Any]]:
    """The manifest's entries of TensorRT engines whose files are in the bundle."""
    entries = bundle.manifest.get("engines", [])
    files = bundle.manifest["files"]
    if not isinstance(entries, list):
        return []
    return [e for e in entries if isinstance(e, dict) and e.get("file") in files]


def engine_batch(entry: dict[str, Any]) -> int | None:
    """The largest batch of an engine's optimisation profile, or None where it names none."""
    profile = entry.get("profile")
    batch = profile.get("batch") if isinstance(profile, dict) else None
    if isinstance(batch, (list, tuple)) and batch and isinstance(batch[-1], int):
        return batch[-1]
    return None


def _is_engine_of(entry: dict[str, Any], graph: GraphEntry) -> bool:
    wanted = (graph.form, graph.precision, graph.lag)
    return (entry.get("form"), entry.get("precision"), entry.get("lag")) == wanted


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
