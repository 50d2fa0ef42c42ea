"""Every call into TensorRT that running an engine takes, each result checked.

TensorRT reports failure by returning None or False and explains itself to its logger alone; here
that becomes a TensorRTError with the logger's last words. The calls exist, with these arguments,
in TensorRT 8.5 to 11 (tests/tensorrt_contract holds them against NVIDIA's bindings); building
engines is vp3d_export/tensorrt/api.py.
"""

from __future__ import annotations

import platform
import re
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

NOT_INSTALLED = (
    "TensorRT is not installed: JetPack brings it (apt install python3-libnvinfer), elsewhere "
    "pip install tensorrt"
)
_KEPT_MESSAGES = 5


class TensorRTError(RuntimeError):
    """TensorRT refused a call; the message says which, and what its logger said."""


class Tensor(NamedTuple):
    """An input or output of an engine; -1 stands for an axis of any length."""

    name: str
    is_input: bool
    shape: tuple[int, ...]
    dtype: str


def import_tensorrt() -> Any:
    """The module `tensorrt`; raises ImportError that says where to get it."""
    try:
        import tensorrt
    except ImportError as error:
        raise ImportError(f"{NOT_INSTALLED} ({error})") from error
    return tensorrt


def this_platform() -> str:
    """For example "Linux aarch64": engines run on the platform that built them."""
    return f"{platform.system()} {platform.machine()}"


def version_numbers(version: str) -> tuple[int, ...]:
    """ "10.13.3.9.post1" -> (10, 13, 3, 9)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.split(".post")[0]))


# One for each TensorRT module, for good: TensorRT goes on calling the first logger that it was
# given in a process, whatever it is given later.
_LOGGERS: dict[int, Any] = {}


def logger_of(trt: Any) -> Any:
    """The process's trt.ILogger, which keeps the last errors and warnings for `complaint`."""
    if id(trt) not in _LOGGERS:
        _LOGGERS[id(trt)] = _make_logger(trt)
    return _LOGGERS[id(trt)]


def _make_logger(trt: Any) -> Any:
    severities = trt.ILogger.Severity
    errors = (severities.INTERNAL_ERROR, severities.ERROR)
    kept = (*errors, severities.WARNING)

    class Messages(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.messages: list[tuple[bool, str]] = []
            self.lock = threading.Lock()

        def log(self, severity: Any, msg: str) -> None:
            if severity in kept:
                with self.lock:
                    self.messages.append((severity in errors, msg.strip()))
                    del self.messages[:-_KEPT_MESSAGES]

    return Messages()


def complaint(logger: Any) -> str:
    """What the logger heard since it was last asked: errors, or else warnings."""
    with logger.lock:
        messages, logger.messages = logger.messages, []
    errors = [text for is_error, text in messages if is_error]
    return "; ".join(errors or [text for _, text in messages]) or "TensorRT gives no reason"


def constructed(make: Callable[..., Any], logger: Any, *arguments: Any) -> Any:
    """A new TensorRT object, of a class whose last argument is the logger.

    Where its library has none to give (a driver that is too old, most often), the bindings raise
    TypeError, "factory function returned nullptr"; here it is a TensorRTError with the reason.
    """
    try:
        return make(*arguments, logger)
    except TypeError as error:
        raise TensorRTError(
            f"TensorRT does not start its {make.__name__} ({error}): {complaint(logger)}"
        ) from error


class Plan:
    """A deserialised engine.

    what: its name in messages. host_code_allowed: run code that a version-compatible engine
    brings for the host, which TensorRT refuses by default.
    Raises TensorRTError where TensorRT does not take it.
    """

    def __init__(self, trt: Any, plan: bytes, what: str, host_code_allowed: bool = False) -> None:
        self._trt, self._what = trt, what
        self._logger = logger_of(trt)
        self._runtime = constructed(trt.Runtime, self._logger)
        if host_code_allowed:
            self._runtime.engine_host_code_allowed = True
        self._engine = self._runtime.deserialize_cuda_engine(plan)
        if self._engine is None:
            raise TensorRTError(
                f"TensorRT {trt.__version__} does not load {what}: {complaint(self._logger)}"
            )
        self._lock = threading.Lock()

    @property
    def tensors(self) -> list[Tensor]:
        trt, engine = self._trt, self._engine
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        types = {getattr(trt.DataType, name): name for name in ("FLOAT", "HALF", "INT8", "INT32")}
        return [
            Tensor(
                name,
                engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT,
                tuple(engine.get_tensor_shape(name)),
                types.get(engine.get_tensor_dtype(name), "another type"),
            )
            for name in names
        ]

    def profile(self, name: str) -> tuple[tuple[int, ...], ...]:
        """The smallest, likeliest and largest shape that an input may have."""
        shapes = self._engine.get_tensor_profile_shape(name, 0)
        return tuple(tuple(shape) for shape in shapes)

    def execution(self) -> Execution:
        """A new execution context, for one thread at a time."""
        with self._lock:
            context = self._engine.create_execution_context()
        if context is None:
            raise TensorRTError(
                f"TensorRT has no execution context for {self._what}: {complaint(self._logger)}"
            )
        return Execution(context, self._logger, self._what)

    def information(self, execution: Execution | None = None) -> str:
        """What the engine inspector says, as JSON; formats of dynamic tensors need an execution
        whose input shapes are set."""
        inspector = self._engine.create_engine_inspector()
        if inspector is None:
            raise TensorRTError(f"{self._what} has no inspector: {complaint(self._logger)}")
        if execution is not None:
            inspector.execution_context = execution.context
        return inspector.get_engine_information(self._trt.LayerInformationFormat.JSON)

    def close(self) -> None:
        """TensorRT frees what nobody refers to."""
        self._engine = self._runtime = None


class Execution:
    """An execution context: shapes and addresses of tensors, then any number of runs."""

    def __init__(self, context: Any, logger: Any, what: str) -> None:
        self.context, self._logger, self._what = context, logger, what

    def take_profile(self, stream: Any) -> None:
        """Choose the engine's one optimisation profile; shapes are to be set afterwards.

        TensorRT's own documentation leaves open whether contexts after an engine's first do.
        stream: a pycuda stream; it is idle on return.
        """
        if self.context.active_optimization_profile != 0:
            if not self.context.set_optimization_profile_async(0, stream.handle):
                raise self._refused("its optimisation profile")
            stream.synchronize()

    def set_shape(self, name: str, shape: Sequence[int]) -> None:
        # Out of the profile, TensorRT says False.
        if not self.context.set_input_shape(name, tuple(shape)):
            raise self._refused(f"shape {tuple(shape)} of {name}")

    def shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.context.get_tensor_shape(name))

    def set_address(self, name: str, pointer: int) -> None:
        if not self.context.set_tensor_address(name, pointer):
            raise self._refused(f"the address of {name}")

    def enqueue(self, stream: int) -> None:
        """Put one run into a CUDA stream, given by its handle."""
        if not self.context.execute_async_v3(stream):
            raise self._refused("a run")

    def close(self) -> None:
        self.context = None

    def _refused(self, what: str) -> TensorRTError:
        return TensorRTError(f"{self._what} refuses {what}: {complaint(self._logger)}")
