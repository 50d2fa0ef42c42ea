"""A part of the run: what it did and whether that was good."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report.shell import Ended, Shell

PASSED, FAILED, SKIPPED = "passed", "failed", "skipped"


@dataclass(frozen=True)
class Outcome:
    """status: PASSED, FAILED, or SKIPPED for what cannot be had on this machine, which is no pass.

    reason: one sentence; of a pass, what there is to know. found: plain values for the result.
    """

    status: str
    reason: str = ""
    found: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, ended: Ended, found: Mapping[str, Any] | None = None) -> Outcome:
        """PASSED if the command ended well, else FAILED with its reason."""
        if ended.ok:
            return cls(PASSED, found=found or {})
        return cls(FAILED, ended.reason(), found or {})


@dataclass
class Run:
    """What every part knows.

    output: the folder of results. python: of the virtual environment. gpus: as gpus.py describes
    them. options: of the command line. done: outcomes of the parts before, by name.
    """

    root: Path
    output: Path
    shell: Shell
    options: Any
    gpus: Sequence[Mapping[str, Any]]
    done: dict[str, Outcome] = field(default_factory=dict)

    @property
    def venv(self) -> Path:
        return self.output / "venv"

    @property
    def python(self) -> str:
        return str(self.venv / "bin" / "python")

    def module(self, name: str, *arguments: str) -> list[str]:
        """The command that runs a module in the virtual environment."""
        return [self.python, "-m", name, *arguments]

    def can_import(self, module: str) -> bool:
        return self.shell.output([self.python, "-c", f"import {module}"]) is not None


@dataclass(frozen=True)
class Part:
    """needs: parts without which this one cannot run; it is skipped then, and says so."""

    name: str
    what: str
    work: Callable[[Run], Outcome]
    needs: tuple[str, ...] = ()
