"""One contender in a process of its own: what opening it takes, and its memory.

    python -m vp3d_bench.fresh '{"bundle": ..., "folder": ..., "name": ..., "threads": ...}'

Started by opening.py. Prints one line of JSON; a failure is printed as {"failure": "..."}.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
from pathlib import Path
from typing import Any

# The library behind each family.
LIBRARIES = {
    "native": "vp3d_deploy._native",
    "onnx": "onnxruntime",
    "onnxruntime": "onnxruntime",
    "openvino": "openvino",
    "pytorch": "torch",
    "torchcuda": "torch",
    "onnxcuda": "onnxruntime",
    "tensorrt": "tensorrt",
    "cuda": "pycuda.driver",
}
FRAMES, CROWD = 30, 64
MB = 1e6


def main() -> int:
    task = json.loads(sys.argv[1])
    try:
        found = measure(**task)
    except Exception as error:  # told to the process that started this one
        found = {"failure": f"{type(error).__name__}: {error}"}
    print(json.dumps(found))
    return 0


def measure(
    bundle: str, folder: str, name: str, threads: int, lags: list[int], frames: int
) -> dict[str, Any]:
    """Times in ms, resident memory in MB (1e6 bytes); None where the system does not tell it.

    gpu_mb: by how much all programs' memory on the GPU grew meanwhile, CUDA's own with it.
    """
    from vp3d_bench.clips import keypoints
    from vp3d_bench.contenders.base import SEQUENCE, STREAM
    from vp3d_bench.contenders.line_up import line_up, on_gpu
    from vp3d_bench.gpus import used_memory_mb
    from vp3d_bench.subject import Subject
    from vp3d_deploy.bundle import Bundle

    opened = Bundle.open(bundle, verify=False)
    subject = Subject(opened, threads, Path(folder))
    length = frames if name.find(SEQUENCE) >= 0 else opened.spec.receptive_field
    clip = keypoints(opened, 1, max(length, FRAMES))
    found: dict[str, Any] = {"start_mb": resident_mb()}
    gpu_before = used_memory_mb() if on_gpu(name) else None

    begin = time.perf_counter()
    family = next(f for f in LIBRARIES if name.startswith(f"{f}-"))
    importlib.import_module(LIBRARIES[family])
    found["import_ms"] = _since(begin)
    found["imported_mb"] = resident_mb()

    begin = time.perf_counter()
    contender = line_up(opened, lags)[name]()
    if contender.ours:
        Bundle.open(bundle)  # verified, as an application opens it
    found["verify_ms"] = _since(begin)
    found["verified_mb"] = resident_mb()
    begin = time.perf_counter()
    runner = contender.open(subject, 1, length)
    found["open_ms"] = _since(begin)
    found["opened_mb"] = resident_mb()

    inputs = _inputs(contender.form, clip, opened.spec)
    prepared = [runner.prepare(one) for one in inputs]
    begin = time.perf_counter()
    runner.run(prepared[0])
    found["first_ms"] = _since(begin)
    for one in prepared[1:]:
        runner.run(one)
    found["running_mb"] = resident_mb()
    if gpu_before is not None:
        found["gpu_mb"] = round((used_memory_mb() or gpu_before) - gpu_before, 3)
    found["peak_mb"] = resident_mb("VmHWM")
    if contender.form == STREAM:
        found.update(_crowd(runner, clip))
    return found


def resident_mb(field: str = "VmRSS") -> float | None:
    """Of this process; "VmHWM" is the most so far."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return None
    line = next((line for line in status.splitlines() if line.startswith(f"{field}:")), None)
    return None if line is None else round(int(line.split()[1]) * 1024 / MB, 3)


def _crowd(runner: Any, clip: Any) -> dict[str, Any]:
    """Memory with many people in the same streams, and what the engine says of one."""
    import numpy as np

    runner.stream.add_rows(CROWD - 1)
    for frame in range(FRAMES):
        runner.run(runner.prepare(np.repeat(clip[:, frame], CROWD, axis=0)))
    told = getattr(runner.stream, "bytes_per_row", None)
    return {"crowd": CROWD, "crowd_mb": resident_mb(), "bytes_per_stream": told}


def _inputs(form: str, clip: Any, spec: Any) -> list[Any]:
    from vp3d_bench.clips import padded
    from vp3d_bench.contenders.base import SEQUENCE, STREAM
    from vp3d_bench.definition import live_windows

    if form == SEQUENCE:
        return [padded(spec, clip)]
    if form == STREAM:
        return [clip[:, frame] for frame in range(FRAMES)]
    return [live_windows(spec, clip, frame, spec.lookahead) for frame in range(FRAMES)]


def _since(begin: float) -> float:
    return round(1e3 * (time.perf_counter() - begin), 3)


if __name__ == "__main__":
    sys.exit(main())
