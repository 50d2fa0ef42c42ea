"""One run of the benchmark: who can take part, who is right, and then who is fast."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from vp3d_bench.accuracy import Expected, frames_to_compare
from vp3d_bench.clips import keypoints
from vp3d_bench.contenders.base import SEQUENCE, STREAM, WINDOW, Contender, UnavailableError
from vp3d_bench.contenders.line_up import LineUp, on_gpu
from vp3d_bench.device_times import device_times
from vp3d_bench.document import Document, Member
from vp3d_bench.floors import ARITHMETIC, arithmetic, arithmetic_name, weights_read
from vp3d_bench.gpu_rates import gpu_rates
from vp3d_bench.opening import measure_openings
from vp3d_bench.power import PowerMeter
from vp3d_bench.power.frames import energy_of_steps
from vp3d_bench.push import measure_push
from vp3d_bench.settings import Settings
from vp3d_bench.stage import Stage, betweens, close_all, people_in_words, steps, whole_frames
from vp3d_bench.statistics import Spread
from vp3d_bench.subject import Subject
from vp3d_bench.turns import Probe, Step, take_turns
from vp3d_bench.work import multiply_adds

# Of a clip of one person; of several people the first frames and a few of the people.
COMPARED, COMPARED_PEOPLE = 12, 4
FRAMES_PER_CROWD = (0, 3)
# Calls until every engine has captured its CUDA graph and runs in its steady state.
GPU_SETTLE = 8

# Called with what is being done, and done and total of it.
Progress = Callable[[str, int, int], None]


@dataclass
class Run:
    """names: of the contenders that take part, from `line_up`. meter: to measure energy with."""

    subject: Subject
    settings: Settings
    line_up: LineUp
    names: Sequence[str]
    lags: Sequence[int]
    progress: Progress = lambda what, done, total: None
    meter: PowerMeter | None = None

    def measure(self, document: Document) -> None:
        """All of it, into `document`, part by part."""
        members = self._members(document)
        if any(on_gpu(one.name) for one in members):
            self.progress("what the GPU can do", 0, 1)
            document.gpu_rates = gpu_rates()
        self._latency(document, [m for m in members if m.form in (WINDOW, STREAM)])
        for people in self.settings.people:
            if people > 1:
                self._crowd(document, people)
        self._throughput(document, [m for m in members if m.form == SEQUENCE])
        measure_openings(
            self.subject,
            document,
            self.settings.openings,
            self.settings.open_all,
            self.progress,
        )
        self._push(document)

    def _members(self, document: Document) -> list[Contender]:
        found = []
        for name in self.names:
            try:
                found.append(self.line_up[name]())
            except UnavailableError as reason:
                document.unavailable[name] = str(reason)
        document.members.update({one.name: Member.of(one) for one in found})
        return found

    def _latency(self, document: Document, members: Sequence[Contender]) -> None:
        """One person, everybody, beside reading the weights once and the arithmetic."""
        if not members:
            return
        spec = self.subject.bundle.spec
        clips = keypoints(self.subject.bundle, 1, spec.receptive_field + 60)
        expected = self._expected(clips, frames_to_compare(spec, clips.shape[1], COMPARED))
        stage = self._stage()
        ready = stage.ready(members, expected)
        document.take(stage)
        floors = self._reads(document)
        timed = take_turns(
            {**steps(ready, expected), **floors},
            self.settings.latency,
            self._arithmetic(document, 1),
            betweens(ready),
            progress=self._part("1 person"),
        )
        if self.meter is not None:
            document.power = energy_of_steps(
                whole_frames(ready, expected),
                self.meter,
                self.settings.energy_s,
                self._part("energy"),
            )
        close_all(ready)
        document.take_latency(1, timed)
        self._gpu_share(document, members, expected)

    def _crowd(self, document: Document, people: int) -> None:
        """Several people in one call, beside the arithmetic."""
        members = [one for one in self._timed(document)
                   if not one.prepared and self._affordable(document, one, people)]  # fmt: skip
        if not members:
            return
        streams = [one for one in members if one.form == STREAM]
        last = FRAMES_PER_CROWD[-1]
        clips = keypoints(self.subject.bundle, people, last + max(self.lags) + 1)
        step = max(1, people // COMPARED_PEOPLE)
        expected = self._expected(clips, FRAMES_PER_CROWD, range(0, people, step))
        stage = self._stage()
        ready = stage.ready(members, expected)
        document.take_crowd(people, stage)
        timed = take_turns(
            steps(ready, expected),
            self.settings.crowd,
            self._arithmetic(document, people) if streams else {},
            progress=self._part(people_in_words(people)),
        )
        close_all(ready)
        document.take_latency(people, timed)
        self._gpu_share(document, members, expected)

    def _throughput(self, document: Document, members: Sequence[Contender]) -> None:
        """One long clip."""
        if not members:
            return
        spec, frames = self.subject.bundle.spec, self.settings.frames
        clips = keypoints(self.subject.bundle, 1, frames)
        expected = self._expected(clips, frames_to_compare(spec, frames, COMPARED))
        stage = self._stage()
        ready = stage.ready(members, expected)
        document.take(stage)
        timed = take_turns(
            steps(ready, expected),
            self.settings.throughput,
            self._sequence_arithmetic(document),
            progress=self._part(f"{frames:,} frames"),
        )
        close_all(ready)
        document.throughput = {"frames": frames, "milliseconds": timed}
        turns = self.settings.throughput
        on_device = [one for one in members if one.name in timed]
        document.throughput["gpu_ms"] = device_times(
            self.subject, on_device, expected, turns.rounds, max(1, turns.settle)
        )

    def _gpu_share(
        self, document: Document, members: Sequence[Contender], expected: Expected
    ) -> None:
        """What the GPU took, of those who were timed with so many people."""
        people = len(expected.clips)
        timed = [one for one in members if one.name in document.latency[people]]
        turns = self.settings.latency if people == 1 else self.settings.crowd
        settle = max(GPU_SETTLE, turns.settle)
        found = device_times(self.subject, timed, expected, turns.calls, settle)
        if found:
            document.gpu_ms[people] = found

    def _push(self, document: Document) -> None:
        streams = [one for one in self._timed(document)
                   if one.form == STREAM and one.ours and not one.prepared]  # fmt: skip
        native = [one for one in streams if one.family == "native"] or streams
        if native:
            self.progress("push", 0, 1)
            document.push = measure_push(self.subject, native[0], self.settings.pushes)

    def _timed(self, document: Document) -> list[Contender]:
        """Windows and streams that were timed with one person."""
        latency = document.latency.get(1, {})
        return [self.line_up[name]() for name in self.names if name in latency]

    def _affordable(self, document: Document, contender: Contender, people: int) -> bool:
        """Windows cost their people's times, and two of a kind say the same: ours are left out.

        A GPU that one window leaves idle takes many in little more time.
        """
        if contender.form == STREAM or (on_gpu(contender.name) and not contender.ours):
            return True
        alone: Spread = document.latency[1][contender.name]
        return not contender.ours and people * alone.min < self.settings.peers_ms

    def _reads(self, document: Document) -> dict[str, Step]:
        found: dict[str, Step] = {}
        for precision in self.subject.precisions:
            try:
                read = weights_read(self.subject, precision)
            except UnavailableError as reason:
                document.unavailable[f"memory-read-{precision}"] = str(reason)
                continue
            document.weight_bytes[precision] = read.n_bytes
            found[read.name] = read.step
        return found

    def _arithmetic(self, document: Document, people: int) -> dict[str, Probe]:
        """Milliseconds of the multiply-adds of everybody's frame, by kind and lag."""
        networks = list(self.subject.bundle.networks.values())
        return self._probes(
            document, {f"@{lag}": people * multiply_adds(networks, lag) for lag in self.lags}
        )

    def _sequence_arithmetic(self, document: Document) -> dict[str, Probe]:
        networks = list(self.subject.bundle.networks.values())
        lookahead = self.subject.bundle.spec.lookahead
        return self._probes(
            document, {"": self.settings.frames * multiply_adds(networks, lookahead)}
        )

    def _probes(self, document: Document, work: dict[str, int]) -> dict[str, Probe]:
        found: dict[str, Probe] = {}
        for kind in sorted({ARITHMETIC[precision] for precision in self.subject.precisions}):
            for suffix, count in work.items():
                name = f"{arithmetic_name(kind)}{suffix}"
                try:
                    found[name] = arithmetic(self.subject, kind, count)
                except UnavailableError as reason:
                    document.unavailable[arithmetic_name(kind)] = str(reason)
        return found

    def _expected(
        self, clips: Any, frames: Sequence[int], rows: Sequence[int] | None = None
    ) -> Expected:
        return Expected(self.subject.definitions, clips, frames, rows)

    def _stage(self) -> Stage:
        return Stage(self.subject, lambda text: self.progress(text, 0, 1))

    def _part(self, what: str) -> Callable[[int, int], None]:
        return lambda done, total: self.progress(f"timing, {what}", done, total)
