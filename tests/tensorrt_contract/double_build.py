"""The TensorRT double's builder, networks and parser: from an ONNX graph to a plan."""

from __future__ import annotations

import base64
import json
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import onnx
from onnx.external_data_helper import load_external_data_for_model

from tensorrt_contract.double_things import MAGIC, FakeThing, axes_of
from tensorrt_contract.guarded import made

_LAYERS = {
    "Gemm": "MATRIX_MULTIPLY",
    "Conv": "CONVOLUTION",
    "Relu": "ACTIVATION",
    "Add": "ELEMENTWISE",
}


class FakeILogger(FakeThing):
    pass


class FakeIProgressMonitor(FakeThing):
    pass


class FakeBuilder(FakeThing):
    def start(self, logger: Any) -> None:
        self._module.gpu.need_context("Builder()")
        self.need_driver(logger)
        self.greet(logger)
        self.keep(logger_=logger)

    def do_create_network(self, flags: int = 0) -> Any:
        names = self._module.inventory.members("NetworkDefinitionCreationFlag")
        known = {name for name, bit in names.items() if flags >> bit & 1}
        if flags >= 1 << (max(names.values()) + 1):
            self.complain(self.logger_, f"unknown flags {flags:#x}")
            return None
        return made(self._module, "INetworkDefinition", flags=known, logger=self.logger_)

    def do_create_builder_config(self) -> Any:
        return made(self._module, "IBuilderConfig", logger=self.logger_)

    def do_create_optimization_profile(self) -> Any:
        return made(self._module, "IOptimizationProfile")

    def do_build_serialized_network(self, network: Any, config: Any, **_: Any) -> Any:
        self._module.gpu.need_context("Builder.build_serialized_network")
        problem = self._problem(network, config)
        if problem:
            self.complain(self.logger_, problem)
            return None
        if not self._report(config):
            self.complain(self.logger_, "the progress monitor has cancelled the build")
            return None
        if config.cache is not None:
            config.cache.keep(content=config.cache.content + b"a tactic;")
        module, values = self._module, config.values
        plan = {
            "version": module.__version__,
            "gpu": module.gpu.name,
            "capability": list(module.gpu.compute_capability),
            "compatible": "VERSION_COMPATIBLE" in config.set_flags,
            "tf32": "TF32" in config.set_flags,
            "half": self._allows(network, config, "FP16"),
            "int8": self._allows(network, config, "INT8"),
            "detailed": values["profiling_verbosity"] == module.ProfilingVerbosity.DETAILED,
            "lowered": self._lowered(network, config),
            "profile": config.profiles[0].shapes if config.profiles else {},
            "model": base64.b64encode(network.model.SerializeToString()).decode(),
        }
        return made(module, "IHostMemory", content=MAGIC + json.dumps(plan).encode())

    def _allows(self, network: Any, config: Any, flag: str) -> bool:
        """May a layer be of this precision where the graph says so?"""
        strongly = self._module.major >= 11 or "STRONGLY_TYPED" in network.set_flags
        return strongly or flag in config.set_flags

    def _lowered(self, network: Any, config: Any) -> list[str]:
        """Nodes that a builder free to choose takes half precision for, float32 or not."""
        strongly = self._module.major >= 11 or "STRONGLY_TYPED" in network.set_flags
        if strongly or "FP16" not in config.set_flags:
            return []
        obeys = "OBEY_PRECISION_CONSTRAINTS" in config.set_flags
        return [
            layer.values["name"] for layer in network.layers if not (obeys and layer.is_float32)
        ]

    def _problem(self, network: Any, config: Any) -> str | None:
        if network.model is None:
            return "the network is empty"
        if network.parser() is None:
            return "the parser is gone, and with it the weights"
        strongly = self._module.major >= 11 or "STRONGLY_TYPED" in network.set_flags
        small = [t.name for t in network.model.graph.initializer if t.data_type == 3 and t.dims]
        if small and self._module.major < 10:
            return f"{small[0]}: invalid weights type of Int8"
        if strongly and config.set_flags & {"FP16", "INT8", "BF16", "FP8"}:
            return "precision flags and a strongly typed network exclude each other"
        shapes = config.profiles[0].shapes if config.profiles else {}
        for value in network.model.graph.input:
            axes = axes_of(value)
            if -1 in axes:
                if value.name not in shapes:
                    return f"input {value.name} has free axes and no optimization profile"
                problem = _profile_problem(value.name, axes, shapes[value.name])
                if problem:
                    return problem
        unknown = set(shapes) - {value.name for value in network.model.graph.input}
        return f"the profile has a shape of {unknown}, which is no input" if unknown else None

    def _report(self, config: Any) -> bool:
        """As outside the interpreter, in a thread of the library's own; False to give up.

        A signal that comes meanwhile is heard by the thread that builds once all of it is over.
        """
        answers: list[bool] = []
        begin, over, heard = threading.Event(), threading.Event(), None

        def run() -> None:
            begin.wait()
            try:
                answers.append(self._steps(config))
            finally:
                over.set()

        thread = threading.Thread(target=run)
        thread.start()
        while not over.is_set():
            try:
                begin.set()
                over.wait()
            except BaseException as error:
                heard = error
        thread.join()
        if heard is not None:
            raise heard
        return answers == [True]

    def _steps(self, config: Any) -> bool:
        module, monitor = self._module, config.values.get("progress_monitor")
        module.n_done = 0

        def tell(method: str, *arguments: Any) -> bool:
            # What a callback raises, the bindings print, and take it for False.
            try:
                return monitor is None or getattr(monitor, method)(*arguments) is True
            except Exception as error:
                print(f"[ERROR] Exception caught in {method}(): {error}", file=sys.stderr)
                return False

        tell("phase_start", "Building Engine", None, 2)
        tell("phase_start", "Timing Tactics", "Building Engine", module.n_steps)
        goes_on = tell("step_complete", "Building Engine", 0)
        while goes_on and module.n_done < module.n_steps:
            module.at_step()
            goes_on = tell("step_complete", "Timing Tactics", module.n_done)
            module.n_done += 1
        tell("phase_finish", "Timing Tactics")
        goes_on = goes_on and tell("step_complete", "Building Engine", 1)
        tell("phase_finish", "Building Engine")
        return goes_on


class FakeINetworkDefinition(FakeThing):
    def start(self, flags: set[str], logger: Any) -> None:
        self.keep(set_flags=flags, logger_=logger, model=None, layers=[])

    def get_num_layers(self) -> int:
        return len(self.layers)

    def do_get_layer(self, index: int) -> Any:
        return self.layers[index]


class FakeILayer(FakeThing):
    def start(self, node: str, kind: str) -> None:
        self.keep(outputs={})
        self.values.update(name=node, type=getattr(self._module.LayerType, kind), precision=None)

    def do_set_output_type(self, index: int, dtype: Any) -> None:
        self.outputs[index] = dtype

    @property
    def is_float32(self) -> bool:
        float32 = self._module.DataType.FLOAT
        return self.values["precision"] == float32 == self.outputs.get(0)


class FakeIBuilderConfig(FakeThing):
    def start(self, logger: Any) -> None:
        module = self._module
        self.keep(logger_=logger, set_flags={"TF32"}, profiles=[], cache=None, limits={})
        self.values.update(profiling_verbosity=module.ProfilingVerbosity.LAYER_NAMES_ONLY)

    def do_set_flag(self, flag: Any) -> None:
        self.set_flags.add(flag.name)

    def do_clear_flag(self, flag: Any) -> None:
        self.set_flags.discard(flag.name)

    def do_set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.limits[pool.name] = pool_size

    def do_set_preview_feature(self, feature: Any, enable: bool) -> None:
        (self.set_flags.add if enable else self.set_flags.discard)(feature.name)

    def do_add_optimization_profile(self, profile: Any) -> int:
        if not profile.shapes:
            self.complain(self.logger_, "the optimization profile is empty")
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def do_create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        stored = bytes(serialized_timing_cache)
        if stored and not stored.startswith(self._cache_header()):
            self.complain(self.logger_, "the timing cache is another device's")
            return made(self._module, "ITimingCache", content=stored)
        return made(self._module, "ITimingCache", content=stored or self._cache_header())

    def do_set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        if not (cache.content.startswith(self._cache_header()) or ignore_mismatch):
            return False
        self.keep(cache=cache)
        return True

    def do_get_timing_cache(self) -> Any:
        return self.cache

    def _cache_header(self) -> bytes:
        return f"timings {self._module.gpu.name} {self._module.__version__};".encode()


class FakeIOptimizationProfile(FakeThing):
    def start(self) -> None:
        self.keep(shapes={})

    def do_set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [list(min), list(opt), list(max)]


class FakeITimingCache(FakeThing):
    def start(self, content: bytes) -> None:
        self.keep(content=content)

    def do_serialize(self) -> Any:
        return made(self._module, "IHostMemory", content=self.content)


class FakeIHostMemory(FakeThing):
    def start(self, content: bytes) -> None:
        self.keep(content=content)

    def __bytes__(self) -> bytes:
        return self.content


class FakeOnnxParser(FakeThing):
    def start(self, network: Any, logger: Any) -> None:
        self.keep(network_=network, logger_=logger, errors=[])

    def do_parse(self, model: bytes, path: str | None = None) -> bool:
        if self._module.major < 10 and "EXPLICIT_BATCH" not in self.network_.set_flags:
            return self._fail("the network must have an explicit batch dimension", -1)
        found = onnx.load_model_from_string(bytes(model))
        if any(tensor.data_location for tensor in found.graph.initializer):
            if path is None:
                return self._fail("the path of the model's weights is not given", -1)
            load_external_data_for_model(found, str(Path(path).parent))
        for index, node in enumerate(found.graph.node):
            if node.domain or not onnx.defs.has(node.op_type):
                return self._fail(f"no importer registered for op: {node.op_type}", index, node)
        # The parser owns the weights that the network refers to.
        layers = [
            made(self._module, "ILayer", node=node.name, kind=_LAYERS.get(node.op_type, "SHUFFLE"))
            for node in found.graph.node
        ]
        self.network_.keep(model=found, parser=weakref.ref(self), layers=layers)
        return True

    def get_num_errors(self) -> int:
        return len(self.errors)

    def do_get_error(self, index: int) -> Any:
        return self.errors[index]

    def _fail(self, text: str, index: int, node: Any = None) -> bool:
        self.complain(self.logger_, text)
        self.errors.append(made(self._module, "ParserError", text=text, index=index, node=node))
        return False


class FakeParserError(FakeThing):
    def start(self, text: str, index: int, node: Any) -> None:
        self.keep(text_=text, index=index, found=node)

    def do_desc(self) -> str:
        return self.text_

    def do_node(self) -> int:
        return self.index

    def do_node_name(self) -> str:
        return self.found.name if self.found is not None else ""

    def do_node_operator(self) -> str:
        return self.found.op_type if self.found is not None else ""


def _profile_problem(name: str, axes: list[int], shapes: list[list[int]]) -> str | None:
    if any(len(shape) != len(axes) for shape in shapes):
        return f"the profile of {name} has another number of axes"
    for axis, low, likely, high in zip(axes, *shapes, strict=True):
        if not 0 < low <= likely <= high or (axis != -1 and {low, likely, high} != {axis}):
            return f"the profile of {name}, {shapes}, does not fit {axes}"
    return None
