"""Opening, checking and dropping contenders before they are timed."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from vp3d_bench.accuracy import Accuracy, Expected, check
from vp3d_bench.clips import padded
from vp3d_bench.contenders.base import (
    SEQUENCE,
    STREAM,
    Contender,
    PreparingRunner,
    Runner,
    UnavailableError,
)
from vp3d_bench.definition import live_windows
from vp3d_bench.subject import Subject
from vp3d_bench.turns import Step

# Different inputs that calls take in turn, so that nobody answers the same question twice.
# Fewer where many people's windows would fill the memory.
INPUTS, FEWEST_INPUTS, INPUT_BYTES = 16, 2, 1 << 26


@dataclass
class Stage:
    """accuracy, refused: by contender's name, of all that were tried; a refused one is not timed.

    say: told what is going on.
    """

    subject: Subject
    say: Callable[[str], None] = lambda text: None
    accuracy: dict[str, Accuracy] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)

    def ready(
        self, contenders: Iterable[Contender], expected: Expected
    ) -> dict[str, tuple[Contender, Runner]]:
        """Open each for the clips of `expected` and hold it to the definition."""
        people, frames = expected.clips.shape[:2]
        found: dict[str, tuple[Contender, Runner]] = {}
        for contender in contenders:
            if contender.name in self.refused:
                continue
            self.say(f"checking {contender.label}, {people_in_words(people)}")
            runner = self._opened(contender, people, frames, expected)
            if runner is not None:
                found[contender.name] = contender, runner
        return found

    def _opened(
        self, contender: Contender, people: int, frames: int, expected: Expected
    ) -> Runner | None:
        try:
            runner = contender.open(self.subject, people, frames)
        except UnavailableError as reason:
            self.refused[contender.name] = str(reason)
            return None
        except Exception as error:  # a library's own: whatever it is, the others can be measured
            words = people_in_words(people)
            self.refused[contender.name] = f"does not open for {words}: {one_line(error)}"
            return None
        try:
            accuracy = check(contender, runner, expected)
        except Exception as error:  # a peer's own: whatever it is, the others can be measured
            self.refused[contender.name] = f"fails for {people_in_words(people)}: {one_line(error)}"
            accuracy = None
        # The first check is the thorough one; later ones, with more people, only have to pass.
        if accuracy is not None:
            self.accuracy.setdefault(contender.name, accuracy)
        if accuracy is not None and accuracy.problem is None:
            return runner
        if accuracy is not None:
            self.accuracy[contender.name] = accuracy
            self.refused[contender.name] = f"wrong: {accuracy.problem}"
        with suppress(Exception):
            runner.close()
        return None


def steps(ready: Mapping[str, tuple[Contender, Runner]], expected: Expected) -> dict[str, Step]:
    """One call each, on the clips' frames in turn."""
    return {name: step_of(*pair, expected) for name, pair in ready.items()}


def betweens(ready: Mapping[str, tuple[Contender, Runner]]) -> dict[str, Step]:
    """What contenders do between two calls, of those that do something."""
    runners = {name: runner for name, (_, runner) in ready.items()}
    return {name: one.between for name, one in runners.items() if isinstance(one, PreparingRunner)}


def whole_frames(
    ready: Mapping[str, tuple[Contender, Runner]], expected: Expected
) -> dict[str, Step]:
    """One call each and what is done between two: all that a frame costs."""
    after = betweens(ready)

    def whole(step: Step, rest: Step) -> Step:
        return lambda: (step(), rest())

    return {
        name: whole(step, after[name]) if name in after else step
        for name, step in steps(ready, expected).items()
    }


def close_all(ready: Mapping[str, tuple[Contender, Runner]]) -> None:
    for _, runner in ready.values():
        runner.close()


def people_in_words(people: int) -> str:
    return "1 person" if people == 1 else f"{people} people"


def one_line(error: Exception) -> str:
    text = (str(error) or type(error).__name__).strip().splitlines()[0]
    return f"{text:.200}"


def step_of(contender: Contender, runner: Runner, expected: Expected) -> Step:
    """One call on the clips' frames in turn."""
    spec, clips = expected.spec, expected.clips
    inputs: list[np.ndarray]
    if contender.form == SEQUENCE:
        inputs = [padded(spec, clips)]
    else:
        length = 1 if contender.form == STREAM else spec.receptive_field
        count = max(FEWEST_INPUTS, min(INPUTS, INPUT_BYTES // (length * clips[:, 0].nbytes)))
        frames = [frame % clips.shape[1] for frame in range(count)]
        if contender.form == STREAM:
            inputs = [clips[:, frame] for frame in frames]
        else:
            inputs = [live_windows(spec, clips, frame, spec.lookahead) for frame in frames]
    prepared = itertools.cycle([runner.prepare(one) for one in inputs])
    return lambda: runner.run(next(prepared))
