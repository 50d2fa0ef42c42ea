"""What ends a training run early. Apart from the modules that raise them, which need torch."""

from __future__ import annotations


class TrainingError(RuntimeError):
    """A machine on which, or a state from which, a run cannot go on."""


class TerminatedError(Exception):
    """Training was stopped by SIGTERM."""
