"""What to export and how to check it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vp3d_deploy.bundle import FORMS
from vp3d_export.parity import DEFAULT_LIMITS, Limits
from vp3d_export.tensorrt.options import EngineOptions


class ExportError(ValueError):
    """Options that do not fit the checkpoint."""


@dataclass(frozen=True)
class ExportOptions:
    """What to export and how to check it.

    out: the bundle's directory; by default the checkpoint's name with `.vp3d`, beside it.
    lags: stream lags in frames, or "full" for the network's whole lookahead.
    causal: None takes what the checkpoint says, which only our own do; others count as not causal.
    input_skeleton: whose joints the network reads; by default what the checkpoint says, as above,
        or else Human3.6M's for 17 joints.
    fps: the frame rate of the motion that the network was trained on; None takes what the
        checkpoint says, which only our own do, or else Human3.6M's.
    h36m: a Human3.6M directory in either published layout; None checks on built-in motion.
    max_frames: check on at most this many frames of it.
    calibration: the motion that int8 is fitted to, files or folders as
        `calibration.calibration_from` takes them; none takes built-in motion.
    engines: how TensorRT engines are built, where TensorRT and a GPU are; None builds none.
    """

    checkpoint: Path
    out: Path | None = None
    precisions: tuple[str, ...] = ("fp32",)
    forms: tuple[str, ...] = FORMS
    lags: tuple[int | str, ...] = (0,)
    causal: bool | None = None
    input_skeleton: str | None = None
    output_skeleton: str | None = None
    fps: float | None = None
    h36m: Path | None = None
    keypoints: str = "gt"
    max_frames: int | None = None
    calibration: tuple[Path, ...] = ()
    limits: Mapping[str, Limits] = field(default_factory=lambda: dict(DEFAULT_LIMITS))
    engines: EngineOptions | None = field(default_factory=EngineOptions)

    @property
    def target(self) -> Path:
        return self.out or self.checkpoint.with_suffix(".vp3d")
