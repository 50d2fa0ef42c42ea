"""Commands that `make gpu` runs: their output, their logs, and their end."""

from __future__ import annotations

import io
import sys
import time
from pathlib import Path

import pytest

from vp3d_bench.gpu_report import shell as shell_module
from vp3d_bench.gpu_report.shell import Shell


@pytest.fixture
def terminal() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def shell(tmp_path: Path, terminal: io.StringIO) -> Shell:
    return Shell(tmp_path, tmp_path / "logs", 60, terminal)


def python(program: str) -> list[str]:
    return [sys.executable, "-c", program]


def test_output_goes_to_the_terminal_and_into_the_log(shell: Shell, terminal: io.StringIO) -> None:
    ended = shell.call(python("print('one'); print('two')"), "some")
    assert ended.ok
    assert ended.tail == ("one", "two")
    assert terminal.getvalue() == "one\ntwo\n"
    shell.call(python("print('three')"), "some", show=False)
    assert "three" not in terminal.getvalue()
    log = ended.log.read_text()
    assert log.startswith(f"$ {sys.executable} -c ")
    assert [line for line in log.splitlines() if not line.startswith("$")] == [
        "one", "two", "three",
    ]  # fmt: skip


def test_a_failure_is_told_by_its_last_line(shell: Shell) -> None:
    ended = shell.call(python("import sys; print('why', file=sys.stderr); sys.exit(3)"), "some")
    assert not ended.ok
    assert ended.reason() == "exit code 3: why (see some.log)"


def test_a_program_that_is_not_there_is_a_failure(shell: Shell) -> None:
    ended = shell.call(["no-such-program"], "some")
    assert ended.code == 127
    assert "no-such-program: No such file" in ended.reason()
    assert shell.output(["no-such-program"]) is None


def test_what_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, terminal: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deadlocked kernel must not keep the next parts from running."""
    monkeypatch.setattr(shell_module, "PATIENCE_S", 0.2)
    monkeypatch.setattr(shell_module, "HEARTBEAT_S", 0.2)
    shell = Shell(tmp_path, tmp_path / "logs", 1.0, terminal)
    begin = time.monotonic()
    ended = shell.call(["sh", "-c", "trap '' TERM; echo begun; sleep 600 & wait; sleep 600"], "x")
    assert time.monotonic() - begin < 60
    assert ended.timed_out
    assert not ended.ok
    assert "which is too long; its last line: begun" in ended.reason()
    assert "at work for" in terminal.getvalue()


def test_short_commands_answer_or_are_none(shell: Shell) -> None:
    assert shell.output(python("print(7)")) == "7\n"
    assert shell.output(python("raise SystemExit(1)")) is None


def test_the_path_that_started_it_is_not_handed_on(
    shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "somewhere")
    program = python("import os; print(os.environ.get('PYTHONPATH'), os.environ.get('EXTRA'))")
    assert shell.output(program, {"EXTRA": "given"}) == "None given\n"
