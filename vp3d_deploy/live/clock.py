"""When the frames of a live stream were taken, and which of the network's frames they reach."""

from __future__ import annotations

from vp3d_deploy.keypoints import KeypointsError, check_time
from vp3d_deploy.resample import FrameGrid


class Clock:
    """Counts the frames of a camera in time of the network.

    network_fps: the network's rate. camera_fps: that of the camera if it is known; None where
    frames bring their times, or are taken as they come, as if at the network's own rate.
    """

    def __init__(self, network_fps: float, camera_fps: float | None) -> None:
        self._network_fps = network_fps
        self._camera_fps = camera_fps
        self._spacing_s = 1 / network_fps
        self.begin()

    def begin(self) -> None:
        """Forget all frames: the next is frame 0."""
        self._frame = 0
        resamples = self._camera_fps not in (None, self._network_fps)
        self._grid = FrameGrid(self._network_fps) if resamples else None

    @property
    def origin_s(self) -> float | None:
        """The time of frame 0 where frames have times, else None."""
        return None if self._grid is None else self._grid.origin_s

    def checked(self, timestamp_s: float | None) -> float | None:
        """The time of the next frame, or None where frames are taken as they come.

        Raises KeypointsError for times that do not increase, or that some frames have only.
        """
        if self._camera_fps is not None:
            if timestamp_s is not None:
                raise KeypointsError(
                    f"this stream takes its frames to be 1/{self._camera_fps:g} s apart; to give "
                    "timestamp_s, open it without fps"
                )
            return None if self._grid is None else self._frame / self._camera_fps
        if self._frame and (timestamp_s is None) != (self._grid is None):
            before, now = ("none", "has one") if self._grid is None else ("timestamp_s", "has none")
            raise KeypointsError(
                f"earlier frames had {before} and this one {now}: give timestamp_s for every "
                "frame or for none, or begin again with reset()"
            )
        if timestamp_s is None:
            return None
        time_s = check_time(timestamp_s)
        if self._grid is not None:
            self._grid.check(time_s)
        return time_s

    def advance(self, time_s: float | None) -> tuple[float, list[tuple[int, float]]]:
        """Count the next frame, whose time `checked` has given.

        Returns the time since the last, and the network's steps, as from `FrameGrid.advance`.
        """
        self._frame += 1
        if time_s is None:
            return self._spacing_s, [(self._frame - 1, 1.0)]
        if self._grid is None:
            self._grid = FrameGrid(self._network_fps)
        return self._grid.elapsed_s(time_s), self._grid.advance(time_s)
