"""The network as a camera sees it: the answers of a live stream at any lag, for whole clips.

The columns are those of `vp3d_deploy/plan.py`. Where a live stream keeps a ring of past columns,
here every column exists for all frames t side by side, so that a ring's entry of age a is the true
column of frame max(t - a, 0), and a level is one matrix product over all frames. A lag costs at
most three columns per level and frame, not a window.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from vp3d_deploy.plan import Column, LevelPlan, Tap, stream_plan
from vp3d_deploy.training.networks import Level, TemporalNetwork, convolve_rows, to_autocast

Columns = dict[Column, Tensor]


class TemporalModelLagged(TemporalNetwork):
    """The live form: the answers of whole clips when nothing after frame t + lag has been seen.

    At the full lag this equals `TemporalModel` on the padded clip. In training mode the batch
    statistics are those over all columns that are computed.

    Raises ValueError if `dropout` is not in [0, 1).
    """

    def forward(self, keypoints: Tensor, lag: int) -> Tensor:
        """Lift whole clips, not padded.

        keypoints: (B, T, J_in, F) float, normalised screen units; T >= 1.
        lag: 0 .. `spec.lookahead`, by how many frames an answer may trail the camera.
        Returns (B, T, J_out, 3), metres, camera frame, root-relative: for frame t what the network
        says when every frame after min(t + lag, T - 1) is replaced by that frame, and the first
        frame has been shown forever.
        Raises ValueError for any other shape and for a lag outside its range.
        """
        self._check_clips(keypoints)
        plan = stream_plan(self.spec, lag)
        h = keypoints.flatten(2)  # (B, T, J*F): a row is a column in time
        # The last `lag` answers come while the last frame is repeated.
        h = torch.cat([h, h[:, -1:].expand(-1, lag, -1)], dim=1)
        columns = self._first_level({Column.TRUE: h}, plan.levels[0])
        for k, level in enumerate(self.levels.values(), start=1):
            assert isinstance(level, Level)
            columns = self._level(k, level, columns, plan.levels[k])
        answers = columns[plan.answer][:, lag:]
        with torch.autocast(keypoints.device.type, enabled=False):
            y = functional.linear(
                answers.to(keypoints.dtype), self.shrink.weight[:, :, 0], self.shrink.bias
            )
        return y.unflatten(2, (self.spec.joints_out, 3))

    def _first_level(self, below: Columns, plan: LevelPlan) -> Columns:
        taps = _taps(below, plan)
        with torch.autocast(taps.device.type, enabled=False):
            rows = convolve_rows(taps.flatten(0, 3), self.expand.conv)
        return _split(self._activate(to_autocast(rows), self.expand.bn), taps, plan)

    def _level(self, k: int, level: Level, below: Columns, plan: LevelPlan) -> Columns:
        taps = _taps(below, plan)
        skip = taps[..., self.spec.residual_tap(k), :].flatten(0, 2)
        rows = self._activate(convolve_rows(taps.flatten(0, 3), level.conv), level.conv_bn)
        rows = self._activate(convolve_rows(rows, level.mix), level.mix_bn)
        return _split(skip + rows, taps, plan)

    def _check_clips(self, keypoints: Tensor) -> None:
        spec = self.spec
        shape = tuple(keypoints.shape)
        if len(shape) != 4 or shape[2:] != (spec.joints_in, spec.features) or 0 in shape:
            raise ValueError(
                f"keypoints have shape {shape}; this network reads (B, T, {spec.joints_in}, "
                f"{spec.features}): batch, frames, joints, features, at least one of each"
            )


def _taps(below: Columns, plan: LevelPlan) -> Tensor:
    """What a level's taps read, (columns, B, T, width, C)."""
    return torch.stack(
        [torch.stack([_tap(below, tap) for tap in taps], dim=2) for taps in plan.columns.values()]
    )


def _tap(below: Columns, tap: Tap) -> Tensor:
    """What one tap reads at every frame, (B, T, C)."""
    if tap.column is not None:
        return below[tap.column]
    true = below[Column.TRUE]
    # Before the ring is full it holds the first frame's column, as if shown forever.
    n_before = min(tap.age, true.shape[1])
    first = true[:, :1].expand(-1, n_before, -1)
    return torch.cat([first, true[:, : true.shape[1] - n_before]], dim=1)


def _split(rows: Tensor, taps: Tensor, plan: LevelPlan) -> Columns:
    """(columns * B * T, C) -> for each column (B, T, C)."""
    parts = rows.unflatten(0, taps.shape[:3])
    return dict(zip(plan.columns, parts, strict=True))
