"""What a TensorRT binding or pycuda offers, as plain facts: run in a process of its own.

    python -m tensorrt_contract.extract tensorrt_bindings DIRECTORY...
    python -m tensorrt_contract.extract pycuda._driver DIRECTORY...

puts each DIRECTORY before sys.path, imports the module and prints its inventory as JSON: classes,
enum members, methods with their overloads (argument names, types, defaults), properties with
their types and whether they can be set, and what the module's own documentation calls deprecated.
Both modules are pybind11 or Boost.Python extensions, whose docstrings begin with signatures.
Needs the standard library alone.
"""

from __future__ import annotations

import importlib
import json
import re
import sys
from collections.abc import Iterable
from typing import Any

# Layers and plugins make up most of TensorRT's classes; networks read from ONNX need none.
_LEFT_OUT = re.compile(r"(I\w+Layer|\w*Plugin\w*|\w*Calibrat\w*|\w*Algorithm\w*|.*Parser_.*)$")
_LEFT_OUT_TOO = {"UffParser", "CaffeParser", "IBlobNameToTensor", "FieldMap", "IBinaryProtoBlob"}
_SPECIAL = ("__init__", "__int__", "__index__", "__getitem__", "__len__", "__iter__")
_BY_PYBIND11 = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) ?(?:->|→) (.+)$")
_BY_BOOST = re.compile(r"^(\w+)\((.*)\) -> (\S+) :$")


def inventory_of(module: Any) -> dict[str, Any]:
    """name -> {"kind": "class" | "enum" | "function" | "value", ...}, sorted by name."""
    found = {}
    for name in sorted(vars(module)):
        if name.startswith("_") or _LEFT_OUT.fullmatch(name) or name in _LEFT_OUT_TOO:
            continue
        value = getattr(module, name)
        described = _described(value)
        if described is not None:
            found[name] = described
    return found


def _described(value: Any) -> dict[str, Any] | None:
    if isinstance(value, type):
        return _class(value)
    if callable(value) and (value.__doc__ or "").strip():
        overloads = _overloads(value.__doc__)
        return {"kind": "function", "overloads": overloads} if overloads else None
    return None


def _class(cls: type) -> dict[str, Any]:
    members = getattr(cls, "__members__", None) or getattr(cls, "names", None)
    if isinstance(members, dict) and members:
        doc = cls.__doc__ or ""
        values = {str(k): int(v) for k, v in members.items()}
        old = _deprecated_members(doc, values)
        return {"kind": "enum", "members": values, **({"deprecated": old} if old else {})}
    described: dict[str, Any] = {"kind": "class"}
    bases = [b.__name__ for b in cls.__mro__[1:] if b.__module__ == cls.__module__]
    if bases:
        described["bases"] = bases
    methods: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    nested: dict[str, Any] = {}
    own = [name for name, value in vars(cls).items() if isinstance(value, property)]
    old = _deprecated_variables(cls.__doc__ or "", own)
    for name in sorted(vars(cls)):
        value = vars(cls)[name]
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if isinstance(value, type):
            inner = _class(value)
            nested[name] = inner
        elif isinstance(value, property):
            properties[name] = _property(value)
            if _is_deprecated(value.__doc__):
                old.append(name)
        elif callable(value) or isinstance(value, (staticmethod, classmethod)):
            bound = getattr(cls, name)
            overloads = _overloads(bound.__doc__)
            if not isinstance(value, staticmethod):
                for overload in overloads:
                    # Boost.Python's docstrings call it arg1.
                    overload["args"][:1] = [["self", cls.__name__]]
            if overloads:
                methods[name] = overloads
                if _is_deprecated(bound.__doc__):
                    old.append(name)
    for key, part in (("methods", methods), ("properties", properties), ("nested", nested)):
        if part:
            described[key] = part
    if old:
        described["deprecated"] = sorted(set(old))
    return described


def _property(value: property) -> dict[str, Any]:
    described: dict[str, Any] = {
        "type": _return_type(value.fget.__doc__ if value.fget is not None else None),
        "settable": value.fset is not None,
    }
    if value.fset is not None:
        described["set_type"] = _set_type(value.fset.__doc__)
    return described


def _overloads(doc: str | None) -> list[dict[str, Any]]:
    found = []
    for line in (doc or "").splitlines():
        if match := _BY_BOOST.match(line.strip()):
            arguments, returns = match.groups()[1:]
            found.append({"args": _boost_arguments(arguments), "returns": returns})
        elif match := _BY_PYBIND11.match(line.strip()):
            arguments, returns = match.groups()[1:]
            if arguments.replace(" ", "") != "*args,**kwargs":
                found.append({"args": _arguments(arguments), "returns": _plain(returns)})
    return found


def _arguments(text: str) -> list[list[str]]:
    """[name, type] or [name, type, default] each."""
    arguments = []
    for part in _split(text):
        name, _, rest = part.partition(":")
        kind, _, default = rest.partition(" = ")
        arguments.append([name.strip(), _plain(kind), *([default.strip()] if default else [])])
    return arguments


def _boost_arguments(text: str) -> list[list[str]]:
    """Of "(Stream)arg1, (object)other [, (object)stream=None]": optional ones stand in brackets."""
    found = []
    for match in re.finditer(r"\((\w+)\)(\w+)(?:=([^\],\[]+))?", text):
        kind, name, default = match.groups()
        optional = "[" in text[: match.start()]
        found.append([name, kind, *([(default or "?").strip()] if optional else [])])
    return found


def _split(text: str) -> list[str]:
    """At commas outside any brackets."""
    parts, depth, start = [], 0, 0
    for place, letter in enumerate(text):
        depth += letter in "([{<"
        depth -= letter in ")]}" or (letter == ">" and text[place - 1] != "-")
        if letter == "," and depth == 0:
            parts.append(text[start:place])
            start = place + 1
    return [part for part in (p.strip() for p in [*parts, text[start:]]) if part]


def _plain(kind: str) -> str:
    """Type names as Python has them, whichever version of pybind11 wrote the docstring."""
    kind = re.sub(r"\btensorrt_bindings\.tensorrt\.", "", kind.strip())
    kind = re.sub(r"\b(?:typing|collections\.abc|typing_extensions)\.", "", kind)
    kind = kind.replace("SupportsInt | SupportsIndex", "int").replace("SupportsInt", "int")
    kind = kind.replace("SupportsFloat | SupportsIndex", "float").replace("SupportsFloat", "float")
    kind = kind.replace("Buffer", "buffer").replace("types.CapsuleType", "capsule")
    return kind.replace("List[", "list[").replace("Dict[", "dict[").strip()


def _return_type(doc: str | None) -> str:
    for line in (doc or "").splitlines():
        if match := re.match(r"^\(.*\) ?(?:->|→) (.+)$", line.strip()):
            return _plain(match.group(1))
    return "?"


def _set_type(doc: str | None) -> str:
    for line in (doc or "").splitlines():
        if match := re.match(r"^\((.*)\) ?(?:->|→) .+$", line.strip()):
            arguments = _arguments(match.group(1))
            return arguments[1][1] if len(arguments) > 1 else "?"
    return "?"


def _is_deprecated(doc: str | None) -> bool:
    """What a text says of its own subject; a remark in parentheses is about something else."""
    return bool(re.search(r"(?<!\()\[DEPRECATED\]|(?m:^\s*\.\. deprecated::)", doc or ""))


def _deprecated_members(doc: str, names: Iterable[str]) -> list[str]:
    """Of "NAME : text" paragraphs, one for each member of an enum."""
    return _of_paragraphs(re.split(r"(?m)^\s*(\w+) : ", doc), names)


def _deprecated_variables(doc: str, names: Iterable[str]) -> list[str]:
    """Of ":ivar NAME: text" paragraphs in the docstring of a class."""
    return _of_paragraphs(re.split(r":ivar (\w+):", doc), names)


def _of_paragraphs(parts: list[str], names: Iterable[str]) -> list[str]:
    texts = dict(zip(parts[1::2], parts[2::2], strict=True))
    return sorted(name for name in names if _is_deprecated(texts.get(name)))


def main(arguments: list[str]) -> None:
    name, *directories = arguments
    sys.path[:0] = directories
    module = importlib.import_module(name)
    version = getattr(module, "__version__", None) or getattr(
        sys.modules.get(name.split(".")[0]), "VERSION_TEXT", "?"
    )
    print(json.dumps({"module": name, "version": version, "names": inventory_of(module)}))


if __name__ == "__main__":
    main(sys.argv[1:])
