"""Write one precision of a bundle: its weights file and the graphs that point into it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from vp3d_deploy.bundle import GraphEntry
from vp3d_export.fold import FoldedWeights
from vp3d_export.graphs.forms import Networks, sequence_graph, stream_graph, window_graph
from vp3d_export.weights import weights_file_name, write_weights


def write_graphs(
    directory: Path,
    networks: Networks,
    folded: Mapping[str, FoldedWeights],
    precision: str,
    forms: tuple[str, ...],
    lags: tuple[int, ...],
) -> list[GraphEntry]:
    """Write one precision's weights and its graphs, each checked by onnx.checker."""
    stored = write_weights(directory, folded, precision)
    weights = weights_file_name(precision)
    models: list[tuple[GraphEntry, onnx.ModelProto]] = []
    if "window" in forms:
        entry = GraphEntry(f"window.{precision}.onnx", weights, "window", precision)
        models.append((entry, window_graph(networks, stored)))
    if "sequence" in forms:
        entry = GraphEntry(f"sequence.{precision}.onnx", weights, "sequence", precision)
        models.append((entry, sequence_graph(networks, stored)))
    for lag in lags if "stream" in forms else ():
        name = f"stream.lag{lag}.{precision}.onnx"
        entry = GraphEntry(name, weights, "stream", precision, lag)
        models.append((entry, stream_graph(networks, stored, lag)))
    for entry, model in models:
        path = directory / entry.file
        onnx.save(model, path)
        onnx.checker.check_model(str(path), full_check=True)
    return [entry for entry, _ in models]
