"""A progress bar for people who watch a terminal, and silence for everybody else."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import IO

# Work that is over sooner shows no bar at all.
QUIET_S = 2.0
_REDRAW_S = 0.1
_WIDTH = 28


class ProgressBar:
    """Call it with how much is done and how much there is in all.

        with ProgressBar("lifting") as progress:
            for done in range(total):
                ...
                progress(done + 1, total)

    Draws one line on stderr, only if that is a terminal and the work takes over two seconds, and
    wipes it at the end.
    """

    def __init__(self, label: str, stream: IO[str] | None = None) -> None:
        self._label = label
        self._stream = sys.stderr if stream is None else stream
        self._enabled = bool(getattr(self._stream, "isatty", lambda: False)())
        self._began = self._drawn = time.monotonic()
        self._shown = 0

    def __call__(self, done: int, total: int) -> None:
        now = time.monotonic()
        if not self._enabled or now - self._began < QUIET_S:
            return
        if now - self._drawn < _REDRAW_S and done < total:
            return
        self._drawn = now
        share = done / total if total else 1.0
        full = int(share * _WIDTH)
        left_s = (now - self._began) * (1 - share) / share if share > 0 else 0.0
        line = f"{self._label} [{'=' * full}{' ' * (_WIDTH - full)}] {share:4.0%}, {left_s:.0f} s"
        self._write(line)

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._shown:
            self._write("")
            self._stream.write("\r")
            self._stream.flush()

    def _write(self, line: str) -> None:
        self._stream.write("\r" + line.ljust(self._shown))
        self._stream.flush()
        self._shown = len(line)
