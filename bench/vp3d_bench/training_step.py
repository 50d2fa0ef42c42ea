"""What a training step costs, how much of it is loading data, and whether memory grows.

    python -m vp3d_bench.training_step --data DIR [--out bench/results/training_step.json]

The 27-frame network of 1024 channels, batch 1024, as `vp3d-train h36m-27f` trains it. Loading is
what a step waits for until its batch is gathered, mirrored and ready. DIR holds motion in a layout
that vp3d-train reads.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vp3d_bench.machine import describe_machine
from vp3d_deploy.data import load_motion
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.training.data_module import MotionData
from vp3d_deploy.training.module import LiftingModule
from vp3d_deploy.training.presets import PRESETS
from vp3d_deploy.training.settings import TrainingSettings
from vp3d_deploy.training.sources import choose_clips

THREADS = 2
STEPS = 20
# Memory is read after so many steps of each of two epochs; the first steps allocate buffers.
MEMORY_EVERY = 20
WARM_UP = 3


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    clips = load_motion(options.data, "gt", "train")
    settings = PRESETS["h36m-27f"].settings
    result = {
        "command": f"python -m vp3d_bench.training_step --data {options.data.name}",
        "machine": describe_machine(),
        "threads": THREADS,
        "frames": sum(clip.n_frames for clip in clips),
        "steps": {
            precision: measure_steps(clips, replace(settings, precision=precision))
            for precision in ("32-true", "bf16-mixed")
        },
        "epoch": measure_memory(clips, replace(settings, channels=64)),
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def measure_steps(clips: list[Any], settings: TrainingSettings) -> dict[str, Any]:
    """Medians of loading and of training, alternating, milliseconds."""
    module, data = _prepared(clips, settings)
    optimizer = module.configure_optimizers()
    loading, training = [], []
    batches = iter(data.epoch_batches(0))
    for _ in range(WARM_UP + STEPS):
        start = time.perf_counter()
        batch = next(batches)
        loaded = time.perf_counter()
        _step(module, optimizer, batch, settings.precision)
        loading.append(1e3 * (loaded - start))
        training.append(1e3 * (time.perf_counter() - loaded))
    load, train = (np.array(times[WARM_UP:]) for times in (loading, training))
    share = load / (load + train)
    return {
        "loading_ms": _spread(load),
        "training_ms": _spread(train),
        "loading_share": _spread(share),
    }


def measure_memory(clips: list[Any], settings: TrainingSettings) -> dict[str, Any]:
    """Resident memory through two epochs, MB; a narrow network, so that data stands out."""
    module, data = _prepared(clips, settings)
    optimizer = module.configure_optimizers()
    resident: list[list[float]] = []
    for epoch in range(2):
        readings = []
        for step, batch in enumerate(data.epoch_batches(epoch)):
            _step(module, optimizer, batch, settings.precision)
            if step % MEMORY_EVERY == MEMORY_EVERY - 1:
                readings.append(_resident_mb())
        resident.append([round(mb, 1) for mb in readings])
    return {
        "channels": settings.channels,
        "steps_per_epoch": len(data.epoch_batches(0)),
        "resident_mb": resident,
        "growth_in_second_epoch_mb": round(resident[1][-1] - resident[0][-1], 1),
    }


def _prepared(clips: list[Any], settings: TrainingSettings) -> tuple[LiftingModule, MotionData]:
    torch.manual_seed(0)
    spec = settings.pose_spec(H36M_17.n_joints, 2, H36M_17.n_joints)
    module = LiftingModule(settings, spec, H36M_17).train()
    return module, MotionData(choose_clips(clips, settings), [], settings, spec)


def _step(
    module: LiftingModule, optimizer: torch.optim.Optimizer, batch: Any, precision: str
) -> None:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == "bf16-mixed"):
        loss = sum(module.losses(batch).values(), torch.zeros(()))
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def _resident_mb() -> float:
    with Path("/proc/self/statm").open() as file:
        pages = int(next(itertools.islice(file.read().split(), 1, 2)))
    return pages * 4096 / 1e6


def _spread(values: np.ndarray) -> dict[str, float]:
    return {
        "min": round(float(values.min()), 4),
        "median": round(float(np.median(values)), 4),
        "max": round(float(values.max()), 4),
    }


if __name__ == "__main__":
    sys.exit(main())
