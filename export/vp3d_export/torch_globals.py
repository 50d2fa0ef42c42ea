"""What the pickles of torch.save may name, and what we put in its place.

Tensors are described, not built; torch is not needed. Everything else (mmengine, mmcv, numpy's
random state, the user's own classes) becomes an inert placeholder, except what has no place in a
checkpoint: a file that asks to run commands is refused, although it could not have run them here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from vp3d_deploy.safe_pickle import Constructor, Placeholder
from vp3d_export.torch_tensors import (
    DTYPES,
    STORAGE_DTYPES,
    StorageView,
    StoredTensor,
    stored_tensor,
)

# Not what keeps us safe (nothing is ever imported or called), but what makes the message clear.
_HOSTILE = re.compile(
    r"""
    (asyncio|bdb|codeop?|commands|_?ctypes|dill|cloudpickle|ftplib|http|importlib|marshal|
     multiprocessing|nt|os|_?pickle|pdb|pip|popen2|posix|profile|cProfile|pty|pydoc|requests|runpy|
     shelve|shutil|signal|smtplib|_?socket|subprocess|sys|telnetlib|tempfile|threading|_thread|
     timeit|urllib2?|venv|webbrowser|xmlrpc|zipimport)\..*
    |builtins\.(__import__|apply|breakpoint|compile|delattr|eval|exec|execfile|exit|file|globals|
     help|input|locals|open|quit|setattr|vars)
    |types\.(CodeType|FunctionType|LambdaType)
    |numpy\.(load|fromfile|memmap|lib\.npyio\.load|testing\..*)
    |torch\.(load|serialization\.load|hub\..*|jit\..*|utils\.cpp_extension\..*)
    """,
    re.VERBOSE,
)


def find_global(module: str, name: str) -> object:
    """The stand-in for global `name` of `module`, for `safe_pickle`. ValueError if hostile."""
    full = f"{module}.{name}"
    if full in _KNOWN:
        return _KNOWN[full]
    if module in ("torch", "torch.cuda", "torch.storage") and name.lstrip("_") in STORAGE_DTYPES:
        return Constructor(f"torch.{name.lstrip('_')}", _refuse_call)
    if _HOSTILE.fullmatch(full):
        raise ValueError(
            f"it asks to run {full} when it is read, which no checkpoint needs; "
            "it was refused and nothing was run"
        )
    return Placeholder(full)


def storage_dtype(storage_type: Constructor) -> str | None:
    """The dtype of values in a storage of the class that the file names; None if it is no such."""
    return STORAGE_DTYPES.get(storage_type.name.removeprefix("torch."))


def _refuse_call(arguments: tuple[Any, ...]) -> object:
    raise ValueError("it builds a storage of its own; storages belong beside the pickle")


def _tensor(arguments: tuple[Any, ...]) -> object:
    # torch._utils._rebuild_tensor_v2 adds requires_grad, hooks and metadata: not part of the data.
    match arguments:
        case (Placeholder(), *_):
            return arguments[0]
        case (StorageView() as values, offset, shape, strides, *rest) if len(rest) <= 3:
            return stored_tensor(values, offset, shape, strides)
    raise ValueError("it describes a tensor in a way that torch does not")


def _tensor_with_dtype(arguments: tuple[Any, ...]) -> object:
    # torch._utils._rebuild_tensor_v3, for dtypes that have no storage class of their own.
    match arguments:
        case (_, _, _, _, _, _, Placeholder() as dtype, *_):
            return dtype
        case (StorageView() as values, offset, shape, strides, _, _, Constructor() as dtype, *_):
            name = dtype.name.removeprefix("torch.")
            if name in DTYPES:
                return stored_tensor(values, offset, shape, strides, name)
    raise ValueError("it describes a tensor in a way that torch does not")


def _parameter(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (StoredTensor() | Placeholder(), *_):
            return arguments[0]
    raise ValueError("it describes a parameter in a way that torch does not")


def _typed(arguments: tuple[Any, ...]) -> object:
    # A tensor with attributes, or of a subclass: how to rebuild it, its class, the arguments.
    match arguments:
        case (Constructor() as rebuild, _, tuple(inner), *_) if rebuild.build in _TENSORS:
            return rebuild.build(inner)
        case (Placeholder(), *_):
            return arguments[0]
    raise ValueError("it describes a tensor in a way that torch does not")


def _size(arguments: tuple[Any, ...]) -> object:
    match arguments:
        case (tuple() | list() as sizes,):
            return tuple(sizes)
    raise ValueError("it describes a shape in a way that torch does not")


_TENSORS: tuple[Callable[[tuple[Any, ...]], object], ...] = (
    _tensor,
    _tensor_with_dtype,
    _parameter,
)
_KNOWN: dict[str, object] = {
    constructor.name: constructor
    for constructor in (
        Constructor("torch._utils._rebuild_tensor", _tensor),
        Constructor("torch._utils._rebuild_tensor_v2", _tensor),
        Constructor("torch._utils._rebuild_tensor_v3", _tensor_with_dtype),
        Constructor("torch._utils._rebuild_parameter", _parameter),
        Constructor("torch._utils._rebuild_parameter_with_state", _parameter),
        Constructor("torch._tensor._rebuild_from_type_v2", _typed),
        Constructor("torch.Size", _size),
        *(Constructor(f"torch.{dtype}", _refuse_call) for dtype in DTYPES),
    )
}
