"""Power and energy, where a machine can tell: Jetsons (tegrastats) and NVIDIA GPUs (NVML).

with PowerMeter(open_source()) as meter:
    idle = meter.rest(2.0)
    with meter.window() as window:
        frames = work()
    print(window.energy.per_frame_mj(frames), window.energy.mean_mw - idle.mean_mw)
"""

from vp3d_bench.power.meter import Energy, PowerMeter
from vp3d_bench.power.reading import PowerError, Reading, Source
from vp3d_bench.power.sources import open_source

__all__ = ["Energy", "PowerError", "PowerMeter", "Reading", "Source", "open_source"]
