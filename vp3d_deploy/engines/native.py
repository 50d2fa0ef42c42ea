"""The engine of our own for CPUs, in C++ (kernels/): every form, and live streams at any lag."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

from vp3d_deploy.bundle import FORMS, Bundle, BundleError
from vp3d_deploy.engines.base import Output
from vp3d_deploy.spec import ModelSpec

NOT_BUILT = (
    "vp3d-deploy was installed without its native engine; install it again without "
    "-C cmake.define.VP3D_NATIVE=OFF, which takes a C++ compiler"
)


def is_built() -> bool:
    """Was the engine installed with this package? Warns about one that does not load."""
    try:
        import vp3d_deploy._native  # noqa: F401
    except ModuleNotFoundError:
        return False
    except ImportError as error:
        warnings.warn(_broken(error), RuntimeWarning, stacklevel=2)
        return False
    return True


def is_at_hand() -> bool:
    """Was the engine built, and has this processor an instruction set that it is written for?

    Its portable kernels run anywhere, but ONNX Runtime is likely to be faster than those.
    """
    if not is_built():
        return False
    import vp3d_deploy._native as _native

    return _native.available_isas()[0] != "portable"


class NativeEngine:
    """Packs the bundle's weights for this processor when it is opened; needs no graphs.

    pin_threads: keep each of the engine's own threads on a core of its own.
    isa: the kernels to use, "auto" or one of `vp3d_deploy._native.available_isas()`.
    Calls from several threads take turns: one already uses every core.
    Raises ImportError where the engine was not built, BundleError for damaged or foreign weights,
    ValueError for options that this machine does not have.
    """

    name = "native"
    forms = FORMS

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        threads: int | None = None,
        *,
        pin_threads: bool = False,
        isa: str = "auto",
    ) -> None:
        try:
            import vp3d_deploy._native as _native
        except ModuleNotFoundError as error:
            raise ImportError(NOT_BUILT) from error
        except ImportError as error:
            raise ImportError(_broken(error)) from error
        self.precision = precision
        self._specs = tuple(bundle.networks.values())
        weights = next(graph.weights for graph in bundle.graphs if graph.precision == precision)
        try:
            self._engine = _native.Engine(
                bundle.file(weights),
                dict(bundle.networks),
                precision,
                threads=threads or 0,
                pin_threads=pin_threads,
                isa=isa,
            )
        except _native.WeightsError as error:
            raise BundleError(str(error)) from None

    @property
    def lags(self) -> Sequence[int]:
        return range(self._specs[0].lookahead + 1)

    @property
    def isa(self) -> str:
        """The instruction set in use, for example "avx2" or "neondot"."""
        return self._engine.isa

    @property
    def threads(self) -> int:
        """How many one call uses."""
        return self._engine.threads

    @property
    def weight_bytes(self) -> int:
        """What a live frame reads of the weights."""
        return self._engine.weight_bytes

    def window(self, keypoints: np.ndarray) -> Output:
        return self._run(self._engine.window, keypoints, np.shape(keypoints)[:1])

    def sequence(self, keypoints: np.ndarray) -> Output:
        people, frames = (*np.shape(keypoints), 0, 0)[:2]
        answers = max(0, frames - self._specs[0].receptive_field + 1)
        return self._run(self._engine.sequence, keypoints, (people, answers))

    def open_stream(self, lag: int) -> NativeStream:
        return NativeStream(self, lag)

    def close(self) -> None:
        """Give the weights' memory back once open streams, which keep them, are closed too."""
        self._engine.close()

    def _run(
        self,
        form: Callable[[np.ndarray, tuple[np.ndarray, ...]], None],
        keypoints: np.ndarray,
        leading: tuple[int, ...],
    ) -> Output:
        answers = _answers(self._specs, leading)
        form(np.ascontiguousarray(keypoints), answers)
        return _output(answers)


class NativeStream:
    """Live streams at one lag. A second thread that uses it at the same moment is refused."""

    _answers: tuple[np.ndarray, ...]
    _output: Output

    def __init__(self, engine: NativeEngine, lag: int) -> None:
        self._stream = engine._engine.open_stream(lag)
        self._specs = engine._specs
        self._allocate()

    @property
    def n_rows(self) -> int:
        return self._stream.n_rows

    @property
    def bytes_per_row(self) -> int:
        """What one row keeps between frames."""
        return self._stream.bytes_per_row

    def add_rows(self, count: int) -> None:
        self._stream.add_rows(count)
        self._allocate()

    def remove_rows(self, rows: list[int]) -> None:
        self._stream.remove_rows(rows)
        self._allocate()

    def step(self, keypoints: np.ndarray) -> Output:
        self._stream.step(keypoints, self._answers)
        return self._output

    def prepare(self) -> None:
        """See `base.PreparingStream`: at full lag half of the next frame's work, at lag 0 a
        quarter of its products. For a few people; does nothing for more, whose weights are read in
        blocks."""
        self._stream.prepare()

    def close(self) -> None:
        self._stream.close()

    def _allocate(self) -> None:
        """Arrays that every step writes its answers into."""
        self._answers = _answers(self._specs, (self.n_rows,))
        self._output = _output(self._answers)


def _answers(specs: Sequence[ModelSpec], leading: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    return tuple(np.zeros((*leading, spec.joints_out, 3), np.float32) for spec in specs)


def _output(answers: tuple[np.ndarray, ...]) -> Output:
    """Networks are in a bundle's order: pose, and perhaps trajectory."""
    return Output(answers[0], answers[1] if len(answers) > 1 else None)


def _broken(error: ImportError) -> str:
    return f"the native engine is installed and cannot be loaded: {error}"
