"""One look at a machine's power sensors, and whoever can take one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


class PowerError(ValueError):
    """Power cannot be measured here, or could not be; one sentence says why."""


@dataclass(frozen=True)
class Reading:
    """What the sensors said at one moment.

    total_mw: milliwatts of what `Source.covers` names. rails_mw: of the parts that are measured.
    counter_mj: millijoules since some moment in the past, where hardware counts them itself.
    temperatures_c: degrees Celsius by sensor. clocks_mhz: "cpu" (the fastest core), "gpu",
    "memory"; whichever are known.
    """

    total_mw: float
    rails_mw: Mapping[str, float] = field(default_factory=dict)
    counter_mj: float | None = None
    temperatures_c: Mapping[str, float] = field(default_factory=dict)
    clocks_mhz: Mapping[str, float] = field(default_factory=dict)


class Source(Protocol):
    """A machine's sensors, opened.

    covers: whose power the total is, for people, for example "the module (VDD_IN)".
    """

    name: str
    covers: str

    def read(self) -> Reading:
        """The next reading, when there is one; raises PowerError when there will be none."""
        ...

    def describe(self) -> dict[str, Any]:
        """What a result should say about the machine's power: mode, limits, driver."""
        ...

    def close(self) -> None:
        """May be called while `read` waits, which then ends with a PowerError."""
        ...
