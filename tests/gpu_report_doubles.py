"""A shell that runs nothing: what would be called, and what it is to answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from vp3d_bench.gpu_report.part import Run
from vp3d_bench.gpu_report.shell import Ended

H200 = {"name": "NVIDIA H200", "compute_capability": "9.0", "driver": "580.95.05"}

# Given a command: an exit code, perhaps after writing the files that it would write.
Answer = Callable[[Sequence[str]], int]


class FakeShell:
    """calls: every command, in order. said: what was told to the terminal.

    answers: by a word of the command; others end well. outputs: of short commands, likewise.
    """

    def __init__(
        self,
        folder: Path,
        answers: Mapping[str, Answer | int] | None = None,
        outputs: Mapping[str, str | None] | None = None,
    ) -> None:
        self.root = folder
        self.logs = folder / "logs"
        self.timeout_s = 1.0
        self.answers = dict(answers or {})
        self.outputs = {"import json": "{}", **(outputs or {})}
        self.calls: list[list[str]] = []
        self.environments: list[Mapping[str, str]] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def call(
        self,
        command: Sequence[str],
        log: str,
        env: Mapping[str, str] | None = None,
        show: bool = True,
    ) -> Ended:
        self.calls.append(list(command))
        self.environments.append(env or {})
        code = 0
        for word, answer in self.answers.items():
            if any(word in part for part in command):
                code = answer if isinstance(answer, int) else answer(command)
        tail = ("all is well",) if code == 0 else ("what went wrong",)
        return Ended(code, 0.1, tail, self.logs / f"{log}.log")

    def output(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> str | None:
        self.calls.append(list(command))
        for word, said in self.outputs.items():
            if any(word in part for part in command):
                return said
        return ""

    def called(self, word: str) -> list[list[str]]:
        """The commands that have this word among theirs."""
        return [command for command in self.calls if word in command]


def options(**given: Any) -> SimpleNamespace:
    defaults = {
        "wheelhouse": None, "system_torch": False, "quick": False, "bundle": None,
        "drift_frames": 100_000,
    }  # fmt: skip
    return SimpleNamespace(**{**defaults, **given})


def fake_run(
    folder: Path,
    answers: Mapping[str, Answer | int] | None = None,
    outputs: Mapping[str, str | None] | None = None,
    gpus: Sequence[Mapping[str, Any]] = (H200,),
    **given: Any,
) -> tuple[Run, FakeShell]:
    shell = FakeShell(folder, answers, outputs)
    run = Run(folder, folder, shell, options(**given), list(gpus))  # type: ignore[arg-type]
    return run, shell
