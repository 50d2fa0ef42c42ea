"""What the product calls of TensorRT, pycuda and the CUDA driver, and where it may.

The doubles have checked every call of the other tests against the inventory of its version. Here
stands what follows from the whole: that all of it goes through few modules, that every version's
flow makes the calls that belong to it, and CUDA's own header has the driver's functions.
"""

from __future__ import annotations

import ast
import ctypes
import re
import subprocess
from pathlib import Path

import pytest
from bundles import random_bundle
from cuda_doubles import People, opened_cuda
from stored_networks import random_clips

from tensorrt_contract import simulated_kernels
from tensorrt_contract.bindings import compile_stub
from tensorrt_contract.gpu_double import FakeGpu
from tensorrt_contract.installed import install
from tensorrt_contract.inventory import load, tensorrt_versions
from vp3d_deploy.engines import cuda_driver, cuda_kernels, gpu, open_engine
from vp3d_deploy.engines.cuda_driver import FUNCTIONS, PROGRAMMATIC
from vp3d_deploy.engines.cuda_graph import THREAD_LOCAL, CudaGraph
from vp3d_deploy.engines.gpu import open_gpu
from vp3d_deploy.spec import ModelSpec
from vp3d_export.tensorrt.build import build_engine
from vp3d_export.tensorrt.options import EngineOptions, Span

ROOT = Path(__file__).resolve().parents[2]
SPEC = ModelSpec(filter_widths=(3, 3), channels=8, joints_in=17, joints_out=17)
HEADER = Path("/usr/local/cuda/include/cuda.h")
# cuda.h of CUDA 13.0, without the names of arguments.
PROTOTYPES = {
    "cuStreamBeginCapture_v2": "CUstream, CUstreamCaptureMode",
    "cuStreamEndCapture": "CUstream, CUgraph*",
    "cuGraphInstantiateWithFlags": "CUgraphExec*, CUgraph, unsigned long long",
    "cuGraphLaunch": "CUgraphExec, CUstream",
    "cuGraphExecDestroy": "CUgraphExec",
    "cuGraphDestroy": "CUgraph",
    "cuGetErrorName": "CUresult, const char**",
    "cuDeviceGet": "CUdevice*, int",
    "cuDeviceGetAttribute": "int*, CUdevice_attribute, CUdevice",
    "cuModuleLoadData": "CUmodule*, const void*",
    "cuModuleUnload": "CUmodule",
    "cuModuleGetFunction": "CUfunction*, CUmodule, const char*",
    "cuFuncSetAttribute": "CUfunction, CUfunction_attribute, int",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor": "int*, CUfunction, int, size_t",
    "cuLaunchKernel": f"CUfunction, {', '.join(['unsigned int'] * 7)}, CUstream, void**, void**",
    "cuLaunchCooperativeKernel": f"CUfunction, {', '.join(['unsigned int'] * 7)}, CUstream, void**",
    "cuLaunchKernelEx": "const CUlaunchConfig*, CUfunction, void**, void**",
}
C_TYPES = {
    "CUstream": ctypes.c_void_p,
    "CUgraph": ctypes.c_void_p,
    "CUgraphExec": ctypes.c_void_p,
    "CUgraph*": ctypes.POINTER(ctypes.c_void_p),
    "CUgraphExec*": ctypes.POINTER(ctypes.c_void_p),
    "CUstreamCaptureMode": ctypes.c_int,
    "CUresult": ctypes.c_int,
    "CUdevice*": ctypes.POINTER(ctypes.c_int),
    "CUdevice": ctypes.c_int,
    "CUdevice_attribute": ctypes.c_int,
    "CUfunction": ctypes.c_void_p,
    "CUfunction_attribute": ctypes.c_int,
    "CUmodule": ctypes.c_void_p,
    "CUfunction*": ctypes.POINTER(ctypes.c_void_p),
    "CUmodule*": ctypes.POINTER(ctypes.c_void_p),
    "const void*": ctypes.c_void_p,
    "void**": ctypes.POINTER(ctypes.c_void_p),
    "const char*": ctypes.c_char_p,
    "int": ctypes.c_int,
    "int*": ctypes.POINTER(ctypes.c_int),
    "unsigned int": ctypes.c_uint,
    "size_t": ctypes.c_size_t,
    "unsigned long long": ctypes.c_ulonglong,
    "const char**": ctypes.POINTER(ctypes.c_char_p),
    "const CUlaunchConfig*": ctypes.POINTER(cuda_driver.LaunchConfig),
}


@pytest.mark.parametrize("version", tensorrt_versions())
def test_the_calls_of_a_whole_flow_are_those_of_the_version(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    installed = install(monkeypatch, version)
    bundle = random_bundle(tmp_path / "net.vp3d", SPEC, precisions=("fp16",)).bundle
    gpu, options = open_gpu(), EngineOptions(batch=Span(1, 1, 2), frames=Span(1, 4, 8))
    for graph in bundle.graphs:
        with gpu.active():
            build_engine(installed.trt, gpu, bundle, graph, options, bundle.path)
    calls = set(installed.trt.calls)
    major = int(version.split(".")[0])
    flags = {c.split(".")[1] for c in calls if c.startswith("NetworkDefinitionCreationFlag.")}
    assert flags == {8: {"EXPLICIT_BATCH"}, 10: {"STRONGLY_TYPED"}, 11: set()}[major]
    assert ("BuilderFlag.FP16" in calls) == (major == 8)
    assert ("PreviewFeature.PROFILE_SHARING_0806" in calls) == version.startswith("8.6")
    assert ("IBuilderConfig.progress_monitor" in calls) == (major >= 10)
    assert {"BuilderFlag.TF32", "IBuilderConfig.clear_flag", "OnnxParser.parse"} <= calls
    # Every name that was called is one of the version's, and none is deprecated in it.
    names = load(f"tensorrt-{version}.json").names
    for call in calls:
        owner, _, member = call.removesuffix("()").partition(".")
        assert owner in names, call
        assert member.split(".")[0] not in names[owner].get("deprecated", ()), call


def test_an_engine_by_name_needs_no_call_that_older_versions_lack() -> None:
    """The runtime's half of the API is the same in all versions, argument by argument."""
    source = (ROOT / "vp3d_deploy/engines/tensorrt_api.py").read_text("utf-8")
    methods = {
        "Runtime": ["deserialize_cuda_engine"],
        "ICudaEngine": ["get_tensor_name", "get_tensor_mode", "get_tensor_shape",
                        "get_tensor_dtype", "get_tensor_profile_shape",
                        "create_execution_context", "create_engine_inspector"],
        "IExecutionContext": ["set_input_shape", "get_tensor_shape", "set_tensor_address",
                              "execute_async_v3"],
        "EngineInspector": ["get_engine_information"],
    }  # fmt: skip
    for version in tensorrt_versions():
        names = load(f"tensorrt-{version}.json").names
        for cls, wanted in methods.items():
            for method in wanted:
                assert f".{method}(" in source
                assert method in names[cls]["methods"], f"{cls}.{method} in {version}"


def test_the_cuda_engine_calls_what_pycuda_has(tmp_path: Path) -> None:
    """The double has checked each call; here stands which they are, so that none comes unseen."""
    if simulated_kernels.compiler() is None:
        pytest.skip("the CUDA kernels were not simulated: no C++ compiler")
    integrated = FakeGpu()
    integrated.attributes["INTEGRATED"] = 1
    with opened_cuda(SPEC, "fp16", gpu=integrated, timings=True) as cuda:
        people = People(cuda, 0)
        people.come(1)
        people.step()
        people.come(1)
        people.stream.push_async(people.next_frame())
        people.check(people.stream.result())
        cuda.engine.sequence(random_clips(SPEC, 1, 20))
        called = set(cuda.gpu.module.calls)
    with opened_cuda(SPEC, "fp16") as cuda:
        cuda.engine.sequence(random_clips(SPEC, 1, 20))
        called |= set(cuda.gpu.module.calls)
    assert called == {
        "init", "Device()", "Device.name", "Device.compute_capability",
        "Device.get_attribute", "Device.retain_primary_context",
        *(f"device_attribute.{name}" for name in (
            "MULTIPROCESSOR_COUNT", "MAX_SHARED_MEMORY_PER_BLOCK_OPTIN", "INTEGRATED",
            "L2_CACHE_SIZE",
        )),
        "Context.push", "Context.pop", "Stream()", "Stream.handle", "Stream.synchronize",
        "Event()", "Event.record", "Event.synchronize", "Event.time_till",
        "mem_alloc", "DeviceAllocation.__int__", "DeviceAllocation.free",
        "pagelocked_empty", "PagelockedHostAllocation.get_device_pointer",
        "PagelockedHostAllocation.free", "memcpy_htod_async", "memcpy_dtoh_async",
        "memcpy_dtod_async", "memset_d8_async", "get_driver_version",
    }  # fmt: skip


def test_few_modules_touch_tensorrt_and_cuda() -> None:
    allowed = {
        "tensorrt": {"vp3d_deploy/engines/tensorrt_api.py"},
        "pycuda": {"vp3d_deploy/engines/gpu.py"},
    }
    found: dict[str, set[str]] = {name: set() for name in allowed}
    for folder in ("vp3d_deploy", "export", "bench"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                modules = (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom) and not node.level
                    else []
                )
                for module in modules:
                    if module.split(".")[0] in allowed:
                        found[module.split(".")[0]].add(str(path.relative_to(ROOT)))
    assert found == allowed


def test_the_drivers_functions_are_called_as_they_are_declared() -> None:
    assert set(FUNCTIONS) == set(PROTOTYPES)
    for name, prototype in PROTOTYPES.items():
        assert FUNCTIONS[name] == tuple(C_TYPES[kind] for kind in prototype.split(", ")), name


def test_the_drivers_functions_are_found_and_take_what_they_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a library that has them all, through the real ctypes; each answers 0."""
    library = tmp_path / "libcuda.so.1"
    compile_stub(list(FUNCTIONS), [library])
    monkeypatch.setattr(cuda_driver, "LIBRARY", str(library))
    cuda_driver.driver.cache_clear()
    handle, number = ctypes.c_void_p(), ctypes.c_int()
    launch = (handle, 1, 1, 1, 32, 1, 1, 0, 7, (ctypes.c_void_p * 2)(0, 0))
    try:
        cuda_driver.call("cuModuleLoadData", ctypes.byref(handle), b"code")
        cuda_driver.call("cuModuleGetFunction", ctypes.byref(handle), handle, b"name")
        cuda_driver.call("cuFuncSetAttribute", handle, 8, 1 << 16)
        cuda_driver.call("cuDeviceGetAttribute", ctypes.byref(number), 95, number)
        occupancy = "cuOccupancyMaxActiveBlocksPerMultiprocessor"
        cuda_driver.call(occupancy, ctypes.byref(number), handle, 512, 1 << 17)
        cuda_driver.call("cuLaunchCooperativeKernel", *launch)
        cuda_driver.call("cuLaunchKernel", *launch, None)
        config = ctypes.byref(cuda_driver.LaunchConfig())
        cuda_driver.call("cuLaunchKernelEx", config, handle, launch[-1], None)
        cuda_driver.call("cuModuleUnload", handle)
        graph = CudaGraph(7, lambda: None)
        graph.launch()
        graph.close()
        with pytest.raises(ctypes.ArgumentError):
            cuda_driver.call("cuGraphLaunch", 1.5, 7)
    finally:
        cuda_driver.driver.cache_clear()


def test_cudas_header_declares_them_so() -> None:
    if not HEADER.is_file():
        pytest.skip(f"the prototypes were not compared with CUDA's header: no {HEADER} here")
    text = HEADER.read_text("utf-8", errors="replace")
    for name, prototype in PROTOTYPES.items():
        plain = {
            "cuStreamBeginCapture_v2": "cuStreamBeginCapture",
            "cuGraphInstantiateWithFlags": "cuGraphInstantiate",
        }.get(name, name)
        declared = re.search(rf"CUresult CUDAAPI {plain}\(([^)]*)\);", text)
        assert declared is not None, name
        kinds = [_without_name(argument) for argument in declared.group(1).split(",")]
        assert ", ".join(kinds) == prototype
        if plain != name:
            assert re.search(rf"#define {plain} .*{name}", text)
    assert re.search(rf"CU_STREAM_CAPTURE_MODE_THREAD_LOCAL\s*= {THREAD_LOCAL}\b", text)
    assert re.search(rf"CU_STREAM_NON_BLOCKING\s*= 0x{gpu._NON_BLOCKING}\b", text)
    for pattern in (
        rf"define CU_MEMHOSTALLOC_DEVICEMAP\s+0x0{gpu._MAPPED}\b",
        rf"CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH = {gpu._COOPERATIVE_LAUNCH}\b",
        rf"CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES = {cuda_kernels._SHARED_BYTES}\b",
    ):
        assert re.search(pattern, text), pattern
    refusals = ("INVALID_IMAGE", "NO_BINARY_FOR_GPU", "INVALID_PTX", "JIT_COMPILER_NOT_FOUND",
                "UNSUPPORTED_PTX_VERSION", "JIT_COMPILATION_DISABLED")  # fmt: skip
    for name, code in zip(refusals, cuda_kernels._NO_CODE, strict=True):
        assert re.search(rf"CUDA_ERROR_{name}\s*= {code}\b", text), name


def test_cudas_header_lays_structures_out_so(tmp_path: Path) -> None:
    compiler = simulated_kernels.compiler()
    if not HEADER.is_file() or compiler is None:
        pytest.skip(f"structures were not compared with CUDA's header: no {HEADER}, or no compiler")
    config, attribute = cuda_driver.LaunchConfig, cuda_driver.LaunchAttribute
    places = {
        "CUlaunchConfig, gridDimX": config.grid_x.offset,
        "CUlaunchConfig, gridDimZ": config.grid_z.offset,
        "CUlaunchConfig, blockDimX": config.block_x.offset,
        "CUlaunchConfig, blockDimZ": config.block_z.offset,
        "CUlaunchConfig, sharedMemBytes": config.shared_bytes.offset,
        "CUlaunchConfig, hStream": config.stream.offset,
        "CUlaunchConfig, attrs": config.attributes.offset,
        "CUlaunchConfig, numAttrs": config.n_attributes.offset,
        "CUlaunchAttribute, id": attribute.id.offset,
        "CUlaunchAttribute, value.programmaticStreamSerializationAllowed": attribute.value.offset,
    }
    facts = [f"offsetof({place}) == {offset}" for place, offset in places.items()]
    facts += [
        f"sizeof(CUlaunchConfig) == {ctypes.sizeof(config)}",
        f"sizeof(CUlaunchAttribute) == {ctypes.sizeof(attribute)}",
        f"CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION == {PROGRAMMATIC}",
    ]
    asserted = "\n".join(f'static_assert({fact}, "{fact}");' for fact in facts)
    source = tmp_path / "layout.cpp"
    source.write_text(f"#include <cstddef>\n#include <cuda.h>\n{asserted}\n")
    command = [compiler, "-fsyntax-only", f"-I{HEADER.parent}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def _without_name(argument: str) -> str:
    kind = re.sub(r"\w+$", "", argument.strip()).strip()
    return re.sub(r"\s*\*", "*", kind)


def test_without_a_driver_there_is_no_gpu() -> None:
    from vp3d_deploy.engines.gpu import count_gpus

    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        assert count_gpus() == 0
    else:
        pytest.skip("this machine has a CUDA driver")
    assert open_engine is not None
