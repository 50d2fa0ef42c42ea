from __future__ import annotations

import numpy as np
import pytest
from reference import dilated_network, random_parameters

from vp3d_deploy.evaluation.clips import pad_clip
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bias_correction import correct_last_bias, folded_network
from vp3d_export.calibration import built_in_calibration
from vp3d_export.evaluation import built_in_set
from vp3d_export.fold import fold_batch_norm
from vp3d_export.weights import stored_dtype


@pytest.mark.parametrize(
    "spec", [ModelSpec((3, 5, 3), 8), ModelSpec((3, 3), 8, causal=True), ModelSpec((1, 1), 8)]
)
def test_the_folded_network_is_the_network(spec: ModelSpec) -> None:
    tensors = random_parameters(spec, 1)
    clip = np.random.default_rng(0).normal(0, 0.4, (spec.receptive_field + 7, 17, 2))
    found = folded_network(spec, fold_batch_norm(spec, tensors), clip)
    expected = dilated_network(spec, tensors, clip)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-12)


def test_the_systematic_error_goes_on_motion_it_was_not_measured_on() -> None:
    spec = ModelSpec((3, 3, 3), 64)
    folded = fold_batch_norm(spec, random_parameters(spec, 2))
    clips = built_in_calibration(spec, H36M_17, H36M_17).few
    corrected = correct_last_bias(spec, folded, clips, "fp16")
    changed = [name for name in folded if not np.array_equal(folded[name], corrected[name])]
    assert changed == ["shrink.bias"]

    checked = [pad_clip(spec, c.keypoints) for c in built_in_set(spec, H36M_17, H36M_17).clips]
    assert not any(np.array_equal(a, b) for a in checked for b in clips)

    def systematic_error(weights: dict[str, np.ndarray]) -> float:
        """What is the same in every frame: the size of the errors' mean over frames."""
        stored = {
            name: values.astype(stored_dtype(name, "fp16")).astype(np.float64)
            for name, values in weights.items()
        }
        errors = [
            folded_network(spec, stored, clip) - folded_network(spec, folded, clip)
            for clip in checked
        ]
        return float(np.abs(np.concatenate(errors).mean(0)).mean())

    assert systematic_error(corrected) < systematic_error(folded) / 4


def test_an_overflowing_network_is_left_to_the_comparison() -> None:
    spec = ModelSpec((3,), 4)
    folded = fold_batch_norm(spec, random_parameters(spec, 3))
    folded["shrink.weight"] = folded["shrink.weight"] * 1e38
    folded["level0.conv.weight"] = folded["level0.conv.weight"] * 1e30
    with np.errstate(all="raise", under="ignore"):
        corrected = correct_last_bias(spec, folded, [np.ones((9, 17, 2), np.float32)], "fp16")
    assert np.isfinite(corrected["shrink.bias"]).all()
