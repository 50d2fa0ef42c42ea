"""Which lags to measure: what a frame of latency buys in accuracy."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vp3d_deploy.spec import ModelSpec

FULL_LAG = "full"
# Networks that look ahead no further have every lag measured.
ALL_UP_TO = 13
_STEPS = 11


def lags_to_measure(spec: ModelSpec, asked: Sequence[int | str] = ()) -> tuple[int, ...]:
    """Lags in frames, ascending, each once.

    asked: frames or "full"; nothing asked gives all there are, or for networks that look far
    ahead about a dozen from 0 to full, dense where each frame counts most.
    Raises ValueError for a lag that the network cannot have.
    """
    full = spec.lookahead
    if not asked:
        if full <= ALL_UP_TO:
            return tuple(range(full + 1))
        spaced = np.geomspace(1, full, _STEPS).round().astype(int)
        return tuple(sorted({0, *spaced.tolist()}))
    return lags_in_frames(spec, asked)


def lags_in_frames(spec: ModelSpec, lags: Sequence[int | str]) -> tuple[int, ...]:
    """Lags in frames, ascending, each once. lags: frames or "full".

    Raises ValueError for a lag that the network cannot have.
    """
    full = spec.lookahead
    frames = set()
    for lag in lags:
        value = full if lag == FULL_LAG else lag
        if not isinstance(value, int) or not 0 <= value <= full:
            kind = "causal network" if spec.causal else f"network of {spec.receptive_field} frames"
            raise ValueError(
                f"lag {lag} is not possible: a {kind} can trail the camera by 0 to {full} frames "
                f'("{FULL_LAG}")'
            )
        frames.add(value)
    return tuple(sorted(frames))
