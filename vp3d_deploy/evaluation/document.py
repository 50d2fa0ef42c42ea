"""All that one run of vp3d-eval found, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_deploy.evaluation.contenders import Unavailable
from vp3d_deploy.evaluation.measure import Result
from vp3d_deploy.evaluation.model import Model
from vp3d_deploy.evaluation.selection import Description
from vp3d_deploy.formats.atomic import replacing
from vp3d_deploy.versions import installed_versions

FORMAT, VERSION = "vp3d-eval", 1
_PACKAGES = ("vp3d-deploy", "numpy", "torch", "onnxruntime")
# Of what a bundle says about itself, the part that names the network.
_PROVENANCE = ("checkpoint", "checkpoint_sha256", "checkpoint_family", "created")


@dataclass(frozen=True)
class Evaluation:
    """results: the reference first. command: as it was given, paths cut to names."""

    model: Model
    data: Description
    flip: bool
    results: Sequence[Result]
    unavailable: Sequence[Unavailable]
    notes: Sequence[str]
    command: str

    @property
    def fps(self) -> float | None:
        """Frames per second by which lags are told in milliseconds."""
        return self.data.fps if self.model.fps is None else self.model.fps

    def values(self) -> dict[str, Any]:
        """Everything as plain values."""
        provenance = self.model.provenance
        return {
            "format": FORMAT,
            "version": VERSION,
            "command": self.command,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "versions": installed_versions(_PACKAGES),
            "model": {
                "name": self.model.name,
                "kind": "checkpoint" if self.model.bundle is None else "bundle",
                "spec": self.model.spec.to_dict(),
                "skeleton_in": self.model.skeleton_in.name,
                "skeleton_out": self.model.skeleton_out.name,
                "fps": self.model.fps,
                "provenance": {key: provenance[key] for key in _PROVENANCE if key in provenance},
            },
            "data": self.data.values(),
            "flip": self.flip,
            "unit": "mm; mpjve_mm in mm per frame",
            "lag_fps": self.fps,
            "results": [result.values() for result in self.results],
            "unavailable": [asdict(missing) for missing in self.unavailable],
            "notes": list(self.notes),
        }

    def to_json(self) -> str:
        return json.dumps(self.values(), indent=2) + "\n"

    def write_json(self, path: Path) -> None:
        """The file appears complete or not at all. Raises OSError naming it."""
        with replacing(path) as temporary:
            temporary.write_text(self.to_json(), "utf-8")


def shown_command(program: str, arguments: Sequence[str]) -> str:
    """The command line with every path cut to its last part."""
    words = [program]
    for argument in arguments:
        option, equals, value = argument.partition("=")
        if equals and option.startswith("--"):
            words.append(f"{option}={_name(value)}")
        else:
            words.append(_name(argument))
    return " ".join(words)


def _name(text: str) -> str:
    return Path(text).name if "/" in text or "\\" in text else text
