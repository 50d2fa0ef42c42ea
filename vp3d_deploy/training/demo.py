"""Train the demo checkpoint: 27 frames, 256 channels, ground-truth 2D.

    python -m vp3d_deploy.training.demo --data DIR --out FILE [--log FILE --about TEXT]

DIR holds motion in one of Human3.6M's published layouts. Nothing of the test subjects is read
before the checkpoint is written; `--hold-out` keeps training subjects back to make choices on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import platform
import shlex
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vp3d_deploy.camera import camera_to_world
from vp3d_deploy.data import load_h36m
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.data.h36m import TRAIN_SUBJECTS
from vp3d_deploy.data.procedural import make_clips
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.evaluate import evaluate
from vp3d_deploy.training.networks import TemporalModelStrided
from vp3d_deploy.training.views import CameraBatch, ViewSettings, new_views
from vp3d_deploy.training.windows import clamp_offsets, segment_frames

# Far from each other and from the small seeds that demonstrations and tests use.
PROCEDURAL_TRAIN_SEED = 1_000_000
PROCEDURAL_TEST_SEED = 2_000_000
SPEC = ModelSpec(filter_widths=(3, 3, 3), channels=256)


@dataclass(frozen=True)
class DemoSettings:
    """Everything that decides the outcome, beside the data and the machine's arithmetic."""

    epochs: int = 100
    batch: int = 1024
    learning_rate: float = 2e-3
    weight_decay: float = 0.01
    dropout: float = 0.1
    segment: int = 32  # answers per newly placed view
    procedural_clips: int = 40  # of 500 frames and all actions, beside the recorded motion
    late: float = 0.3  # part of the windows whose last frames are not there yet
    seed: int = 1
    bfloat16: bool = True
    views: ViewSettings = field(default_factory=ViewSettings)


class Recording:
    """Clips with ground truth as one array in world coordinates, to be seen anew every epoch."""

    def __init__(self, clips: Sequence[Clip], procedural: Sequence[Clip] = ()) -> None:
        """Recorded clips, whose joints are another marker set's, and procedural ones.

        Raises ValueError naming a clip without camera or poses.
        """
        self.foreign = np.arange(len(clips) + len(procedural)) < len(clips)
        clips = [*clips, *procedural]
        world = []
        for clip in clips:
            if clip.pose_m is None or clip.camera is None:
                raise ValueError(f"clip {clip.name!r} has no camera or no poses to train on")
            world.append(camera_to_world(clip.pose_m, clip.camera))
        self.lengths = [clip.n_frames for clip in clips]
        self.world_m = np.concatenate(world).astype(np.float32)
        self.cameras = CameraBatch.stack([clip.camera for clip in clips if clip.camera])

    def batches(
        self, spec: ModelSpec, settings: DemoSettings, rng: np.random.Generator
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """One epoch: (windows (B, R, J, 2), targets (B, J, 3)), each frame of each view once."""
        n = settings.segment
        frames, clips, valid = segment_frames(self.lengths, n, spec, int(rng.integers(n)))
        pose, keypoints = new_views(
            self.world_m[frames],
            self.cameras.take(clips),
            self.foreign[clips],
            H36M_17,
            settings.views,
            rng,
        )
        centres = pose[:, spec.pad_left : spec.pad_left + n]
        targets = (centres - centres[:, :, :1])[valid]
        # Row of each window's own frame in the segments laid one behind the other.
        rows = np.arange(keypoints[..., 0, 0].size).reshape(keypoints.shape[:2])
        rows = rows[:, spec.pad_left : spec.pad_left + n][valid]
        keypoints = keypoints.reshape(-1, *keypoints.shape[2:])
        order = rng.permutation(len(rows))
        for start in range(0, len(order) - settings.batch + 1, settings.batch):
            chosen = order[start : start + settings.batch]
            offsets = _offsets(spec, settings.late, len(chosen), rng)
            windows = keypoints[rows[chosen, None] + offsets]
            target = targets[chosen]
            mirrored = rng.random(len(chosen)) < 0.5
            yield _mirror(windows, mirrored), _mirror(target, mirrored)


def _offsets(spec: ModelSpec, late: float, n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """(n, R) offsets; a part of the rows ends early, half of those at the frame itself."""
    lag = rng.integers(0, 2 * spec.pad_right + 1, n) - spec.pad_right
    lag = np.where(rng.random(n) < late, np.maximum(lag, 0), spec.pad_right)
    return clamp_offsets(np.arange(-spec.pad_left, spec.pad_right + 1)[None], lag)


def _mirror(array: NDArray[np.float32], rows: NDArray[np.bool_]) -> torch.Tensor:
    array[rows] = array[rows][..., list(H36M_17.flip_order), :]
    array[rows, ..., 0] *= -1
    return torch.from_numpy(array)


def train(recording: Recording, settings: DemoSettings) -> TemporalModelStrided:
    """Train a network on `recording`, AdamW with a cosine schedule, mean joint distance."""
    torch.manual_seed(settings.seed)
    rng = np.random.default_rng(settings.seed)
    network = TemporalModelStrided(SPEC, settings.dropout).train()
    optimizer = torch.optim.AdamW(
        network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay
    )
    steps = sum(recording.lengths) // settings.batch
    if steps == 0:
        raise ValueError(
            f"{sum(recording.lengths)} training frames do not fill a batch of {settings.batch}"
        )
    started = time.monotonic()
    for epoch in range(settings.epochs):
        # As in the original training: late running statistics average over many batches.
        network.set_batch_norm_momentum(0.1 * 0.01 ** (epoch / max(settings.epochs - 1, 1)))
        total = 0.0
        for step, (windows, target) in enumerate(recording.batches(SPEC, settings, rng)):
            rate = settings.learning_rate * _schedule((epoch + step / steps) / settings.epochs)
            for group in optimizer.param_groups:
                group["lr"] = rate
            total += _step(network, optimizer, windows, target, settings.bfloat16)
        seconds = time.monotonic() - started
        remaining = seconds / (epoch + 1) * (settings.epochs - epoch - 1)
        print(
            f"epoch {epoch + 1:4d}/{settings.epochs}  loss {1000 * total / steps:6.2f} mm  "
            f"{seconds:5.0f} s, {remaining:5.0f} s to go",
            file=sys.stderr,
            flush=True,
        )
    return network


def _schedule(progress: float) -> float:
    """Factor of the learning rate: up over the first 2 %, then half a cosine down to zero."""
    return min(progress / 0.02, 1.0) * (1 + math.cos(math.pi * progress)) / 2


def _step(
    network: TemporalModelStrided,
    optimizer: torch.optim.Optimizer,
    windows: torch.Tensor,
    target: torch.Tensor,
    bfloat16: bool,
) -> float:
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        predicted = network(windows)
    loss = torch.linalg.vector_norm(predicted.float() - target, dim=-1).mean()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return float(loss.detach())


def score(network: TemporalModelStrided, clips: dict[str, list[Clip]]) -> dict[str, Any]:
    """Errors for each kind of 2D input, at full lag and at lag 0, with and without flips."""
    return {
        f"{kind}, {'full lag' if lag is None else 'lag 0'}{', flip' if flip else ''}": evaluate(
            network, chosen, lag, flip
        )
        for kind, chosen in clips.items()
        for lag in (None, 0)
        for flip in (False, True)
    }


def save_checkpoint(path: Path, network: TemporalModelStrided, meta: dict[str, Any]) -> None:
    """Write our checkpoint format, read by `vp3d_export.checkpoint`; replaces `path` whole."""
    content = {
        "format": "vp3d-deploy",
        "version": 1,
        "spec": network.spec.to_dict(),
        "pose": {name: value.detach().clone() for name, value in network.state_dict().items()},
        "trajectory": None,
        "trajectory_spec": None,
        "meta": meta,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    torch.save(content, partial)
    os.replace(partial, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    options = _parser().parse_args(words)
    settings = DemoSettings(epochs=options.epochs, seed=options.seed)
    train_clips = load_h36m(options.data, keypoints="gt", split="train")
    kept = [clip for clip in train_clips if clip.subject not in options.hold_out]
    invented = make_clips(settings.procedural_clips, 500, seed=PROCEDURAL_TRAIN_SEED)
    started = time.monotonic()
    network = train(Recording(kept, invented), settings)
    seconds = round(time.monotonic() - started)
    # Written first: what follows only measures.
    save_checkpoint(options.out, network, {"settings": asdict(settings), "fps": 50.0})
    judged = {kind: _judged(options.data, kind, options.hold_out) for kind in ("gt", "cpn")}
    for kind, detector in (("procedural", False), ("procedural detector", True)):
        judged[kind] = make_clips(14, 300, seed=PROCEDURAL_TEST_SEED, detector=detector)
    result = {
        "command": shlex.join(["python", "-m", "vp3d_deploy.training.demo", *words]),
        "settings": asdict(settings),
        "spec": SPEC.to_dict(),
        "data": options.about,
        "trained_on": _describe(kept),
        "and_on_procedural": {"seed": PROCEDURAL_TRAIN_SEED, "clips": len(invented)},
        "evaluated_on": _describe(judged["gt"]),
        "errors": score(network, judged),
        "training_seconds": seconds,
        "threads": torch.get_num_threads(),
        "checkpoint_sha256": hashlib.sha256(options.out.read_bytes()).hexdigest(),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
    }
    text = json.dumps(result, indent=2)
    if options.log:
        options.log.parent.mkdir(parents=True, exist_ok=True)
        options.log.write_text(text + "\n", encoding="utf-8")
    print(text)
    return 0


def _judged(data: Path, keypoints: str, hold_out: Sequence[str]) -> list[Clip]:
    """The clips to measure on: the subjects held out if there are any, else the test subjects."""
    if not hold_out:
        return load_h36m(data, keypoints=keypoints, split="test")
    clips = load_h36m(data, keypoints=keypoints, split="train")
    return [clip for clip in clips if clip.subject in hold_out]


def _describe(clips: Sequence[Clip]) -> dict[str, Any]:
    return {
        "subjects": sorted({str(clip.subject) for clip in clips}),
        "clips": len(clips),
        "frames": sum(clip.n_frames for clip in clips),
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vp3d_deploy.training.demo",
        description="Train the demo checkpoint: 27 frames, 256 channels, ground-truth 2D.",
    )
    defaults = DemoSettings()
    add = parser.add_argument
    add("--data", type=Path, required=True, help="folder in a layout of Human3.6M")
    add("--out", type=Path, required=True, help="the checkpoint to write")
    add("--log", type=Path, help="also write settings and errors to this JSON file")
    add("--about", default="", help="where that motion comes from, for the JSON file")
    add("--epochs", type=int, default=defaults.epochs)
    add("--seed", type=int, default=defaults.seed)
    add(
        "--hold-out",
        nargs="+",
        choices=TRAIN_SUBJECTS,
        default=[],
        metavar="SUBJECT",
        help="keep these training subjects back and measure on them, not on the test subjects",
    )
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
