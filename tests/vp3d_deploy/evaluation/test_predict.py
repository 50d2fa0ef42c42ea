"""PyTorch's and engines' answers for whole clips against the network's definition in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from fake_bundle import DefinitionEngine, FakeBundle
from reference import dilated_network, live_answers, padded, random_parameters

torch = pytest.importorskip("torch", reason="PyTorch is one of the predictors")

from vp3d_deploy.bundle import BundleError  # noqa: E402
from vp3d_deploy.engines import open_engine  # noqa: E402
from vp3d_deploy.evaluation import engines, predict  # noqa: E402
from vp3d_deploy.evaluation.engines import EnginePredictor, stream_clips  # noqa: E402
from vp3d_deploy.evaluation.folded import folded_parameters  # noqa: E402
from vp3d_deploy.evaluation.predict import lift_flipped  # noqa: E402
from vp3d_deploy.evaluation.pytorch import PyTorchNetworks, PyTorchPredictor  # noqa: E402
from vp3d_deploy.skeleton import H36M_17  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402

SPEC = ModelSpec((3, 5), 8)  # 15 frames, 7 ahead
LENGTHS = (1, 4, 11, 26)
ATOL = 1e-5  # of metres, for float32 over two levels of a random network


@pytest.fixture(autouse=True)
def _short_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that clips of these tests need several."""
    monkeypatch.setattr(predict, "CHUNK_FRAMES", 8)
    monkeypatch.setattr(engines, "WINDOW_FRAMES", 100)
    monkeypatch.setattr(engines, "STREAM_ROWS", 3)


def clips(spec: ModelSpec = SPEC) -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    shape = (spec.joints_in, spec.features)
    return [rng.normal(0, 0.5, (n, *shape)).astype(np.float32) for n in LENGTHS]


def recorded(spec: ModelSpec, tensors: dict[str, np.ndarray]) -> list[np.ndarray]:
    return [dilated_network(spec, tensors, padded(spec, clip)) for clip in clips(spec)]


def live(spec: ModelSpec, tensors: dict[str, np.ndarray], lag: int) -> list[np.ndarray]:
    return [live_answers(spec, tensors, clip, lag) for clip in clips(spec)]


def check(found: list[np.ndarray], expected: list[np.ndarray], atol: float = ATOL) -> None:
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=atol)


class Counter:
    def __init__(self) -> None:
        self.frames = 0

    def __call__(self, n_frames: int) -> None:
        self.frames += n_frames


@pytest.mark.parametrize("causal", [False, True])
def test_pytorch_recorded_and_live(causal: bool) -> None:
    spec = ModelSpec(SPEC.filter_widths, 8, causal=causal)
    tensors = random_parameters(spec, 1)
    predictor = PyTorchPredictor(spec, tensors)
    done = Counter()
    check(predictor.recorded(clips(), done), recorded(spec, tensors))
    assert done.frames == sum(LENGTHS)
    for lag in {0, spec.lookahead // 2, spec.lookahead}:
        check(predictor.live(clips(), lag, done), live(spec, tensors, lag))


def test_pytorch_with_a_trajectory() -> None:
    root = ModelSpec.from_dict({**SPEC.to_dict(), "joints_out": 1})
    tensors, root_tensors = random_parameters(SPEC, 1), random_parameters(root, 2)
    networks = PyTorchNetworks({"pose": (SPEC, tensors), "trajectory": (root, root_tensors)})
    clip = clips()[2]
    output = predict.over_clip(networks.sequence, SPEC, clip)
    assert output.trajectory is not None
    check([output.trajectory], [dilated_network(root, root_tensors, padded(root, clip))])
    lagged = networks.lagged(clip[None], 2)
    assert lagged.trajectory is not None
    check([lagged.trajectory[0]], [live_answers(root, root_tensors, clip, 2)])


def test_pytorch_says_which_device_it_lacks() -> None:
    with pytest.raises(ValueError, match="PyTorch has no device 'cuda:77' here"):
        PyTorchPredictor(SPEC, random_parameters(SPEC, 1), "cuda:77")


@pytest.mark.parametrize(
    ("forms", "lags", "expected"),
    [
        (("window", "sequence", "stream"), (0, 7), ["sequence", "stream", "window", "stream"]),
        (("window",), (), ["window", "window", "window", "window"]),
        (("sequence",), (), ["sequence", "window", "window", "sequence"]),
    ],
)
def test_an_engine_answers_with_the_forms_there_are(
    forms: tuple[str, ...], lags: tuple[int, ...], expected: list[str], tmp_path: Path
) -> None:
    made = random_bundle(tmp_path / "x", SPEC, forms=forms, lags=lags)
    predictor = EnginePredictor(made.bundle, open_engine(made.bundle, "onnx"))
    tensors = made.parameters["pose"]
    assert [predictor.form_at(lag) for lag in (None, 0, 3, 7)] == expected
    done = Counter()
    check(predictor.recorded(clips(), done), recorded(SPEC, tensors))
    for lag in (0, 3, 7):
        check(predictor.live(clips(), lag, done), live(SPEC, tensors, lag))
    assert done.frames == 4 * sum(LENGTHS)
    predictor.close()


def test_a_bundle_of_streams_answers_for_their_lags_alone(tmp_path: Path) -> None:
    made = random_bundle(tmp_path / "x", SPEC, forms=("stream",), lags=(0, 7))
    predictor = EnginePredictor(made.bundle, open_engine(made.bundle, "onnx"))
    assert predictor.form_at(None) == "stream"
    check(predictor.recorded(clips(), Counter()), recorded(SPEC, made.parameters["pose"]))
    with pytest.raises(BundleError, match="no graph in fp32 that answers for lag 3"):
        predictor.live(clips(), 3, Counter())


def test_the_native_engine_answers_in_every_form_without_graphs(tmp_path: Path) -> None:
    made = random_bundle(tmp_path / "x", SPEC, forms=("window",), lags=())
    predictor = EnginePredictor(made.bundle, open_engine(made.bundle, "native"))
    tensors = made.parameters["pose"]
    assert [predictor.form_at(lag) for lag in (None, 0, 3)] == ["sequence", "stream", "stream"]
    check(predictor.recorded(clips(), Counter()), recorded(SPEC, tensors))
    check(predictor.live(clips(), 3, Counter()), live(SPEC, tensors, 3))


@pytest.mark.parametrize("lag", [0, 2, 7])
def test_streams_of_all_lengths_come_and_go(lag: int) -> None:
    """The engine is unkind: late answers are NaN, and its arrays are overwritten."""
    engine = DefinitionEngine(FakeBundle(SPEC))
    stream = engine.open_stream(lag)
    done = Counter()
    found = stream_clips(stream, clips(), lag, done)
    check(found, live(SPEC, engine.tensors, lag))
    assert stream.n_rows == 0
    assert done.frames == sum(LENGTHS)


def test_flipping_is_the_mean_with_the_mirror_image() -> None:
    tensors = random_parameters(SPEC, 1)
    predictor = PyTorchPredictor(SPEC, tensors)
    found = lift_flipped(lambda c: predictor.recorded(c, Counter()), clips(), H36M_17, H36M_17)
    order = [H36M_17.joints.index(_other_side(joint)) for joint in H36M_17.joints]
    for pose, straight, clip in zip(found, recorded(SPEC, tensors), clips(), strict=True):
        turned = dilated_network(SPEC, tensors, padded(SPEC, clip[:, order] * [-1, 1]))
        expected = (straight + turned[:, order] * [-1, 1, 1]) / 2
        np.testing.assert_allclose(pose, expected, rtol=0, atol=ATOL)


def _other_side(joint: str) -> str:
    side, _, rest = joint.partition("_")
    return {"left": f"right_{rest}", "right": f"left_{rest}"}.get(side, joint)


@pytest.mark.parametrize("causal", [False, True])
def test_folded_weights_are_the_network(causal: bool, tmp_path: Path) -> None:
    spec = ModelSpec((3, 5), 8, joints_in=4, features=3, joints_out=5, causal=causal)
    made = random_bundle(tmp_path / "x", spec, trajectory=True)
    predictor = PyTorchPredictor(spec, folded_parameters(made.bundle))
    check(predictor.recorded(clips(spec), Counter()), recorded(spec, made.parameters["pose"]))


def test_half_precision_weights_are_not_for_pytorch(tmp_path: Path) -> None:
    made = random_bundle(tmp_path / "x", SPEC, precisions=("fp16",))
    with pytest.raises(BundleError, match="no fp32 weights"):
        folded_parameters(made.bundle)
