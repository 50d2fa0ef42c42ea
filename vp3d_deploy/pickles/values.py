"""What the reader of pickles puts in place of what a pickle names; checks that all parts share."""

from __future__ import annotations

import codecs
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_KEY_TYPES = (str, bytes, float, bool, complex, type(None), np.generic)


class UnsupportedError(ValueError):
    """An honest value that this reader does not rebuild, such as a structured array.

    Where the caller allows placeholders, one takes the value's place; else the file is refused.
    """


@dataclass(frozen=True, eq=False)
class Placeholder:
    """Stands for a class, function or object of another package. Inert: it holds only a name.

    Calling it, setting its state and adding items to it, as a pickle may ask, give it back
    unchanged.
    """

    name: str


@dataclass(frozen=True, eq=False)
class Constructor:
    """One of our own functions, standing for the callable `name`; takes the arguments as a tuple.

    `build` raises ValueError for arguments that the real callable is not given by real pickles.
    """

    name: str
    build: Callable[[tuple[Any, ...]], object]


@dataclass(eq=False)
class Unfinished:
    """An array or dtype whose contents follow later in the pickle, as its "state".

    `memo_keys` lists where the reader remembered it, so that the finished value can take its place.
    """

    name: str
    finish: Callable[[object], object]
    memo_keys: list[int] = field(default_factory=list)


def brief(value: object) -> str:
    """A few words on any value, for messages. Not its repr, which for a shared tree never ends."""
    if type(value) is tuple and len(value) <= 8 and all(type(part) is int for part in value):
        return repr(value)[:80]
    if isinstance(value, (str, bytes)):
        return repr(value[:60])
    if isinstance(value, (Placeholder, Constructor)):
        return f"a pickled {value.name}"
    if value is None:
        return "None"
    return repr(value)[:80] if isinstance(value, (int, float)) else f"a {type(value).__name__}"


def check_key(key: object) -> None:
    """Refuse a dictionary key or set item that is not a small plain value.

    A tuple that is nested by sharing takes exponential time to hash, and integers beyond 64 bits
    can be chosen to collide, so neither is allowed.

    Raises ValueError.
    """
    parts = key if type(key) is tuple else (key,)
    if len(parts) > 16:
        raise ValueError(f"it holds a tuple of {len(parts)} items as a key; at most 16 are read")
    for part in parts:
        if type(part) is int:
            if part.bit_length() > 64:
                raise ValueError("it holds an integer of more than 64 bits as a key")
        elif not isinstance(part, _KEY_TYPES) and not isinstance(part, (Placeholder, Constructor)):
            raise ValueError(f"it holds a {type(part).__name__} as a key, expected a plain value")


def bad_call(name: str) -> ValueError:
    return ValueError(f"it calls {name} with arguments that no writer of data files uses")


def only_named(name: str) -> Constructor:
    """A class that data may mention (as an array's type, a default) but that is not called."""

    def build(arguments: tuple[Any, ...]) -> object:
        raise bad_call(name)

    return Constructor(name, build)


def latin1_bytes(text: str) -> bytes:
    try:
        return codecs.latin_1_encode(text)[0]
    except UnicodeEncodeError:
        raise ValueError("it holds bytes written as text that is not Latin-1") from None
