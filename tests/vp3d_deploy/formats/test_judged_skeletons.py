"""Seventeen joints of a file that does not say which: judged by what is seen, and only by that."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vp3d_deploy.data.procedural import make_clip
from vp3d_deploy.formats.read import read_tracks


def h36m_keypoints() -> np.ndarray:
    return make_clip("walking", n_frames=40, seed=3).keypoints_px.copy()


def skeleton_of(path: Path, keypoints: np.ndarray) -> str:
    np.save(path / "clip.npy", keypoints)
    return read_tracks(path / "clip.npy")[0].skeleton.name


def test_a_joint_that_is_never_seen(tmp_path: Path) -> None:
    keypoints = h36m_keypoints()
    keypoints[:, 16] = np.nan
    assert skeleton_of(tmp_path, keypoints) == "h36m17"


def test_another_joint_unseen_in_every_frame(tmp_path: Path) -> None:
    keypoints = h36m_keypoints()
    keypoints[np.arange(40), np.arange(40) % 17] = np.nan
    assert skeleton_of(tmp_path, keypoints) == "h36m17"


@pytest.mark.parametrize("with_scores", [False, True])
def test_joints_that_a_detector_put_at_the_origin(with_scores: bool, tmp_path: Path) -> None:
    keypoints = h36m_keypoints() / 4  # small, so that the corner lies far outside the person
    keypoints[:, 10] = 0
    if with_scores:
        scores = (keypoints != 0).any(-1, keepdims=True)
        keypoints = np.concatenate([keypoints, scores], axis=-1).astype(np.float32)
    assert skeleton_of(tmp_path, keypoints) == "h36m17"
