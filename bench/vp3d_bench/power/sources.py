"""Which of the machine's sensors to read."""

from __future__ import annotations

from vp3d_bench.power.nvml import NvmlGpu
from vp3d_bench.power.reading import PowerError, Source
from vp3d_bench.power.tegrastats import Tegrastats


def open_source(gpu: int | None = None) -> Source:
    """tegrastats on a Jetson, else NVML; `gpu` asks for NVML and names the GPU.

    Raises PowerError, which says why neither can be had.
    """
    if gpu is not None:
        return NvmlGpu(gpu)
    try:
        return Tegrastats()
    except PowerError as error:
        no_tegrastats = str(error)
    try:
        return NvmlGpu()
    except PowerError as error:
        raise PowerError(
            f"power cannot be measured on this machine: {no_tegrastats}; {error}"
        ) from None
