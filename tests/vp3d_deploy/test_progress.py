"""The progress bar: on terminals only, after two seconds only, and gone in the end."""

from __future__ import annotations

import io

import pytest

from vp3d_deploy import progress
from vp3d_deploy.progress import ProgressBar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def test_short_work_and_files_see_nothing(clock):
    for stream in (Terminal(), io.StringIO()):
        with ProgressBar("lifting", stream) as bar:
            clock[0] += 1.0 if isinstance(stream, Terminal) else 60.0
            bar(5, 10)
        assert stream.getvalue() == ""


def test_long_work_shows_its_share_and_is_wiped(clock):
    terminal = Terminal()
    with ProgressBar("lifting", terminal) as bar:
        clock[0] += 4.0
        bar(5, 10)
        clock[0] += 0.01
        bar(6, 10)  # too soon for another line
        clock[0] += 1.0
        bar(10, 10)
    lines = terminal.getvalue().split("\r")
    assert lines[0] == ""
    assert lines[1] == f"lifting [{'=' * 14}{' ' * 14}]  50%, 4 s"
    assert lines[2].startswith(f"lifting [{'=' * 28}] 100%, 0 s")
    assert lines[3].strip() == ""
    assert len(lines[3]) >= len(lines[1])
    assert lines[4] == ""
