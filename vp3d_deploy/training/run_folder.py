"""The folder of a training run: what is in it, and whether training may begin or go on there.

run.json         the settings, the command, the data; "finished" once it is
checkpoint.pth   the trained networks, for vp3d-export and vp3d-eval
last.ckpt        Lightning's state after the last whole epoch, to resume from
logs/            metrics.csv, one folder for every time training began or went on
tensorboard/     the same for TensorBoard
results.json     errors on the test clips
curves.png       loss and error by epoch
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vp3d_deploy.formats.atomic import replacing
from vp3d_deploy.training.settings import TrainingSettings

FORMAT, VERSION = "vp3d-training-run", 1
_REQUIRED = {"settings", "finished", "preset", "command", "data", "versions"}


class RunError(ValueError):
    """A folder in which this training cannot begin or go on."""


@dataclass(frozen=True)
class RunFolder:
    """The paths of a run, and its record."""

    path: Path

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint.pth"

    @property
    def state(self) -> Path:
        return self.path / "last.ckpt"

    @property
    def results(self) -> Path:
        return self.path / "results.json"

    @property
    def curves(self) -> Path:
        return self.path / "curves.png"

    def check_new(self) -> None:
        """Raises RunError if the folder holds anything but a run that never finished an epoch, and
        OSError if it cannot be made or written."""
        if self.path.exists() and not self.path.is_dir():
            raise RunError(f"{self.path} is a file; give --out a new folder")
        if self.record_file.exists():
            if self.read()["finished"] or self.state.exists():
                raise RunError(self._occupied())
        elif self.path.exists() and any(self.path.iterdir()):
            raise RunError(f"{self.path} is there and not empty; give --out a new folder")
        there = next(p for p in (self.path, *self.path.resolve().parents) if p.exists())
        if not os.access(there, os.W_OK | os.X_OK):
            raise PermissionError(f"{self.path} cannot be written: {there} is read-only for you")

    def begin(self, settings: TrainingSettings, facts: dict[str, Any]) -> None:
        """Make the folder and record the run. Raises OSError if it cannot be made or written."""
        self.path.mkdir(parents=True, exist_ok=True)
        self.write(settings, facts, finished=False)

    def _occupied(self) -> str:
        if self.read()["finished"]:
            return f"{self.path} holds a finished run; give --out a new folder"
        return (
            f"{self.path} holds a run that was interrupted; add --resume to go on with it, or give "
            "--out a new folder"
        )

    def resume(self, settings: TrainingSettings) -> dict[str, Any]:
        """The record of the run to go on with. Raises RunError if there is none, if it is
        finished, or if it was begun with other settings, which it names."""
        if not self.record_file.is_file():
            raise RunError(f"{self.path} holds no run to resume; leave --resume out to begin one")
        record = self.read()
        if record["finished"]:
            raise RunError(f"{self.path} holds a finished run; there is nothing to resume")
        begun = TrainingSettings.from_dict(record["settings"]).to_dict()
        wanted = settings.to_dict()
        different = [name for name in wanted if wanted[name] != begun[name]]
        if different:
            changes = ", ".join(f"{n} {begun[n]!r}, not {wanted[n]!r}" for n in different)
            raise RunError(
                f"{self.path} was begun with {changes}; resume it with the same settings, or give "
                "--out a new folder"
            )
        return record

    def check_data(self, record: dict[str, Any], data: dict[str, Any]) -> None:
        """Raises RunError if the run was begun on other data than `data` describes."""
        if _without_folder(record["data"]) != _without_folder(data):
            raise RunError(
                f"{self.path} was begun on other data ({_told(record['data'])}), not on what "
                f"--data and --init hold now ({_told(data)}); resume it on the same"
            )

    def read(self) -> dict[str, Any]:
        """The record. Raises RunError for a file that is none."""
        try:
            record = json.loads(self.record_file.read_text("utf-8"))
        except (ValueError, RecursionError) as error:
            raise RunError(f"{self.record_file} is damaged: it is not JSON ({error})") from None
        if not isinstance(record, dict) or record.get("format") != FORMAT:
            raise RunError(f"{self.record_file} is not the record of a training run")
        if record.get("version") != VERSION:
            raise RunError(
                f"{self.record_file} has version {record.get('version')!r}, this program reads "
                f"{VERSION}"
            )
        missing = sorted(_REQUIRED - set(record))
        if missing:
            raise RunError(f"{self.record_file} is damaged: it lacks {', '.join(missing)}")
        if not isinstance(record["finished"], bool) or not isinstance(record["data"], dict):
            raise RunError(f"{self.record_file} is damaged: its values are of the wrong kind")
        return record

    def write(self, settings: TrainingSettings, facts: dict[str, Any], finished: bool) -> None:
        record = {
            "format": FORMAT,
            "version": VERSION,
            **facts,
            "settings": settings.to_dict(),
            "finished": finished,
        }
        write_json(self.record_file, record)


def _without_folder(data: dict[str, Any]) -> dict[str, Any]:
    """What tells data apart; a copy in another folder is the same."""
    return {name: value for name, value in data.items() if name != "folder"}


def _told(data: dict[str, Any]) -> str:
    labelled = data.get("labelled")
    frames = labelled.get("frames") if isinstance(labelled, dict) else None
    return f"{data.get('folder')}, {frames} frames, SHA-256 {data.get('sha256')!s:.12}"


def write_json(path: Path, values: Any) -> None:
    """Replace `path` whole or not at all."""
    with replacing(path) as partial:
        partial.write_text(json.dumps(values, indent=2) + "\n", encoding="utf-8")
