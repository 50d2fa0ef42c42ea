"""One epoch of training batches: shuffled, mirrored, cut at a lag, shared between devices.

Everything is drawn from (seed, epoch) alone, on the CPU, so that an epoch is the same whenever
and on whatever device it is trained.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vp3d_deploy.mirror import check_sides
from vp3d_deploy.skeleton import Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.frames import Batch, Frames
from vp3d_deploy.training.settings import TrainingSettings


class StepBatch(NamedTuple):
    """What one step trains on; `unlabelled` is None where there is nothing of it."""

    labelled: Batch
    unlabelled: Batch | None


class EpochBatches:
    """The batches of one epoch, of the part that belongs to one of `world` processes.

    Every labelled sample comes once, or twice where its mirror image comes too, in batches of as
    equal sizes as can be. With unlabelled frames an epoch is one pass over these, and labelled
    samples are drawn at random beside them (as MMPose does); before the unlabelled join, epochs
    are as long but bring none.
    """

    def __init__(
        self,
        labelled: Frames,
        unlabelled: Frames | None,
        settings: TrainingSettings,
        spec: ModelSpec,
        skeletons: tuple[Skeleton, Skeleton],
        epoch: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        """skeletons: of the keypoints and of the poses, whose sides a mirror exchanges.

        Raises ValueError if a process would get fewer than two samples per batch, and for
        skeletons without sides where samples are to be mirrored.
        """
        if settings.flip != "none":
            check_sides(*skeletons)
        self._labelled, self._unlabelled = labelled, unlabelled
        self._settings, self._spec = settings, spec
        self._mirror = Mirror(*skeletons)
        self._epoch, self._rank, self._world = epoch, rank, world
        self._with_unlabelled = unlabelled is not None and epoch >= settings.warmup_epochs
        whole = labelled if unlabelled is None else unlabelled
        size = settings.batch_size if unlabelled is None else settings.unlabelled_batch_size
        self._n_samples = whole.n_samples * (2 if settings.flip == "both" else 1)
        self._n_batches = max(1, -(-self._n_samples // max(1, size // settings.chunk)))
        if self._n_samples // self._n_batches // world < 2:
            raise ValueError(
                f"{self._n_samples} training samples in {self._n_batches} batches for {world} "
                "processes leave less than two per batch, which batch normalisation needs; use "
                "larger batches, shorter chunks or more data"
            )

    def __len__(self) -> int:
        return self._n_batches

    def __iter__(self) -> Iterator[StepBatch]:
        generator = self._generator(1 + self._rank)
        if self._unlabelled is None:
            for samples in self._shares():
                yield StepBatch(self._labelled_batch(samples, generator), None)
            return
        per_step = max(2, self._settings.batch_size // self._settings.chunk // self._world)
        both = 2 if self._settings.flip == "both" else 1
        for samples in self._shares():
            drawn = torch.randint(both * self._labelled.n_samples, (per_step,), generator=generator)
            extra = None
            if self._with_unlabelled:
                extra = self._batch(self._unlabelled, samples, None, generator)
            yield StepBatch(self._labelled_batch(drawn, generator), extra)

    def _generator(self, stream: int) -> torch.Generator:
        seed = np.random.SeedSequence([self._settings.seed, self._epoch, stream])
        return torch.Generator().manual_seed(int(seed.generate_state(1)[0]))

    def _shares(self) -> Iterator[Tensor]:
        """This process's part of every batch of a shuffled epoch: all see the same order."""
        order = torch.randperm(self._n_samples, generator=self._generator(0))
        for part in order.tensor_split(self._n_batches):
            yield part[self._rank :: self._world]

    def _labelled_batch(self, samples: Tensor, generator: torch.Generator) -> Batch:
        lag = self._lags(len(samples), generator)
        return self._batch(self._labelled, samples, lag, generator)

    def _batch(
        self, frames: Frames, samples: Tensor, lag: Tensor | None, generator: torch.Generator
    ) -> Batch:
        """samples: numbers below the frames' n_samples, or up to twice that for mirror images."""
        n = frames.n_samples
        batch = frames.gather(samples % n, self._spec, self._settings.chunk, lag)
        if self._settings.flip == "none":
            return batch
        if self._settings.flip == "both":
            return self._mirror(batch, samples >= n)
        return self._mirror(batch, torch.rand(len(samples), generator=generator) < 0.5)

    def _lags(self, n: int, generator: torch.Generator) -> Tensor | None:
        """At which lag each window ends; None if all have their whole future."""
        zero, some = self._settings.lag_zero, self._settings.lag_any
        if zero + some == 0:
            return None
        full = self._spec.lookahead
        draw = torch.rand(n, generator=generator)
        lag = torch.randint(full + 1, (n,), generator=generator)
        lag = torch.where(draw < zero + some, lag, full)
        return torch.where(draw < zero, 0, lag)


class Mirror:
    """Mirrors samples left to right: keypoints, poses, trajectories and their cameras."""

    def __init__(self, skeleton_in: Skeleton, skeleton_out: Skeleton) -> None:
        self._order_in = list(skeleton_in.flip_order)
        self._order_out = list(skeleton_out.flip_order)

    def __call__(self, batch: Batch, rows: Tensor) -> Batch:
        """rows: (B,) bool, which samples; returns a new batch.

        A mirror image is what the mirrored scene shows in a camera whose principal point, x, and
        tangential distortion about x are mirrored too.
        """
        rows = rows.to(batch.keypoints.device)
        signs = torch.ones(10, device=rows.device)
        signs[[2, 8]] = -1  # centre x, and p2, which moves x by the square of the radius
        return Batch(
            keypoints=_mirror(batch.keypoints, rows, self._order_in),
            pose=_mirror(batch.pose, rows, self._order_out) if batch.pose.shape[2] else batch.pose,
            root=_mirror(batch.root, rows, [0]) if batch.root.shape[2] else batch.root,
            weight=batch.weight,
            intrinsics=torch.where(rows[:, None], batch.intrinsics * signs, batch.intrinsics),
        )


def _mirror(values: Tensor, rows: Tensor, order: Sequence[int]) -> Tensor:
    """(B, T, J, 2 or 3) with the chosen rows mirrored about x = 0 and their sides exchanged."""
    signs = torch.ones(values.shape[-1], device=values.device)
    signs[0] = -1
    return torch.where(rows[:, None, None, None], values[:, :, order] * signs, values)
