"""A TensorRT whose engines run in ONNX Runtime: the real names and signatures, our arithmetic.

`tensorrt_double(gpu, version)` is a module with exactly what NVIDIA's bindings of that version
have (guarded.py). Behind the names are the rules that a mistake would break on a GPU: networks
need the flags of their version, free axes need a profile, precision follows the types of the
graph (strongly typed) or the builder's flags (before), TF32 is on unless it is taken off, a plan
loads only on the GPU and version it was built for, and failure is None or False and a line to the
logger, never an exception.
"""

from __future__ import annotations

from typing import Any

# All things of the double are those that these two define.
from tensorrt_contract import double_build, double_run  # noqa: F401
from tensorrt_contract.double_things import FakeThing
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.guarded import GuardedModule, guarded_module
from tensorrt_contract.inventory import load


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
    return {cls.__name__.removeprefix("Fake"): cls for cls in FakeThing.__subclasses__()}
