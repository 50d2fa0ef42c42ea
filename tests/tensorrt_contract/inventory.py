"""An inventory as tests use it: is a name there, what does it take, is it deprecated."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

INVENTORIES = Path(__file__).with_name("inventories")


class ContractError(AssertionError):
    """A call that the real module would refuse, or that its documentation calls deprecated."""


class Inventory:
    """names: by name, as extract.py describes them."""

    def __init__(self, values: Mapping[str, Any]) -> None:
        self.module: str = values["module"]
        self.version: str = values["version"]
        self.names: dict[str, dict[str, Any]] = values["names"]

    @property
    def label(self) -> str:
        return f"{self.module} {self.version}"

    def members(self, name: str) -> dict[str, int]:
        return self.names[name]["members"]


@cache
def load(file_name: str) -> Inventory:
    return Inventory(json.loads((INVENTORIES / file_name).read_text("utf-8")))


def tensorrt_versions() -> list[str]:
    """The versions at hand, oldest first."""
    found = [path.stem.removeprefix("tensorrt-") for path in INVENTORIES.glob("tensorrt-*.json")]
    return sorted(found, key=lambda version: [int(part) for part in version.split(".")])


def bind(
    overloads: Sequence[Mapping[str, Any]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    accepts: Callable[[str, Any], bool],
    what: str,
) -> dict[str, Any]:
    """The arguments by name, for the first overload that takes them.

    Raises ContractError, which lists every overload, where none does.
    """
    problems = []
    for overload in overloads:
        arguments = [a for a in overload["args"] if a[0] != "self"]
        found, problem = _bound(arguments, args, kwargs, accepts)
        if problem is None:
            return found
        problems.append(f"({', '.join(': '.join(a[:2]) for a in arguments)}): {problem}")
    raise ContractError(f"{what} takes " + "; or ".join(problems))


def _bound(
    arguments: Sequence[Sequence[str]],
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    accepts: Callable[[str, Any], bool],
) -> tuple[dict[str, Any], str | None]:
    if len(args) > len(arguments):
        return {}, f"{len(args)} arguments were given"
    found = {name: value for (name, *_), value in zip(arguments, args, strict=False)}
    for name, value in kwargs.items():
        if name in found or name not in [argument[0] for argument in arguments]:
            return {}, f"{name!r} was given"
        found[name] = value
    for name, kind, *default in arguments:
        if name not in found:
            if not default:
                return {}, f"{name!r} is missing"
        elif not (accepts(kind, found[name]) or (found[name] is None and default == ["None"])):
            return {}, f"{name!r} was given {type(found[name]).__name__}"
    return found, None
