"""The GPU reader on a double of NVML, whose functions are those of the real bindings."""

from __future__ import annotations

import inspect
import sys
import types
from typing import Any

import pynvml
import pytest

from vp3d_bench.power import PowerError, PowerMeter, open_source
from vp3d_bench.power.nvml import NvmlGpu

MW, STEP_MJ = 61_000, 1_000.0


class Double(types.ModuleType):
    """One GPU or several. Every call is held to the real function's parameters."""

    def __init__(self, *, gpus: int = 1, counter: bool = True, clocks: bool = True) -> None:
        super().__init__("pynvml")
        self.gpus, self.counter, self.clocks = gpus, counter, clocks
        self.energy_mj, self.open = 5e9, 0

    NVMLError = pynvml.NVMLError
    NVML_TEMPERATURE_GPU = pynvml.NVML_TEMPERATURE_GPU
    NVML_CLOCK_GRAPHICS = pynvml.NVML_CLOCK_GRAPHICS
    NVML_CLOCK_MEM = pynvml.NVML_CLOCK_MEM

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("nvml"):
            raise AttributeError(name)
        real = getattr(pynvml, name)  # fails for a name that the bindings do not have

        def call(*arguments: Any) -> Any:
            inspect.signature(real).bind(*arguments)
            return self._answer(name, arguments)

        return call

    def _answer(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in ("nvmlInit", "nvmlShutdown"):
            self.open += 1 if name == "nvmlInit" else -1
            return None
        assert self.open == 1, f"{name} while NVML is not initialised"
        if name == "nvmlDeviceGetTotalEnergyConsumption":
            if not self.counter:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            self.energy_mj += STEP_MJ
            return int(self.energy_mj)
        if name == "nvmlDeviceGetClockInfo":
            if not self.clocks:
                raise pynvml.NVMLError(pynvml.NVML_ERROR_NOT_SUPPORTED)
            return {pynvml.NVML_CLOCK_GRAPHICS: 1410, pynvml.NVML_CLOCK_MEM: 5001}[arguments[1]]
        return {
            "nvmlDeviceGetCount": self.gpus,
            "nvmlDeviceGetHandleByIndex": f"gpu {arguments[:1]}",
            "nvmlDeviceGetName": b"NVIDIA Example",
            "nvmlDeviceGetPowerUsage": MW,
            "nvmlDeviceGetTemperature": 48,
            "nvmlDeviceGetEnforcedPowerLimit": 250_000,
            "nvmlSystemGetDriverVersion": "580.95.05",
        }[name]


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    def make(**how: Any) -> Double:
        double = Double(**how)
        monkeypatch.setitem(sys.modules, "pynvml", double)
        return double

    return make


def test_the_counter_is_used_where_there_is_one(install: Any) -> None:
    double = install()
    with PowerMeter(NvmlGpu(interval_s=0.005)) as meter:
        energy = meter.rest(0.2)
        assert "NVIDIA Example" in meter.source.covers
        assert meter.source.describe() == {
            "gpu": "NVIDIA Example",
            "driver": "580.95.05",
            "power_limit_w": 250.0,
            "counted_by_hardware": True,
        }
    assert energy.counted
    # The counter takes a step at every reading; the window's ends lie between two.
    assert energy.millijoules == pytest.approx(energy.readings * STEP_MJ, abs=2 * STEP_MJ)
    assert dict(energy.clocks_mhz) == {"gpu": 1410, "memory": 5001}
    assert dict(energy.temperatures_c) == {"gpu": 48}
    assert double.open == 0


def test_older_gpus_are_sampled(install: Any) -> None:
    install(counter=False, clocks=False)
    with PowerMeter(NvmlGpu(interval_s=0.005)) as meter:
        energy = meter.rest(0.1)
    assert not energy.counted
    assert energy.mean_mw == pytest.approx(MW)
    assert not energy.clocks_mhz


def test_several_gpus_need_a_number(install: Any) -> None:
    double = install(gpus=2)
    with pytest.raises(PowerError, match="has 2 GPUs: say which with --power-gpu N"):
        NvmlGpu()
    with pytest.raises(PowerError, match="there is no GPU 2"):
        open_source(gpu=2)
    assert double.open == 0
    open_source(gpu=1).close()


def test_without_any_source_one_sentence_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with pytest.raises(PowerError) as raised:
        open_source()
    assert str(raised.value) == (
        "power cannot be measured on this machine: there is no tegrastats, which Jetsons have; "
        'NVML needs nvidia-ml-py: pip install "vp3d-deploy[power]"'
    )


def test_bindings_without_a_driver_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_driver() -> None:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_LIBRARY_NOT_FOUND)

    monkeypatch.setattr(pynvml, "nvmlInit", no_driver)
    with pytest.raises(PowerError, match="NVML finds no NVIDIA driver"):
        NvmlGpu()
