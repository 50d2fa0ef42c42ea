"""Which TensorRT engine of a bundle a server gets: one that was built for its GPU."""

from __future__ import annotations

from vp3d_deploy.bundle import Bundle, EngineEntry
from vp3d_deploy.engines.precisions import DEFAULT_PRECISIONS
from vp3d_export.triton.config import TritonError


def chosen_engine(
    bundle: Bundle, form: str, lag: int | None, precision: str | None, gpu: str | None
) -> EngineEntry:
    """The engine to serve; raises TritonError where there is none, or more than one GPU's.

    precision: by default the first that the runtime would take. gpu: the name or the compute
        capability of the server's GPU, as the bundle's manifest has it; only needed where the
        bundle holds engines for several.
    """
    of = f"{form}{'' if lag is None else f' at lag {lag}'}"
    engines = [e for e in bundle.engines if (e.form, e.lag) == (form, lag)]
    if gpu is not None:
        engines = [e for e in engines if gpu in (e.gpu, e.compute_capability)]
    held = [p for p in (DEFAULT_PRECISIONS["tensorrt"] if precision is None else (precision,))
            if any(e.precision == p for e in engines)]  # fmt: skip
    if not held:
        wanted = "".join((
            f" in {precision}" if precision is not None else "",
            f" for GPU {gpu}" if gpu is not None else "",
        ))  # fmt: skip
        raise TritonError(
            f"{bundle.path} holds no TensorRT engine of the {of}{wanted}; build it on the GPU "
            "that is to run it, with vp3d-export --resume-engines"
        )
    engines = [e for e in engines if e.precision == held[0]]
    if form == "stream":
        # A stream engine's shapes are fixed, and a sequence of the server is one stream.
        single = [e for e in engines if e.rows == 1]
        if not single:
            raise TritonError(
                f"the TensorRT engines of the {of} in {bundle.path} advance "
                f"{engines[0].rows} streams at once; Triton needs one of a single "
                "stream (--stream-rows 1)"
            )
        engines = single
    built_for = sorted(
        {f"{e.gpu} ({e.compute_capability}), TensorRT {e.tensorrt}" for e in engines}
    )
    if len(built_for) > 1:
        raise TritonError(
            f"{bundle.path} holds engines of the {of} for {'; '.join(built_for)}: say which GPU "
            "the server has with --triton-gpu"
        )
    return engines[0]
