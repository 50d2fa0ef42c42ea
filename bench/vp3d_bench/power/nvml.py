"""The power of one NVIDIA GPU, from NVML: of the GPU's board alone, without the processor's."""

from __future__ import annotations

import threading
from typing import Any

from vp3d_bench.power.reading import PowerError, Reading

INTERVAL_S = 0.02


class NvmlGpu:
    """A GPU by the number that nvidia-smi gives it; None is the only one there is.

    GPUs since Volta count their energy themselves, and what a window used is the difference of the
    counter; of older ones, and where the counter is missing, power is sampled. Since Ampere the
    sampled power is an average over a second (NVML's documentation of nvmlDeviceGetPowerUsage).
    Raises PowerError without the library, a driver, a GPU, or with several and no number.
    """

    name = "nvml"

    def __init__(self, number: int | None = None, interval_s: float = INTERVAL_S) -> None:
        self._interval_s = interval_s
        self._closed = threading.Event()
        try:
            import pynvml
        except ImportError:
            raise PowerError('NVML needs nvidia-ml-py: pip install "vp3d-deploy[power]"') from None
        self._nvml = pynvml
        try:
            pynvml.nvmlInit()
        except pynvml.NVMLError as error:
            raise PowerError(f"NVML finds no NVIDIA driver ({error})") from None
        try:
            self._open(number)
        except pynvml.NVMLError as error:
            self.close()
            raise PowerError(f"NVML cannot read this GPU's power ({error})") from None
        except PowerError:
            self.close()
            raise

    def _open(self, number: int | None) -> None:
        nvml = self._nvml
        count = nvml.nvmlDeviceGetCount()
        if number is None and count > 1:
            raise PowerError(
                f"this machine has {count} GPUs: say which with --power-gpu N, as nvidia-smi "
                "numbers them"
            )
        if not 0 <= (number or 0) < count:
            raise PowerError(f"there is no GPU {number or 0}: this machine has {count}")
        self._gpu = nvml.nvmlDeviceGetHandleByIndex(number or 0)
        self._has_counter = self._count() is not None
        self.covers = f"the GPU alone ({_text(nvml.nvmlDeviceGetName(self._gpu))})"
        self._now()

    def read(self) -> Reading:
        if self._closed.wait(self._interval_s):
            raise PowerError("the GPU's power is no longer read")
        try:
            return self._now()
        except self._nvml.NVMLError as error:
            raise PowerError(f"NVML stopped reading this GPU's power ({error})") from None

    def _now(self) -> Reading:
        nvml, gpu = self._nvml, self._gpu
        power_mw = float(nvml.nvmlDeviceGetPowerUsage(gpu))
        return Reading(
            total_mw=power_mw,
            rails_mw={"GPU": power_mw},
            counter_mj=self._count() if self._has_counter else None,
            temperatures_c=self._known(
                gpu=lambda: nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU)
            ),
            clocks_mhz=self._known(
                gpu=lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_GRAPHICS),
                memory=lambda: nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),
            ),
        )

    def _count(self) -> float | None:
        try:
            return float(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._gpu))
        except self._nvml.NVMLError:
            return None

    def _known(self, **readers: Any) -> dict[str, float]:
        """Those that this GPU has."""
        found = {}
        for name, reader in readers.items():
            try:
                found[name] = float(reader())
            except self._nvml.NVMLError:
                continue
        return found

    def describe(self) -> dict[str, Any]:
        nvml = self._nvml
        limits = self._known(limit=lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(self._gpu))
        return {
            "gpu": _text(nvml.nvmlDeviceGetName(self._gpu)),
            "driver": _text(nvml.nvmlSystemGetDriverVersion()),
            "power_limit_w": limits["limit"] / 1e3 if limits else None,
            "counted_by_hardware": self._has_counter,
        }

    def close(self) -> None:
        if not self._closed.is_set():
            self._closed.set()
            self._nvml.nvmlShutdown()


def _text(value: str | bytes) -> str:
    """Older versions of the bindings answer bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
