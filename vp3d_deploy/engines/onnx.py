"""ONNX Runtime: the engine that runs wherever Python does, and with CUDA on GPUs."""

from __future__ import annotations

import platform
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vp3d_deploy.bundle import FORMS, Bundle, BundleError, GraphEntry
from vp3d_deploy.engines.base import Output
from vp3d_deploy.engines.gpu import GpuError, count_gpus
from vp3d_deploy.engines.onnx_file import OnnxFileError, check_weights_location
from vp3d_deploy.engines.onnx_interface import graph_shapes

if TYPE_CHECKING:
    import onnxruntime

# ONNX Runtime's names; the first is everywhere.
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


def cuda_is_at_hand() -> bool:
    """Was ONNX Runtime installed with CUDA, and is there a GPU?"""
    import onnxruntime

    return PROVIDERS["cuda"] in onnxruntime.get_available_providers() and count_gpus() > 0


class OnnxEngine:
    """Runs the bundle's graphs; each is loaded when its form is first used.

    provider: "cpu", or "cuda" for a GPU, which is used or opening a form fails: ONNX Runtime
        itself would go on with the CPU.
    Raises BundleError where a form or lag is not in the bundle, ImportError where ONNX Runtime was
    installed without CUDA.
    """

    name = "onnx"

    def __init__(
        self,
        bundle: Bundle,
        precision: str,
        threads: int | None = None,
        *,
        provider: str = "cpu",
    ) -> None:
        import onnxruntime

        if provider not in PROVIDERS:
            known = ", ".join(PROVIDERS)
            raise ValueError(f"provider {provider!r} is not known; choose from {known}")
        if PROVIDERS[provider] not in onnxruntime.get_available_providers():
            raise ImportError(
                f"this ONNX Runtime has no {PROVIDERS[provider]}; pip install onnxruntime-gpu in "
                "place of onnxruntime"
            )
        self._provider = PROVIDERS[provider]
        self.precision = precision
        self._bundle = bundle
        self._options = onnxruntime.SessionOptions()
        if threads is not None:
            self._options.intra_op_num_threads = threads
        # Warnings about nodes that stay unassigned to other providers mean nothing to a user.
        self._options.log_severity_level = 3
        if precision == "int8" and overflows_in_int8():
            self._options.add_session_config_entry("session.x64quantprecision", "1")
        self._sessions: dict[tuple[str, int | None], onnxruntime.InferenceSession] = {}
        self._lock = threading.Lock()
        self._closed = False

    @property
    def provider(self) -> str:
        """Of `PROVIDERS`, by its name there."""
        return next(name for name, full in PROVIDERS.items() if full == self._provider)

    @property
    def forms(self) -> tuple[str, ...]:
        return tuple(form for form in FORMS if any(g.form == form for g in self._graphs))

    @property
    def lags(self) -> tuple[int, ...]:
        return tuple(sorted(g.lag for g in self._graphs if g.lag is not None))

    @property
    def _graphs(self) -> list[GraphEntry]:
        return [graph for graph in self._bundle.graphs if graph.precision == self.precision]

    def window(self, keypoints: np.ndarray) -> Output:
        return self._run("window", keypoints)

    def sequence(self, keypoints: np.ndarray) -> Output:
        return self._run("sequence", keypoints)

    def load(self) -> None:
        """Load one graph now; raises as running it would."""
        graph = self._graphs[0]
        self._session(graph.form, graph.lag)

    def open_stream(self, lag: int) -> OnnxStream:
        entry = self._bundle.graph("stream", self.precision, lag)
        return OnnxStream(self._session("stream", lag), self._bundle.file(entry.file))

    def close(self) -> None:
        """Give the sessions' memory back; streams that are open keep theirs."""
        with self._lock:
            self._sessions.clear()
            self._closed = True

    def _session(self, form: str, lag: int | None = None) -> onnxruntime.InferenceSession:
        import onnxruntime

        with self._lock:
            if self._closed:
                raise RuntimeError("this engine is closed; open its bundle again")
            session = self._sessions.get((form, lag))
            if session is None:
                entry = self._bundle.graph(form, self.precision, lag)
                path = self._bundle.file(entry.file)
                try:
                    check_weights_location(path, entry.weights)
                except OnnxFileError as error:
                    raise BundleError(f"{path} is not a graph of a bundle: {error}") from None
                try:
                    session = onnxruntime.InferenceSession(
                        str(path), self._options, providers=[self._provider]
                    )
                except Exception as error:  # ONNX Runtime's own exceptions share no narrower base
                    raise BundleError(
                        f"ONNX Runtime cannot load {path}: {_first_line(error)}"
                    ) from error
                in_use = session.get_providers()
                if in_use[:1] != [self._provider]:
                    raise GpuError(
                        f"ONNX Runtime does not run {path} with {self._provider}, which was asked "
                        f"for, but with {', '.join(in_use)}"
                    )
                self._check(session, entry)
                self._sessions[form, lag] = session
        return session

    def _check(self, session: onnxruntime.InferenceSession, entry: GraphEntry) -> None:
        """A graph need not come from us: what it reads and writes must be what the bundle says."""
        wanted = graph_shapes(self._bundle, entry)
        sides = (session.get_inputs(), session.get_outputs())
        for values, expected in zip(sides, wanted, strict=True):
            found = {value.name: value for value in values}
            wrong = sorted(set(found) ^ set(expected)) or [
                name for name, value in found.items() if not _fits(value, expected[name])
            ]
            if wrong:
                raise BundleError(
                    f"{self._bundle.file(entry.file)} is not the {entry.form} graph of this "
                    f"bundle's network: {', '.join(wrong[:4])} should be "
                    f"{', '.join(str(expected.get(name, 'absent')) for name in wrong[:4])}"
                )

    def _run(self, form: str, keypoints: np.ndarray) -> Output:
        session = self._session(form)
        try:
            answers = session.run(None, {"keypoints": keypoints})
        except Exception as error:  # ONNX Runtime's own
            raise BundleError(
                f"ONNX Runtime fails on the {form} graph of {self._bundle.path} for keypoints of "
                f"shape {keypoints.shape}: {_first_line(error)}"
            ) from error
        names = [output.name for output in session.get_outputs()]
        by_name = dict(zip(names, answers, strict=True))
        return Output(by_name["pose"], by_name.get("trajectory"))


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]


def _fits(value: onnxruntime.NodeArg, expected: tuple[int | None, ...]) -> bool:
    """Is it float32 of this shape, free axes being free?"""
    shape = value.shape
    return (
        value.type == "tensor(float)"
        and len(shape) == len(expected)
        and all(
            axis == wanted if wanted is not None else not isinstance(axis, int)
            for axis, wanted in zip(shape, expected, strict=True)
        )
    )


def overflows_in_int8(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Would ONNX Runtime's 8-bit products be wrong on this processor without a word?

    Bundles quantise activations to 0 .. 127, so that sums of two products fit 16 bits. On x86 ONNX
    Runtime shifts them to 128 .. 255, and without VNNI such sums overflow; an option, at the price
    of some speed, makes it widen all numbers first. VNNI itself sums in 32 bits.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return False
    try:
        words = set(cpuinfo.read_text("utf-8", "replace").split())
    except OSError:
        return True  # where the system does not say, better right than fast
    return not words & {"avx512_vnni", "avx_vnni"}


class OnnxStream:
    """Live streams on one stream graph: state stays in place, two sets of it swapped each frame.

    All zeros is the state of a stream that has seen nothing (vp3d_export/graphs/stream.py).
    """

    # Two sets of state arrays; `_front` is the one that the next step reads.
    _state: tuple[dict[str, np.ndarray], dict[str, np.ndarray]]
    _front: int
    _keypoints: np.ndarray
    _output: Output
    _bindings: list[onnxruntime.IOBinding]

    def __init__(self, session: onnxruntime.InferenceSession, path: Path) -> None:
        self._session = session
        self._path = path
        # Of one row of every tensor.
        shapes: dict[str, tuple[int, ...]] = {}
        for value in (*session.get_inputs(), *session.get_outputs()):
            shapes[value.name] = tuple(value.shape[1:])
        self._frame_shape = shapes["keypoints"]
        # A state's input and output differ in their suffix alone.
        self._state_shapes = {
            name.removesuffix("_in"): shape
            for name, shape in shapes.items()
            if name.endswith("_in")
        }
        answers = ("pose", "trajectory")
        self._answer_shapes = {name: shapes[name] for name in answers if name in shapes}
        self._allocate(
            {name: self._zeros(shape, 0) for name, shape in self._state_shapes.items()}, 0
        )

    @property
    def n_rows(self) -> int:
        return len(self._keypoints)

    def add_rows(self, count: int) -> None:
        state = {
            name: np.concatenate([held, self._zeros(self._state_shapes[name], count)])
            for name, held in self._state[self._front].items()
        }
        self._allocate(state, self.n_rows + count)

    def remove_rows(self, rows: list[int]) -> None:
        state = {name: np.delete(held, rows, 0) for name, held in self._state[self._front].items()}
        self._allocate(state, self.n_rows - len(set(rows)))

    def step(self, keypoints: np.ndarray) -> Output:
        if keypoints.shape != self._keypoints.shape:
            raise ValueError(
                f"keypoints have shape {keypoints.shape}; {self.n_rows} open streams expect "
                f"{self._keypoints.shape}"
            )
        if len(keypoints):
            self._keypoints[...] = keypoints
            try:
                self._session.run_with_iobinding(self._bindings[self._front])
            except Exception as error:  # ONNX Runtime's own
                raise BundleError(
                    f"ONNX Runtime fails on {self._path}: {_first_line(error)}"
                ) from error
            self._front = 1 - self._front
        return self._output

    def close(self) -> None:
        """Give the state's memory back; the streams are gone."""
        self.remove_rows(list(range(self.n_rows)))

    @staticmethod
    def _zeros(shape: tuple[int, ...], rows: int) -> np.ndarray:
        return np.zeros((rows, *shape), np.float32)

    def _allocate(self, state: dict[str, np.ndarray], rows: int) -> None:
        """Take `state` as the streams' own, and bind every array to the session once."""
        self._front = 0
        self._state = (state, {name: np.zeros_like(held) for name, held in state.items()})
        self._keypoints = np.zeros((rows, *self._frame_shape), np.float32)
        answers = {name: self._zeros(shape, rows) for name, shape in self._answer_shapes.items()}
        self._output = Output(answers["pose"], answers.get("trajectory"))
        self._bindings = [
            self._bind(self._state[front], self._state[1 - front], answers) for front in (0, 1)
        ]

    def _bind(
        self,
        before: dict[str, np.ndarray],
        after: dict[str, np.ndarray],
        answers: dict[str, np.ndarray],
    ) -> onnxruntime.IOBinding:
        binding = self._session.io_binding()
        inputs = {"keypoints": self._keypoints, **{f"{n}_in": a for n, a in before.items()}}
        outputs = {**answers, **{f"{n}_out": a for n, a in after.items()}}
        for bind, arrays in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
            for name, array in arrays.items():
                bind(name, "cpu", 0, array.dtype, array.shape, array.ctypes.data)
        return binding
