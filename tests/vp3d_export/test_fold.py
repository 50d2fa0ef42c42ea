from __future__ import annotations

import numpy as np
import pytest
from reference import dilated_network, random_parameters

from vp3d_deploy.spec import ModelSpec
from vp3d_export.fold import fold_batch_norm, folded_shapes

SPECS = [
    ModelSpec((3, 3, 3), 16),
    ModelSpec((5, 1, 3), 8, 16, 3, 15),
    ModelSpec((3, 5), 8, causal=True),
    ModelSpec((1, 1), 4),
]


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_folded_window_equals_the_unfolded_network(spec: ModelSpec) -> None:
    tensors = random_parameters(spec, seed=3)
    weights = fold_batch_norm(spec, tensors)
    window = np.random.default_rng(4).normal(
        0, 0.5, (spec.receptive_field, spec.joints_in, spec.features)
    )
    h = window.reshape(len(window), -1)
    for level, width in enumerate(spec.filter_widths):
        rows = h.reshape(-1, width * h.shape[1])
        new = np.maximum(
            rows @ weights[f"level{level}.conv.weight"].T + weights[f"level{level}.conv.bias"], 0
        )
        if level:
            mixed = new @ weights[f"level{level}.mix.weight"].T + weights[f"level{level}.mix.bias"]
            new = h[(width - 1 if spec.causal else width // 2) :: width] + np.maximum(mixed, 0)
        h = new
    found = h @ weights["shrink.weight"].T + weights["shrink.bias"]
    expected = dilated_network(spec, tensors, window)
    np.testing.assert_allclose(found.reshape(expected.shape), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_names_shapes_and_type(spec: ModelSpec) -> None:
    weights = fold_batch_norm(spec, random_parameters(spec, seed=5))
    assert {name: w.shape for name, w in weights.items()} == folded_shapes(spec)
    assert all(w.dtype == np.float64 for w in weights.values())


def test_half_precision_checkpoints_are_folded_in_double() -> None:
    spec = ModelSpec((3,), 4)
    tensors = {name: a.astype(np.float16) for name, a in random_parameters(spec, 6).items()}
    widened = {name: a.astype(np.float64) for name, a in tensors.items()}
    found, expected = fold_batch_norm(spec, tensors), fold_batch_norm(spec, widened)
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-15)
