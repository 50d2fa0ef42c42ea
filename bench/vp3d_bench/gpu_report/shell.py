"""Commands: what they print goes to the terminal and into a log, and none runs for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# How often a command that prints nothing is said to be still at work, seconds.
HEARTBEAT_S = 30.0
TAIL_LINES = 12
# Between asking a command to end and making it.
PATIENCE_S = 10.0
NOT_STARTED = 127


@dataclass(frozen=True)
class Ended:
    """code: what the command returned, negative for a signal, 127 if it could not be started.

    tail: its last lines. timed_out: it was ended because it took too long. log: all that it said.
    """

    code: int
    seconds: float
    tail: tuple[str, ...]
    log: Path
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        return self.code == 0

    def reason(self) -> str:
        """One sentence for an end that was not good."""
        said = next(
            (line.strip() for line in reversed(self.tail) if line.strip()), "it said nothing"
        )
        if self.timed_out:
            return (
                f"ended after {self.seconds:.0f} s, which is too long; its last line: {said:.300} "
                f"(see {self.log.name})"
            )
        return f"exit code {self.code}: {said:.300} (see {self.log.name})"


class Shell:
    """root: where commands run. logs: the folder of their logs. timeout_s: of each command."""

    def __init__(
        self, root: Path, logs: Path, timeout_s: float, terminal: IO[str] | None = None
    ) -> None:
        self.root, self.logs, self.timeout_s = root, logs, timeout_s
        self._terminal = sys.stdout if terminal is None else terminal

    def say(self, text: str) -> None:
        print(text, file=self._terminal, flush=True)

    def call(
        self,
        command: Sequence[str],
        log: str,
        env: Mapping[str, str] | None = None,
        show: bool = True,
    ) -> Ended:
        """Run it to its end. log: a name; what is there is added to.

        env: beside this process's own. show: on the terminal too.
        """
        self.logs.mkdir(parents=True, exist_ok=True)
        path = self.logs / f"{log}.log"
        began = time.monotonic()
        with path.open("ab") as file:
            file.write(f"$ {' '.join(command)}\n".encode())
            file.flush()
            try:
                process = subprocess.Popen(
                    command, cwd=self.root, env=_environment(env), stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, start_new_session=True,
                )  # fmt: skip
            except OSError as error:
                said = f"{command[0]}: {error.strerror}"
                file.write(f"{said}\n".encode())
                return Ended(NOT_STARTED, 0.0, (said,), path)
            watch = _Watch(process, self.timeout_s, self.say)
            try:
                output = self._copied(process, file, show)
                code = process.wait()
            except BaseException:  # Ctrl-C reaches this program alone
                _end(process)
                raise
            finally:
                timed_out = watch.over()
        lines = output.decode("utf-8", "replace").replace("\r", "\n").splitlines()
        seconds = time.monotonic() - began
        return Ended(code, seconds, tuple(lines[-TAIL_LINES:]), path, timed_out)

    def output(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> str | None:
        """What a short command prints, or None if it fails or there is none such."""
        try:
            done = subprocess.run(
                command, cwd=self.root, env=_environment(env), stdin=subprocess.DEVNULL,
                capture_output=True, text=True, errors="replace", timeout=self.timeout_s,
                check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout if done.returncode == 0 else None

    def _copied(self, process: subprocess.Popen[bytes], file: IO[bytes], show: bool) -> bytes:
        """Everything that the command prints; its last part is returned."""
        assert process.stdout is not None
        kept = b""
        while chunk := os.read(process.stdout.fileno(), 1 << 14):
            file.write(chunk)
            file.flush()
            if show:
                self._terminal.write(chunk.decode("utf-8", "replace"))
                self._terminal.flush()
            kept = (kept + chunk)[-(1 << 14) :]
        return kept


class _Watch:
    """Says now and then that a command is at work, and ends it when its time is up."""

    def __init__(
        self, process: subprocess.Popen[bytes], timeout_s: float, say: Callable[[str], None]
    ) -> None:
        self._process, self._timeout_s, self._say = process, timeout_s, say
        self._over, self._timed_out = threading.Event(), False
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def over(self) -> bool:
        """To be called when the command has ended: was it for its time?"""
        self._over.set()
        self._thread.join()
        return self._timed_out

    def _run(self) -> None:
        began = time.monotonic()
        while not self._over.wait(min(HEARTBEAT_S, self._timeout_s)):
            seconds = time.monotonic() - began
            if seconds < self._timeout_s:
                self._say(f"    … at work for {seconds:.0f} s")
                continue
            self._timed_out = True
            _end(self._process)
            return


def _end(process: subprocess.Popen[bytes]) -> None:
    """All of its processes: first asked, then made to."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return
        try:
            process.wait(PATIENCE_S)
            return
        except subprocess.TimeoutExpired:
            continue


def _environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """This process's own, without the path that it was started with."""
    own = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return {**own, **(env or {})}
