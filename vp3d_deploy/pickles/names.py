"""Which of our own functions stands for what a pickle names.

A pickle builds anything beyond plain containers by naming a callable. Here each name that data
files use maps to a function of our own that checks its arguments.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict
from collections.abc import Callable
from typing import Any

from vp3d_deploy.pickles.arrays import NUMPY_GLOBALS
from vp3d_deploy.pickles.values import (
    Constructor,
    Placeholder,
    bad_call,
    check_key,
    latin1_bytes,
    only_named,
)

_FACTORIES = {f"builtins.{kind.__name__}": kind for kind in (list, dict, set, int, float, str)}


def _pairs(name: str, value: object) -> list[tuple[Any, Any]]:
    if not isinstance(value, (list, tuple)):
        raise bad_call(name)
    pairs = []
    for pair in value:
        if not isinstance(pair, (list, tuple)) or len(pair) != 2:
            raise bad_call(name)
        check_key(pair[0])
        pairs.append((pair[0], pair[1]))
    return pairs


def _ordered_dict(arguments: tuple[Any, ...]) -> object:
    # Python 3 writes OrderedDict() and then its items; Python 2 passes a list of pairs.
    if len(arguments) > 1:
        raise bad_call("collections.OrderedDict")
    return OrderedDict(_pairs("collections.OrderedDict", arguments[0]) if arguments else [])


def _defaultdict(arguments: tuple[Any, ...]) -> object:
    if len(arguments) > 1:
        raise bad_call("collections.defaultdict")
    factory = arguments[0] if arguments else None
    if factory is None or isinstance(factory, Placeholder):
        return defaultdict()
    if not isinstance(factory, Constructor) or factory.name not in _FACTORIES:
        raise bad_call("collections.defaultdict")
    return defaultdict(_FACTORIES[factory.name])


def _items_of(name: str, make: Callable[[list[Any]], object]) -> Constructor:
    def build(arguments: tuple[Any, ...]) -> object:
        if len(arguments) > 1 or (arguments and not isinstance(arguments[0], (list, tuple))):
            raise bad_call(name)
        items = list(arguments[0]) if arguments else []
        for item in items:
            check_key(item)
        return make(items)

    return Constructor(name, build)


def _complex(arguments: tuple[Any, ...]) -> object:
    if len(arguments) != 2 or not all(type(part) in (int, float) for part in arguments):
        raise bad_call("builtins.complex")
    return complex(*arguments)


def _encode(arguments: tuple[Any, ...]) -> object:
    # How Python 3 writes bytes in protocols 0 to 2.
    match arguments:
        case (str(text), "latin1" | "latin-1"):
            return latin1_bytes(text)
    raise bad_call("_codecs.encode")


def _bytes(arguments: tuple[Any, ...]) -> object:
    if arguments:
        raise bad_call("builtins.bytes")
    return b""


def _bytearray(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case ():
            return bytearray()
        case (bytes(data),):
            return bytearray(data)
        case (str(text), "latin1" | "latin-1"):
            return bytearray(latin1_bytes(text))
    raise bad_call("builtins.bytearray")


def _reconstructor(arguments: tuple[Any, ...]) -> object:
    # How protocols 0 and 1 write an object of a Python class; only placeholders have one.
    match arguments:
        case (Placeholder() as owner, _, _):
            return owner
    raise bad_call("copyreg._reconstructor")


# By the names of Python 3 and numpy 1; `modern_module` brings the other spellings to these.
_KNOWN: dict[str, Constructor] = {
    constructor.name: constructor
    for constructor in (
        *map(only_named, _FACTORIES),
        *map(only_named, ("builtins.object", "builtins.tuple", "builtins.bool")),
        _items_of("builtins.set", set),
        _items_of("builtins.frozenset", frozenset),
        Constructor("builtins.bytes", _bytes),
        Constructor("builtins.bytearray", _bytearray),
        Constructor("builtins.complex", _complex),
        Constructor("_codecs.encode", _encode),
        Constructor("copyreg._reconstructor", _reconstructor),
        Constructor("collections.OrderedDict", _ordered_dict),
        Constructor("collections.defaultdict", _defaultdict),
        *NUMPY_GLOBALS,
    )
}


def modern_module(module: str) -> str:
    """Today's name of a module that Python 2 or another numpy spells differently."""
    module = {"__builtin__": "builtins", "copy_reg": "copyreg"}.get(module, module)
    if module == "numpy._core" or module.startswith("numpy._core."):
        module = "numpy.core" + module[len("numpy._core") :]
    return module


def known_global(module: str, name: str) -> Constructor | None:
    """Our stand-in for the global `name` of `module` (a modern name), or None."""
    return _KNOWN.get(f"{module}.{name}")
