"""The network by its definition, in float64: what every contender's answers are held against.

It works from the folded fp32 weights of the bundle (vp3d_export/fold.py says how they lie) and is
written as plainly as it can be: one window at a time, level by level. The answer of a live stream
for frame s at lag L is the network over the window around s in which every frame after s + L is
replaced by frame s + L.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from vp3d_deploy.spec import ModelSpec


class Definition:
    """weights: one network's folded tensors, (out, in) matrices and (out,) biases."""

    def __init__(self, spec: ModelSpec, weights: Mapping[str, np.ndarray]) -> None:
        self.spec = spec
        self._weights = {name: array.astype(np.float64) for name, array in weights.items()}

    def window(self, keypoints: np.ndarray) -> np.ndarray:
        """(B, R, J_in, F) -> (B, J_out, 3) float64, metres."""
        return np.stack([self._one(window) for window in keypoints.astype(np.float64)])

    def live(self, clips: np.ndarray, frame: int, lag: int) -> np.ndarray:
        """(B, T, J_in, F) clips, `frame` of each -> (B, J_out, 3): what a stream says of it.

        Before its first frame a clip shows that frame forever, after its last frame the last.
        """
        return self.window(live_windows(self.spec, clips, frame, lag))

    def recorded(self, clips: np.ndarray, frame: int) -> np.ndarray:
        """The same for a clip that is known as a whole."""
        return self.live(clips, frame, self.spec.lookahead)

    def _one(self, window: np.ndarray) -> np.ndarray:
        spec, tensors = self.spec, self._weights
        h = window.reshape(len(window), -1)
        for level, width in enumerate(spec.filter_widths):
            taps = h.reshape(len(h) // width, -1)  # each row: the frames that one column reads
            new = _layer(taps, tensors, f"level{level}.conv")
            if level:
                new = h[spec.residual_tap(level) :: width] + _layer(
                    new, tensors, f"level{level}.mix"
                )
            h = new
        answer = h[0] @ tensors["shrink.weight"].T + tensors["shrink.bias"]
        return answer.reshape(spec.joints_out, 3)


def live_windows(spec: ModelSpec, clips: np.ndarray, frame: int, lag: int) -> np.ndarray:
    """(B, T, J_in, F), frame, lag -> the windows (B, R, J_in, F) that define the answers."""
    around = np.arange(frame - spec.pad_left, frame + spec.pad_right + 1)
    last = min(frame + lag, clips.shape[1] - 1)
    return clips[:, np.clip(around, 0, last)]


def _layer(rows: np.ndarray, tensors: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    return np.maximum(rows @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"], 0)
