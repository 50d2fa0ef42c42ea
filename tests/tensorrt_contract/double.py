"""A TensorRT whose engines run in ONNX Runtime: the real names and signatures, our arithmetic.

`tensorrt_double(gpu, version)` is a module with exactly what NVIDIA's bindings of that version
have (guarded.py). Behind the names are the rules that a mistake would break on a GPU: networks
need the flags of their version, free axes need a profile, precision follows the types of the
graph (strongly typed) or the builder's flags (before), TF32 is on unless it is taken off, a plan
loads only on the GPU and version it was built for, and failure is None or False and a line to the
logger, never an exception.
"""

from __future__ import annotations

import base64
import json
import sys
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx.external_data_helper import load_external_data_for_model

from tensorrt_contract.gpu_double import CudaFaultError, FakeGpu
from tensorrt_contract.guarded import GuardedModule, guarded_module, made
from tensorrt_contract.inventory import load

_MAGIC = b"a plan of the double\n"
_ALIGNMENT = 256
_TYPES = {1: "FLOAT", 10: "HALF", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL"}
_LAYERS = {
    "Gemm": "MATRIX_MULTIPLY",
    "Conv": "CONVOLUTION",
    "Relu": "ACTIVATION",
    "Add": "ELEMENTWISE",
}
_INSPECTED = {"FLOAT": "Float", "HALF": "Half", "INT8": "Int8", "INT32": "Int32"}


def tensorrt_double(gpu: FakeGpu, version: str) -> GuardedModule:
    """`tensorrt` of this version on this GPU."""
    module = guarded_module("tensorrt", load(f"tensorrt-{version}.json"), _behaviours())
    module.gpu = gpu
    module.major = int(version.split(".")[0])
    module.first_logger = None
    # Steps of a build, how many are done, and what happens before each.
    module.n_steps, module.n_done, module.at_step = 3, 0, lambda: None
    return module


def _behaviours() -> dict[str, Any]:
    return {cls.__name__.removeprefix("Fake"): cls for cls in _FakeThing.__subclasses__()}


class _FakeThing:
    """_module: the guarded module it belongs to."""

    _module: Any
    values: dict[str, Any]

    def keep(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def complain(self, logger: Any, text: str) -> None:
        """To the process's first logger, whatever this object was given."""
        self.greet(logger)
        self._module.first_logger().log(self._module.ILogger.Severity.ERROR, text)

    def need_driver(self, logger: Any) -> None:
        """As the real bindings answer over a library that hands out nothing."""
        if self._module.gpu.driver_too_old:
            self.complain(logger, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def greet(self, logger: Any) -> None:
        """TensorRT keeps a pointer to the first logger of a process, and no reference."""
        if self._module.first_logger is None:
            self._module.first_logger = weakref.ref(logger)
        assert self._module.first_logger() is not None, "TensorRT calls a logger that is gone"


class FakeILogger(_FakeThing):
    pass


class FakeIProgressMonitor(_FakeThing):
    pass


class FakeBuilder(_FakeThing):
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
        return made(module, "IHostMemory", content=_MAGIC + json.dumps(plan).encode())

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
            axes = _axes(value)
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


class FakeINetworkDefinition(_FakeThing):
    def start(self, flags: set[str], logger: Any) -> None:
        self.keep(set_flags=flags, logger_=logger, model=None, layers=[])

    def get_num_layers(self) -> int:
        return len(self.layers)

    def do_get_layer(self, index: int) -> Any:
        return self.layers[index]


class FakeILayer(_FakeThing):
    def start(self, node: str, kind: str) -> None:
        self.keep(outputs={})
        self.values.update(name=node, type=getattr(self._module.LayerType, kind), precision=None)

    def do_set_output_type(self, index: int, dtype: Any) -> None:
        self.outputs[index] = dtype

    @property
    def is_float32(self) -> bool:
        float32 = self._module.DataType.FLOAT
        return self.values["precision"] == float32 == self.outputs.get(0)


class FakeIBuilderConfig(_FakeThing):
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


class FakeIOptimizationProfile(_FakeThing):
    def start(self) -> None:
        self.keep(shapes={})

    def do_set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [list(min), list(opt), list(max)]


class FakeITimingCache(_FakeThing):
    def start(self, content: bytes) -> None:
        self.keep(content=content)

    def do_serialize(self) -> Any:
        return made(self._module, "IHostMemory", content=self.content)


class FakeIHostMemory(_FakeThing):
    def start(self, content: bytes) -> None:
        self.keep(content=content)

    def __bytes__(self) -> bytes:
        return self.content


class FakeOnnxParser(_FakeThing):
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


class FakeParserError(_FakeThing):
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


class FakeRuntime(_FakeThing):
    def start(self, logger: Any) -> None:
        self.need_driver(logger)
        self.greet(logger)
        self.keep(logger_=logger)
        self.values["engine_host_code_allowed"] = False

    def do_deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        module, stored = self._module, bytes(serialized_engine)
        module.gpu.need_context("Runtime.deserialize_cuda_engine")
        if not stored.startswith(_MAGIC):
            self.complain(self.logger_, "magic tag does not match")
            return None
        plan = json.loads(stored.removeprefix(_MAGIC))
        if plan["compatible"] and not self.values["engine_host_code_allowed"]:
            self.complain(self.logger_, "the engine has host code, which is not allowed")
            return None
        if plan["version"] != module.__version__ and not plan["compatible"]:
            self.complain(self.logger_, f"the engine was built by version {plan['version']}")
            return None
        if tuple(plan["capability"]) != module.gpu.compute_capability:
            self.complain(self.logger_, f"the engine is for compute {plan['capability']}")
            return None
        return made(module, "ICudaEngine", plan=plan, logger=self.logger_)


class FakeICudaEngine(_FakeThing):
    def start(self, plan: dict[str, Any], logger: Any) -> None:
        model = onnx.load_model_from_string(base64.b64decode(plan["model"]))
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = 1, 3
        session = onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        inputs = {value.name: value for value in model.graph.input}
        outputs = {value.name: value for value in model.graph.output}
        self.keep(plan=plan, model=model, session=session, logger_=logger)
        self.keep(inputs=inputs, all_values={**inputs, **outputs}, n_contexts=0)

    def get_num_io_tensors(self) -> int:
        return len(self.all_values)

    def do_get_tensor_name(self, index: int) -> str:
        return list(self.all_values)[index]

    def do_get_tensor_mode(self, name: str) -> Any:
        modes = self._module.TensorIOMode
        return modes.INPUT if name in self.inputs else modes.OUTPUT

    def do_get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(_axes(self.all_values[name]))

    def do_get_tensor_dtype(self, name: str) -> Any:
        kind = _TYPES[self.all_values[name].type.tensor_type.elem_type]
        return getattr(self._module.DataType, kind)

    def do_get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        shapes = self.plan["profile"].get(name) or [_axes(self.inputs[name])] * 3
        return [tuple(shape) for shape in shapes]

    def do_create_execution_context(self, **_: Any) -> Any:
        self._module.gpu.need_context("ICudaEngine.create_execution_context")
        return made(self._module, "IExecutionContext", engine=self)

    def do_create_engine_inspector(self) -> Any:
        return made(self._module, "EngineInspector", engine=self)


class FakeIExecutionContext(_FakeThing):
    def start(self, engine: Any) -> None:
        shapes = {n: tuple(_axes(v)) for n, v in engine.inputs.items() if -1 not in _axes(v)}
        self.keep(engine_=engine, shapes=shapes, addresses={}, known={}, n_changes=0)
        # Of an engine with free axes the first context alone has a profile by itself.
        first = engine.n_contexts == 0 or not engine.plan["profile"]
        self.values["active_optimization_profile"] = 0 if first else -1
        engine.keep(n_contexts=engine.n_contexts + 1)

    def do_set_optimization_profile_async(self, profile_index: int, stream_handle: int) -> bool:
        def choose() -> None:
            self.values["active_optimization_profile"] = profile_index

        self._module.gpu.enqueue(self._module.gpu.stream(stream_handle), choose)
        return profile_index == 0

    def do_set_input_shape(self, name: str, shape: Any) -> bool:
        engine, shape = self.engine_, tuple(shape)
        if name not in engine.inputs:
            engine.complain(engine.logger_, f"{name} is no input")
            return False
        if self.values["active_optimization_profile"] != 0:
            engine.complain(engine.logger_, "no optimization profile is chosen")
            return False
        low, _, high = engine.do_get_tensor_profile_shape(name, 0)
        if len(shape) != len(low) or not all(
            a <= n <= b for a, n, b in zip(low, shape, high, strict=True)
        ):
            engine.complain(engine.logger_, f"{shape} is outside the profile {low} to {high}")
            return False
        self.shapes[name] = shape
        self.keep(n_changes=self.n_changes + 1)
        return True

    def do_get_tensor_shape(self, name: str) -> tuple[int, ...]:
        engine = self.engine_
        if name in engine.inputs:
            return self.shapes.get(name, tuple(_axes(engine.inputs[name])))
        if len(self.shapes) < len(engine.inputs):
            return tuple(_axes(engine.all_values[name]))
        return self._output_shapes()[name]

    def do_set_tensor_address(self, name: str, memory: int) -> bool:
        if name not in self.engine_.all_values or memory % _ALIGNMENT:
            self.engine_.complain(self.engine_.logger_, f"{memory:#x} cannot be {name}'s address")
            return False
        self.addresses[name] = memory
        self.keep(n_changes=self.n_changes + 1)
        return True

    def do_execute_async_v3(self, stream_handle: int) -> bool:
        engine, gpu = self.engine_, self._module.gpu
        gpu.need_context("execute_async_v3")
        missing = [n for n in engine.all_values if not self.addresses.get(n)]
        if missing or len(self.shapes) < len(engine.inputs):
            engine.complain(engine.logger_, f"no address or shape of {missing or 'an input'}")
            return False
        sizes = {**self.shapes, **self._output_shapes()}
        memory = {
            name: gpu.view(self.addresses[name], 4 * int(np.prod(sizes[name])))
            for name in engine.all_values
        }
        shapes, stream = dict(sizes), gpu.stream(stream_handle)
        captured, known = stream.capturing is not None, self.n_changes

        def work() -> None:
            if captured and self.n_changes != known:
                raise CudaFaultError("a graph of a context that was changed after its capture")
            self._compute(memory, shapes)

        gpu.enqueue(stream, work)
        return True

    def _compute(self, memory: dict[str, np.ndarray], shapes: dict[str, Any]) -> None:
        """Reads and writes at once, as kernels do: outputs that lie on inputs are ruined."""
        engine = self.engine_
        feeds = {n: _floats(memory[n], shapes[n]).copy() for n in engine.inputs}
        if engine.plan["tf32"]:
            feeds = {name: _as_tf32(value) for name, value in feeds.items()}
        names = [name for name in engine.all_values if name not in engine.inputs]
        answers = engine.session.run(names, feeds)
        for name, answer in zip(names, answers, strict=True):
            overlapping = any(np.shares_memory(memory[name], memory[n]) for n in engine.inputs)
            _floats(memory[name], shapes[name])[...] = np.nan if overlapping else answer

    def _output_shapes(self) -> dict[str, tuple[int, ...]]:
        key = tuple(sorted(self.shapes.items()))
        if key not in self.known:
            engine = self.engine_
            feeds = {name: np.zeros(shape, np.float32) for name, shape in self.shapes.items()}
            names = [name for name in engine.all_values if name not in engine.inputs]
            answers = engine.session.run(names, feeds)
            self.known[key] = {n: a.shape for n, a in zip(names, answers, strict=True)}
        return self.known[key]


class FakeEngineInspector(_FakeThing):
    def start(self, engine: Any) -> None:
        self.keep(engine_=engine)
        self.values["execution_context"] = None

    def do_get_engine_information(self, format: Any) -> str:
        engine, context = self.engine_, self.values["execution_context"]
        assert format.name == "JSON"
        free = any(-1 in _axes(value) for value in engine.inputs.values())
        known = not free or (context is not None and len(context.shapes) == len(engine.inputs))
        kinds = _value_types(engine.model)
        layers: list[Any] = []
        nodes = list(engine.model.graph.node)
        # A dequantisation is fused into the product that reads it, whose inputs are int8 then.
        fused = {n for node in nodes if node.op_type == "DequantizeLinear" for n in node.output}
        kinds |= dict.fromkeys(fused, "INT8")
        for node in nodes:
            if node.op_type == "DequantizeLinear":
                continue
            if not engine.plan["detailed"]:
                layers.append(node.name)
                continue
            inputs = [name for name in node.input if name in kinds]
            lowered = node.name in engine.plan["lowered"]
            types = {n: "HALF" if lowered and k == "FLOAT" else k for n, k in kinds.items()}
            layers.append(
                {
                    "Name": node.name,
                    "LayerType": {"Gemm": "gemm", "Conv": "CaskConvolution"}.get(
                        node.op_type, node.op_type
                    ),
                    "Inputs": [self._tensor(name, types[name], known) for name in inputs],
                    "Outputs": [self._tensor(n, types[n], known) for n in node.output],
                    "TacticName": "a kernel",
                }
            )
        ends = list(engine.all_values)
        if self._module.major >= 11:
            return json.dumps({"Layers": layers, "I/O Tensors": [{"Name": n} for n in ends]})
        return json.dumps({"Layers": layers, "Bindings": ends})

    def _tensor(self, name: str, kind: str, known: bool) -> dict[str, Any]:
        plan = self.engine_.plan
        if (kind == "HALF" and not plan["half"]) or (kind == "INT8" and not plan["int8"]):
            kind = "FLOAT"
        said = _INSPECTED.get(kind, kind) if known else "N/A due to dynamic shapes"
        if self._module.major >= 11:
            return {"Name": name, "Format": "Row major linear", "DataType": said}
        if self._module.major < 10 and known:
            said = {"Float": "Row major linear FP32", "Half": "Row major linear FP16 format"}.get(
                said, f"Row major linear {said}"
            )
        return {"Name": name, "Location": "Device", "Format/Datatype": said}


def _axes(value: Any) -> list[int]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]


def _profile_problem(name: str, axes: list[int], shapes: list[list[int]]) -> str | None:
    if any(len(shape) != len(axes) for shape in shapes):
        return f"the profile of {name} has another number of axes"
    for axis, low, likely, high in zip(axes, *shapes, strict=True):
        if not 0 < low <= likely <= high or (axis != -1 and {low, likely, high} != {axis}):
            return f"the profile of {name}, {shapes}, does not fit {axes}"
    return None


def _floats(memory: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return memory.view(np.float32).reshape(shape)


def _as_tf32(values: np.ndarray) -> np.ndarray:
    """What a product in TF32 keeps of its factors: ten bits of the mantissa."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def _value_types(model: Any) -> dict[str, str]:
    """Of every tensor that flows, by ONNX's own inference."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    return {v.name: _TYPES.get(v.type.tensor_type.elem_type, "FLOAT") for v in values}
