"""Where the error of a semi-supervised run lies: across the image, or along the line of sight.

    python -m vp3d_bench.depth_errors NAME=CHECKPOINT ... --data DIR [--out FILE]

Mean distances over frames and joints, mm, on the subjects that the published semi-supervised
systems see without labels, and on the test subjects; and how far projections are from the
keypoints, in half image widths, which is what training on unlabelled clips makes small.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vp3d_deploy.data import Clip, load_motion
from vp3d_deploy.evaluation.clips import prepare_clip
from vp3d_deploy.evaluation.predict import over_clip
from vp3d_deploy.evaluation.pytorch import PyTorchNetworks
from vp3d_deploy.metrics import MM_PER_M
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.training.frames import intrinsics_of
from vp3d_deploy.training.losses import projection_loss
from vp3d_deploy.training.presets import PRESETS
from vp3d_export.checkpoint import load_checkpoint


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("checkpoints", nargs="+", metavar="NAME=CHECKPOINT")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, help="write the result as JSON")
    options = parser.parse_args()
    unlabelled = PRESETS["h36m-27f-semi"].settings.unlabelled_subjects
    train = [c for c in load_motion(options.data, "gt", "train") if c.subject in unlabelled]
    sets = {"unlabelled": train, "test": load_motion(options.data, "gt", "test")}
    runs = {}
    for given in options.checkpoints:
        name, _, path = given.partition("=")
        runs[name] = {title: errors(Path(path), clips) for title, clips in sets.items()}
    names = " ".join(f"{name}=CHECKPOINT" for name in runs)
    result = {
        "command": f"python -m vp3d_bench.depth_errors {names} --data {options.data.name}",
        "runs": runs,
    }
    text = json.dumps(result, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    return 0


def errors(checkpoint: Path, clips: list[Clip]) -> dict[str, Any]:
    """Averages over all frames of the clips."""
    stored = load_checkpoint(checkpoint)
    if stored.trajectory is None:
        raise SystemExit(f"{checkpoint} has no trajectory network")
    networks = PyTorchNetworks(
        {
            "pose": (stored.pose.spec, stored.pose.tensors),
            "trajectory": (stored.trajectory.spec, stored.trajectory.tensors),
        }
    )
    rows, frames = [], []
    for clip in clips:
        seen = prepare_clip(clip, stored.pose.spec, H36M_17, H36M_17)
        answer = over_clip(networks.sequence, stored.pose.spec, seen.keypoints)
        assert seen.pose_m is not None
        assert answer.trajectory is not None
        off = answer.pose - seen.pose_m
        projected = projection_loss(
            torch.from_numpy(answer.pose[None]),
            torch.from_numpy(answer.trajectory[None]),
            torch.from_numpy(seen.keypoints[None]),
            torch.from_numpy(intrinsics_of(clip.camera)[None]),
        )
        rows.append(
            [
                MM_PER_M * float(np.linalg.norm(off, axis=-1).mean()),
                MM_PER_M * float(np.linalg.norm(off[..., :2], axis=-1).mean()),
                MM_PER_M * float(np.abs(off[..., 2]).mean()),
                float(projected),
            ]
        )
        frames.append(len(off))
    names = ("mpjpe_mm", "across_image_mm", "line_of_sight_mm", "projection")
    means = np.average(rows, axis=0, weights=frames)
    return {name: round(float(value), 4) for name, value in zip(names, means, strict=True)}


if __name__ == "__main__":
    sys.exit(main())
