"""What `nvpmodel -q` prints, and an nvpmodel that is a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from vp3d_bench.power.nvpmodel import PowerMode, parse_mode, power_mode


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ("NV Power Mode: MAXN\n0\n", PowerMode("MAXN", 0)),
        ("NV Fan Mode:quiet\nNV Power Mode: MODE_30W\n2\n", PowerMode("MODE_30W", 2)),
        ("NVPM WARN: fan mode is not set!\nNV Power Mode: MODE_15W_6CORE\n2\n",
         PowerMode("MODE_15W_6CORE", 2)),
        ("NV Power Mode: MAXN_SUPER\r\n2\r\n", PowerMode("MAXN_SUPER", 2)),
        ("NV Power Mode: 120W\n1\n", PowerMode("120W", 1)),
        ("NV Power Mode: 25W\n", PowerMode("25W", None)),
        ("NVPM ERROR: Error opening /var/lib/nvpmodel/status: 13\n", None),
        ("", None),
    ],
)  # fmt: skip
def test_modes(text: str, mode: PowerMode | None) -> None:
    assert parse_mode(text) == mode


def test_of_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert power_mode() is None
    program = tmp_path / "nvpmodel"
    program.write_text('#!/bin/sh\n[ "$1" = -q ] && echo "NV Power Mode: 25W" && echo 1\n')
    program.chmod(0o755)
    assert power_mode() == {"name": "25W", "number": 1}
