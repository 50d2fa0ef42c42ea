"""The one file of a run, and what is printed at its end."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_bench.gpu_report.part import FAILED, PASSED, SKIPPED, Outcome, Run

FORMAT, VERSION = "vp3d-gpu", 1
NAME = "result.json"
_MARKS = {PASSED: "passed ", FAILED: "FAILED ", SKIPPED: "skipped"}


class Result:
    """What is known so far; written after every part, so that an interrupted run leaves it.

    keep: parts of an earlier run that are taken over.
    """

    def __init__(self, run: Run, command: str, keep: Sequence[Mapping[str, Any]] = ()) -> None:
        self.path = run.output / NAME
        self._run = run
        self._parts: dict[str, dict[str, Any]] = {part["name"]: dict(part) for part in keep}
        known = [part["found"]["gpus"] for part in keep if part["found"].get("gpus")]
        self._head = {
            "format": FORMAT,
            "version": VERSION,
            "command": command,
            "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            **_source(run),
            "gpus": known[0] if known else list(run.gpus),
            "toolkit": _toolkit(run),
        }

    def take(self, name: str, outcome: Outcome, seconds: float) -> None:
        """Add a part's outcome, in place of an older one, and write the file."""
        # Once NVML is installed, more is known of the GPUs than before.
        self._head["gpus"] = outcome.found.get("gpus") or self._head["gpus"]
        self._parts[name] = {
            "name": name,
            "status": outcome.status,
            "reason": outcome.reason,
            "seconds": round(seconds, 1),
            "found": dict(outcome.found),
        }
        self.write()

    @property
    def parts(self) -> list[dict[str, Any]]:
        return list(self._parts.values())

    @property
    def ok(self) -> bool:
        """No part failed; and where tests were to run, some did."""
        tests = self._parts.get("tests")
        tested = tests is None or tests["status"] == PASSED
        return tested and all(part["status"] != FAILED for part in self.parts)

    def write(self) -> None:
        values = {**self._head, "ok": self.ok, "parts": self.parts}
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf-8")
        os.replace(temporary, self.path)

    def summary(self) -> str:
        """A line for each part, each skipped test's reason, and what to do with the file."""
        lines = []
        for part in self.parts:
            reason = f": {part['reason']}" if part["reason"] else ""
            lines.append(
                f"{_MARKS[part['status']]} {part['name']} ({part['seconds']:.0f} s){reason}"
            )
            lines += [f"        skipped {words}" for words in _skipped(part)]
        # Clocks and names do no harm; paths of the machine are in the logs alone.
        lines += [
            "",
            f"result  {self.path}",
            f"logs    {self._run.shell.logs}",
            "To send it: attach the result to an issue of the project, with the plots' folder if "
            "it was measured. It holds the machine's hardware, versions and figures, and no paths "
            "of yours but in reasons of failures.",
        ]
        return "\n".join(lines)


def earlier_parts(path: Path) -> list[dict[str, Any]]:
    """Of a result that is there; none of one that is not, or is no result of this version."""
    try:
        values = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return []
    if (values.get("format"), values.get("version")) != (FORMAT, VERSION):
        return []
    parts: list[dict[str, Any]] = values["parts"]
    return parts


def _skipped(part: Mapping[str, Any]) -> list[str]:
    """How many tests were skipped for each reason."""
    tests = part["found"].get("skipped_tests", ())
    reasons = [test["reason"] for test in tests]
    return [
        f"{reasons.count(reason)} test{'s' if reasons.count(reason) > 1 else ''}: {reason}"
        for reason in dict.fromkeys(reasons)
    ]


def _source(run: Run) -> dict[str, Any]:
    """Which state of the project this is, where it is a checkout."""
    commit = run.shell.output(["git", "rev-parse", "HEAD"])
    changed = run.shell.output(["git", "status", "--porcelain", "--untracked-files=no"])
    return {
        "commit": commit.strip() if commit else None,
        "changed": bool(changed.strip()) if changed is not None else None,
    }


def _toolkit(run: Run) -> dict[str, Any]:
    from vp3d_bench.gpu_report.environment import cuda_root

    root = cuda_root()
    nvcc = run.shell.output([str(root / "bin/nvcc"), "--version"]) if root is not None else None
    return {"nvcc": nvcc.strip().splitlines()[-1] if nvcc else None}
