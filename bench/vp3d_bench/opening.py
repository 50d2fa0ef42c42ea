"""What opening a contender costs, and its memory: each in a fresh process, several times."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from vp3d_bench.contenders.base import SEQUENCE
from vp3d_bench.document import Document, Member
from vp3d_bench.subject import Subject

MB = 1e6
TIMES = ("import_ms", "verify_ms", "open_ms", "first_ms")
# A contender that takes longer is opened once.
PATIENCE_MS = 5000.0
TIMEOUT_S = 600


def measure_openings(
    subject: Subject,
    document: Document,
    openings: int,
    open_all: bool = True,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> None:
    """Everybody who was timed, into `document.openings`: the best time of several processes.

    open_all: or only the first of each family and form.

    Memory is that of the last one. What is beyond the weights is said of our native engine, which
    tells how large they are.
    """
    throughput = document.throughput.get("milliseconds", {})
    names = [name for name in document.members
             if (name in document.latency.get(1, {}) or name in throughput)
             and not document.members[name].prepared]  # fmt: skip
    if not open_all:
        names = first_of_each(names, document.members)
    for done, name in enumerate(names):
        progress("opening in fresh processes", done, len(names))
        once = document.members[name].form == SEQUENCE
        found = _several(subject, document, name, 1 if once else openings)
        document.openings[name] = {**found, **_memory(document, name, found)}


def first_of_each(names: Sequence[str], members: Mapping[str, Member]) -> list[str]:
    """Of each family and form, in the same order."""
    first: dict[tuple[str, str], str] = {}
    for name in names:
        first.setdefault((members[name].family, members[name].form), name)
    return list(first.values())


def _several(subject: Subject, document: Document, name: str, openings: int) -> dict[str, Any]:
    runs: list[dict[str, Any]] = []
    while len(runs) < openings:
        run = _fresh(subject, document, name)
        runs.append(run)
        if "failure" in run or sum(run[key] for key in TIMES) > PATIENCE_MS:
            break
    if "failure" in runs[-1]:
        return runs[-1]
    best = {key: min(run[key] for run in runs) for key in TIMES}
    return {**runs[-1], **best, "processes": len(runs)}


def _fresh(subject: Subject, document: Document, name: str) -> dict[str, Any]:
    task = {
        "bundle": str(subject.bundle.path.resolve()),
        "folder": str(subject.folder.resolve()),
        "name": name,
        "threads": subject.threads,
        "lags": list(document.lags),
        "frames": document.throughput.get("frames", 1),
    }
    command = [sys.executable, "-m", "vp3d_bench.fresh", json.dumps(task)]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"took more than {TIMEOUT_S} s"}
    lines = ended.stdout.strip().splitlines()
    if ended.returncode or not lines:
        said = ended.stderr.strip().splitlines()
        reason = said[-1] if said else "nothing was printed"
        return {"failure": f"the process ended with {ended.returncode}: {reason:.300}"}
    found: dict[str, Any] = json.loads(lines[-1])
    return found


def _memory(document: Document, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """MB and bytes that follow from the figures of one process."""
    if found.get("running_mb") is None:
        return {}
    grown = found["running_mb"] - found["verified_mb"]
    library = found["imported_mb"] - found["start_mb"]
    memory: dict[str, Any] = {"library_mb": round(library, 3), "grown_mb": round(grown, 3)}
    member = document.members[name]
    weights = document.weight_bytes.get(member.precision)
    if member.family == "native" and weights is not None:
        memory["beyond_weights_mb"] = round(grown - weights / MB, 3)
    if found.get("crowd_mb") is not None:
        more = MB * (found["crowd_mb"] - found["running_mb"])
        memory["bytes_per_stream_measured"] = round(more / (found["crowd"] - 1))
    return memory
