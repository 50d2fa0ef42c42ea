"""vp3d-train: a preset and motion in, a checkpoint with its errors and curves out."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vp3d_deploy.bundle import sha256_of_files
from vp3d_deploy.evaluation.document import shown_command
from vp3d_deploy.training.options import build_parser, settings_of
from vp3d_deploy.training.preset_table import print_presets
from vp3d_deploy.training.run_folder import RunFolder
from vp3d_deploy.training.settings import TrainingSettings

if TYPE_CHECKING:
    from vp3d_deploy.training.sources import TrainingClips

_PACKAGES = ("vp3d-deploy", "torch", "lightning", "numpy")
EXIT_BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for bad input, 130 when interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    given = parser.parse_args(words)
    if given.list:
        print_presets()
        return 0
    for name in ("preset", "data", "out"):
        if getattr(given, name) is None:
            what = "PRESET" if name == "preset" else f"--{name} DIR"
            parser.error(f"{what} is missing; vp3d-train --list prints the presets")
    try:
        _run(given, words)
    except (ValueError, OSError, ImportError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and type(error).__name__ != "TrainingError":
            raise
        print(f"vp3d-train: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    except KeyboardInterrupt:
        print(
            f"vp3d-train: interrupted; go on from the last whole epoch with --resume and "
            f"--out {given.out}",
            file=sys.stderr,
        )
        return 130
    return 0


def _run(given: argparse.Namespace, words: Sequence[str]) -> None:
    settings = settings_of(given)
    folder = RunFolder(given.out)
    first = is_first_process(os.environ)
    record = folder.resume(settings) if given.resume else None
    if first and record is None:
        folder.check_new()
    from vp3d_deploy.data import load_motion
    from vp3d_deploy.training.sources import choose_clips

    _say(f"reading {given.data}")
    clips = choose_clips(load_motion(given.data, settings.keypoints, "train"), settings)
    test = []
    if given.check_every != 0:
        test = load_motion(given.data, settings.keypoints, "test")
    from vp3d_deploy.training.trainer import Machine, check_machine, train

    machine = Machine(
        given.accelerator, given.devices, given.nodes, given.threads, given.check_every
    )
    check_machine(machine, settings)
    facts = _facts(given, words, clips)
    initial = None
    if given.init is not None:
        from vp3d_export.checkpoint import load_checkpoint

        initial = load_checkpoint(given.init, settings.causal or None)
        facts["data"]["initial_weights_sha256"] = sha256_of_files([given.init])[0]
    if record is not None:
        folder.check_data(record, facts["data"])
        facts = {name: record[name] for name in facts}
    elif first:
        folder.begin(settings, facts)
    _say(_announcement(settings, clips))
    meta = {
        "preset": given.preset,
        "settings": settings.to_dict(),
        "fps": clips.labelled[0].fps,
        "keypoint_skeleton": clips.skeleton_in.name,
        "data": facts["data"],
    }
    module = train(
        settings,
        clips,
        test,
        folder,
        machine,
        initial=initial,
        resume=given.resume,
        meta=meta,
    )
    if module is None:
        return
    from vp3d_deploy.training.finish import finish_run

    results = finish_run(folder, settings, facts, module, test)
    print(_summary(folder, results))


def _facts(given: argparse.Namespace, words: Sequence[str], clips: TrainingClips) -> dict[str, Any]:
    """What run.json and results.json tell beside the settings; folders without their paths."""
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            versions[package] = "not installed"
    return {
        "preset": given.preset,
        "command": shown_command("vp3d-train", words),
        "data": {
            "folder": Path(given.data).resolve().name,
            "labelled": _describe(clips.labelled),
            "unlabelled": _describe(clips.unlabelled),
        },
        "versions": versions,
    }


def _describe(clips: Sequence[Any]) -> dict[str, Any]:
    return {
        "subjects": sorted({str(clip.subject) for clip in clips}),
        "clips": len(clips),
        "frames": sum(clip.n_frames for clip in clips),
    }


def _announcement(settings: TrainingSettings, clips: TrainingClips) -> str:
    frames = sum(clip.n_frames for clip in clips.labelled)
    text = f"training on {frames} frames of {len(clips.labelled)} clips"
    if clips.unlabelled:
        text += f", and {sum(clip.n_frames for clip in clips.unlabelled)} frames without labels"
        if settings.warmup_epochs >= settings.epochs:
            text += " that never join (warmup_epochs)"
    return f"{text}, {settings.epochs} epochs"


def _summary(folder: RunFolder, results: dict[str, Any]) -> str:
    """The errors that matter, and what to do next."""
    lines = []
    for name, values in results["errors"].items():
        if isinstance(values, dict) and "frames" in values:
            over_frames, over_actions = (values[k]["mpjpe_mm"] for k in ("frames", "actions"))
            lines.append(
                f"{name:<16} MPJPE {over_frames:6.2f} mm over frames, "
                f"{over_actions:6.2f} mm over actions"
            )
    lines.append(f"wrote {folder.checkpoint}; next: vp3d-export --ckpt {folder.checkpoint}")
    return "\n".join(lines)


def is_first_process(environment: Mapping[str, str]) -> bool:
    """Whether this is the process that keeps the run's folder, of all on all machines.

    Launchers number processes in variables of their own: torchrun in RANK, SLURM in SLURM_PROCID,
    Lightning in LOCAL_RANK on each machine, with NODE_RANK or GROUP_RANK for the machine.
    """
    for name in ("RANK", "SLURM_PROCID"):
        if name in environment:
            return int(environment[name]) == 0
    node = environment.get("NODE_RANK", environment.get("GROUP_RANK", "0"))
    return int(environment.get("LOCAL_RANK", "0")) == 0 and int(node) == 0


def _say(text: str) -> None:
    if is_first_process(os.environ):
        print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    raise SystemExit(main())
