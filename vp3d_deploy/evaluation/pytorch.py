"""PyTorch's answers, which engines are held against: the dilated network in eval mode, float32."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import numpy as np
import torch

from vp3d_deploy.engines.base import Output
from vp3d_deploy.evaluation.predict import Advance, chunks, over_clip
from vp3d_deploy.spec import ModelSpec
from vp3d_deploy.training.lagged import TemporalModelLagged
from vp3d_deploy.training.networks import TemporalModel, twin

Parameters = Mapping[str, np.ndarray]


class PyTorchNetworks:
    """Networks in the form they were trained in.

    networks: output name, "pose" and perhaps "trajectory" -> specification and parameters in the
        names of vp3d_deploy/training/networks.py.
    device: as PyTorch calls it, "cpu" or "cuda".
    Raises ValueError for a device that is not there.
    """

    def __init__(
        self, networks: Mapping[str, tuple[ModelSpec, Parameters]], device: str = "cpu"
    ) -> None:
        self._device = _checked_device(device)
        self._networks = {
            name: network_from_parameters(spec, tensors).to(self._device)
            for name, (spec, tensors) in networks.items()
        }
        self._lagged = {
            name: twin(TemporalModelLagged, net).eval() for name, net in self._networks.items()
        }

    def sequence(self, keypoints: np.ndarray) -> Output:
        """(B, T+R-1, J_in, F) float32 -> pose (B, T, J_out, 3), trajectory (B, T, 1, 3) or None."""
        with _exactly():
            frames = self._tensor(keypoints)
            answers = {name: net(frames).cpu().numpy() for name, net in self._networks.items()}
        return Output(answers["pose"], answers.get("trajectory"))

    def lagged(self, keypoints: np.ndarray, lag: int) -> Output:
        """(B, T, J_in, F) float32, not padded -> the answers when they trail by `lag` frames."""
        with _exactly():
            frames = self._tensor(keypoints)
            answers = {name: net(frames, lag).cpu().numpy() for name, net in self._lagged.items()}
        return Output(answers["pose"], answers.get("trajectory"))

    def _tensor(self, keypoints: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(keypoints)).to(self._device)


class PyTorchPredictor:
    """A pose network in PyTorch as a `Predictor`; arguments and errors as for PyTorchNetworks."""

    def __init__(self, spec: ModelSpec, tensors: Parameters, device: str = "cpu") -> None:
        self._spec = spec
        self._networks = PyTorchNetworks({"pose": (spec, tensors)}, device)

    def recorded(self, clips: Sequence[np.ndarray], advance: Advance) -> list[np.ndarray]:
        return [over_clip(self._networks.sequence, self._spec, c, advance).pose for c in clips]

    def live(self, clips: Sequence[np.ndarray], lag: int, advance: Advance) -> list[np.ndarray]:
        return [self._live(clip, lag, advance) for clip in clips]

    def _live(self, clip: np.ndarray, lag: int, advance: Advance) -> np.ndarray:
        """In chunks: each begins early enough for the receptive fields of its answers."""
        parts = []
        for start, stop in chunks(len(clip)):
            first = max(0, start - self._spec.pad_left)
            poses = self._networks.lagged(clip[None, first : stop + lag], lag).pose[0]
            parts.append(poses[start - first : stop - first])
            advance(stop - start)
        return np.concatenate(parts)

    def form_at(self, lag: int | None) -> str:
        return "dilated" if lag is None else "lagged"

    def close(self) -> None:
        pass


def network_from_parameters(spec: ModelSpec, tensors: Parameters) -> TemporalModel:
    """The dilated network with these parameters, float32, in eval mode.

    tensors: in the names of vp3d_deploy/training/networks.py; num_batches_tracked may be missing.
    """
    network = TemporalModel(spec)
    state = {name: torch.from_numpy(np.array(a)).float() for name, a in tensors.items()}
    missing, unexpected = network.load_state_dict(state, strict=False)
    lacking = [name for name in missing if not name.endswith("num_batches_tracked")]
    if lacking or unexpected:
        raise AssertionError(f"parameters lack {lacking} and have the unknown {unexpected}")
    return network.eval()


@contextmanager
def _exactly() -> Iterator[None]:
    """Without gradients, and float32 on a GPU too: cuDNN would round convolutions to TF32."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = False
    try:
        with torch.inference_mode():
            yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _checked_device(device: str) -> torch.device:
    try:
        checked = torch.device(device)
        torch.empty(0, device=checked)
    except (RuntimeError, AssertionError) as error:  # what PyTorch raises for both
        reason = str(error).splitlines()[0]
        raise ValueError(f"PyTorch has no device {device!r} here: {reason}") from None
    return checked
