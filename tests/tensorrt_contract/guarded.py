"""A module with exactly the names of an inventory, whose calls are checked and recorded.

Each class of the inventory becomes a Python class with those methods and properties and no
others. A call is bound to the real signature first (number, order, names and types of arguments),
then handed to the behaviour, a plain class of the double, if it has a method `do_NAME`.
Properties are kept in `values`, starting from the behaviour's `VALUES`, unless it has `get_NAME`.
What is absent fails as on the real module, what is deprecated there fails too.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any

from tensorrt_contract.inventory import ContractError, Inventory, bind


class GuardedModule(types.ModuleType):
    """calls: what was called, in order, as "Class.method" or "Class.property"."""

    def __init__(self, name: str, inventory: Inventory) -> None:
        super().__init__(name)
        self.inventory = inventory
        self.calls: list[str] = []
        self.__version__ = inventory.version


class EnumMember:
    """As pybind11's: no int, but int() of it is its value."""

    def __init__(self, enum: str, name: str, value: int) -> None:
        self.enum, self.name, self.value = enum, name, value

    def __int__(self) -> int:
        return self.value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EnumMember) and (self.enum, self.value) == (
            other.enum,
            other.value,
        )

    def __hash__(self) -> int:
        return hash((self.enum, self.value))

    def __repr__(self) -> str:
        return f"<{self.enum}.{self.name}: {self.value}>"


def guarded_module(name: str, inventory: Inventory, behaviours: Mapping[str, Any]) -> GuardedModule:
    """behaviours: classes and functions of the double by the name they stand for."""
    module = GuardedModule(name, inventory)
    for key, described in inventory.names.items():
        if described["kind"] == "class":
            guarded = _class(module, key, _whole(inventory, described), behaviours.get(key))
            setattr(module, key, guarded)
        elif described["kind"] == "enum":
            setattr(module, key, _enum(module, key, described))
        elif key in behaviours:
            setattr(module, key, _function(module, key, described, behaviours[key]))
    return module


def _whole(inventory: Inventory, described: Mapping[str, Any]) -> dict[str, Any]:
    """With the methods and properties of the classes that it inherits from."""
    whole = dict(described)
    for base in described.get("bases", ()):
        for part in ("methods", "properties"):
            own = whole.get(part, {})
            whole[part] = {**inventory.names[base].get(part, {}), **own}
    return whole


def _enum(module: GuardedModule, name: str, described: Mapping[str, Any]) -> Any:
    old = described.get("deprecated", ())

    class Members(type):
        def __getattr__(cls, member: str) -> EnumMember:
            if member not in described["members"]:
                raise AttributeError(f"{module.inventory.label} has no {name}.{member}")
            if member in old:
                raise ContractError(f"{name}.{member} is deprecated in {module.inventory.label}")
            module.calls.append(f"{name}.{member}")
            return EnumMember(name, member, described["members"][member])

    return Members(name, (), {})


def _class(module: GuardedModule, name: str, described: Mapping[str, Any], behaviour: Any) -> type:
    old = set(described.get("deprecated", ()))
    space: dict[str, Any] = {"__module__": module.__name__}
    for method, overloads in described.get("methods", {}).items():
        if method != "__init__":
            space[method] = _method(module, name, method, overloads, method in old)
    for key, kind in described.get("properties", {}).items():
        space[key] = _property(module, name, key, kind, key in old)
    for key, inner in described.get("nested", {}).items():
        if inner["kind"] == "enum":
            space[key] = _enum(module, f"{name}.{key}", inner)
    space["__init__"] = _constructor(module, name, described)
    space["__setattr__"] = _refuse_unknown(name, described)
    return type(name, (behaviour,) if behaviour is not None else (), space)


def _constructor(
    module: GuardedModule, name: str, described: Mapping[str, Any]
) -> Callable[..., None]:
    overloads = described.get("methods", {}).get("__init__")

    def construct(self: Any, *args: Any, **kwargs: Any) -> None:
        if overloads is None:
            raise TypeError(f"{name}: No constructor defined!")
        module.calls.append(f"{name}()")
        found = bind(overloads, args, kwargs, _accepts(module), f"{name}()")
        prepare(self, module, **found)

    return construct


def prepare(instance: Any, module: GuardedModule, **arguments: Any) -> Any:
    """Give a guarded object its double's state; for objects that real code cannot construct."""
    object.__setattr__(instance, "_module", module)
    object.__setattr__(instance, "values", dict(getattr(type(instance), "VALUES", {})))
    start = getattr(instance, "start", None)
    if start is not None:
        start(**arguments)
    return instance


def made(module: GuardedModule, name: str, **arguments: Any) -> Any:
    """A guarded object of the class `name`, whatever its constructors."""
    cls = getattr(module, name)
    return prepare(cls.__new__(cls), module, **arguments)


def _method(
    module: GuardedModule, name: str, method: str, overloads: list[Any], deprecated: bool
) -> Callable[..., Any]:
    what = f"{name}.{method}"

    def call(owner: Any, *args: Any, **kwargs: Any) -> Any:
        module.calls.append(what)
        if deprecated:
            raise ContractError(f"{what} is deprecated in {module.inventory.label}")
        found = bind(overloads, args, kwargs, _accepts(module), what)
        do = getattr(owner, f"do_{method}", None)
        if do is None:
            raise NotImplementedError(f"the double does not know what {what} does")
        return do(**found)

    if any(overload["args"][:1] and overload["args"][0][0] == "self" for overload in overloads):
        return call
    # A static method: its behaviour is a method of the class.
    return classmethod(call)  # type: ignore[return-value]


def _property(
    module: GuardedModule, name: str, key: str, kind: Mapping[str, Any], deprecated: bool
) -> property:
    what = f"{name}.{key}"

    def note() -> None:
        module.calls.append(what)
        if deprecated:
            raise ContractError(f"{what} is deprecated in {module.inventory.label}")

    def get(self: Any) -> Any:
        note()
        getter = getattr(self, f"get_{key}", None)
        if getter is not None:
            return getter()
        if key not in self.values:
            raise NotImplementedError(f"the double does not know what {what} is")
        return self.values[key]

    def put(self: Any, value: Any) -> None:
        note()
        if not kind["settable"]:
            raise AttributeError(f"can't set attribute {what}")
        wanted = kind.get("set_type", "?")
        if not _accepts(module)(wanted, value):
            raise ContractError(f"{what} is a {wanted}, not {type(value).__name__}")
        self.values[key] = value

    return property(get, put)


def _refuse_unknown(name: str, described: Mapping[str, Any]) -> Callable[..., None]:
    known = described.get("properties", {})

    def put(self: Any, key: str, value: Any) -> None:
        # A user's subclass may keep what it likes; the class itself has no place for it.
        if key not in known and type(self).__name__ == name:
            raise AttributeError(f"{name} has no attribute {key!r}")
        object.__setattr__(self, key, value)

    return put


def _function(
    module: GuardedModule, name: str, described: Mapping[str, Any], behaviour: Callable[..., Any]
) -> Callable[..., Any]:
    def call(*args: Any, **kwargs: Any) -> Any:
        module.calls.append(name)
        found = bind(described["overloads"], args, kwargs, _accepts(module), name)
        return behaviour(**found)

    return call


def _accepts(module: GuardedModule) -> Callable[[str, Any], bool]:
    def accepts(kind: str, value: Any) -> bool:
        kind = kind.split("::")[-1]
        plain: dict[str, type | tuple[type, ...]] = {
            "str": str,
            "bool": bool,
            "buffer": (bytes, bytearray, memoryview),
            "tuple": tuple,
            "list": list,
            "object": object,
        }
        if kind == "int":
            return isinstance(value, int) and not isinstance(value, bool)
        if kind == "float":
            return isinstance(value, (int, float)) and not isinstance(value, bool)
        if kind in plain:
            # What holds a plan is handed on as it is; the real one has the buffer protocol.
            if kind == "buffer" and type(value).__name__ == "IHostMemory":
                return True
            return isinstance(value, plain[kind])
        if kind == "Dims":
            return isinstance(value, (tuple, list)) or type(value).__name__.startswith("Dims")
        if isinstance(value, EnumMember):
            return value.enum == kind
        cls = getattr(module, kind, None)
        return isinstance(cls, type) and isinstance(value, cls)

    return accepts
