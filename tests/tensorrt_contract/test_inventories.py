"""The inventories are what NVIDIA's wheels say, and the wheels say what the project relies on."""

from __future__ import annotations

import json

import pytest

from tensorrt_contract import pycuda_build
from tensorrt_contract.bindings import WHEELS, Wheel, inventory_of_wheel, run_with_wheel, why_not
from tensorrt_contract.inventory import bind, load, tensorrt_versions


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.version)
def test_an_inventory_is_what_the_real_bindings_say(wheel: Wheel) -> None:
    why = why_not(wheel)
    if why:
        pytest.skip(f"NVIDIA's bindings {wheel.version} were not compared: {why}")
    found = inventory_of_wheel(wheel)
    stored = json.loads(wheel.inventory.read_text("utf-8"))
    assert found["version"] == wheel.version
    assert found == stored, "`python -m tensorrt_contract.bindings write` writes it anew"


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.version)
def test_what_needs_no_library_works_on_the_real_bindings(wheel: Wheel) -> None:
    """Classes of ours that TensorRT calls, and values of its own that are used as Python's."""
    why = why_not(wheel)
    if why:
        pytest.skip(f"NVIDIA's bindings {wheel.version} were not tried: {why}")
    program = """
from vp3d_deploy.engines.tensorrt_api import complaint, import_tensorrt, logger_of, version_numbers
from vp3d_export.tensorrt.api import PROGRESS_FROM, make_monitor
trt = import_tensorrt()
logger = logger_of(trt)
assert isinstance(logger, trt.ILogger) and logger_of(trt) is logger
logger.log(trt.ILogger.Severity.INFO, 'said')
logger.log(trt.ILogger.Severity.WARNING, 'careful')
assert complaint(logger) == 'careful'
logger.log(trt.ILogger.Severity.WARNING, 'careful')
logger.log(trt.ILogger.Severity.INTERNAL_ERROR, 'wrong')
assert complaint(logger) == 'wrong'
assert complaint(logger) == 'TensorRT gives no reason'
if version_numbers(trt.__version__) >= PROGRESS_FROM:
    seen = []
    monitor = make_monitor(trt, lambda done, total: seen.append((done, total)))
    assert isinstance(monitor, trt.IProgressMonitor)
    monitor.phase_start('build', None, 2)
    assert monitor.step_complete('build', 0) is True
    monitor.cancelled = True
    assert monitor.step_complete('another', 0) is False
    monitor.phase_finish('build')
    assert seen == [(1, 2)]
types = {getattr(trt.DataType, name): name for name in ('FLOAT', 'HALF', 'INT8', 'INT32')}
assert types[trt.DataType.HALF] == 'HALF'
assert tuple(trt.Dims((1, 2, 3))) == (1, 2, 3)
flags = trt.NetworkDefinitionCreationFlag
assert [1 << int(flag) for flag in flags.__members__.values()]
print('fine')
"""
    assert run_with_wheel(wheel, program).strip() == "fine"


def test_every_wheel_has_an_inventory() -> None:
    assert tensorrt_versions() == [wheel.version for wheel in WHEELS]


@pytest.mark.parametrize("version", tensorrt_versions())
def test_an_inventory_holds_what_is_known_of_the_version(version: str) -> None:
    names = load(f"tensorrt-{version}.json").names
    flags = names["NetworkDefinitionCreationFlag"]
    major = int(version.split(".")[0])
    assert ("EXPLICIT_BATCH" in flags["members"]) == (major < 11)
    assert ("STRONGLY_TYPED" in flags["members"]) == (major >= 10)
    assert ("FP16" in names["BuilderFlag"]["members"]) == (major < 11)
    assert ("platform_has_fast_fp16" in names["Builder"]["properties"]) == (major < 11)
    assert ("EXPLICIT_BATCH" in flags.get("deprecated", ())) == (major == 10)
    assert ("STRONGLY_TYPED" in flags.get("deprecated", ())) == (major == 11)
    assert ("IProgressMonitor" in names) == (major >= 10)
    (overload,) = names["IExecutionContext"]["methods"]["set_tensor_address"]
    assert overload["args"] == [["self", "IExecutionContext"], ["name", "str"], ["memory", "int"]]
    assert overload["returns"] == "bool"


def _accepts(kind: str, value: object) -> bool:
    return type(value).__name__ == kind


def test_arguments_are_bound_by_number_order_name_and_type() -> None:
    overloads = [
        {"args": [["self", "C"], ["name", "str"], ["memory", "int"], ["more", "str", "None"]]}
    ]
    assert bind(overloads, ("a", 1), {}, _accepts, "f") == {"name": "a", "memory": 1}
    assert bind(overloads, ("a",), {"memory": 1}, _accepts, "f") == {"name": "a", "memory": 1}
    assert bind(overloads, ("a", 1, None), {}, _accepts, "f")["more"] is None
    for args, kwargs, what in (
        ((1, "a"), {}, "'name' was given int"),
        (("a",), {}, "'memory' is missing"),
        (("a", 1, "b", 2), {}, "4 arguments were given"),
        (("a", 1), {"address": 2}, "'address' was given"),
        (("a", 1), {"name": "b"}, "'name' was given"),
        ((None, 1), {}, "'name' was given NoneType"),
    ):
        with pytest.raises(AssertionError, match=what):
            bind(overloads, args, kwargs, _accepts, "f")


def test_pycudas_inventory_is_what_the_compiled_module_says() -> None:
    if not pycuda_build.UNPACKED.is_dir():
        pytest.skip("pycuda was not compared: `make pycuda-inventory` has not compiled it here")
    stored = json.loads(pycuda_build.INVENTORY.read_text("utf-8"))
    assert pycuda_build.inventory_of_pycuda() == stored


def test_pycudas_inventory_holds_what_its_source_says() -> None:
    names = load(pycuda_build.INVENTORY.name).names
    (overload,) = names["memcpy_htod_async"]["overloads"]
    assert overload["args"] == [["dest", "object"], ["src", "object"], ["stream", "object", "None"]]
    assert names["Stream"]["methods"]["__init__"][0]["args"][1] == ["flags", "int", "0"]
    # CUDA's graphs are not among them: vp3d_deploy/engines/cuda_driver.py calls the driver itself.
    assert not [name for name in names if "raph" in name and "raphics" not in name]
