"""What a figure was measured on."""

from __future__ import annotations

import math
import os
import platform
from pathlib import Path
from typing import Any

from vp3d_bench.gpus import describe_gpus
from vp3d_deploy.versions import installed_versions

PACKAGES = ("vp3d-deploy", "numpy", "onnx", "onnxruntime", "onnxruntime-gpu", "onnxscript", "torch",
            "openvino", "tensorrt", "pycuda", "nvidia-ml-py")  # fmt: skip
# Of the flags of x86-64 and AArch64, those that engines choose their code by.
FLAGS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "avx512_bf16",
         "avx512_fp16", "amx_int8", "asimd", "asimdhp", "asimddp", "i8mm", "sve")  # fmt: skip
_CPU = Path("/sys/devices/system/cpu/cpu0")
_CGROUP = Path("/sys/fs/cgroup")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, caches, instruction sets that matter here, limits, GPUs, and versions."""
    fields = _cpu_fields()
    flags = set(f"{fields.get('flags', '')} {fields.get('Features', '')}".split())
    return {
        "cpu": fields.get("model name", platform.processor() or platform.machine()),
        "cores": os.cpu_count(),
        "cores_allowed": available_cores(),
        "cgroup_cpu_limit": _cgroup_cpu_limit(),
        "governor": _read(_CPU / "cpufreq/scaling_governor"),
        "clock_mhz": fields.get("cpu MHz"),
        "caches": _caches(),
        "instruction_sets": [flag for flag in FLAGS if flag in flags],
        "memory_gb": _memory_gb(),
        "load_average": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
        "gpus": describe_gpus(),
        "packages": installed_versions(PACKAGES),
    }


def default_threads() -> int:
    """As many as this process can run at the same time: its cores, or fewer where its control
    group grants it less time than they have. More would be stopped together, again and again."""
    limit = _cgroup_cpu_limit()
    cores = available_cores()
    return cores if limit is None else max(1, min(cores, math.ceil(limit)))


def available_cores() -> int:
    """That this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _cpu_fields() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    pairs = (line.split(":", 1) for line in path.read_text().split("\n\n")[0].splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _caches() -> dict[str, str]:
    caches = {}
    for index in sorted((_CPU / "cache").glob("index*")):
        level, kind, size = (_read(index / name) for name in ("level", "type", "size"))
        if level and kind and size:
            caches[f"L{level} {kind.lower()}"] = size
    return caches


def _cgroup_cpu_limit() -> float | None:
    """Cores' worth of time that the process may use, where it is limited: of cgroup 2, or 1."""
    quota = (_read(_own_cgroup() / "cpu.max") or _read(_CGROUP / "cpu.max") or "max").split()
    if len(quota) < 2:
        quota = [
            _read(_CGROUP / "cpu/cpu.cfs_quota_us") or "-1",
            _read(_CGROUP / "cpu/cpu.cfs_period_us") or "100000",
        ]
    if quota[0] in ("max", "-1"):
        return None
    return round(int(quota[0]) / int(quota[1]), 2)


def _own_cgroup() -> Path:
    lines = (_read(Path("/proc/self/cgroup")) or "").splitlines()
    own = next((line[3:] for line in lines if line.startswith("0::")), "/")
    return _CGROUP / own.lstrip("/")


def _memory_gb() -> float | None:
    line = next((line for line in (_read(Path("/proc/meminfo")) or "").splitlines()
                 if line.startswith("MemTotal:")), None)  # fmt: skip
    return None if line is None else round(int(line.split()[1]) * 1024 / 1e9, 1)


def _read(path: Path) -> str | None:
    """A small file of the system, or None where there is no such thing."""
    try:
        return path.read_text().strip()
    except OSError:
        return None
