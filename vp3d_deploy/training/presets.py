"""The published systems and two of our own, as data. `vp3d-train --list` prints this table.

Hyperparameters and figures of the first seven are MMPose's (Apache-2.0): errors from its model zoo,
on Human3.6M's S9 and S11 without flipping at test time, averaged over frames; settings from its
configurations, 1.x where they differ from those of 0.x (there the rate falls in every epoch).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from vp3d_deploy.training.settings import TrainingSettings


@dataclass(frozen=True)
class Preset:
    """One system. published: MPJPE, P-MPJPE and N-MPJPE on Human3.6M, mm; None if unpublished."""

    about: str
    settings: TrainingSettings
    published: tuple[float | None, float | None, float | None] = (None, None, None)


_27F = TrainingSettings(
    filter_widths=(3, 3, 3),
    epochs=160,
    batch_size=8 * 128,
    learning_rate=1e-3,
    lr_decay=0.975,
    lr_decay_epochs=80,
)
_81F = replace(_27F, filter_widths=(3, 3, 3, 3))
_243F = replace(_27F, filter_widths=(3, 3, 3, 3, 3))
_1F_CPN = replace(
    _27F,
    keypoints="cpn",
    filter_widths=(1, 1, 1, 1, 1),
    learning_rate=1e-4,
    lr_decay=0.98,
)
_243F_CPN = replace(
    _243F,
    keypoints="cpn",
    epochs=200,
    learning_rate=1e-4,
    lr_decay=0.98,
    lr_decay_epochs=200,
)
_27F_SEMI = replace(
    _27F,
    epochs=200,
    batch_size=8 * 64,
    unlabelled_batch_size=8 * 64,
    lr_decay=0.98,
    lr_decay_epochs=200,
    subjects=("S1",),
    subset=0.1,
    unlabelled_subjects=("S5", "S6", "S7", "S8"),
)

PRESETS: dict[str, Preset] = {
    "h36m-27f": Preset("27 frames, ground-truth 2D", _27F, (40.1, 30.1, None)),
    "h36m-81f": Preset("81 frames, ground-truth 2D", _81F, (39.1, 29.3, None)),
    "h36m-243f": Preset("243 frames, ground-truth 2D", _243F, (37.6, 28.3, None)),
    "h36m-1f-cpn": Preset("single frames, detected 2D", _1F_CPN, (53.0, 41.3, None)),
    "h36m-243f-cpn": Preset("243 frames, detected 2D", _243F_CPN, (47.9, 38.0, None)),
    "h36m-27f-semi": Preset(
        "27 frames, ground-truth 2D; labels for 10 % of S1, S5-S8 without",
        _27F_SEMI,
        (57.2, 42.4, 54.2),
    ),
    "h36m-27f-semi-cpn": Preset(
        "27 frames, detected 2D; labels for 10 % of S1, S5-S8 without",
        replace(_27F_SEMI, keypoints="cpn"),
        (67.3, 50.4, 63.6),
    ),
    "h36m-243f-causal": Preset(
        "243 frames, ground-truth 2D, looks only back: live without lag",
        replace(_243F, causal=True),
    ),
    "h36m-27f-lag": Preset(
        "27 frames, ground-truth 2D, trained for live answers at lag 0",
        replace(_27F, lag_zero=1.0),
    ),
}
