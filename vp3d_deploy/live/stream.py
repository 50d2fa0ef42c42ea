"""2D keypoints in, 3D poses out, frame by frame: `LiveStream`."""

from __future__ import annotations

import threading
from types import TracebackType
from typing import Any

import numpy as np

from vp3d_deploy.engines.base import PreparingStream, StreamEngine
from vp3d_deploy.live.clock import Clock
from vp3d_deploy.live.people import LivePeople
from vp3d_deploy.live.pushed import PushedPeople
from vp3d_deploy.live.rows import Answer, LiveRows
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.observe import Observer
from vp3d_deploy.poses import Poses, joined
from vp3d_deploy.resample import MAX_GAP_S
from vp3d_deploy.screen import Screen
from vp3d_deploy.skeleton import Skeleton

TrackId = int | str


class LiveStream:
    """Lifts what a camera sees now, for one person or many. Made by `Lifter.stream`.

        with lifter.stream(image_size=(1920, 1080), lag=0) as stream:
            for keypoints in camera:             # (J, 2) pixels, or (J, 3) with scores
                poses = stream.push(keypoints)   # Poses with T = 1, or None

    The answer to a push is for the frame `lag` frames ago and is exactly what the full network
    gives for it when every frame after the newest is replaced by the newest (and every frame
    before the first by the first). `frame_indices` of the answer counts frames since the stream
    began; the first `lag` pushes have no answer, and `flush()` gives the last `lag`.

    **Several people** are pushed as {track id: keypoints}, and answers come as {track id: Poses}
    of those who have one. People may come and go. One who is not in the dict, like one whose
    joints are all unseen (or `push(None)`: nobody in this frame), is held, then fades, and is
    missing after `hold_s + fade_s` seconds (observe.py says how). From then on there are no
    answers for them; those for earlier frames still come. Whoever returns later starts anew.

    **Time.** Without `fps` and timestamps, frames are taken as they come, as if at the network's
    own rate. Where one of them is given, frames are interpolated on a grid of the network's rate
    that begins with the first frame: a push then has 0, 1 or more answers (T = 1, 2, ..., or
    None), and `frame_indices` counts points of that grid; the pose is that of the time
    `origin_s + frame_index / fps`. A gap of more than 0.5 s (`resample.MAX_GAP_S`) ends everyone:
    answers still out keep coming, and people start anew.

    Attributes: `lag`, in frames; `fps`, the rate of the answers, which is the network's.

    A push that is refused leaves the stream as it was. Should the engine itself fail in the
    middle of one, `reset()` makes the stream usable again. A stream belongs to one thread at a
    time: a second one that comes at the same moment gets a RuntimeError.
    """

    def __init__(
        self,
        engine: StreamEngine,
        network_input: NetworkInput,
        skeleton: Skeleton,
        skeleton_out: Skeleton,
        image_size: tuple[float, float],
        *,
        lag: int,
        shape_in: tuple[int, int],
        has_trajectory: bool,
        network_fps: float,
        fps: float | None,
        hold_s: float,
        fade_s: float,
    ) -> None:
        """Arguments are trusted; `Lifter.stream` checks them. shape_in: (J_in, F)."""
        self.lag = lag
        self.fps = network_fps
        self._engine = engine
        self._skeleton_out = skeleton_out
        self._has_trajectory = has_trajectory
        self._screen = Screen(image_size)
        self._clock = Clock(network_fps, fps)
        self._pushed = PushedPeople(skeleton)
        rows = LiveRows(engine, lag, shape_in, skeleton_out, network_fps)
        self._people = LivePeople(Observer(skeleton, hold_s, fade_s), network_input, rows)
        self._lock = threading.Lock()
        self._closed = False

    def _begin(self) -> None:
        """The state of a stream that has seen nothing, once its people are gone."""
        self._clock.begin()
        self._pushed.begin()

    @property
    def image_size(self) -> tuple[float, float]:
        """(width, height) in pixels; assigning another applies from the next push on."""
        return self._screen.size

    @image_size.setter
    def image_size(self, image_size: tuple[float, float]) -> None:
        self._screen = Screen(image_size)

    @property
    def track_ids(self) -> tuple[TrackId, ...]:
        """The people being followed, held ones included; empty for a single person without id."""
        return () if self._pushed.one_person else self._people.track_ids

    @property
    def origin_s(self) -> float | None:
        """The time of frame 0 where frames have times, else None."""
        return self._clock.origin_s

    def push(
        self,
        keypoints: Any,
        timestamp_s: float | None = None,
        image_size: tuple[float, float] | None = None,
    ) -> Poses | dict[TrackId, Poses] | None:
        """Take the next frame.

        keypoints: (J, 2) pixels or (J, 3) pixels and score, floats or integers, NaN for what was
        not seen; or a dict of such arrays by track id (int or str); or None for nobody.
        timestamp_s: when the frame was taken, seconds on any clock; for every frame or for none.
        image_size: (width, height) in pixels, if it changed with this frame.

        Returns the answers that are ready: for one person Poses (T, J_out, 3), usually T = 1, or
        None; for a dict a dict of Poses by track id, empty if there are none.
        Raises ValueError for other shapes, types, joint counts, for times that do not increase,
        and for a stream that begins with keypoints that are not pixels; RuntimeError on a closed
        stream.
        """
        self._acquire()
        try:
            people = self._pushed.checked(keypoints)
            time_s = self._clock.checked(timestamp_s)
            screen = self._screen if image_size is None else self._resized(image_size)
            if keypoints is not None:
                self._pushed.accept(people, screen.size)
            # Nothing is refused from here on.
            self._screen = screen
            elapsed_s, steps = self._clock.advance(time_s)
            if elapsed_s > MAX_GAP_S:
                self._people.end_all()
            return self._combined(self._people.advance(people, screen, elapsed_s, steps))
        finally:
            self._lock.release()

    def prepare(self) -> None:
        """Work ahead: for the time between having used a pose and the camera's next frame.

            for keypoints in camera:
                show(stream.push(keypoints))
                stream.prepare()

        The next push then waits for less: with the native engine for half of the weights at full
        lag, and for a quarter fewer products at lag 0 (docs/native-engine.md). Answers are the
        same but for rounding, with or without it. Takes as long as what it saves; does nothing
        with other engines and for more than a few people.
        Raises RuntimeError on a closed stream, and while another thread is using it.
        """
        self._acquire()
        try:
            if isinstance(self._engine, PreparingStream):
                self._engine.prepare()
        finally:
            self._lock.release()

    def flush(self) -> Poses | dict[TrackId, Poses]:
        """The answers that are still out, as if the last frame stayed forever.

        Returns Poses with T = the number of answers, which may be 0, or a dict of Poses by track
        id. The stream is then as new: the next push is frame 0.
        """
        self._acquire()
        try:
            poses = self._combined(self._people.flush())
            self._begin()
            return self._no_poses() if poses is None else poses
        finally:
            self._lock.release()

    def reset(self, track_id: TrackId | None = None) -> None:
        """Forget everyone, and begin again with frame 0; or forget one person.

        Answers that are still out never come. A person who is not there is no error.
        """
        self._acquire()
        try:
            if track_id is None:
                self._people.clear()
                self._begin()
            else:
                self._people.forget(track_id)
        finally:
            self._lock.release()

    def close(self) -> None:
        """Release the engine's part; the stream cannot be used any more. Twice is no error."""
        if not self._closed:
            self._acquire()
            self._closed = True
            self._lock.release()
            self._engine.close()

    def __enter__(self) -> LiveStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _acquire(self) -> None:
        if not self._lock.acquire(blocking=False):
            raise RuntimeError(
                "another thread is using this LiveStream at this moment; a stream belongs to one "
                "thread at a time, open one per thread with Lifter.stream()"
            )
        if self._closed:
            self._lock.release()
            raise RuntimeError("this LiveStream is closed; open another with Lifter.stream()")

    def _resized(self, image_size: tuple[float, float]) -> Screen:
        """The screen of this size; the present one as long as that has it."""
        screen = Screen(image_size)
        return self._screen if screen.size == self._screen.size else screen

    def _combined(self, answers: list[Answer]) -> Poses | dict[TrackId, Poses] | None:
        """What push returns for these answers, which are in order of time for each person."""
        if self._pushed.one_person is not False:
            return joined([poses for _, poses in answers]) if answers else None
        by_id: dict[Any, list[Poses]] = {}
        for track_id, poses in answers:
            by_id.setdefault(track_id, []).append(poses)
        return {track_id: joined(own) for track_id, own in by_id.items()}

    def _no_poses(self) -> Poses:
        n_joints = self._skeleton_out.n_joints
        return Poses(
            np.zeros((0, n_joints, 3), np.float32),
            np.zeros((0, 1, 3), np.float32) if self._has_trajectory else None,
            np.zeros((0, n_joints), np.float32),
            self._skeleton_out,
            self.fps,
        )
