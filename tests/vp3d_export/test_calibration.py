"""The motion that weights are fitted to."""

from __future__ import annotations

import numpy as np
import pytest

from vp3d_deploy.evaluation.clips import pad_clip
from vp3d_deploy.skeleton import COCO_17, H36M_17, Skeleton
from vp3d_deploy.spec import ModelSpec
from vp3d_export.calibration import BUILT_IN_CLIPS, BUILT_IN_FRAMES, built_in_calibration
from vp3d_export.evaluation import built_in_set


@pytest.mark.parametrize("features", [2, 3, 4])
@pytest.mark.parametrize("skeleton", [H36M_17, COCO_17])
def test_clips_are_as_the_network_reads_them(features: int, skeleton: Skeleton) -> None:
    spec = ModelSpec((3, 5), 8, 17, features, causal=features == 3)
    motion = built_in_calibration(spec, skeleton, H36M_17)
    assert len(motion.padded) == 2 * BUILT_IN_CLIPS
    for clip in motion.padded:
        assert clip.shape == (BUILT_IN_FRAMES + spec.receptive_field - 1, 17, features)
        assert clip.dtype == np.float32
        assert np.isfinite(clip).all()
    assert "built-in" in motion.title


def test_every_clip_has_a_mirror_image_of_another_size() -> None:
    spec = ModelSpec((3,), 8)
    motion = built_in_calibration(spec, H36M_17, H36M_17)
    clips, images = motion.padded[:BUILT_IN_CLIPS], motion.padded[BUILT_IN_CLIPS:]
    left, right = H36M_17.index("left_wrist"), H36M_17.index("right_wrist")
    sizes = []
    for clip, image in zip(clips, images, strict=True):
        across, turned = clip[:, left] - clip[:, right], image[:, right] - image[:, left]
        size = np.linalg.norm(turned) / np.linalg.norm(across)
        np.testing.assert_allclose(turned, size * across * [-1, 1], rtol=0, atol=1e-5)
        sizes.append(size)
    assert 0.7 <= min(sizes) < 0.9
    assert 1.2 < max(sizes) <= 1.4


def test_nothing_built_in_is_also_checked_on() -> None:
    spec = ModelSpec((3, 3), 8)
    motion = built_in_calibration(spec, H36M_17, H36M_17)
    checked = built_in_set(spec, H36M_17, H36M_17)
    assert motion.shared_with(checked) is None
    frames = {frame.tobytes() for clip in checked.clips for frame in pad_clip(spec, clip.keypoints)}
    for clip in (*motion.padded, *motion.few):
        assert not frames & {frame.tobytes() for frame in clip}
