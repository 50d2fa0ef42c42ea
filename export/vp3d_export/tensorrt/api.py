"""Every call into TensorRT that building an engine takes, each result checked.

What differs between versions is decided here, by version number:

    8.5, 8.6   networks with EXPLICIT_BATCH; types of the graph are hints, so the builder is told
               that it may use FP16 and which layers have to stay float32; no 8-bit weights
    10         networks with STRONGLY_TYPED: every tensor has the type that the graph says
    11         always strongly typed, and the flag deprecated

TF32, on by default, is off: a float32 product that keeps ten bits of its factors is no float32.
tests/tensorrt_contract holds these calls against NVIDIA's bindings of each version.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from vp3d_deploy.engines.tensorrt_api import (
    TensorRTError,
    complaint,
    constructed,
    logger_of,
    version_numbers,
)
from vp3d_export.tensorrt.onnx_axes import nodes
from vp3d_export.tensorrt.options import EngineOptions

MIB = 1 << 20
STRONGLY_TYPED_FROM = (10,)
ALWAYS_STRONGLY_TYPED_FROM = (11,)
PROGRESS_FROM = (10,)
# Options that TensorRT 8.5 lacks: the optimisation level and compatibilities.
OPTIONS_FROM = (8, 6)

# Nodes that are float32 in every precision (vp3d_export/graphs/level.py).
FLOAT32_NODE = re.compile(r"\.(level0\.(conv|relu)|level\d+\.out|shrink)(?![a-z_])")

# Shapes of one input: smallest, likeliest, largest.
Profile = tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
Advance = Callable[[int, int], None]


class EngineBuilder:
    """Builds one plan from one graph.

    what: the graph's name in messages.
    Raises TensorRTError whenever TensorRT refuses something, with its reason.
    """

    def __init__(self, trt: Any, what: str) -> None:
        self._trt, self._what = trt, what
        self.version = version_numbers(trt.__version__)
        self._logger = logger_of(trt)
        self._parser: Any = None
        self._monitor: Any = None
        self._builder = constructed(trt.Builder, self._logger)
        self._network = self._checked(
            self._builder.create_network(self._network_flags()), "has no network for"
        )
        self._config = self._checked(
            self._builder.create_builder_config(), "has no configuration for"
        )

    def refuse_what_the_version_lacks(self, precision: str) -> None:
        """Raises TensorRTError for a precision that this TensorRT does not read.

        In int8 the weights are stored in 8 bits, which TensorRT 8 refuses ("invalid weights type
        of Int8", github.com/megvii-research/Sparsebit/issues/16) and 10 documents to read.
        """
        if precision == "int8" and self.version < STRONGLY_TYPED_FROM:
            raise TensorRTError(
                f"TensorRT {self._trt.__version__} reads no weights of 8 bits, which "
                f"{self._what} has; TensorRT 10 and later do"
            )

    def parse(self, model: bytes, path: Path) -> None:
        """path: where the model lies, beside its weights."""
        # It owns the weights until the engine is built.
        parser = self._parser = constructed(self._trt.OnnxParser, self._logger, self._network)
        if not parser.parse(model, str(path)):
            found = [parser.get_error(index) for index in range(parser.num_errors)]
            reasons = [self._parser_error(error, model) for error in found]
            why = "; ".join(reasons) or complaint(self._logger)
            raise TensorRTError(f"TensorRT {self._trt.__version__} cannot read {self._what}: {why}")

    def configure(self, precision: str, options: EngineOptions) -> None:
        trt, config = self._trt, self._config
        config.clear_flag(trt.BuilderFlag.TF32)
        if self.version < STRONGLY_TYPED_FROM and precision == "fp16":
            config.set_flag(trt.BuilderFlag.FP16)
            self._keep_edges_float32()
        # Without it the inspector cannot say which precisions were chosen.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        if options.workspace_mib is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_mib * MIB)
        if options.refit:
            config.set_flag(trt.BuilderFlag.REFIT)
        if self.version < (10,) and self.version >= OPTIONS_FROM:
            # From TensorRT 10 on execution contexts share profiles anyway.
            config.set_preview_feature(trt.PreviewFeature.PROFILE_SHARING_0806, True)
        self._configure_newer(options)

    def add_profile(self, profiles: Mapping[str, Profile]) -> None:
        """One optimisation profile for every input with a free axis."""
        profile = self._checked(
            self._builder.create_optimization_profile(), "has no optimisation profile for"
        )
        for name, (smallest, likeliest, largest) in profiles.items():
            profile.set_shape(name, smallest, likeliest, largest)
        if self._config.add_optimization_profile(profile) < 0:
            raise self._refused("refuses the optimisation profile of")

    def set_timing_cache(self, stored: bytes) -> None:
        """stored: what `timing_cache` gave another time, or nothing.

        A cache that is damaged or another GPU's is left out.
        """
        cache = self._config.create_timing_cache(stored)
        if cache is None or not self._config.set_timing_cache(cache, False):
            complaint(self._logger)
            fresh = self._checked(self._config.create_timing_cache(b""), "has no timing cache for")
            if not self._config.set_timing_cache(fresh, False):
                raise self._refused("takes no timing cache for")

    def timing_cache(self) -> bytes:
        """What this build learnt, to be stored; nothing where there is none."""
        cache = self._config.get_timing_cache()
        return b"" if cache is None else bytes(cache.serialize())

    def show_progress(self, advance: Advance) -> None:
        """advance: called with the steps done and in all of the phase that has no parent.

        TensorRT 8 reports nothing.
        """
        if self.version >= PROGRESS_FROM:
            self._monitor = make_monitor(self._trt, advance)
            self._config.progress_monitor = self._monitor

    def cancel(self) -> None:
        """Let TensorRT give up, at its next step, the build that another thread waits for.

        TensorRT 8 asks nobody, and builds to the end.
        """
        if self._monitor is not None:
            self._monitor.cancelled = True

    def build(self) -> bytes:
        plan = self._builder.build_serialized_network(self._network, self._config)
        if self._monitor is not None and self._monitor.problem is not None:
            raise self._monitor.problem
        if plan is None:
            raise self._refused("cannot build")
        return bytes(plan)

    def _keep_edges_float32(self) -> None:
        """TensorRT 8 may otherwise take half precision for every layer, whatever its type in the
        graph: for keypoints and metres, which need more, and for the sums along the residuals."""
        trt, types = self._trt, self._trt.LayerType
        numeric = (types.CONVOLUTION, types.MATRIX_MULTIPLY, types.ELEMENTWISE, types.ACTIVATION)
        self._config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
        for index in range(self._network.num_layers):
            layer = self._network.get_layer(index)
            if layer.type in numeric and FLOAT32_NODE.search(layer.name):
                layer.precision = trt.DataType.FLOAT
                layer.set_output_type(0, trt.DataType.FLOAT)

    def _network_flags(self) -> int:
        flags = self._trt.NetworkDefinitionCreationFlag
        if self.version >= ALWAYS_STRONGLY_TYPED_FROM:
            return 0
        typed = self.version >= STRONGLY_TYPED_FROM
        return 1 << int(flags.STRONGLY_TYPED if typed else flags.EXPLICIT_BATCH)

    def _configure_newer(self, options: EngineOptions) -> None:
        trt, config = self._trt, self._config
        wanted = {
            "--optimization-level": options.optimization_level is not None,
            "--version-compatible": options.version_compatible,
            "--hardware-compatible": options.hardware_compatible != "none",
        }
        asked = [name for name, given in wanted.items() if given]
        if asked and self.version < OPTIONS_FROM:
            raise TensorRTError(f"TensorRT {trt.__version__} has no {asked[0]}, 8.6 and later have")
        if options.optimization_level is not None:
            config.builder_optimization_level = options.optimization_level
        if options.version_compatible:
            config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
        if options.hardware_compatible != "none":
            level = options.hardware_compatible.upper()
            known = getattr(trt.HardwareCompatibilityLevel, level, None)
            if known is None:
                raise TensorRTError(
                    f"TensorRT {trt.__version__} has no --hardware-compatible "
                    f"{options.hardware_compatible}"
                )
            config.hardware_compatibility_level = known

    def _parser_error(self, error: Any, model: bytes) -> str:
        """With the node's name, which TensorRT 8 knows by its number alone."""
        if self.version >= STRONGLY_TYPED_FROM:
            name, operator = error.node_name(), error.node_operator()
        else:
            known, index = nodes(model), error.node()
            name, operator = known[index] if 0 <= index < len(known) else ("", "")
        return f"node {name or '?'} ({operator or '?'}): {error.desc()}"

    def _checked(self, made: Any, what: str) -> Any:
        if made is None:
            raise self._refused(what)
        return made

    def _refused(self, what: str) -> TensorRTError:
        return TensorRTError(
            f"TensorRT {self._trt.__version__} {what} {self._what}: {complaint(self._logger)}"
        )


def make_monitor(trt: Any, advance: Advance) -> Any:
    """A trt.IProgressMonitor; TensorRT calls it from several threads.

    cancelled: set to let TensorRT give the build up. problem: what `advance` raised, which gives
    it up too; the bindings would print it and go on with other calls.
    """

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self.steps: dict[str, int] = {}
            self.lock = threading.Lock()
            self.cancelled = False
            self.problem: BaseException | None = None

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            if parent_phase is None:
                with self.lock:
                    self.steps[phase_name] = num_steps

        def step_complete(self, phase_name: str, step: int) -> bool:
            with self.lock:
                if phase_name in self.steps and self.problem is None:
                    try:
                        advance(step + 1, self.steps[phase_name])
                    except BaseException as error:
                        self.problem = error
                return not self.cancelled and self.problem is None

        def phase_finish(self, phase_name: str) -> None:
            with self.lock:
                self.steps.pop(phase_name, None)

    return Monitor()
