"""NVIDIA's tegrastats, which comes with every Jetson: power rails, clocks and temperatures.

It prints one line per interval. What the lines of the releases look like (docs/jetson.md names
the sources), parts that matter here:

    JetPack 5   GR3D_FREQ 0%@[114]        CV0@-256C tj@46.5C       VDD_IN 4900mW/4900mW
    JetPack 6   GR3D_FREQ 55%             cpu@48.781C tj@50.718C   VDD_IN 6030mW/6030mW
    JetPack 7   GR3D_FREQ 12%@[1300,1300] cpu@52.9C/52.9C          VDD_GPU_SOC 5139mW/5139mW/5139mW
    (Thor)      GR3D_FREQ @[314,314,314]  tj@35.9C/35.9C           VIN 28906mW/14453mW/28906mW

Of the numbers between slashes the first is the present value; the second is tegrastats' own
average since it began, the third the largest. A sensor whose part is switched off says -256 C.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from vp3d_bench.power.nvpmodel import power_mode
from vp3d_bench.power.reading import PowerError, Reading

PROGRAM = "tegrastats"
INTERVAL_MS = 100

# Rails that make up a total, by board; the first row whose rails are all there counts. Others that
# a board prints are parts of these.
_TOTALS: tuple[tuple[tuple[str, ...], str], ...] = (
    (("VDD_IN",), "the module"),  # Orin Nano, Orin NX, Xavier NX
    (("VIN",), "the board"),  # AGX Thor
    (("VDD_GPU_SOC", "VDD_CPU_CV", "VIN_SYS_5V0"), "the module"),  # AGX Orin
    (("VDD_GPU", "VDD_CPU_SOC_MSS", "VIN_SYS_5V0"), "the module"),  # AGX Thor without VIN
    (("GPU", "CPU", "SOC", "CV", "VDDRQ", "SYS5V"), "the module"),  # AGX Xavier
)
_RAIL = re.compile(r"(?<!\S)([A-Z][A-Z0-9_]*) (-?\d+)mW(?:/-?\d+mW)*(?!\S)")
_TEMPERATURE = re.compile(r"(?<!\S)([A-Za-z][A-Za-z0-9_]*)@(-?\d+(?:\.\d+)?)C(?:/-?[\d.]+C)?(?!\S)")
_CPU = re.compile(r"(?<!\S)CPU \[([^\]]*)\](?:@(\d+))?")
_CLOCK = r"(?<!\S){} (?:\d+%)?@\[?(\d+(?:,\d+)*)\]?(?!\S)"
_GPU, _MEMORY = re.compile(_CLOCK.format("GR3D_FREQ")), re.compile(_CLOCK.format("EMC_FREQ"))
_SWITCHED_OFF_C = -200.0

_MODEL = Path("/proc/device-tree/model")
_RELEASE = Path("/etc/nv_tegra_release")


def parse_line(line: str) -> Reading:
    """A line as tegrastats prints it. Raises PowerError if it has no power rails that add up."""
    rails = {name: float(value) for name, value in _RAIL.findall(line)}
    names, _ = total_of(rails)
    return Reading(
        total_mw=sum(rails[name] for name in names),
        rails_mw=rails,
        temperatures_c={
            name.lower(): float(value)
            for name, value in _TEMPERATURE.findall(line)
            if float(value) > _SWITCHED_OFF_C
        },
        clocks_mhz=_clocks(line),
    )


def total_of(rails: Mapping[str, float]) -> tuple[tuple[str, ...], str]:
    """The rails that add up to a whole, and what that is. Raises PowerError for unknown boards."""
    for names, whole in _TOTALS:
        if all(name in rails for name in names):
            return names, whole
    printed = ", ".join(rails) or "none"
    raise PowerError(
        f"{PROGRAM} prints the power rails {printed}: which of them make up the whole of this "
        "board is not known here"
    )


def _clocks(line: str) -> dict[str, float]:
    clocks: dict[str, float] = {}
    cores = _CPU.search(line)
    if cores:
        each = [int(mhz) for mhz in re.findall(r"@(\d+)", cores[1])]
        each += [int(cores[2])] if cores[2] else []
        if each:
            clocks["cpu"] = float(max(each))
    for name, pattern in (("gpu", _GPU), ("memory", _MEMORY)):
        found = pattern.search(line)
        if found:
            clocks[name] = float(max(int(mhz) for mhz in found[1].split(",")))
    return clocks


class Tegrastats:
    """A running tegrastats.

    Raises PowerError where there is none, or its first line is odd or does not come.
    """

    name = PROGRAM

    def __init__(
        self, program: str = PROGRAM, interval_ms: int = INTERVAL_MS, patience_s: float = 5.0
    ) -> None:
        path = shutil.which(program)
        if path is None:
            raise PowerError(f"there is no {program}, which Jetsons have")
        self._process = subprocess.Popen(
            [path, "--interval", str(interval_ms)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        silent = threading.Event()

        def give_up() -> None:
            silent.set()
            self._process.kill()

        patience = threading.Timer(patience_s, give_up)
        patience.start()
        try:
            names, whole = total_of(self.read().rails_mw)
        except PowerError as error:
            self.close()
            if silent.is_set():
                raise PowerError(f"{PROGRAM} printed nothing in {patience_s:g} s") from error
            raise
        finally:
            patience.cancel()
        self.covers = f"{whole} ({' + '.join(names)})"

    def read(self) -> Reading:
        assert self._process.stdout is not None
        while True:
            line = self._process.stdout.readline()
            if not line:
                raise PowerError(f"{PROGRAM} ended{self._last_words()}")
            if line.strip():
                return parse_line(line)

    def describe(self) -> dict[str, Any]:
        return {
            "board": _text(_MODEL),
            "release": _text(_RELEASE),
            "power_mode": power_mode(),
        }

    def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self) -> str:
        """Why it ended, where it said so; it has ended, so that this waits for nothing."""
        assert self._process.stderr is not None
        said = self._process.stderr.read().strip().splitlines()
        code = self._process.wait()
        return f" with exit code {code}{f': {said[0]:.200}' if said else ''}"


def _text(path: Path) -> str | None:
    """The first line of a file of the system; strings of the device tree end with a NUL."""
    try:
        lines = path.read_text("utf-8", "replace").replace("\0", "").strip().splitlines()
    except OSError:
        return None
    return lines[0].lstrip("# ") if lines else None
