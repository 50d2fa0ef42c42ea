"""The network of VideoPose3D in its two training forms: dilated and strided.

The network is the one of Pavllo et al., "3D human pose estimation in video with temporal
convolutions and semi-supervised training" (CVPR 2019), section 3, with every size read from a
`ModelSpec`. Both forms have the same parameters under the same names, so a state dict goes from
one to the other as it is:

    expand.conv.weight (C, J_in*F, f0)      channel = joint*F + feature
    expand.bn.*                             batch normalisation, eps 1e-5
    levels.K.conv.weight (C, C, fK)         for K = 1 .. n
    levels.K.conv_bn.*  levels.K.mix.weight (C, C, 1)  levels.K.mix_bn.*
    shrink.weight (J_out*3, C, 1)  shrink.bias (J_out*3,)
"""

from __future__ import annotations

from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from vp3d_deploy.spec import BATCH_NORM_EPS, ModelSpec


class _Expand(nn.Module):
    """The parameters of level 0."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.conv = nn.Conv1d(
            spec.joints_in * spec.features, spec.channels, spec.filter_widths[0], bias=False
        )
        self.bn = nn.BatchNorm1d(spec.channels, eps=BATCH_NORM_EPS)


class Level(nn.Module):
    """The parameters of level k >= 1: a temporal convolution, then a mix of the channels."""

    def __init__(self, channels: int, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(channels, channels, width, dilation=dilation, bias=False)
        self.conv_bn = nn.BatchNorm1d(channels, eps=BATCH_NORM_EPS)
        self.mix = nn.Conv1d(channels, channels, 1, bias=False)
        self.mix_bn = nn.BatchNorm1d(channels, eps=BATCH_NORM_EPS)


class ByteDropout(nn.Module):
    """Dropout whose mask is drawn as random bytes, eight in one draw of the generator.

    PyTorch's own dropout takes one draw per element, which on a CPU costs as much as the whole
    network of 256 channels. `probability` is rounded to 1/256; evaluation is the identity.

    Raises ValueError if `probability` is not in [0, 1).
    """

    def __init__(self, probability: float) -> None:
        super().__init__()
        if not 0.0 <= probability < 1.0:
            raise ValueError(f"dropout must be at least 0 and below 1, not {probability!r}")
        self.dropped_of_256 = min(round(probability * 256), 255)

    def forward(self, x: Tensor) -> Tensor:
        """Zero elements of x (any shape) at random and scale the rest to keep the mean."""
        if not self.training or self.dropped_of_256 == 0:
            return x
        draws = torch.empty((x.numel() + 7) // 8, dtype=torch.int64, device=x.device)
        draws.random_(-(2**63), None)  # every bit of a draw is random only over the full range
        mask = draws.view(torch.uint8)[: x.numel()].view(x.shape) >= self.dropped_of_256
        return x * (mask.to(x.dtype) * (256 / (256 - self.dropped_of_256)))


class TemporalNetwork(nn.Module):
    """Parameters and checks shared by the forms, which differ in `forward` alone.

    Under autocast the first and last layers stay in the precision of their weights: half a
    pixel is lost by a bfloat16 keypoint, and a millimetre by a bfloat16 coordinate.
    """

    def __init__(self, spec: ModelSpec, dropout: float = 0.25) -> None:
        super().__init__()
        self.spec = spec
        self.expand = _Expand(spec)
        self.levels = nn.ModuleDict(
            {
                str(k): Level(spec.channels, spec.filter_widths[k], spec.dilations[k])
                for k in range(1, len(spec.filter_widths))
            }
        )
        self.shrink = nn.Conv1d(spec.channels, spec.joints_out * 3, 1)
        self.dropout = ByteDropout(dropout)

    def set_batch_norm_momentum(self, momentum: float) -> None:
        """Set the weight that one batch has in the running statistics of every batch norm."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.momentum = momentum

    def freeze_batch_norm(self) -> None:
        """Use the running statistics, until `train` is called."""
        for module in self.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.eval()

    def _activate(self, x: Tensor, norm: nn.Module) -> Tensor:
        return self.dropout(functional.relu(norm(x)))

    def _check(self, keypoints: Tensor) -> None:
        """Refuse what is not (B, T, J_in, F) with T >= R: a reshape would hide a mistake."""
        spec = self.spec
        shape = tuple(keypoints.shape)
        if len(shape) != 4 or shape[2:] != (spec.joints_in, spec.features):
            raise ValueError(
                f"keypoints have shape {shape}; this network reads (B, T, {spec.joints_in}, "
                f"{spec.features}): batch, frames, joints, features"
            )
        if shape[1] < spec.receptive_field:
            raise ValueError(
                f"keypoints have {shape[1]} frames; one answer of this network needs "
                f"{spec.receptive_field}: repeat the first and last frame"
            )


class TemporalModel(TemporalNetwork):
    """The dilated form: all columns of a sequence share their work. For evaluation, and for
    training on chunks of consecutive answers.

    Raises ValueError if `dropout` is not in [0, 1).
    """

    def forward(self, keypoints: Tensor) -> Tensor:
        """Lift whole sequences.

        keypoints: (B, T, J_in, F) float, normalised screen units; T >= R.
        Returns (B, T-R+1, J_out, 3), metres, camera frame, root-relative; answer i belongs to
        frame i + (R-1)/2, or i + R-1 of a causal network.
        Raises ValueError for any other shape.
        """
        self._check(keypoints)
        full_precision = torch.autocast(keypoints.device.type, enabled=False)
        h = keypoints.flatten(2).transpose(1, 2)  # (B, J*F, T): inside, channels come first
        with full_precision:
            h = self.expand.conv(h)
        h = self._activate(to_autocast(h), self.expand.bn)
        for k, level in enumerate(self.levels.values(), start=1):
            assert isinstance(level, Level)
            skip = self.spec.residual_tap(k) * self.spec.dilations[k]
            g = self._activate(level.conv(h), level.conv_bn)
            g = self._activate(level.mix(g), level.mix_bn)
            h = h[:, :, skip : skip + g.shape[2]] + g
        with full_precision:
            y = self.shrink(h.to(keypoints.dtype)).transpose(1, 2)
        return y.unflatten(2, (self.spec.joints_out, 3))


class TemporalModelStrided(TemporalNetwork):
    """The strided form: one answer per window, only the columns that it needs. For training.

    A convolution whose stride is its width reads each input column once, so it is a reshape to
    rows of width * C and one matrix product, several times faster than a convolution on a CPU.

    In evaluation mode this equals `TemporalModel` on the same window. In training mode the
    batch statistics are taken over the columns that each form computes, so they differ wherever
    the dilated form computes more columns (the original repository has the same difference).

    Raises ValueError if `dropout` is not in [0, 1).
    """

    def forward(self, keypoints: Tensor) -> Tensor:
        """Lift one window each.

        keypoints: (B, R, J_in, F) float, normalised screen units.
        Returns (B, J_out, 3), metres, camera frame, root-relative: the frame (R-1)/2 of each
        window, or the last one of a causal network.
        Raises ValueError for any other shape.
        """
        self._check(keypoints)
        spec = self.spec
        if keypoints.shape[1] != spec.receptive_field:
            raise ValueError(
                f"windows have {keypoints.shape[1]} frames; the strided form reads exactly "
                f"{spec.receptive_field}: use TemporalModel for longer sequences"
            )
        full_precision = torch.autocast(keypoints.device.type, enabled=False)
        h = keypoints.reshape(-1, spec.joints_in * spec.features)  # a row is a column in time
        with full_precision:
            h = convolve_rows(h, self.expand.conv)
        h = self._activate(to_autocast(h), self.expand.bn)
        for k, level in enumerate(self.levels.values(), start=1):
            assert isinstance(level, Level)
            skip = h[spec.residual_tap(k) :: spec.filter_widths[k]]
            g = self._activate(convolve_rows(h, level.conv), level.conv_bn)
            h = skip + self._activate(convolve_rows(g, level.mix), level.mix_bn)
        with full_precision:
            y = functional.linear(
                h.to(keypoints.dtype), self.shrink.weight[:, :, 0], self.shrink.bias
            )
        return y.reshape(-1, spec.joints_out, 3)


_Form = TypeVar("_Form", bound=TemporalNetwork)


def twin(form: type[_Form], network: nn.Module) -> _Form:
    """The network in another form, sharing its parameters; modes and momenta are shared too."""
    assert isinstance(network, TemporalNetwork)
    with torch.device("meta"):  # its own parameters are never used
        other = form(network.spec)
    other.expand, other.levels, other.shrink = network.expand, network.levels, network.shrink
    other.dropout = network.dropout
    return other


def to_autocast(x: Tensor) -> Tensor:
    """x in the type of autocast, where that is on."""
    if not torch.is_autocast_enabled(x.device.type):
        return x
    return x.to(torch.get_autocast_dtype(x.device.type))


def convolve_rows(rows: Tensor, conv: nn.Conv1d) -> Tensor:
    """Convolve with stride = width: (N*width, C_in) rows in time order -> (N, C_out)."""
    c_out, c_in, width = conv.weight.shape
    weight = conv.weight.transpose(1, 2).reshape(c_out, width * c_in)
    return functional.linear(rows.reshape(-1, width * c_in), weight)
