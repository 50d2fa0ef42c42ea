"""An engine on a bundle as a `Predictor`: recorded clips, and live ones at any lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines.base import Engine, StreamEngine
from vp3d_deploy.evaluation.predict import Advance, over_clip
from vp3d_deploy.evaluation.windows import window_frames

# Clips that are streamed at once; all of them share each pass over the weights.
STREAM_ROWS = 32
# Frames of all windows of one call, which bounds its memory.
WINDOW_FRAMES = 16_384


class EnginePredictor:
    """Takes the form of the network that an engine has, and that costs least, for each question.

    A lag that no stream of the engine has is answered from windows whose late frames are replaced,
    which is the definition of an answer at that lag.
    Raises BundleError where the bundle lacks what a question needs.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        self._bundle = bundle
        self._spec = bundle.spec
        self._engine = engine
        self._forms, self._lags = engine.forms, engine.lags

    def form_at(self, lag: int | None) -> str:
        if lag is not None and lag in self._lags:
            return "stream"
        is_full = lag is None or lag == self._spec.lookahead
        if is_full and "sequence" in self._forms:
            return "sequence"
        if "window" in self._forms or "sequence" in self._forms:
            return "window"
        if is_full and self._spec.lookahead in self._lags:
            return "stream"
        what = "recorded clips" if lag is None else f"lag {lag}"
        raise BundleError(
            f"{self._bundle.path} has no graph in {self._engine.precision} that answers for "
            f"{what}; export it again with all forms"
        )

    def recorded(self, clips: Sequence[np.ndarray], advance: Advance) -> list[np.ndarray]:
        return self._answers(clips, None, advance)

    def live(self, clips: Sequence[np.ndarray], lag: int, advance: Advance) -> list[np.ndarray]:
        return self._answers(clips, lag, advance)

    def close(self) -> None:
        self._engine.close()

    def _answers(
        self, clips: Sequence[np.ndarray], lag: int | None, advance: Advance
    ) -> list[np.ndarray]:
        form = self.form_at(lag)
        if form == "sequence":
            return [over_clip(self._engine.sequence, self._spec, c, advance).pose for c in clips]
        frames = self._spec.lookahead if lag is None else lag
        if form == "window":
            return [self._windows(clip, frames, advance) for clip in clips]
        stream = self._engine.open_stream(frames)
        try:
            return stream_clips(stream, clips, frames, advance)
        finally:
            stream.close()

    def _windows(self, clip: np.ndarray, lag: int, advance: Advance) -> np.ndarray:
        """One window per frame, (T, J_in, F) -> (T, J_out, 3)."""
        at = window_frames(len(clip), self._spec, lag)
        together = max(1, WINDOW_FRAMES // self._spec.receptive_field)
        poses = []
        for start in range(0, len(clip), together):
            windows = clip[at[start : start + together]]
            poses.append(self._window(windows))
            advance(len(windows))
        return np.concatenate(poses)

    def _window(self, windows: np.ndarray) -> np.ndarray:
        """(B, R, J_in, F) -> (B, J_out, 3); a sequence of one answer does where windows lack."""
        if "window" in self._forms:
            return np.array(self._engine.window(windows).pose)
        return np.array(self._engine.sequence(windows).pose[:, 0])


@dataclass
class _Row:
    """One live stream: the number of its clip, and which frame it is shown next."""

    clip: int
    frame: int = 0


def stream_clips(
    stream: StreamEngine, clips: Sequence[np.ndarray], lag: int, advance: Advance
) -> list[np.ndarray]:
    """Show whole clips to live streams, many at once, until the last answer of each is out.

    clips: (T, J_in, F) each. Returns (T, J_out, 3) each; the last `lag` answers come while the
    clip's last frame is repeated.
    """
    answers: list[list[np.ndarray]] = [[] for _ in clips]
    # The longest first, so that the last ones to end are short.
    waiting = sorted(range(len(clips)), key=lambda index: len(clips[index]))
    rows: list[_Row] = []
    while rows or waiting:
        joining = min(STREAM_ROWS - len(rows), len(waiting))
        if joining:
            rows += [_Row(waiting.pop()) for _ in range(joining)]
            stream.add_rows(joining)
        shown = [clips[row.clip][min(row.frame, len(clips[row.clip]) - 1)] for row in rows]
        poses = stream.step(np.stack(shown)).pose.copy()
        for row, pose in zip(rows, poses, strict=True):
            if row.frame >= lag:
                answers[row.clip].append(pose)
            row.frame += 1
        advance(sum(row.frame > lag for row in rows))
        ended = [i for i, row in enumerate(rows) if row.frame == len(clips[row.clip]) + lag]
        if ended:
            stream.remove_rows(ended)
            rows = [row for i, row in enumerate(rows) if i not in ended]
    return [np.stack(poses) for poses in answers]
