"""What the objects of the TensorRT double have in common."""

from __future__ import annotations

import weakref
from typing import Any

# How a plan of the double begins.
MAGIC = b"a plan of the double\n"
TYPES = {1: "FLOAT", 10: "HALF", 3: "INT8", 6: "INT32", 7: "INT64", 9: "BOOL"}


class FakeThing:
    """_module: the guarded module it belongs to."""

    _module: Any
    values: dict[str, Any]

    def keep(self, **attributes: Any) -> None:
        for name, value in attributes.items():
            object.__setattr__(self, name, value)

    def complain(self, logger: Any, text: str) -> None:
        """To the process's first logger, whatever this object was given."""
        self.greet(logger)
        self._module.first_logger().log(self._module.ILogger.Severity.ERROR, text)

    def need_driver(self, logger: Any) -> None:
        """As the real bindings answer over a library that hands out nothing."""
        if self._module.gpu.driver_too_old:
            self.complain(logger, "CUDA initialization failure with error: 35")
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def greet(self, logger: Any) -> None:
        """TensorRT keeps a pointer to the first logger of a process, and no reference."""
        if self._module.first_logger is None:
            self._module.first_logger = weakref.ref(logger)
        assert self._module.first_logger() is not None, "TensorRT calls a logger that is gone"


def axes_of(value: Any) -> list[int]:
    dims = value.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else -1 for dim in dims]
