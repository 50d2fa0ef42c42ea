"""What a bundle's graphs read and write, from its specification alone.

The writer is vp3d_export/graphs; a bundle may come from a stranger, so a graph is held to this
before it is run.
"""

from __future__ import annotations

from collections.abc import Mapping

from vp3d_deploy.bundle import Bundle, GraphEntry
from vp3d_deploy.plan import stream_plan
from vp3d_deploy.spec import ModelSpec

# Shapes by tensor name; None is an axis of any length.
Shapes = dict[str, tuple[int | None, ...]]


def graph_shapes(bundle: Bundle, entry: GraphEntry) -> tuple[Shapes, Shapes]:
    """Inputs and outputs of one graph; the first axis is the batch."""
    return form_shapes(bundle, entry.form, entry.lag)


def form_shapes(bundle: Bundle, form: str, lag: int | None) -> tuple[Shapes, Shapes]:
    """Inputs and outputs of one form of the bundle's network, `lag` for streams."""
    spec = bundle.spec
    frame = (spec.joints_in, spec.features)
    if form == "sequence":
        axes: tuple[int | None, ...] = (None, None)
        inputs: Shapes = {"keypoints": (None, None, *frame)}
    else:
        axes = (None,)
        window = (spec.receptive_field,) if form == "window" else ()
        inputs = {"keypoints": (None, *window, *frame)}
    outputs: Shapes = {n: (*axes, s.joints_out, 3) for n, s in bundle.networks.items()}
    if lag is not None:
        state = stream_state_shapes(bundle.networks, lag)
        inputs |= {f"{name}_in": shape for name, shape in state.items()}
        outputs |= {f"{name}_out": shape for name, shape in state.items()}
    return inputs, outputs


def stream_state_shapes(networks: Mapping[str, ModelSpec], lag: int) -> Shapes:
    """The state tensors of a stream graph, without the suffixes _in and _out."""
    pose = networks["pose"]
    lengths = stream_plan(pose, lag).ring_lengths
    shapes: Shapes = {}
    if any(lengths):
        shapes["started"] = (None, 1, 1)
    if lengths[0]:
        shapes["keypoint_ring"] = (None, lengths[0], pose.joints_in * pose.features)
    for name, spec in networks.items():
        for level, length in enumerate(lengths):
            if level and length:
                shapes[f"{name}_ring_{level:02d}"] = (None, length, spec.channels)
    return shapes
