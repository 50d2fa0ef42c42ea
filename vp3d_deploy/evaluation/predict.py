"""What a network answers for whole clips, whoever runs it: recorded, live at any lag, and flipped.

A `Predictor` is one network on one engine (vp3d_deploy/evaluation/engines.py) or in PyTorch
(pytorch.py). Clips go in as the frames there are, (T, J_in, F), and come out as a pose for each.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np

from vp3d_deploy.engines.base import Output
from vp3d_deploy.evaluation.clips import pad_clip
from vp3d_deploy.mirror import mirrored
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec

# One call computes at most this many frames, which bounds memory for any clip.
CHUNK_FRAMES = 2048

# Called with the number of frames that a piece of work has lifted.
Advance = Callable[[int], None]
# (T, J_in, F) of each clip -> (T, J_out, 3) of each.
Lift = Callable[[Sequence[np.ndarray]], list[np.ndarray]]


class Predictor(Protocol):
    """Answers for clips: keypoints (T, J_in, F) float32 in normalised screen units, finite, in;
    poses (T, J_out, 3) float32, metres, camera frame, root-relative, out."""

    def recorded(self, clips: Sequence[np.ndarray], advance: Advance) -> list[np.ndarray]:
        """The answers when whole clips are known, edges repeated."""
        ...

    def live(self, clips: Sequence[np.ndarray], lag: int, advance: Advance) -> list[np.ndarray]:
        """For frame t the answer when every frame after t + lag is replaced by frame t + lag."""
        ...

    def form_at(self, lag: int | None) -> str:
        """Which form of the network answers at this lag, or (None) for recorded clips."""
        ...

    def close(self) -> None:
        """Release memory."""
        ...


def lift_flipped(
    lift: Lift, clips: Sequence[np.ndarray], skeleton_in: Skeleton, skeleton_out: Skeleton
) -> list[np.ndarray]:
    """The mean of each clip's poses and those of its mirror image, mirrored back."""
    straight = lift(clips)
    turned = lift([mirrored(clip, skeleton_in) for clip in clips])
    return [
        (pose + mirrored(other, skeleton_out)) / 2
        for pose, other in zip(straight, turned, strict=True)
    ]


def chunks(n_frames: int) -> Iterator[tuple[int, int]]:
    """(start, stop) of pieces of a clip, `CHUNK_FRAMES` at most."""
    for start in range(0, n_frames, CHUNK_FRAMES):
        yield start, min(start + CHUNK_FRAMES, n_frames)


def over_clip(
    sequence: Callable[[np.ndarray], Output],
    spec: ModelSpec,
    keypoints: np.ndarray,
    advance: Advance = lambda n_frames: None,
) -> Output:
    """A whole clip through the sequence form, padded, in chunks.

    sequence: (1, N+R-1, J_in, F) -> pose (1, N, J_out, 3), trajectory (1, N, 1, 3) or None.
    keypoints: (T, J_in, F). Returns both for all T frames.
    """
    frames = pad_clip(spec, keypoints)
    outputs = []
    for start, stop in chunks(len(keypoints)):
        outputs.append(sequence(frames[None, start : stop + spec.receptive_field - 1]).copied(0))
        advance(stop - start)
    return join_outputs(outputs)


def join_outputs(outputs: Sequence[Output]) -> Output:
    """Answers end to end."""
    trajectories = [output.trajectory for output in outputs if output.trajectory is not None]
    return Output(
        np.concatenate([output.pose for output in outputs]),
        np.concatenate(trajectories) if trajectories else None,
    )
