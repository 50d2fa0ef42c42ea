"""A Jetson's power mode, from nvpmodel: results of two modes cannot be compared."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass

PROGRAM = "nvpmodel"
_TIMEOUT_S = 10.0
_MODE = re.compile(r"NV Power Mode:[ \t]*(\S[^\r\n]*)")


@dataclass(frozen=True)
class PowerMode:
    """name: for example "MAXN" or "25W". number: what `nvpmodel -m` takes."""

    name: str
    number: int | None


def parse_mode(text: str) -> PowerMode | None:
    """What `nvpmodel -q` prints: warnings or a fan mode perhaps, the mode's name, its number."""
    found = _MODE.search(text)
    if not found:
        return None
    number = next((int(line) for line in text[found.end() :].split() if line.isdigit()), None)
    return PowerMode(found[1].strip(), number)


def power_mode() -> dict[str, str | int | None] | None:
    """Of this machine, or None where nvpmodel is missing or does not answer."""
    path = shutil.which(PROGRAM)
    if path is None:
        return None
    try:
        done = subprocess.run(
            [path, "-q"], capture_output=True, text=True, errors="replace", timeout=_TIMEOUT_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    mode = parse_mode(done.stdout)
    return None if mode is None else {"name": mode.name, "number": mode.number}
