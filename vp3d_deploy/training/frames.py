"""Training motion as arrays: every frame once, and the samples that are gathered from them.

All of Human3.6M's training frames, 1.56 million with four views, take 0.5 GB this way, and a
batch is two index operations on the device that holds them: no loop over samples, no workers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vp3d_deploy.camera import Camera, normalize_screen
from vp3d_deploy.data.clip import Clip
from vp3d_deploy.spec import ModelSpec

# Of a GPU's free memory, what the frames may take; the rest is for weights and activations.
DEVICE_SHARE = 0.5


class Batch(NamedTuple):
    """B samples of c answers each.

    keypoints: (B, c+R-1, J_in, F) normalised screen units.
    pose: (B, c, J_out, 3) metres, camera frame, root-relative; root: (B, c, 1, 3) metres, camera
        frame. Both empty (B, c, 0, 3) for clips without labels.
    weight: (B, c) 1 for answers that count, 0 for those beyond the ends of a clip.
    intrinsics: (B, 10), see `intrinsics_of`.
    """

    keypoints: Tensor
    pose: Tensor
    root: Tensor
    weight: Tensor
    intrinsics: Tensor


@dataclass(frozen=True)
class Frames:
    """N frames of C clips, one behind the other, and M samples that start in them.

    keypoints: (N, J_in, F) float32, normalised screen units.
    pose: (N, J_out, 3) float32, metres, camera frame, not relative to the root; (N, 0, 3) where
        there are no labels.
    intrinsics: (C, 10) float32.
    start: (M,) int64, the frame of each sample's first answer; with chunks it may lie before its
        clip. first, last: (M,) the first and last frame of its clip. clip: (M,).
    """

    keypoints: Tensor
    pose: Tensor
    intrinsics: Tensor
    start: Tensor
    first: Tensor
    last: Tensor
    clip: Tensor

    @property
    def n_samples(self) -> int:
        return len(self.start)

    @property
    def device(self) -> torch.device:
        return self.keypoints.device

    @property
    def n_bytes(self) -> int:
        return sum(getattr(self, f.name).nbytes for f in fields(self))

    def to(self, device: torch.device | str) -> Frames:
        return replace(self, **{f.name: getattr(self, f.name).to(device) for f in fields(self)})

    def gather(
        self, samples: Tensor, spec: ModelSpec, chunk: int, lag: Tensor | None = None
    ) -> Batch:
        """The samples with these numbers.

        samples: (B,) int64. lag: (B,) int64 frames >= 0, for chunk 1: frames later than t + lag
        are replaced by frame t + lag. Edges of clips are repeated.
        """
        samples = samples.to(self.device)
        start, first, last = (a[samples, None] for a in (self.start, self.first, self.last))
        answers = start + torch.arange(chunk, device=self.device)
        offsets = torch.arange(-spec.pad_left, chunk + spec.pad_right, device=self.device)
        read = start + offsets
        if lag is not None:
            read = torch.minimum(read, start + lag.to(self.device)[:, None])
        inside = answers.clamp(first, last)
        pose = self.pose[inside]
        root = pose[:, :, :1]
        return Batch(
            keypoints=self.keypoints[read.clamp(first, last)],
            pose=pose - root,
            root=root,
            weight=(inside == answers).to(self.keypoints.dtype),
            intrinsics=self.intrinsics[self.clip[samples]],
        )


def frames_of(clips: Sequence[Clip], labelled: bool) -> Frames:
    """All frames of these clips, a sample for each; `with_chunks` regroups them.

    labelled: whether poses are needed. Raises ValueError naming a clip that lacks them, that has
    keypoints which are not finite, or, without labels, one whose camera is not known.
    """
    for clip in clips:
        if labelled and clip.pose_m is None:
            raise ValueError(f"clip {clip.name!r} has no 3D poses to learn from")
        if not labelled and clip.camera is None:
            raise ValueError(
                f"clip {clip.name!r} has no camera; without labels the pose is learnt from its "
                "projection, which needs the camera's intrinsics"
            )
        if clip.camera is not None and clip.camera.image_size != tuple(clip.image_size):
            raise ValueError(
                f"clip {clip.name!r} has images of {clip.image_size}, its camera of "
                f"{clip.camera.image_size}; they must agree"
            )
        if not np.isfinite(clip.keypoints_px).all():
            raise ValueError(
                f"clip {clip.name!r} has keypoints that are not finite; fill or leave out the "
                "frames in which joints were not seen"
            )
    if not clips:
        raise ValueError("there are no clips to train on")
    lengths = [clip.n_frames for clip in clips]
    keypoints = np.concatenate(
        [normalize_screen(clip.keypoints_px, clip.image_size) for clip in clips]
    )
    if labelled:
        pose = np.concatenate([np.asarray(clip.pose_m, np.float32) for clip in clips])
    else:
        pose = np.empty((len(keypoints), 0, 3), np.float32)
    intrinsics = np.stack([intrinsics_of(clip.camera) for clip in clips])
    return Frames(
        torch.from_numpy(keypoints),
        torch.from_numpy(pose),
        torch.from_numpy(intrinsics),
        **chunk_samples(lengths, 1, 0),
    )


def intrinsics_of(camera: Camera | None) -> np.ndarray:
    """(10,) float32: focal (2), centre (2) in normalised screen units, radial (3), tangential (2,
    OpenCV's order), tangential gain; NaN for an unknown camera."""
    if camera is None:
        return np.full(10, np.nan, np.float32)
    half = camera.width / 2
    center = (camera.center_px - np.array([camera.width, camera.height]) / 2) / half
    gain = [camera.tangential_gain]
    parts = (camera.focal_px / half, center, camera.radial, camera.tangential, gain)
    return np.concatenate(parts).astype(np.float32)


def chunk_samples(lengths: Sequence[int], chunk: int, phase: int) -> dict[str, Tensor]:
    """Cut clips that lie one behind the other into samples of `chunk` answers.

    lengths: frames of each clip. phase: where the first cut lies, 0 <= phase < chunk; changing it
    from epoch to epoch moves the seams. Returns start, first, last, clip as in `Frames`.
    """
    bases = np.concatenate([[0], np.cumsum(lengths)])
    starts = [np.arange(-phase, length, chunk) for length in lengths]
    starts = [at[at + chunk > 0] for at in starts]
    clip = np.repeat(np.arange(len(lengths)), [len(at) for at in starts])
    first = bases[clip]
    last = bases[clip + 1] - 1
    start = np.concatenate(starts) + first
    numbers = {"start": start, "first": first, "last": last, "clip": clip}
    return {name: torch.from_numpy(a.astype(np.int64)) for name, a in numbers.items()}


def with_chunks(frames: Frames, lengths: Sequence[int], chunk: int, phase: int) -> Frames:
    """The same frames, cut into samples of `chunk` answers."""
    samples = chunk_samples(lengths, chunk, phase)
    return replace(frames, **{name: a.to(frames.device) for name, a in samples.items()})


def fits_on_device(n_bytes: int, free_bytes: int) -> bool:
    """Whether frames of this size leave enough room for training on the device."""
    return n_bytes <= DEVICE_SHARE * free_bytes
