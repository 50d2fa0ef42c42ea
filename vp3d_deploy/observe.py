"""From what a detector saw to what the network is shown: the one place that deals with gaps.

**Not observed** is a joint that screen.py says is not. Everything else is observed, with a
confidence of 1, or of the detector's score limited to 0..1 where there is one.

**Hold, then fade.** A joint that is not observed keeps its place relative to the body: it moves as
the joints that are seen move on average. Its confidence stays what it last was for `HOLD_S`
seconds, then falls linearly to zero over `FADE_S` seconds. A joint that was never observed has
confidence 0; it lies where its mirror image was seen, or else its nearest seen neighbour along the
bones. A person none of whose joints has any confidence left is *missing*.

**Recorded clips** know the future: fill_clip.py.

All positions are in normalised screen units, so that what is held survives a change of image size.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import numpy as np

from vp3d_deploy.screen import Screen
from vp3d_deploy.skeleton import Skeleton

# A wrist behind the back or a missed detection is over in half a second; what is gone for a whole
# second may be anywhere.
HOLD_S = 0.5
FADE_S = 0.5
# Ages are sums of frame times; a joint must not stay alive a frame longer by rounding.
_ROUNDING_S = 1e-6


def fade(age_s: np.ndarray, hold_s: float, fade_s: float) -> np.ndarray:
    """How much is left of a confidence after `age_s` seconds without observation: 1 .. 0."""
    left_s = hold_s + fade_s - _ROUNDING_S - age_s
    if fade_s <= _ROUNDING_S:
        return (left_s > -2 * _ROUNDING_S).astype(np.float32)
    return np.minimum(np.maximum(left_s / (fade_s - _ROUNDING_S), 0), 1).astype(np.float32)


def anyone(joints: np.ndarray) -> np.ndarray:
    """(..., J) -> (...) bool: of whom anything is seen, or trusted."""
    people: np.ndarray = np.logical_or.reduce(joints, axis=-1)
    return people


class _Gaps:
    """What stays the same from frame to frame while the same joints are hidden.

    seen: (N, J) bool, something of everyone; sources: (N, J) from `nearest_seen`, or None.
    oldest_s: the age of the oldest confidence that something may be left of.
    """

    __slots__ = ("counts", "hidden", "oldest_s", "pattern", "sources")

    def __init__(self, seen: np.ndarray, sources: np.ndarray | None, oldest_s: float) -> None:
        self.pattern = seen.tobytes()
        self.hidden = ~seen[..., None]
        self.oldest_s = oldest_s
        self.counts = seen.sum(1)[:, None, None]
        if sources is not None:
            sources = sources + np.arange(len(seen))[:, None] * seen.shape[1]
        self.sources = sources


class Observer:
    """Fills the gaps of N people frame by frame; one row of all arrays for each person.

    Attribute: `complete`, whether every joint of everyone was seen in the last frame.
    """

    def __init__(self, skeleton: Skeleton, hold_s: float, fade_s: float) -> None:
        self._skeleton = skeleton
        self._hold_s = hold_s
        self._fade_s = fade_s
        self.n_joints = n_joints = skeleton.n_joints
        # The last frame's, or what makes them of it where nobody has needed them yet.
        self._held: np.ndarray | Callable[[], np.ndarray] = np.zeros((0, n_joints, 2))
        self._score = np.zeros((0, n_joints), np.float32)
        self._age_s = np.zeros((0, n_joints))
        self._ever_seen = np.zeros((0, n_joints), bool)
        # Seen in the last frame in which anything of the person was.
        self._last_seen = np.zeros((0, n_joints), bool)
        # The confidence of everyone without scores in a complete frame.
        self._certain = np.zeros((0, n_joints), np.float32)
        self.complete = False
        self._gaps: _Gaps | None = None  # of the last frame

    @property
    def _points(self) -> np.ndarray:
        """(N, J, 2) normalised screen units, finite."""
        if callable(self._held):
            self._held = self._held()
        return self._held

    @_points.setter
    def _points(self, points: np.ndarray) -> None:
        self._held = points

    def add(self, count: int) -> None:
        """Append people of whom nothing has been seen yet."""

        def grown(array: np.ndarray) -> np.ndarray:
            return np.concatenate([array, np.zeros((count, *array.shape[1:]), array.dtype)])

        self._map(grown)

    def keep(self, rows: np.ndarray) -> None:
        """Forget everyone but the people of these rows (bool mask or indices)."""
        self._map(lambda array: array[rows])

    def _map(self, change: Callable[[np.ndarray], np.ndarray]) -> None:
        for name in ("_points", "_score", "_age_s", "_ever_seen", "_last_seen"):
            setattr(self, name, change(getattr(self, name)))
        self._certain = np.ones(self._score.shape, np.float32)
        self._certain.flags.writeable = False
        self.complete = False
        self._gaps = None

    def update(
        self,
        points: np.ndarray,
        scores: np.ndarray | None,
        seen: np.ndarray | None,
        screen: Screen,
        elapsed_s: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The next frame of everyone.

        points: (N, J, 2) normalised screen units, anything where not seen; kept, not to be
        changed by the caller afterwards. scores: (N, J) or None. seen: (N, J) bool, or None for
        a complete frame, from `Screen.frame`; at least one joint of a person must be seen in
        their first frame. elapsed_s: time since the previous frame.

        Returns points (N, J, 2), finite everywhere, and confidence (N, J) float32 0..1; both
        are kept here, not to be changed. Without scores, complete frames of the same people
        share one array of confidence.
        """
        confidence: np.ndarray
        if seen is None:
            self._points = points
            return points, self._complete_confidence(scores)
        if self._gaps is not None and self._gaps.pattern == seen.tobytes():
            points = self._carry(self._gaps, points, screen)
            confidence = self._carry_confidence(self._gaps, scores, seen, elapsed_s)
        else:
            points, confidence = self._fill(points, scores, seen, screen, elapsed_s)
        self._points = points
        self.complete = False
        return points, confidence

    def update_complete(
        self, points: Callable[[], np.ndarray], scores: np.ndarray | None
    ) -> np.ndarray:
        """The next frame of everyone, complete; returns confidence as `update` does. points: called
        for what `update` is given, or never, where the next frame is complete as well."""
        self._held = points
        return self._complete_confidence(scores)

    def _complete_confidence(self, scores: np.ndarray | None) -> np.ndarray:
        confidence: np.ndarray
        if scores is None:
            confidence = self._certain
        else:
            confidence = np.minimum(scores, 1).astype(np.float32, copy=False)
        if not self.complete:
            self._age_s[...] = 0
            self._ever_seen[...] = True
            self._last_seen[...] = True
        self._score = confidence
        self._gaps = None
        self.complete = True
        return confidence

    @property
    def points(self) -> np.ndarray:
        """(N, J, 2) of the last frame, as `update` returned them; not to be changed."""
        return self._points

    @property
    def scores(self) -> np.ndarray:
        """(N, J) float32: each joint's confidence in the last frame in which it was observed."""
        return self._score

    def _fill(
        self,
        points: np.ndarray,
        scores: np.ndarray | None,
        seen: np.ndarray,
        screen: Screen,
        elapsed_s: float,
    ) -> tuple[np.ndarray, np.ndarray]:
        both = seen[..., None]
        points = np.where(both, points, 0)
        moved = self._body_motion(points, seen)
        points = np.where(both, points, screen.limit(self._points + moved))
        self._ever_seen = self._ever_seen | seen
        sources = None
        if not self._ever_seen.all():
            sources = nearest_seen(self._skeleton, self._ever_seen)
            points = np.take_along_axis(points, sources[..., None], axis=1)
        there = anyone(seen)
        self._last_seen = np.where(there[:, None], seen, self._last_seen)
        self._age_s = np.where(seen, 0, self._age_s + elapsed_s)
        self._take_scores(scores, seen)
        oldest_s = float(np.where(self._score > 0, self._age_s, 0).max(initial=0))
        self._gaps = _Gaps(seen, sources, oldest_s) if there.all() else None
        return points, self._score * fade(self._age_s, self._hold_s, self._fade_s)

    def _carry(self, gaps: _Gaps, points: np.ndarray, screen: Screen) -> np.ndarray:
        """What `_fill` makes of the points of a frame with the gaps of the one before: the same
        numbers by fewer operations."""
        points = np.where(gaps.hidden, self._points, points)
        moved = np.add.reduce(points - self._points, axis=1, keepdims=True) / gaps.counts
        np.copyto(points, screen.limit(self._points + moved), where=gaps.hidden)
        if gaps.sources is not None:
            points = points.reshape(-1, 2)[gaps.sources]
        return points

    def _carry_confidence(
        self, gaps: _Gaps, scores: np.ndarray | None, seen: np.ndarray, elapsed_s: float
    ) -> np.ndarray:
        """`_carry` for confidence: nothing fades while the oldest is still held."""
        np.add(self._age_s, elapsed_s, out=self._age_s, where=gaps.hidden[..., 0])
        gaps.oldest_s += elapsed_s
        if scores is not None:
            self._take_scores(scores, seen)
        if gaps.oldest_s <= self._hold_s:
            return self._score
        confidence: np.ndarray = self._score * fade(self._age_s, self._hold_s, self._fade_s)
        return confidence

    def _take_scores(self, scores: np.ndarray | None, seen: np.ndarray) -> None:
        # Only of what was seen: other scores may be anything, and overflow a float32.
        now = 1 if scores is None else np.where(seen, np.minimum(scores, 1), 0)
        self._score = np.where(seen, now, self._score).astype(np.float32, copy=False)

    def _body_motion(self, points: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """(N, 1, 2): how far each person moved since they were last seen, by the joints that were
        seen then and now; failing those, by the joints seen now and where they were held."""
        common = seen & self._last_seen
        lost = ~anyone(common)
        if lost.any():
            common[lost] = (seen & self._ever_seen)[lost]
        moved = np.where(common[..., None], points - self._points, 0).sum(1, keepdims=True)
        return moved / np.maximum(common.sum(1), 1)[:, None, None]


def nearest_seen(skeleton: Skeleton, seen: np.ndarray) -> np.ndarray:
    """Whose place each joint takes: itself if seen, else its mirror image, else its neighbours.

    seen: (N, J) bool, at least one per row. Returns (N, J) indices of joints.
    """
    preference = _preference(skeleton)
    first = seen[:, preference].argmax(-1)
    sources: np.ndarray = preference[np.arange(skeleton.n_joints), first]
    return sources


@lru_cache(maxsize=16)
def _preference(skeleton: Skeleton) -> np.ndarray:
    """(J, J): for each joint all joints, in the order in which they may stand in for it."""
    n_joints = skeleton.n_joints
    bones = np.full((n_joints, n_joints), n_joints)
    np.fill_diagonal(bones, 0)
    for joint, parent in enumerate(skeleton.parents):
        if parent >= 0:
            bones[joint, parent] = bones[parent, joint] = 1
    for via in range(n_joints):
        bones = np.minimum(bones, bones[:, via, None] + bones[None, via])
    order = bones.argsort(axis=1, kind="stable")
    mirrored = skeleton.flip_order
    for joint in range(n_joints):
        first = [joint] if mirrored[joint] == joint else [joint, mirrored[joint]]
        order[joint] = [*first, *(other for other in order[joint] if other not in first)]
    return order
