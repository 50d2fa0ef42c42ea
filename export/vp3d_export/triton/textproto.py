"""Protobuf's text format, as far as a config.pbtxt needs it.

The protobuf package is not needed for that, nor on the machine that serves. Tests parse what is
written here with the server's own published schema.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Name:
    """The value of an enumeration, which text format writes without quotes."""

    text: str


class Message:
    """Fields in order; a name may occur several times, as repeated messages do."""

    def __init__(self, *fields: tuple[str, Any]) -> None:
        self.fields = fields


def render(message: Message, indent: str = "") -> str:
    """One field a line. Values: str, bool, int, Name, Message, and lists of the scalars."""
    lines = []
    for name, value in message.fields:
        if isinstance(value, Message):
            lines.append(f"{indent}{name} {{\n{render(value, indent + '  ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{name}: {_value(value)}\n")
    return "".join(lines)


def _value(value: Any) -> str:
    if isinstance(value, Name):
        return value.text
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return f'"{_escaped(value)}"'
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"text format has no place for {value!r}")


def _escaped(text: str) -> str:
    """Quotes, backslashes and whatever is not printable ASCII, as octal bytes of UTF-8."""
    return "".join(
        chr(byte) if 32 <= byte < 127 and chr(byte) not in '"\\' else f"\\{byte:03o}"
        for byte in text.encode("utf-8")
    )
