"""What one run found, and its JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from vp3d_bench.accuracy import Accuracy
from vp3d_bench.contenders.base import Contender
from vp3d_bench.power.frames import PowerResult
from vp3d_bench.stage import Stage
from vp3d_bench.statistics import Spread
from vp3d_deploy.bundle import Bundle
from vp3d_deploy.formats.atomic import replacing

FORMAT, VERSION = "vp3d-bench", 1
# The kinds of result: of a benchmark, of a camera's pace, and of many frames.
BENCHMARK, PACED, SOAK = "benchmark", "paced", "soak"
# Of what a bundle says about itself, the part that names the network.
_PROVENANCE = ("checkpoint", "checkpoint_sha256", "checkpoint_family", "weights", "created")


@dataclass(frozen=True)
class Member:
    """A contender as results name it; `Contender` says what the fields are."""

    label: str
    family: str
    form: str
    precision: str
    lag: int | None
    ours: bool
    prepared: bool = False

    @classmethod
    def of(cls, contender: Contender) -> Member:
        return cls(**{name: getattr(contender, name) for name in cls.__dataclass_fields__})


@dataclass
class Document:
    """All that a benchmark found, by contender's name.

    latency: by number of people, of everybody and of the floors. gpu_ms: the GPU's share of it, by
    number of people, of those who can say it. gpu_rates: what the GPU can do at most
    (gpu_rates.py). unavailable: who could not take part or was not timed, and why; crowd_refused:
    the same for several people.
    """

    bundle: Bundle
    threads: int
    machine: Mapping[str, Any]
    command: str
    lags: tuple[int, ...]
    settings: Mapping[str, Any]
    members: dict[str, Member] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    crowd_refused: dict[int, dict[str, str]] = field(default_factory=dict)
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    weight_bytes: dict[str, int] = field(default_factory=dict)
    latency: dict[int, dict[str, Spread]] = field(default_factory=dict)
    gpu_ms: dict[int, dict[str, Spread]] = field(default_factory=dict)
    throughput: dict[str, Any] = field(default_factory=dict)
    openings: dict[str, dict[str, Any]] = field(default_factory=dict)
    push: dict[str, Any] = field(default_factory=dict)
    gpu_rates: dict[str, float] = field(default_factory=dict)
    power: PowerResult | None = None
    ratios: dict[str, NamedRatio] = field(default_factory=dict)

    def take(self, stage: Stage) -> None:
        self.accuracy.update(stage.accuracy)
        self.unavailable.update(stage.refused)

    def take_crowd(self, people: int, stage: Stage) -> None:
        if stage.refused:
            self.crowd_refused[people] = dict(stage.refused)

    def take_latency(self, people: int, timed: Mapping[str, Spread]) -> None:
        self.latency[people] = dict(timed)

    def values(self) -> dict[str, Any]:
        """Everything as plain values."""
        throughput = dict(self.throughput)
        if throughput:
            for key in ("milliseconds", "gpu_ms"):
                throughput[key] = _plain(throughput.get(key, {}))
        return {
            **header(BENCHMARK, self.command, self.bundle),
            "threads": self.threads,
            "settings": dict(self.settings),
            "machine": dict(self.machine),
            "contenders": {
                name: {
                    **asdict(member),
                    "accuracy": _accuracy(self.accuracy.get(name)),
                    "not_timed_because": self.unavailable.get(name),
                }
                for name, member in self.members.items()
            },
            "unavailable": dict(self.unavailable),
            "refused_with_people": {str(n): of for n, of in self.crowd_refused.items()},
            "weight_bytes": dict(self.weight_bytes),
            "latency_ms": {str(people): _plain(of) for people, of in self.latency.items()},
            "gpu_ms": {str(people): _plain(of) for people, of in self.gpu_ms.items()},
            "gpu_rates": dict(self.gpu_rates),
            "throughput": throughput,
            "opening": dict(self.openings),
            "push_us": dict(self.push),
            "power": None if self.power is None else self.power.to_dict(),
            "ratios": {name: asdict(ratio) for name, ratio in self.ratios.items()},
        }


@dataclass(frozen=True)
class NamedRatio:
    """group, row, column: where it stands in tables, for example "1 person", "native fp32, lag 0"
    and "× faster than plain export". text: what it says, in full. better: "higher" or "lower".
    """

    group: str
    row: str
    column: str
    text: str
    better: str
    min: float
    p50: float
    low: float | None
    high: float | None


def header(kind: str, command: str, bundle: Bundle) -> dict[str, Any]:
    """What every result begins with."""
    provenance = bundle.manifest.get("provenance", {})
    return {
        "format": FORMAT,
        "version": VERSION,
        "kind": kind,
        "command": command,
        "created": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "bundle": {
            "name": bundle.path.name,
            "precisions": list(bundle.precisions),
            "provenance": {key: provenance[key] for key in _PROVENANCE if key in provenance},
        },
        "networks": {
            name: {**spec.to_dict(), "receptive_field": spec.receptive_field}
            for name, spec in bundle.networks.items()
        },
    }


def write_json(values: Mapping[str, Any], path: Path) -> None:
    """The file appears complete or not at all. Raises OSError naming it."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(values, indent=2) + "\n", "utf-8")


def _plain(timed: Mapping[str, Spread]) -> dict[str, Any]:
    return {name: one.to_dict() for name, one in timed.items()}


def _accuracy(accuracy: Accuracy | None) -> dict[str, Any] | None:
    if accuracy is None:
        return None
    # JSON has no infinity: an answer that is not a number has no distance.
    return {
        key: None if isinstance(value, float) and value == float("inf") else value
        for key, value in accuracy.to_dict().items()
    }
