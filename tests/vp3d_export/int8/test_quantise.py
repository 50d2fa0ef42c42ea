"""Networks in whole numbers: what is stored, how near it is, and that scaling changes no answer."""

from __future__ import annotations

import numpy as np
import pytest
from integer_network import integer_sequence
from reference import random_parameters

from vp3d_deploy.spec import ModelSpec
from vp3d_export.bias_correction import folded_network
from vp3d_export.fold import FoldedWeights, fold_batch_norm, folded_shapes
from vp3d_export.int8.equalise import equalise
from vp3d_export.int8.quantise import PLAIN, Method, quantise

SPECS = [
    ModelSpec((3, 3, 3), 48),
    ModelSpec((5, 1, 3), 24, 16, 3, 15),
    ModelSpec((3, 5), 32, causal=True),
    ModelSpec((7,), 16),
]
every_spec = pytest.mark.parametrize("spec", SPECS, ids=str)


def clips_of(spec: ModelSpec, seed: int, count: int = 3, n_frames: int = 120) -> list[np.ndarray]:
    """Motion: sums of slow waves, so that frames follow each other and joints move together."""
    rng = np.random.default_rng(seed)
    T = n_frames + spec.receptive_field - 1
    waves = np.sin(rng.uniform(0.02, 0.2, 6) * np.arange(T)[:, None] + rng.uniform(0, 6, 6))
    shape = (count, 6, spec.joints_in * spec.features)
    clips = waves @ rng.normal(0, 0.2, shape)
    return list(clips.reshape(count, T, spec.joints_in, spec.features).astype(np.float32))


def folded_for(spec: ModelSpec, seed: int = 1) -> FoldedWeights:
    return fold_batch_norm(spec, random_parameters(spec, seed))


def mean_error(
    spec: ModelSpec, folded: FoldedWeights, made: dict[str, np.ndarray], clips: list[np.ndarray]
) -> float:
    """Metres, between the network and its whole numbers as tests/integer_network.py has them."""
    tensors = {f"pose.{name}": values for name, values in made.items()}
    distances = []
    for clip in clips:
        found = integer_sequence(spec, tensors, "pose", clip[None])[0]
        wanted = folded_network(spec, folded, clip.astype(np.float64)).reshape(found.shape)
        distances.append(np.linalg.norm(found - wanted, axis=-1).ravel())
    return float(np.concatenate(distances).mean())


@every_spec
def test_what_is_stored(spec: ModelSpec) -> None:
    made = quantise(spec, folded_for(spec), clips_of(spec, 0))
    for name, shape in folded_shapes(spec).items():
        inner = not name.startswith(("level0.", "shrink."))
        assert made[name].shape == shape
        assert made[name].dtype == (np.int8 if inner and name.endswith("weight") else np.float32)
        if inner and name.endswith(".weight"):
            layer = name.removesuffix(".weight")
            assert np.abs(made[name].astype(int)).max() == 127
            scale, input_scale = made.pop(f"{layer}.scale"), made.pop(f"{layer}.input_scale")
            assert (scale.shape, scale.dtype) == (shape[:1], np.float32)
            assert (input_scale.shape, input_scale.dtype) == ((), np.float32)
            assert (scale > 0).all()
            assert input_scale > 0
    assert made.keys() == folded_shapes(spec).keys()


@every_spec
def test_it_is_near_the_network_on_other_motion(spec: ModelSpec) -> None:
    folded, other = folded_for(spec), clips_of(spec, 9)
    made = quantise(spec, folded, clips_of(spec, 0, 8))
    size = np.mean([np.abs(folded_network(spec, folded, clip)).mean() for clip in other])
    assert mean_error(spec, folded, made, other) < 0.08 * size


def test_each_measure_and_all_of_them_beat_plain_rounding() -> None:
    """Channels differ in size as those of trained networks do."""
    spec = ModelSpec((3, 3, 3), 64)
    tensors = random_parameters(spec, 3)
    rng = np.random.default_rng(0)
    for name, values in tensors.items():
        if name.endswith("bn.weight"):
            tensors[name] = values * np.exp(rng.normal(0, 0.6, values.shape)).astype(np.float32)
    folded = fold_batch_norm(spec, tensors)
    fitted, other = clips_of(spec, 0, 12), clips_of(spec, 9)
    errors = {
        method: mean_error(spec, folded, quantise(spec, folded, fitted, method), other)
        for method in (PLAIN, Method(True, False, False), Method(False, True, True), Method())
    }
    plain, *measures, everything = errors.values()
    assert max(measures) < plain
    assert everything < 0.9 * plain


@every_spec
def test_equalising_changes_no_answer(spec: ModelSpec) -> None:
    folded = folded_for(spec)
    rng = np.random.default_rng(0)
    sizes = [rng.lognormal(0, 1.5, spec.channels) for _ in range(2 * len(spec.filter_widths) - 2)]
    half = len(sizes) // 2
    if sizes:
        sizes[0][:3] = 0  # channels that never spoke
    scaled = equalise(spec, folded, sizes[:half], sizes[half:])
    clip = clips_of(spec, 2)[0].astype(np.float64)
    found, expected = (folded_network(spec, weights, clip) for weights in (scaled, folded))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-12)
    if half:
        assert not np.allclose(scaled["level1.conv.weight"], folded["level1.conv.weight"])


def test_mean_errors_go_where_they_were_measured() -> None:
    """With bias correction the answers have no error that is the same in every frame."""
    spec = ModelSpec((3, 3), 32)
    folded, clips = folded_for(spec), clips_of(spec, 0)

    def systematic(method: Method) -> float:
        made = {f"pose.{n}": v for n, v in quantise(spec, folded, clips, method).items()}
        wrong = [
            integer_sequence(spec, made, "pose", clip[None])[0].reshape(-1, 51)
            - folded_network(spec, folded, clip.astype(np.float64))
            for clip in clips
        ]
        return float(np.abs(np.concatenate(wrong).mean(0)).max())

    assert systematic(PLAIN) > 1e-3
    assert systematic(Method()) < 1e-5


def test_a_network_that_says_nothing() -> None:
    """All activations are 0: steps must still be positive, and the answer is the last bias."""
    spec = ModelSpec((3, 3), 8)
    folded = folded_for(spec)
    for name in folded:
        if name != "shrink.bias":
            folded[name] = np.zeros_like(folded[name])
    made = quantise(spec, folded, clips_of(spec, 0))
    tensors = {f"pose.{name}": values for name, values in made.items()}
    for values in tensors.values():
        assert np.isfinite(values).all()
    found = integer_sequence(spec, tensors, "pose", clips_of(spec, 1)[0][None])
    np.testing.assert_allclose(found[0, 0].ravel(), folded["shrink.bias"], rtol=0, atol=1e-6)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize(("layer", "reader"), [("level0.conv", "level1.conv"),
                                               ("level1.conv", "level1.mix")])  # fmt: skip
def test_activations_that_overflow_are_refused(layer: str, reader: str) -> None:
    spec = ModelSpec((3, 3), 8)
    folded = folded_for(spec)
    folded[f"{layer}.weight"] = folded[f"{layer}.weight"] * 1e39
    with pytest.raises(ValueError, match=f"{reader} reads values that are not finite numbers"):
        quantise(spec, folded, clips_of(spec, 0))
