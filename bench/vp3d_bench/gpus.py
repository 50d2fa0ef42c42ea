"""The NVIDIA GPUs of this machine, as results tell of them.

    python -m vp3d_bench.gpus        prints them as JSON

Names come from the CUDA driver, which every board has; clocks, limits and memory from NVML, which
Jetsons have in part or not at all.
"""

from __future__ import annotations

import ctypes
import json
from collections.abc import Callable
from typing import Any

MB = 1e6
# CUdevice_attribute of cuda.h.
_MULTIPROCESSORS, _INTEGRATED, _MAJOR, _MINOR = 16, 18, 75, 76
_TEXT = 256


def describe_gpus() -> list[dict[str, Any]]:
    """One entry for each that CUDA sees, in its order; empty without a driver or a GPU."""
    driver = cuda_driver()
    if driver is None:
        return []
    count = ctypes.c_int(0)
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    return [_describe(driver, ordinal) for ordinal in range(count.value)]


def used_memory_mb(ordinal: int = 0) -> float | None:
    """Of the GPU's memory, by all programs together; None where NVML does not tell."""
    driver = cuda_driver()
    device = ctypes.c_int()
    if driver is None or driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), ordinal):
        return None
    found: float | None = _of_nvml(_bus_id(driver, device), lambda nvml, gpu: {
        "used": nvml.nvmlDeviceGetMemoryInfo(gpu).used / MB
    }).get("used")  # fmt: skip
    return found


def cuda_driver() -> Any:
    """libcuda, or None without a driver."""
    try:
        return ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None


def _describe(driver: Any, ordinal: int) -> dict[str, Any]:
    device = ctypes.c_int()
    driver.cuDeviceGet(ctypes.byref(device), ordinal)
    name = ctypes.create_string_buffer(_TEXT)
    driver.cuDeviceGetName(name, _TEXT, device)
    cuda = ctypes.c_int(0)
    driver.cuDriverGetVersion(ctypes.byref(cuda))
    capability = f"{_attribute(driver, device, _MAJOR)}.{_attribute(driver, device, _MINOR)}"
    return {
        "name": name.value.decode("utf-8", "replace"),
        "compute_capability": capability,
        "multiprocessors": _attribute(driver, device, _MULTIPROCESSORS),
        "integrated": bool(_attribute(driver, device, _INTEGRATED)),
        "cuda_of_driver": f"{cuda.value // 1000}.{cuda.value % 1000 // 10}",
        **_of_nvml(_bus_id(driver, device), _from_nvml),
    }


def _attribute(driver: Any, device: ctypes.c_int, which: int) -> int:
    value = ctypes.c_int(0)
    driver.cuDeviceGetAttribute(ctypes.byref(value), which, device)
    return value.value


def _bus_id(driver: Any, device: ctypes.c_int) -> str:
    text = ctypes.create_string_buffer(_TEXT)
    driver.cuDeviceGetPCIBusId(text, _TEXT, device)
    return text.value.decode("ascii", "replace")


def _of_nvml(bus_id: str, read: Callable[[Any, Any], dict[str, Any]]) -> dict[str, Any]:
    """What `read(nvml, gpu)` says of the GPU at this place; nothing where NVML is not."""
    try:
        import pynvml as nvml
    except ImportError:
        return {}
    try:
        nvml.nvmlInit()
    except nvml.NVMLError:
        return {}
    try:
        return read(nvml, nvml.nvmlDeviceGetHandleByPciBusId(bus_id))
    except nvml.NVMLError:
        return {}
    finally:
        nvml.nvmlShutdown()


def _from_nvml(nvml: Any, gpu: Any) -> dict[str, Any]:
    """All that this GPU tells of these."""
    readers: dict[str, Callable[[], Any]] = {
        "driver": nvml.nvmlSystemGetDriverVersion,
        "memory_mb": lambda: round(nvml.nvmlDeviceGetMemoryInfo(gpu).total / MB),
        "power_limit_w": lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(gpu) / 1e3,
        "clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_GRAPHICS),
        "memory_clock_mhz": lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
        "most_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_GRAPHICS),
        "most_memory_clock_mhz": lambda: nvml.nvmlDeviceGetMaxClockInfo(gpu, nvml.NVML_CLOCK_MEM),
        "throttled_by": lambda: nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),
        "persistence_mode": lambda: bool(nvml.nvmlDeviceGetPersistenceMode(gpu)),
        "mig": lambda: bool(nvml.nvmlDeviceGetMigMode(gpu)[0]),
    }
    found = {}
    for name, reader in readers.items():
        try:
            value = reader()
        except nvml.NVMLError:
            continue
        found[name] = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
    return found


if __name__ == "__main__":
    print(json.dumps(describe_gpus(), indent=2))
