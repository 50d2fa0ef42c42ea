"""The TensorRT double's runtime: engines that run a plan's graph in ONNX Runtime."""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
import onnx
import onnxruntime

from tensorrt_contract.double_things import MAGIC, TYPES, FakeThing, axes_of
from tensorrt_contract.gpu_double import CudaFaultError
from tensorrt_contract.guarded import made

_ALIGNMENT = 256
_INSPECTED = {"FLOAT": "Float", "HALF": "Half", "INT8": "Int8", "INT32": "Int32"}


class FakeRuntime(FakeThing):
    def start(self, logger: Any) -> None:
        self.need_driver(logger)
        self.greet(logger)
        self.keep(logger_=logger)
        self.values["engine_host_code_allowed"] = False

    def do_deserialize_cuda_engine(self, serialized_engine: Any) -> Any:
        module, stored = self._module, bytes(serialized_engine)
        module.gpu.need_context("Runtime.deserialize_cuda_engine")
        if not stored.startswith(MAGIC):
            self.complain(self.logger_, "magic tag does not match")
            return None
        plan = json.loads(stored.removeprefix(MAGIC))
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


class FakeICudaEngine(FakeThing):
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
        return tuple(axes_of(self.all_values[name]))

    def do_get_tensor_dtype(self, name: str) -> Any:
        kind = TYPES[self.all_values[name].type.tensor_type.elem_type]
        return getattr(self._module.DataType, kind)

    def do_get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert profile_index == 0
        shapes = self.plan["profile"].get(name) or [axes_of(self.inputs[name])] * 3
        return [tuple(shape) for shape in shapes]

    def do_create_execution_context(self, **_: Any) -> Any:
        self._module.gpu.need_context("ICudaEngine.create_execution_context")
        return made(self._module, "IExecutionContext", engine=self)

    def do_create_engine_inspector(self) -> Any:
        return made(self._module, "EngineInspector", engine=self)


class FakeIExecutionContext(FakeThing):
    def start(self, engine: Any) -> None:
        shapes = {n: tuple(axes_of(v)) for n, v in engine.inputs.items() if -1 not in axes_of(v)}
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
            return self.shapes.get(name, tuple(axes_of(engine.inputs[name])))
        if len(self.shapes) < len(engine.inputs):
            return tuple(axes_of(engine.all_values[name]))
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


class FakeEngineInspector(FakeThing):
    def start(self, engine: Any) -> None:
        self.keep(engine_=engine)
        self.values["execution_context"] = None

    def do_get_engine_information(self, format: Any) -> str:
        engine, context = self.engine_, self.values["execution_context"]
        assert format.name == "JSON"
        free = any(-1 in axes_of(value) for value in engine.inputs.values())
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


def _floats(memory: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return memory.view(np.float32).reshape(shape)


def _as_tf32(values: np.ndarray) -> np.ndarray:
    """What a product in TF32 keeps of its factors: ten bits of the mantissa."""
    return (values.view(np.uint32) & np.uint32(0xFFFFE000)).view(np.float32)


def _value_types(model: Any) -> dict[str, str]:
    """Of every tensor that flows, by ONNX's own inference."""
    inferred = onnx.shape_inference.infer_shapes(model).graph
    values = [*inferred.input, *inferred.output, *inferred.value_info]
    return {v.name: TYPES.get(v.type.tensor_type.elem_type, "FLOAT") for v in values}
