"""What is measured: one bundle's network, its definition, and the files that peers start from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vp3d_bench.definition import Definition
from vp3d_bench.our_engines import open_ours
from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Engine

if TYPE_CHECKING:
    from vp3d_deploy.engines.native import NativeEngine

# What one may hold a network's answers against, best first.
DEFINING_PRECISIONS = ("fp32", "fp16")
NO_FP32 = (
    "the bundle holds no fp32 weights to rebuild the network from; export the checkpoint again "
    "with fp32"
)


@dataclass
class Subject:
    """A bundle to measure with `threads` threads.

    folder: for files of peers, made when first needed; a fresh process finds them there.
    """

    bundle: Bundle
    threads: int
    folder: Path
    _engines: dict[tuple[str, str, bool], Engine] = field(default_factory=dict, repr=False)

    @property
    def precisions(self) -> tuple[str, ...]:
        return self.bundle.precisions

    @property
    def defined_by(self) -> str:
        """The precision of the weights that answers are held against."""
        for precision in DEFINING_PRECISIONS:
            if precision in self.precisions:
                return precision
        raise BundleError(
            f"{self.bundle.path} holds {', '.join(self.precisions)} weights alone; accuracy is "
            "measured against fp32 or fp16: export the checkpoint again with one of them"
        )

    def folded(self, network: str, precision: str) -> dict[str, np.ndarray]:
        """One network's tensors as vp3d_export/fold.py names them."""
        from safetensors.numpy import load_file

        weights = next(g.weights for g in self.bundle.graphs if g.precision == precision)
        prefix = f"{network}."
        stored = load_file(self.bundle.file(weights))
        return {n.removeprefix(prefix): a for n, a in stored.items() if n.startswith(prefix)}

    @cached_property
    def definitions(self) -> dict[str, Definition]:
        """By network, "pose" and perhaps "trajectory"."""
        return {
            name: Definition(spec, self.folded(name, self.defined_by))
            for name, spec in self.bundle.networks.items()
        }

    def engine(self, family: str, precision: str, timings: bool = False) -> Engine:
        """One of our engines on this bundle; streams of all lags share it.

        timings: opened so that it measures its runs by CUDA events, which costs some time itself.
        """
        key = (family, precision, timings)
        if key not in self._engines:
            self._engines[key] = open_ours(self.bundle, family, precision, self.threads, timings)
        return self._engines[key]

    def native(self, precision: str) -> NativeEngine:
        """The native engine itself. Raises ImportError where it was not built."""
        from vp3d_deploy.engines.native import NativeEngine

        engine = self.engine("native", precision)
        assert isinstance(engine, NativeEngine)
        return engine

    def file(self, name: str, make: Callable[[Path], None]) -> Path:
        """`folder`/`name`, made by `make` unless it is there."""
        path = self.folder / name
        if not path.exists():
            make(path)
        return path

    def close(self) -> None:
        for engine in self._engines.values():
            engine.close()
        self._engines.clear()
