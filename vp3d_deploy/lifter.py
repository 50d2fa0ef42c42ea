"""2D keypoints in, 3D poses out: `Lifter` runs a bundle over clips and opens live streams."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterator, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.base import Engine, Output, StreamEngine
from vp3d_deploy.engines.pixels import PixelEngine
from vp3d_deploy.fill_clip import fill_clip
from vp3d_deploy.keypoints import KeypointsError, check_clip, check_duration, check_fps
from vp3d_deploy.live import LiveStream
from vp3d_deploy.mirror import MIRROR_X, check_sides, mirrored
from vp3d_deploy.network_input import NetworkInput
from vp3d_deploy.observe import FADE_S, HOLD_S, anyone
from vp3d_deploy.poses import Poses
from vp3d_deploy.resample import n_resampled, resample
from vp3d_deploy.screen import Screen
from vp3d_deploy.skeleton import Skeleton, get_skeleton

# Frames per call of an engine, over all people of the call. It bounds the working memory (ONNX
# Runtime takes some 60 kB per frame for a network of 1024 channels, 250 MB in all), while the
# columns that neighbouring calls both compute stay a few percent of the work: 4.6 % for 10,000
# frames and a receptive field of 243.
CHUNK_FRAMES = 4096


class Lifter:
    """Runs one bundle.

        from vp3d_deploy import Lifter

        lifter = Lifter.open("walker.vp3d")
        poses = lifter.lift(keypoints_px, image_size=(1920, 1080))   # (T, 17, 2) -> Poses
        poses.save("poses.npz")

    `lift` may be called from several threads at once.
    """

    def __init__(self, bundle: Bundle, engine: Engine) -> None:
        """Run `bundle` on an engine that was opened on it; `Lifter.open` does both."""
        self.bundle = bundle
        self.engine = engine

    @classmethod
    def open(
        cls,
        path: str | os.PathLike[str],
        engine: str = "auto",
        precision: str | None = None,
        threads: int | None = None,
        **options: Any,
    ) -> Lifter:
        """Open and verify the bundle at `path`, and an engine on it.

        engine: "tensorrt", "cuda", "native", "onnx", or "auto" for the best at hand. precision: one
        of the bundle's, for example "fp16"; by default the engine's choice, fp16 or fp32. threads:
        at most so many per call; by default one per core. options: the engine's own; `open_engine`
        lists them.
        Raises BundleError for a damaged or foreign bundle, ValueError for an unknown engine or
        option, ImportError for an engine that is not installed.
        """
        bundle = Bundle.open(path)
        return cls(bundle, open_engine(bundle, engine, precision, threads, **options))

    @property
    def skeleton(self) -> Skeleton:
        """The skeleton in which keypoints are expected unless another is named."""
        return self.bundle.skeleton_in

    @property
    def fps(self) -> float:
        """The frame rate that the network was trained at."""
        return self.bundle.fps

    @property
    def lags(self) -> Sequence[int]:
        """The lags at which live streams can be opened, frames: with the native engine and "cuda"
        all up to the network's lookahead, with others those that the bundle holds a graph for."""
        return self.engine.lags

    def lift(
        self,
        keypoints: Any,
        image_size: tuple[float, float],
        *,
        scores: Any = None,
        flip: bool = False,
        skeleton: str | Skeleton | None = None,
        fps: float | None = None,
        hold_s: float = HOLD_S,
        fade_s: float = FADE_S,
        progress: Callable[[int, int], None] | None = None,
    ) -> Poses:
        """Lift a recorded clip of any length.

        keypoints: (T, J, 2) pixels of one person or (N, T, J, 2) of N people, floats or integers,
            NaN for what was not seen; or with a third column of scores, 0 for not seen.
        image_size: (width, height) in pixels.
        scores: (T, J) or (N, T, J), where they are not the third column. A network that reads
            scores is given 1 for every observed joint if there are none.
        flip: also lift the clip's mirror image and average the two; twice the work, and a little
            more accurate.
        skeleton: what the keypoints' joints are, by name or as a Skeleton, if not the bundle's.
        fps: the clip's frame rate, if not the network's; the clip is then interpolated to the
            network's rate and the poses back, so that there is one pose per frame either way.
        hold_s, fade_s: how long a joint that is not observed is trusted (observe.py).
        progress: called with the frames lifted so far and in all, after every piece of work.

        Returns Poses with joints_m (T, J_out, 3) or (N, T, J_out, 3), NaN in frames where the
        person is missing. A joint that was not observed in a frame where the person was has the
        network's guess and a confidence below 1.
        Raises ValueError for shapes, types, skeletons and image sizes that do not fit.
        """
        source = self._source(skeleton)
        points_px, scores = check_clip(keypoints, scores, source, image_size)
        network_input = self._network_input(source)
        if flip:
            check_sides(self.skeleton, self.bundle.skeleton_out)
        clip_fps = self.fps if fps is None else check_fps(fps)
        gaps = check_duration("hold_s", hold_s), check_duration("fade_s", fade_s)
        screen = Screen(image_size)

        points = screen.normalize(points_px)
        seen = screen.observed(points, scores)
        confidence = np.zeros(seen.shape, np.float32)
        for person in range(len(points)):
            own_scores = None if scores is None else scores[person]
            points[person], confidence[person] = fill_clip(
                points[person], own_scores, seen[person], source, screen, clip_fps, *gaps
            )
        inputs, confidence = network_input(points, confidence)

        n_frames = inputs.shape[1]
        if clip_fps != self.fps:
            inputs = resample(inputs, clip_fps, self.fps, n_resampled(n_frames, clip_fps, self.fps))
        joints, trajectory = self._sequence(inputs, flip, progress)
        if not np.isfinite(joints).all():
            raise BundleError(
                f"{self.bundle.path}: the network's answers are not finite; its weights are damaged"
            )
        if clip_fps != self.fps:
            joints = resample(joints, self.fps, clip_fps, n_frames)
            if trajectory is not None:
                trajectory = resample(trajectory, self.fps, clip_fps, n_frames)

        missing = ~anyone(confidence)
        joints[missing] = np.nan
        if trajectory is not None:
            trajectory[missing] = np.nan
        people = Poses(joints, trajectory, confidence, self.bundle.skeleton_out, clip_fps)
        return people if np.ndim(keypoints) == 4 else people.person(0)

    def stream(
        self,
        image_size: tuple[float, float],
        lag: int = 0,
        *,
        skeleton: str | Skeleton | None = None,
        fps: float | None = None,
        hold_s: float = HOLD_S,
        fade_s: float = FADE_S,
    ) -> LiveStream:
        """Open a live stream.

        image_size: (width, height) in pixels. lag: by how many frames answers trail the camera,
        one of `lags`; more lag is more accurate. skeleton, hold_s, fade_s: as for `lift`.
        fps: the camera's frame rate, if it is to be interpolated to the network's.

        Raises ValueError for a lag that is none of `lags`, and for bad arguments.
        """
        source = self._source(skeleton)
        network_input, takes_pixels = self._network_input(source), False
        # The least of several confidences that change with time is not what changes with the least.
        if isinstance(self.engine, PixelEngine):
            takes_pixels = self.bundle.spec.features == 2 or network_input.same_joints
        if takes_pixels:
            network_input = self._network_input(source, converts=False)
        camera_fps = None if fps is None else check_fps(fps)
        hold_s, fade_s = check_duration("hold_s", hold_s), check_duration("fade_s", fade_s)
        Screen(image_size)
        lag = self._checked_lag(lag)
        try:
            if takes_pixels and isinstance(self.engine, PixelEngine):
                engine: StreamEngine = self.engine.open_pixel_stream(lag, source)
            else:
                engine = self.engine.open_stream(lag)
        except ValueError:
            if lag in self.lags:
                raise
            held = f"live streams for lag {', '.join(map(str, self.lags))}, not for"
            raise KeypointsError(
                f"{self.bundle.path} holds {held if self.lags else 'no live streams, so none for'} "
                f"lag {lag}; export it again with vp3d-export --lag "
                f"{' '.join(map(str, sorted({*self.lags, lag})))}, or open it with the native "
                "engine, which streams at any lag"
            ) from None
        spec = self.bundle.spec
        return LiveStream(
            engine,
            network_input,
            source,
            self.bundle.skeleton_out,
            image_size,
            lag=lag,
            shape_in=(source.n_joints if takes_pixels else spec.joints_in, spec.features),
            has_trajectory=self.bundle.has_trajectory,
            network_fps=self.fps,
            fps=camera_fps,
            hold_s=hold_s,
            fade_s=fade_s,
        )

    def close(self) -> None:
        """Release the engine's memory; live streams that are open keep theirs until closed, but for
        those of "cuda" and "tensorrt", which end with their engine."""
        self.engine.close()

    def __enter__(self) -> Lifter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _source(self, skeleton: str | Skeleton | None) -> Skeleton:
        return self.skeleton if skeleton is None else get_skeleton(skeleton)

    def _network_input(self, source: Skeleton, converts: bool = True) -> NetworkInput:
        features = self.bundle.spec.features
        return NetworkInput(source, self.skeleton, self.bundle.skeleton_out, features, converts)

    def _checked_lag(self, lag: int) -> int:
        most = self.bundle.spec.lookahead
        try:
            value = -1 if isinstance(lag, bool) else operator.index(lag)
        except TypeError:
            value = -1
        if not 0 <= value <= most:
            raise KeypointsError(
                f"lag is {lag!r}; expected a number of frames from 0 to {most}, as far as this "
                "network looks ahead"
            )
        return value

    def _sequence(
        self, inputs: np.ndarray, flip: bool, progress: Callable[[int, int], None] | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """(N, T, J_in, F) -> joints (N, T, J_out, 3) and trajectory (N, T, 1, 3) or None."""
        spec = self.bundle.spec
        n_people, n_frames = inputs.shape[:2]
        joints = np.empty((n_people, n_frames, spec.joints_out, 3), np.float32)
        trajectory = None
        if self.bundle.has_trajectory:
            trajectory = np.empty((n_people, n_frames, 1, 3), np.float32)
        sides = ((0, 0), (spec.pad_left, spec.pad_right), (0, 0), (0, 0))
        padded = np.pad(inputs, sides, mode="edge")
        done = 0
        for people, frames in _pieces(n_people, n_frames, spec.receptive_field):
            read = slice(frames.start, frames.stop + spec.receptive_field - 1)
            output = self._lifted(np.ascontiguousarray(padded[people, read]), flip)
            joints[people, frames] = output.pose
            if trajectory is not None:
                trajectory[people, frames] = output.trajectory
            done += (people.stop - people.start) * (frames.stop - frames.start)
            if progress is not None:
                progress(done, n_people * n_frames)
        return joints, trajectory

    def _lifted(self, keypoints: np.ndarray, flip: bool) -> Output:
        """One call of the engine, or two with the mirror image: its answer mirrored back."""
        output = self.engine.sequence(keypoints)
        if not flip:
            return output
        turned = self.engine.sequence(mirrored(keypoints, self.skeleton))
        pose = (output.pose + mirrored(turned.pose, self.bundle.skeleton_out)) / 2
        if output.trajectory is None or turned.trajectory is None:
            return Output(pose, None)
        return Output(pose, (output.trajectory + turned.trajectory * MIRROR_X) / 2)


def _pieces(n_people: int, n_frames: int, receptive_field: int) -> Iterator[tuple[slice, slice]]:
    """Which people and frames to lift in each call of the engine, so that all get done."""
    n_pieces = math.ceil(n_frames / CHUNK_FRAMES)
    # Of equal length, so that an engine meets few different shapes.
    length = math.ceil(n_frames / n_pieces)
    together = max(1, CHUNK_FRAMES // (length + receptive_field - 1))
    for person in range(0, n_people, together):
        people = slice(person, min(person + together, n_people))
        for frame in range(0, n_frames, length):
            yield people, slice(frame, min(frame + length, n_frames))
