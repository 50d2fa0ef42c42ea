"""Modes that push frames to live streams: at a camera's pace, and very many of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from vp3d_bench.contenders.base import STREAM, Contender, UnavailableError
from vp3d_bench.contenders.line_up import LineUp, select
from vp3d_bench.contenders.ours import stream_name
from vp3d_bench.document import PACED, SOAK
from vp3d_bench.our_engines import family_of
from vp3d_bench.paced import Camera, pace
from vp3d_bench.power import PowerMeter
from vp3d_bench.power.frames import FrameEnergy, measure_idle
from vp3d_bench.power.report import energy_table
from vp3d_bench.push import IMAGE_SIZE, pixels
from vp3d_bench.report import TABLE_WIDTH, milliseconds, table
from vp3d_bench.soak import soak
from vp3d_bench.statistics import Spread
from vp3d_bench.subject import Subject
from vp3d_deploy import Lifter
from vp3d_deploy.engines import open_engine

Progress = Callable[[str, int, int], None]
# Frames of motion that are shown again and again; a prime, in step with nothing.
CLIP_FRAMES = 997
# How long the machine's power at rest is measured, seconds.
IDLE_S = 5.0


def choose_streams(
    subject: Subject, everybody: LineUp, patterns: Sequence[str], lags: tuple[int, ...]
) -> list[Contender]:
    """Streams of ours by name; by default what "auto" would open, at the smallest lag.

    Raises ValueError for names of other contenders.
    """
    if not patterns:
        engine = open_engine(subject.bundle, threads=subject.threads)
        patterns = [stream_name(family_of(engine), engine.precision, lags[0])]
        engine.close()
    names = [name for name in everybody if f"-{STREAM}-" in name]
    return [everybody[name]() for name in select(names, patterns)]


def run_paced(
    subject: Subject,
    streams: Sequence[Contender],
    hertz: float,
    seconds: float,
    people: int,
    progress: Progress,
    meter: PowerMeter | None = None,
) -> tuple[dict[str, Any], int]:
    """One stream after the other; the result, and 0: a late answer is a finding, not a fault."""
    camera = Camera(hertz, max(1, round(seconds * hertz)))
    shown = pixels(subject.bundle, people, CLIP_FRAMES)
    results = {}
    power = None if meter is None else measure_idle(meter, IDLE_S)
    for contender in streams:
        with (
            _lifter(subject, contender).stream(IMAGE_SIZE, contender.lag or 0) as stream,
            nullcontext() if meter is None else meter.window() as window,
        ):
            frames = _pushed(shown)
            results[contender.name] = pace(
                lambda count: stream.push(frames[count % CLIP_FRAMES]),  # noqa: B023
                camera,
                between=stream.prepare if contender.prepared else None,
                progress=lambda done, total: progress(contender.label, done, total),  # noqa: B023
            )
        if power is not None and window is not None:
            spent = FrameEnergy(camera.frames, window.energy, power.idle.mean_mw)
            power.frames[contender.name] = spent
    _print_paced(streams, results, camera, people)
    if power is not None:
        labels = {contender.name: contender.label for contender in streams}
        _print_wide(energy_table(power, labels, "The same frames"))
    values = {name: found.to_dict() for name, found in results.items()}
    found = {"kind": PACED, **asdict(camera), "people": people, "streams": values}
    return {**found, "power": None if power is None else power.to_dict()}, 0


def run_soak(
    subject: Subject, streams: Sequence[Contender], count: int, progress: Progress
) -> tuple[dict[str, Any], int]:
    """One stream after the other; the result, and how many of them have a fault."""
    shown = pixels(subject.bundle, 1, CLIP_FRAMES)[0]
    results = {}
    for contender in streams:
        lifter, lag = _lifter(subject, contender), contender.lag or 0
        results[contender.name] = soak(
            lambda: lifter.stream(IMAGE_SIZE, lag),  # noqa: B023
            lambda at: shown[at % CLIP_FRAMES],
            count,
            subject.bundle.spec.receptive_field + lag,
            lambda done, total: progress(contender.label, done, total),  # noqa: B023
            prepared=contender.prepared,
        )
    console = Console()
    for contender in streams:
        console.print(f"{contender.label}: {results[contender.name].in_words()}", highlight=False)
    values = {name: {**asdict(one), "faults": one.faults()} for name, one in results.items()}
    return {"kind": SOAK, "streams": values}, sum(bool(one.faults()) for one in results.values())


def _lifter(subject: Subject, contender: Contender) -> Lifter:
    try:
        return Lifter(subject.bundle, subject.engine(contender.family, contender.precision))
    except ImportError as error:
        raise UnavailableError(str(error)) from error


def _pushed(shown: Any) -> list[Any]:
    """What is pushed for each frame: one person's keypoints, or everybody's by track id."""
    people, frames = shown.shape[:2]
    if people == 1:
        return [shown[0, frame] for frame in range(frames)]
    return [{person: shown[person, frame] for person in range(people)} for frame in range(frames)]


def _print_paced(
    streams: Sequence[Contender], results: dict[str, Any], camera: Camera, people: int
) -> None:
    crowd = "one person" if people == 1 else f"{people} people"
    made = table(
        f"A camera of {camera.hertz:g} frames per second, {camera.frames:,} frames, {crowd}: ms",
        ("", ""),
        ("min", "p50", "p95", "p99", "worst", "missed"),
        f"answer: from when the frame was due until its answer was there. push: of this, the push "
        f"alone.\nwoken: how late the program was woken for a frame. missed: answers later than "
        f"the next frame, {1e3 / camera.hertz:g} ms.",
    )
    for contender in streams:
        found = results[contender.name]
        for word, of in (("answer", found.answer), ("push", found.push), ("woken", found.woken)):
            first = word == "answer"
            made.add_row(contender.label if first else "", word, *_cells(of),
                         f"{found.missed:,}" if first else "")  # fmt: skip
    _print_wide(made)


def _print_wide(made: Table) -> None:
    console = Console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(made)


def _cells(times: Spread | None) -> list[str]:
    if times is None:
        return ["–"] * 5
    return [milliseconds(v) for v in (times.min, times.p50, times.p95, times.p99, times.worst)]
