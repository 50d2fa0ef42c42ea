"""The stack machine that `vp3d_deploy.safe_pickle` reads pickles with.

It can only build plain values or call the checked stand-ins of `names`; memory and time are
counted as they are spent. Which byte does what is in `instructions`.
"""

from __future__ import annotations

import codecs
from collections import OrderedDict, defaultdict
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from vp3d_deploy.pickles.names import known_global, modern_module
from vp3d_deploy.pickles.values import (
    Constructor,
    Placeholder,
    Unfinished,
    UnsupportedError,
    check_key,
)

# Human3.6M's annotations, the largest pickles that this project reads, need under a million
# instructions. These limits bound the memory of what small instructions build to about 1 GB.
MAX_INSTRUCTIONS = 10_000_000
MAX_CONTAINERS = 2_000_000
MAX_BUILT_ITEMS = 4_000_000
# No writer of data needs more; converting longer decimal numbers takes quadratic time.
MAX_INTEGER_BYTES = 1024
MAX_NAME_BYTES = 1024
STOP = ord(".")

FindGlobal = Callable[[str, str], object]
PersistentLoad = Callable[[object], object]


class Machine:
    """Reads one pickle from a stream, at most `n_bytes` of it; see `safe_pickle.loads`.

    Raises ValueError with a reason, or IndexError where an instruction finds its stack empty.
    """

    def __init__(
        self,
        stream: BinaryIO,
        n_bytes: int,
        find_global: FindGlobal | None,
        persistent_load: PersistentLoad | None,
        encoding: str,
    ) -> None:
        self._stream = stream
        self._left = n_bytes
        self._find_global = find_global
        self._persistent_load = persistent_load
        self._encoding = encoding
        self.stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self.memo: dict[int, Any] = {}
        self._containers_left = MAX_CONTAINERS
        # Real pickles use each byte in at most one array, set or byte string, by way of one copy.
        self._bytes_left = 4 * n_bytes + (1 << 20)
        self._items_left = min(MAX_BUILT_ITEMS, n_bytes + (1 << 16))

    def run(self, instructions: Mapping[int, Callable[[Machine], None]]) -> object:
        """The value of the pickle; `instructions` by their code, without STOP."""
        for _ in range(MAX_INSTRUCTIONS):
            code = self.read(1)[0]
            if code == STOP:
                if len(self.stack) != 1 or self._marks:
                    raise ValueError("it ends with values left over; the file is damaged")
                return self.stack[0]
            instruction = instructions.get(code)
            if instruction is None:
                raise ValueError(
                    f"it has the instruction 0x{code:02x}, which no data file uses; "
                    "the file is damaged or not a pickle"
                )
            instruction(self)
        raise ValueError(f"it takes more than {MAX_INSTRUCTIONS} instructions to read")

    # -- reading ----------------------------------------------------------------------------

    def read(self, n_bytes: int) -> bytes:
        # Compared first: asking a file for 2^63 bytes would allocate them.
        data = self._stream.read(n_bytes) if n_bytes <= self._left else b""
        if len(data) != n_bytes:
            raise ValueError("it ends in the middle; the file is truncated or damaged")
        self._left -= n_bytes
        return data

    def unsigned(self, n_bytes: int) -> int:
        return int.from_bytes(self.read(n_bytes), "little")

    def line(self, limit: int | None = None) -> bytes:
        limit = self._left if limit is None else min(self._left, limit)
        line = self._stream.readline(limit)
        self._left -= len(line)
        if not line.endswith(b"\n"):
            raise ValueError("it has a line without an end; the file is truncated or damaged")
        return line[:-1]

    # -- stack, memo and budgets ------------------------------------------------------------

    def push(self, value: object) -> None:
        self.stack.append(value)

    def push_container(self, value: object) -> None:
        self._containers_left -= 1
        if self._containers_left < 0:
            raise ValueError(f"it builds more than {MAX_CONTAINERS} containers")
        self.stack.append(value)

    def _push_built(self, value: object) -> None:
        """Push what a stand-in made; one list in the file could feed a million of them."""
        if isinstance(value, np.ndarray):
            self._bytes_left -= value.nbytes
            self._items_left -= value.size if value.dtype.hasobject else 0
        elif isinstance(value, (bytes, bytearray)):
            self._bytes_left -= len(value)
        elif isinstance(value, (dict, set, frozenset, list, tuple)):
            self._items_left -= len(value)
        if self._bytes_left < 0 or self._items_left < 0:
            raise ValueError("it builds far more data than the file holds")
        self.push_container(value)

    def mark(self) -> None:
        self.push_container(None)  # counted: each mark costs a list
        self.stack.pop()
        self._marks.append(self.stack)
        self.stack = []

    def to_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self._marks.pop()
        return items

    def remember(self, key: int) -> None:
        value = self.stack[-1]
        self.memo[key] = value
        if type(value) is Unfinished:
            value.memo_keys.append(key)

    def recall(self, key: int) -> None:
        if key not in self.memo:
            raise ValueError("it refers to a value that it never gave; the file is damaged")
        self.push(self.memo[key])

    # -- containers -------------------------------------------------------------------------

    def append(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is list:
            target.extend(items)
        elif type(target) is not Placeholder:
            raise ValueError(f"it appends to a {type(target).__name__}, expected a list")

    def set_items(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if type(target) is Placeholder:
            return
        if type(target) not in (dict, OrderedDict, defaultdict):
            raise ValueError(f"it sets items of a {type(target).__name__}, expected a dictionary")
        target.update(as_pairs(items))

    def add_items(self) -> None:
        items = self.to_mark()
        target = self.stack[-1]
        if type(target) is set:
            target.update(as_keys(items))
        elif type(target) is not Placeholder:
            raise ValueError(f"it adds items to a {type(target).__name__}, expected a set")

    def drop(self) -> None:
        if self.stack:
            self.stack.pop()
        else:  # as Python does: an empty stack means that the mark itself is dropped
            self.to_mark()

    def pop_pair(self) -> list[Any]:
        value = self.stack.pop()
        return [self.stack.pop(), value]

    def take_tuple(self, n_items: int) -> None:
        if len(self.stack) < n_items:
            raise IndexError
        items = tuple(self.stack[-n_items:])
        del self.stack[-n_items:]
        self.push_container(items)

    # -- text and numbers -------------------------------------------------------------------

    def old_text(self, data: bytes) -> None:
        """Push a string of Python 2, whose encoding the file does not say."""
        self.push(data if self._encoding == "bytes" else data.decode(self._encoding))

    def quoted_line(self) -> None:
        line = self.line().strip()
        if len(line) < 2 or line[:1] not in (b"'", b'"') or line[-1:] != line[:1]:
            raise ValueError("it has a string without quotes; the file is damaged")
        self.old_text(codecs.escape_decode(line[1:-1])[0])

    def long(self, n_bytes: int) -> None:
        if n_bytes > MAX_INTEGER_BYTES:
            raise ValueError(f"it holds an integer of {n_bytes} bytes")
        self.push(int.from_bytes(self.read(n_bytes), "little", signed=True))

    def decimal_line(self) -> None:
        line = self.line(MAX_INTEGER_BYTES)
        # Python 2 writes True as 01, and integers with a trailing L.
        self.push({b"00": False, b"01": True}.get(line, number(int, line.removesuffix(b"L"))))

    def memo_line(self) -> int:
        return number(int, self.line(MAX_NAME_BYTES))

    def frame(self) -> None:
        # The start of a block that writers send at once; only its length can be checked.
        if self.unsigned(8) > self._left:
            raise ValueError("it ends in the middle; the file is truncated or damaged")

    def protocol(self) -> None:
        version = self.read(1)[0]
        if version > 5:
            raise ValueError(f"it has pickle protocol {version}; 0 to 5 are known")

    # -- globals and calls ------------------------------------------------------------------

    def global_by_lines(self) -> None:
        module = self.line(MAX_NAME_BYTES).decode()
        self._global(module, self.line(MAX_NAME_BYTES).decode())

    def global_by_stack(self) -> None:
        module, name = self.pop_pair()
        if type(module) is not str or type(name) is not str:
            raise ValueError("it has a global whose name is not text; the file is damaged")
        self._global(module, name)

    def _global(self, module: str, name: str) -> None:
        if len(module) + len(name) > MAX_NAME_BYTES or not (module + name).isprintable():
            raise ValueError("it has a global with an impossible name; the file is damaged")
        module = modern_module(module)
        value: object = known_global(module, name)
        if value is None and self._find_global is not None:
            value = self._find_global(module, name)
        if value is None:
            raise ValueError(
                f"it asks for {module}.{name}, which is not data, and nothing of it was run; "
                "only plain values and numpy arrays are read"
            )
        self.push(value)

    def call(self, arguments: object, named: object = ()) -> None:
        function = self.stack.pop()
        if type(function) is Placeholder:
            self.push(function)
        elif type(function) is Constructor and type(arguments) is tuple and not named:
            self._push_built(self._allow_unsupported(function.name, function.build, arguments))
        else:
            raise ValueError(f"it calls a {type(function).__name__}; the file is damaged")

    def call_named(self) -> None:
        """How Python 2 writes an object of an old class: its arguments, then its name."""
        arguments = tuple(self.to_mark())
        self.global_by_lines()
        self.call(arguments)

    def call_first(self) -> None:
        """The same in binary: the class, then its arguments."""
        function, *arguments = self.to_mark() or [None]
        self.push(function)
        self.call(tuple(arguments))

    def new_with_names(self) -> None:
        arguments, named = self.pop_pair()
        self.call(arguments, named)

    def build(self) -> None:
        state = self.stack.pop()
        target = self.stack[-1]
        if type(target) is Unfinished:
            finished = self._allow_unsupported(target.name, target.finish, state)
            self.stack.pop()
            self._push_built(finished)
            for key in target.memo_keys:
                if self.memo[key] is target:
                    self.memo[key] = finished
        elif type(target) not in (Placeholder, OrderedDict):
            raise ValueError(f"it sets the state of a {type(target).__name__}")
        # An OrderedDict's state is attributes hung on it, like the versions in torch's
        # state dictionaries: not part of the data.

    def _allow_unsupported(self, name: str, build: Callable[[Any], object], value: Any) -> object:
        try:
            return build(value)
        except UnsupportedError:
            if self._find_global is None:
                raise
            return Placeholder(name)

    def external(self, key: object) -> None:
        if self._persistent_load is None:
            raise ValueError("it refers to objects outside the file")
        self.push(self._persistent_load(key))


def as_keys(items: list[Any]) -> list[Any]:
    for item in items:
        check_key(item)
    return items


def as_pairs(items: list[Any]) -> Iterator[tuple[Any, Any]]:
    if len(items) % 2:
        raise ValueError("it has a key without a value; the file is damaged")
    as_keys(items[::2])
    return zip(items[::2], items[1::2], strict=True)


def number(kind: Callable[[bytes], Any], line: bytes) -> Any:
    try:
        return kind(line)
    except ValueError:
        raise ValueError("it has a number that is none; the file is damaged") from None
