"""Put the doubles where the product imports TensorRT and CUDA from."""

from __future__ import annotations

import sys
import types
from dataclasses import dataclass

import pytest

from tensorrt_contract.double import tensorrt_double
from tensorrt_contract.driver_double import FakeCudaDriver, TypedDriver
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.guarded import GuardedModule
from vp3d_deploy.engines import cuda_driver, gpu, tensorrt_api, warn_once


@dataclass
class Installed:
    """What was put in place. trt: the module `tensorrt`."""

    gpu: FakeGpu
    trt: GuardedModule


def install(patch: pytest.MonkeyPatch, version: str, device: FakeGpu | None = None) -> Installed:
    """TensorRT of this version on a GPU of its own, or on `device`; `patch` takes them away."""
    device = device or FakeGpu()
    install_gpu(patch, device)
    trt = tensorrt_double(device, version)
    patch.setitem(sys.modules, "tensorrt", trt)
    patch.setattr(tensorrt_api, "_LOGGERS", {})
    return Installed(device, trt)


def install_gpu(patch: pytest.MonkeyPatch, device: FakeGpu) -> FakeCudaDriver:
    """pycuda and the driver's library, with this GPU; `patch` takes them away."""
    package = types.ModuleType("pycuda")
    package.driver = device.module  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "pycuda", package)
    patch.setitem(sys.modules, "pycuda.driver", device.module)
    driver = FakeCudaDriver(device)
    library = TypedDriver(driver)
    patch.setattr(cuda_driver, "driver", lambda: library)
    patch.setattr(gpu, "_OPEN", {})
    patch.setattr(warn_once, "_WARNED", set())
    return driver
