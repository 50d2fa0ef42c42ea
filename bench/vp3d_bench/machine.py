"""What a figure was measured on."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import Any

from vp3d_deploy.versions import installed_versions

PACKAGES = ("vp3d-deploy", "numpy", "onnx", "onnxruntime", "torch", "openvino")


def describe_machine() -> dict[str, Any]:
    """Processor, cores, caches, instruction sets that matter here, and library versions."""
    fields = _cpu_fields()
    flags = set(fields.get("flags", "").split())
    wanted = ("avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8")
    return {
        "cpu": fields.get("model name", platform.processor()),
        "cores": os.cpu_count(),
        "caches": _caches(),
        "instruction_sets": [flag for flag in wanted if flag in flags],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": installed_versions(PACKAGES),
    }


def _cpu_fields() -> dict[str, str]:
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return {}
    pairs = (line.split(":", 1) for line in path.read_text().split("\n\n")[0].splitlines())
    return {pair[0].strip(): pair[1].strip() for pair in pairs if len(pair) == 2}


def _caches() -> dict[str, str]:
    caches = {}
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        level, kind = (index / "level").read_text().strip(), (index / "type").read_text().strip()
        caches[f"L{level} {kind.lower()}"] = (index / "size").read_text().strip()
    return caches
