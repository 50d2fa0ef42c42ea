"""vp3d-train: a preset and motion in, a checkpoint with its errors and curves out."""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vp3d_deploy.bundle import sha256_of_files
from vp3d_deploy.evaluation.document import shown_command
from vp3d_deploy.training.errors import TerminatedError, TrainingError
from vp3d_deploy.training.options import build_parser, settings_of
from vp3d_deploy.training.preset_table import print_presets, print_settings
from vp3d_deploy.training.run_folder import RunFolder
from vp3d_deploy.training.settings import TrainingSettings
from vp3d_deploy.versions import installed_versions

if TYPE_CHECKING:
    from vp3d_deploy.data.clip import Clip
    from vp3d_deploy.training.sources import TrainingClips
    from vp3d_export.checkpoint import Checkpoint

_PACKAGES = ("vp3d-deploy", "torch", "lightning", "numpy")
EXIT_BAD_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 2 for bad input and runs that fail, 130 and 143
    when it is stopped."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = build_parser()
    given = parser.parse_args(words)
    if given.list:
        if given.preset is None:
            print_presets()
        else:
            print_settings(given.preset)
        return 0
    for name in ("preset", "data", "out"):
        if getattr(given, name) is None:
            what = "PRESET" if name == "preset" else f"--{name} DIR"
            parser.error(f"{what} is missing; vp3d-train --list prints the presets")
    try:
        _run(given, words)
    except KeyboardInterrupt:
        return _stopped("interrupted", signal.SIGINT, given.out)
    except TerminatedError:
        return _stopped("terminated", signal.SIGTERM, given.out)
    except (ValueError, OSError, ImportError, TrainingError) as error:
        print(f"vp3d-train: error: {error}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return 0


def _stopped(what: str, number: signal.Signals, out: Path) -> int:
    """Say how to go on; returns the exit code that shells know."""
    advice = "no epoch was finished yet"
    if RunFolder(out).state.is_file():
        advice = "add --resume to the command to go on from the last whole epoch"
    print(f"vp3d-train: {what}; {advice}", file=sys.stderr)
    return 128 + number


def _run(given: argparse.Namespace, words: Sequence[str]) -> None:
    settings = settings_of(given)
    folder = RunFolder(given.out)
    first = is_first_process(os.environ)
    record = folder.resume(settings) if given.resume else None
    if first and record is None:
        folder.check_new()
    # These need torch, which takes seconds to load: not before the options are known to be good.
    from vp3d_deploy.data import has_split, load_motion
    from vp3d_deploy.training.finish import finish_run
    from vp3d_deploy.training.sources import choose_clips
    from vp3d_deploy.training.trainer import Machine, check_machine, prepare, train

    machine = Machine(
        given.accelerator, given.devices, given.nodes, given.threads, given.check_every
    )
    check_machine(machine, settings)
    _say(f"reading {given.data}")
    clips = choose_clips(load_motion(given.data, settings.keypoints, "train"), settings)
    test = []
    if given.check_every != 0:
        if has_split(given.data, "test"):
            test = load_motion(given.data, settings.keypoints, "test")
        else:
            _say(f"{given.data} has no test clips: training without test errors")
    facts = _facts(given, words, clips)
    module, data = prepare(settings, clips, test, _initial(given, settings))
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
    trained = train(module, data, folder, machine, resume=given.resume, meta=meta)
    if trained is None:
        return
    results = finish_run(folder, settings, facts, trained, test)
    print(_summary(folder, results))


def _initial(given: argparse.Namespace, settings: TrainingSettings) -> Checkpoint | None:
    if given.init is None:
        return None
    from vp3d_export.checkpoint import load_checkpoint

    return load_checkpoint(given.init, settings.causal or None)


def _facts(given: argparse.Namespace, words: Sequence[str], clips: TrainingClips) -> dict[str, Any]:
    """What run.json and results.json tell beside the settings; folders without their paths."""
    return {
        "preset": given.preset,
        "command": shown_command("vp3d-train", words),
        "data": {
            "folder": Path(given.data).resolve().name,
            "labelled": _describe(clips.labelled),
            "unlabelled": _describe(clips.unlabelled),
            "sha256": _fingerprint((*clips.labelled, *clips.unlabelled)),
            "initial_weights_sha256": given.init and sha256_of_files([given.init])[0],
        },
        "versions": {"python": platform.python_version(), **installed_versions(_PACKAGES)},
    }


def _fingerprint(clips: Sequence[Clip]) -> str:
    """SHA-256 of all that a run learns from, by which resuming knows its data."""
    digest = hashlib.sha256()
    for clip in clips:
        digest.update(f"{clip.name} {clip.keypoints_px.shape} {clip.image_size}".encode())
        digest.update(clip.keypoints_px.tobytes())
        if clip.pose_m is not None:
            digest.update(clip.pose_m.tobytes())
    return digest.hexdigest()


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
