"""The four cameras of Human3.6M, from `h36m_cameras.json` beside this file."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from vp3d_deploy.camera import Camera


@lru_cache(maxsize=1)
def _facts() -> dict[str, Any]:
    text = Path(__file__).with_name("h36m_cameras.json").read_text(encoding="utf-8")
    return json.loads(text)


def camera_ids() -> tuple[str, ...]:
    """The four camera ids, in the order of the views in VideoPose3D's files."""
    return tuple(_facts()["intrinsics"])


def camera_subjects() -> tuple[str, ...]:
    """The subjects whose extrinsics are known: those with published poses."""
    return tuple(_facts()["extrinsics"])


def frame_rate() -> float:
    """Frames per second of Human3.6M's videos."""
    return float(_facts()["fps"])


@lru_cache(maxsize=64)
def h36m_camera(subject: str, view: int | str) -> Camera:
    """The camera of a view as it stood for this subject.

    subject: "S1", "S5" .. "S9" or "S11"; view: 0..3 in the files' order, or a camera id such as
    "54138969". Raises ValueError naming the choices for others.
    """
    ids = camera_ids()
    if isinstance(view, int) and 0 <= view < len(ids):
        view = ids[view]
    if subject not in camera_subjects() or view not in ids:
        raise ValueError(
            f"Human3.6M has no camera {view!r} for subject {subject!r}; the subjects are "
            f"{', '.join(camera_subjects())} and the cameras 0..3 or {', '.join(ids)}"
        )
    facts, place = _facts()["intrinsics"][view], _facts()["extrinsics"][subject][view]
    return Camera(
        name=str(view),
        width=facts["width"],
        height=facts["height"],
        focal_px=facts["focal"],
        center_px=facts["center"],
        radial=facts["radial"],
        tangential=facts["tangential"],
        rotation=place["rotation"],
        position_m=place["position"],
    )
