"""Read pickles from strangers as data: nothing that a file names is ever imported or called.

`pickle.load` runs whatever a file asks for. Overriding `pickle.Unpickler.find_class` is the usual
answer; here the whole unpickler is our own (`vp3d_deploy.pickles`), because the standard one
still calls what it is given, allocates gigabytes for a five-byte memo index, and can be made to
hash tuples for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO
from typing import Any, BinaryIO

import numpy as np

from vp3d_deploy.pickles.instructions import INSTRUCTIONS
from vp3d_deploy.pickles.machine import FindGlobal, Machine, PersistentLoad
from vp3d_deploy.pickles.values import (
    Constructor,
    Placeholder,
    Unfinished,
    UnsupportedError,
    brief,
)

__all__ = [
    "Constructor",
    "Placeholder",
    "UnsafePickleError",
    "UnsupportedError",
    "brief",
    "load_next",
    "loads",
]

MAX_DEPTH = 100
# Counted as if nothing were shared: a few hundred bytes can describe a tree of 2^1000 leaves,
# which is harmless until something walks it.
MAX_EXPANDED_ITEMS = 20_000_000


class UnsafePickleError(ValueError):
    """A pickle that is damaged, asks for more than data, or is built to exhaust memory or time."""


def loads(
    data: bytes,
    source: str,
    *,
    find_global: FindGlobal | None = None,
    persistent_load: PersistentLoad | None = None,
    encoding: str = "latin1",
) -> object:
    """Rebuild the value in the pickle `data`; `source` names it in errors.

    Plain containers and values, OrderedDict, defaultdict, and numpy arrays and scalars (written by
    Python 2 or 3, numpy 1 or 2; object arrays too) are rebuilt, arrays writable and independent.
    `find_global(module, name)` answers for every other global with a `Placeholder` or a
    `Constructor` of the caller's, or raises ValueError; without it such a pickle is refused.
    `persistent_load(id)` answers for external objects, such as a checkpoint's storages.
    `encoding` is that of Python 2 strings; "bytes" leaves them as bytes.

    Raises UnsafePickleError for anything else: other globals, damage, bytes after the end,
    self-references, and pickles that would need unreasonable memory, time or depth.
    """
    stream = BytesIO(data)
    value = load_next(
        stream,
        len(data),
        source,
        find_global=find_global,
        persistent_load=persistent_load,
        encoding=encoding,
    )
    if stream.tell() != len(data):
        raise UnsafePickleError(
            f"{source}: {len(data) - stream.tell()} bytes follow the end of the pickle; "
            "the file is damaged or not a single pickle"
        )
    return value


def load_next(
    stream: BinaryIO,
    n_bytes: int,
    source: str,
    *,
    find_global: FindGlobal | None = None,
    persistent_load: PersistentLoad | None = None,
    encoding: str = "latin1",
) -> object:
    """As `loads`, for a pickle of at most `n_bytes` at the stream's position.

    Leaves the stream just behind the pickle, where something else may follow.
    """
    machine = Machine(stream, n_bytes, find_global, persistent_load, encoding)
    try:
        value = machine.run(INSTRUCTIONS)
        _check_tree(value)
    except IndexError:
        reason = "it takes values that it never gave; the file is damaged or not a pickle"
        raise UnsafePickleError(f"{source}: {reason}") from None
    except UnicodeError:
        reason = "it holds text in an unknown encoding; the file is damaged or not a pickle"
        raise UnsafePickleError(f"{source}: {reason}") from None
    except ValueError as error:
        raise UnsafePickleError(f"{source}: {error}") from None
    return value


class _Node:
    """A container on the way from the root: what of its children is still to be seen, and the size
    and depth of what has been."""

    def __init__(self, value: object) -> None:
        if type(value) is Unfinished:
            raise ValueError(f"it holds a {value.name} without contents; the file is damaged")
        self.identity = id(value)
        self.children: Iterator[Any] = iter(_containers_in(value))
        self.n_items = len(value) if isinstance(value, (dict, list, tuple)) else 1
        self.depth = 1

    def add(self, n_items: int, depth: int) -> None:
        self.n_items += n_items
        self.depth = max(self.depth, 1 + depth)


def _containers_in(value: object) -> list[Any]:
    """The containers and unfinished values right inside a container; sets hold neither."""
    items: Any = ()
    if isinstance(value, dict):
        items = value.values()
    elif isinstance(value, (list, tuple)):
        items = value
    elif isinstance(value, np.ndarray) and value.dtype.hasobject:
        items = value.flat
    kinds = (dict, list, tuple, np.ndarray, Unfinished)
    return [item for item in items if isinstance(item, kinds)]


def _check_tree(root: object) -> None:
    """Refuse a value that contains itself, is nested too deep, or is vast once written out.

    Walks without recursion, each shared container once. Raises ValueError.
    """
    done: dict[int, tuple[int, int]] = {}  # items (as if nothing were shared) and depth
    path = [_Node(root)]
    on_path = {id(root)}
    while path:
        node = path[-1]
        child = next(node.children, None)
        if child is None:
            on_path.discard(node.identity)
            done[node.identity] = (node.n_items, node.depth)
            path.pop()
            if path:
                path[-1].add(node.n_items, node.depth)
        elif id(child) in on_path:
            raise ValueError("it holds a container that contains itself")
        elif id(child) in done:
            node.add(*done[id(child)])
        else:
            path.append(_Node(child))
            on_path.add(id(child))
        if len(path) > MAX_DEPTH or node.depth > MAX_DEPTH:
            raise ValueError(f"it is nested more than {MAX_DEPTH} levels deep")
        if node.n_items > MAX_EXPANDED_ITEMS:
            raise ValueError(f"it holds more than {MAX_EXPANDED_ITEMS} items once written out")
