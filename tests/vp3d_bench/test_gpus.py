"""GPUs as results tell of them, over doubles of the CUDA driver and of NVML."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

import pynvml
import pytest

from vp3d_bench import gpus

ATTRIBUTES = {16: 132, 18: 0, 75: 9, 76: 0}
BUS = "0000:19:00.0"


class Driver:
    """libcuda with so many H200s."""

    def __init__(self, count: int = 1, works: bool = True) -> None:
        self.count, self.works = count, works

    def cuInit(self, flags: int) -> int:  # noqa: N802
        return 0 if self.works else 100

    def cuDeviceGetCount(self, count: Any) -> int:  # noqa: N802
        count._obj.value = self.count
        return 0

    def cuDeviceGet(self, device: Any, ordinal: int) -> int:  # noqa: N802
        device._obj.value = ordinal
        return 0 if ordinal < self.count else 101

    def cuDeviceGetName(self, text: Any, size: int, device: Any) -> int:  # noqa: N802
        text.value = b"NVIDIA H200"
        return 0

    def cuDriverGetVersion(self, version: Any) -> int:  # noqa: N802
        version._obj.value = 13000
        return 0

    def cuDeviceGetAttribute(self, value: Any, which: int, device: Any) -> int:  # noqa: N802
        value._obj.value = ATTRIBUTES[which]
        return 0

    def cuDeviceGetPCIBusId(self, text: Any, size: int, device: Any) -> int:  # noqa: N802
        text.value = BUS.encode()
        return 0


class Nvml(types.ModuleType):
    """NVML, whose calls are held to the real bindings. lacks: functions that this GPU refuses."""

    NVMLError = pynvml.NVMLError

    def __init__(self, lacks: tuple[str, ...] = ()) -> None:
        super().__init__("pynvml")
        self.lacks, self.open = lacks, 0

    def __getattr__(self, name: str) -> Any:
        real = getattr(pynvml, name)
        if not name.startswith("nvml"):
            return real

        def call(*arguments: Any) -> Any:
            inspect.signature(real).bind(*arguments)
            if name in ("nvmlInit", "nvmlShutdown"):
                self.open += 1 if name == "nvmlInit" else -1
                return None
            assert self.open == 1
            if name in self.lacks:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            if name == "nvmlDeviceGetHandleByPciBusId":
                assert arguments == (BUS,)
                return "gpu"
            memory = types.SimpleNamespace(total=150_000_000_000, used=3_000_000_000)
            return {
                "nvmlSystemGetDriverVersion": b"580.95.05", "nvmlDeviceGetMemoryInfo": memory,
                "nvmlDeviceGetEnforcedPowerLimit": 700_000, "nvmlDeviceGetClockInfo": 1980,
                "nvmlDeviceGetMaxClockInfo": 3201, "nvmlDeviceGetTemperature": 41,
                "nvmlDeviceGetCurrentClocksThrottleReasons": 0,
                "nvmlDeviceGetPersistenceMode": 1, "nvmlDeviceGetMigMode": [0, 0],
            }[name]  # fmt: skip

        return call


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch) -> Any:
    def make(driver: Driver | None, nvml: Nvml | None) -> Nvml | None:
        monkeypatch.setattr(gpus, "cuda_driver", lambda: driver)
        monkeypatch.setitem(sys.modules, "pynvml", nvml)
        return nvml

    return make


def test_all_that_is_known_is_told(install: Any) -> None:
    nvml = install(Driver(), Nvml())
    assert gpus.describe_gpus() == [
        {
            "name": "NVIDIA H200", "compute_capability": "9.0", "multiprocessors": 132,
            "integrated": False, "cuda_of_driver": "13.0", "driver": "580.95.05",
            "memory_mb": 150_000, "power_limit_w": 700.0, "clock_mhz": 1980,
            "memory_clock_mhz": 1980, "most_clock_mhz": 3201, "most_memory_clock_mhz": 3201,
            "throttled_by": 0, "temperature_c": 41, "persistence_mode": True, "mig": False,
        }
    ]  # fmt: skip
    assert gpus.used_memory_mb() == 3000
    assert nvml.open == 0


def test_what_a_gpu_does_not_tell_is_left_out(install: Any) -> None:
    install(Driver(2), Nvml(("nvmlDeviceGetMemoryInfo", "nvmlDeviceGetMigMode")))
    first, second = gpus.describe_gpus()
    assert first == second
    assert "memory_mb" not in first
    assert first["clock_mhz"] == 1980
    assert gpus.used_memory_mb() is None


def test_a_board_without_nvml_has_a_name(install: Any) -> None:
    install(Driver(), None)
    (gpu,) = gpus.describe_gpus()
    assert (gpu["name"], gpu["compute_capability"]) == ("NVIDIA H200", "9.0")
    assert "driver" not in gpu
    assert gpus.used_memory_mb() is None


@pytest.mark.parametrize("driver", [None, Driver(0), Driver(works=False)])
def test_without_a_gpu_there_are_none(install: Any, driver: Driver | None) -> None:
    install(driver, Nvml())
    assert gpus.describe_gpus() == []
