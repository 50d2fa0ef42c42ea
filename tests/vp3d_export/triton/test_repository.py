"""The model repository is loaded and run as the server would, on ONNX Runtime itself."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from bundles import RandomBundle, random_bundle, trajectory_spec
from google.protobuf import text_format
from reference import live_answers
from triton_server import Model, Request, ServerError, read_config
from tritonclient.grpc import model_config_pb2

from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.onnx_interface import stream_state_shapes
from vp3d_deploy.spec import ModelSpec
from vp3d_export.bundle_writer import OutputError
from vp3d_export.triton.config import Serving, TritonError, _check_pairing
from vp3d_export.triton.repository import write_repository

SPECS = [
    ModelSpec((3, 3, 3), 16),
    ModelSpec((5, 1, 3), 16, 16, 3, 15),
    ModelSpec((3, 5, 3), 16, causal=True),
    ModelSpec((1, 1, 1), 16),
    # Rings beyond the tenth level, whose numbers have two digits.
    ModelSpec((3, 3, *[1] * 8, 3, 3), 8),
]


def spec_id(spec: ModelSpec) -> str:
    return "-".join(map(str, spec.filter_widths)) + ("-causal" if spec.causal else "")


def lags_of(spec: ModelSpec) -> tuple[int, ...]:
    return tuple(sorted({0, spec.lookahead // 2, spec.lookahead}))


@pytest.fixture(scope="module", params=SPECS, ids=spec_id)
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> RandomBundle:
    spec: ModelSpec = request.param
    path = tmp_path_factory.mktemp("triton") / "net.vp3d"
    return random_bundle(path, spec, trajectory=True, lags=lags_of(spec))


@pytest.fixture(scope="module")
def repository(made: RandomBundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("models") / "served"
    write_repository(made.bundle, directory)
    return directory


def clips_of(spec: ModelSpec, batch: int, n_frames: int) -> np.ndarray:
    shape = (batch, n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(8).normal(0, 0.5, shape).astype(np.float32)


def test_every_form_has_its_model(made: RandomBundle, repository: Path) -> None:
    names = {"net_window", *(f"net_stream_lag{lag}" for lag in lags_of(made.bundle.spec))}
    assert {p.name for p in repository.iterdir()} == names
    for name in names:
        files = {
            p.relative_to(repository / name).as_posix() for p in (repository / name).rglob("*")
        }
        assert files == {"config.pbtxt", "1", "1/model.onnx", "1/weights.fp32.safetensors"}


def test_window_is_served_in_batches(made: RandomBundle, repository: Path) -> None:
    spec = made.bundle.spec
    windows = clips_of(spec, 5, spec.receptive_field)
    model = Model(repository / "net_window")
    assert model.config.WhichOneof("scheduling_choice") == "dynamic_batching"
    answers = model.infer(
        [Request({"keypoints": windows[:2]}), Request({"keypoints": windows[2:]})]
    )
    expected = open_engine(made.bundle, "onnx").window(windows)
    for name, wanted in (("pose", expected.pose), ("trajectory", expected.trajectory)):
        found = np.concatenate([answer[name] for answer in answers])
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


def test_streams_with_implicit_state(made: RandomBundle, repository: Path) -> None:
    """Three sequences that begin at different times and share calls, at every lag, against the
    definition: the full network on the clip with its last frame repeated."""
    spec, n_frames = made.bundle.spec, 24
    clips = clips_of(spec, 3, n_frames)
    for lag in made.bundle.lags:
        model = Model(repository / f"net_stream_lag{lag}")
        found: dict[str, list[list[np.ndarray]]] = {n: [[], [], []] for n in made.bundle.networks}
        last = n_frames - 1
        for tick in range(n_frames + lag + 2 * len(clips)):
            requests, who = [], []
            for person, clip in enumerate(clips):
                t = tick - 2 * person
                if 0 <= t <= last + lag:
                    frame = {"keypoints": clip[min(t, last)][None]}
                    requests.append(Request(frame, 100 + person, t == 0, t == last + lag))
                    who.append(person)
            for person, answer in zip(who, model.infer(requests) if who else [], strict=True):
                for name in found:
                    found[name][person].append(answer[name][0])
        assert not model.states
        for name, parameters in made.parameters.items():
            network = made.bundle.networks[name]
            for person, clip in enumerate(clips):
                expected = live_answers(network, parameters, clip, lag)
                np.testing.assert_allclose(
                    np.array(found[name][person][lag:]), expected, rtol=0, atol=5e-5
                )


def test_a_sequence_begins_anew_with_its_start(made: RandomBundle, repository: Path) -> None:
    clip = clips_of(made.bundle.spec, 1, 6)[0]
    model = Model(repository / "net_stream_lag0")
    runs = []
    for _ in range(2):
        # The first run is not ended: its client went away and came back under the same number.
        runs.append(
            [
                model.infer([Request({"keypoints": frame[None]}, 7, t == 0)])[0]["pose"]
                for t, frame in enumerate(clip)
            ]
        )
    np.testing.assert_array_equal(runs[0], runs[1])


def test_without_zeros_the_state_would_be_whatever_memory_holds(
    made: RandomBundle, repository: Path, tmp_path: Path
) -> None:
    """The simulation tells a configuration that forgets the initial state."""
    model = tmp_path / "net_stream_lag0"
    shutil.copytree(repository / model.name, model)
    config = read_config(model)
    if not config.sequence_batching.state:
        pytest.skip("this network keeps no state")
    for state in config.sequence_batching.state:
        del state.initial_state[:]
    (model / "config.pbtxt").write_text(text_format.MessageToString(config))
    frame = clips_of(made.bundle.spec, 1, 1)[0]
    assert np.isnan(Model(model).infer([Request({"keypoints": frame}, 1, True)])[0]["pose"]).all()


def test_stream_configuration(made: RandomBundle, repository: Path) -> None:
    lag = made.bundle.lags[-1]
    config = read_config(repository / f"net_stream_lag{lag}")
    sequences = config.sequence_batching
    assert config.WhichOneof("scheduling_choice") == "sequence_batching"
    assert sequences.WhichOneof("strategy_choice") == "oldest"
    assert sequences.oldest.max_candidate_sequences >= config.max_batch_size == 32
    # The default would be one second.
    assert sequences.max_sequence_idle_microseconds == 60_000_000
    shapes = stream_state_shapes(made.bundle.networks, lag)
    found = {s.input_name.removesuffix("_in"): tuple(s.dims) for s in sequences.state}
    assert found == {name: shape[1:] for name, shape in shapes.items()}
    assert config.parameters["vp3d_lag"].string_value == str(lag)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    "widths", [(3,) * 5, (3,) * 10, (1, 3) * 8, (3, *[1] * 10, 3), (5, 3, 3), (7,), (1,)]
)
def test_state_names_sort_alike(widths: tuple[int, ...], causal: bool) -> None:
    """The server gives the n-th output by name to the n-th input by name."""
    spec = ModelSpec(widths, 8, causal=causal)
    networks = {"pose": spec, "trajectory": trajectory_spec(spec)}
    # All of them, or of very many some.
    for lag in range(0, spec.lookahead + 1, 1 + spec.lookahead // 200):
        names = list(stream_state_shapes(networks, lag))
        inputs = sorted(f"{name}_in" for name in names)
        outputs = sorted(f"{name}_out" for name in names)
        assert [n.removesuffix("_in") for n in inputs] == [n.removesuffix("_out") for n in outputs]
        _check_pairing([(f"{name}_in", f"{name}_out") for name in names])


def test_names_that_sort_otherwise_are_refused() -> None:
    """ "ring_in" < "ring_k_in", but "ring_k_out" < "ring_out"."""
    with pytest.raises(TritonError, match="carry ring_k_out into ring_in"):
        _check_pairing([("ring_in", "ring_out"), ("ring_k_in", "ring_k_out")])


def test_a_new_export_replaces_our_models_and_no_others(
    made: RandomBundle, repository: Path, tmp_path: Path
) -> None:
    directory = tmp_path / "served"
    shutil.copytree(repository, directory)
    (directory / "net_window" / "1" / "stale").write_text("")
    other = directory / "other"
    (other / "1").mkdir(parents=True)
    (other / "config.pbtxt").write_text('name: "other"')
    write_repository(made.bundle, directory, Serving(max_batch=4))
    assert not (directory / "net_window" / "1" / "stale").exists()
    assert read_config(directory / "net_window").max_batch_size == 4
    assert (other / "config.pbtxt").read_text() == 'name: "other"'
    assert not [p for p in directory.iterdir() if p.name.startswith(".")]


def test_a_foreign_model_is_not_replaced(made: RandomBundle, tmp_path: Path) -> None:
    foreign = tmp_path / "net_window"
    foreign.mkdir()
    (foreign / "config.pbtxt").write_text('name: "net_window"')
    with pytest.raises(OutputError, match="net_window exists and was not written by vp3d-export"):
        write_repository(made.bundle, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["net_window"]


def test_a_configuration_that_does_not_fit_its_model_is_told(
    made: RandomBundle, repository: Path, tmp_path: Path
) -> None:
    """The simulation itself can fail: with the batch in a state's dims, or a state left out."""
    if not stream_state_shapes(made.bundle.networks, 0):
        pytest.skip("this network keeps no state")
    model = tmp_path / "net_stream_lag0"
    shutil.copytree(repository / model.name, model)
    config = read_config(model)
    batched = model_config_pb2.ModelConfig()
    batched.CopyFrom(config)
    batched.sequence_batching.state[0].dims.insert(0, 1)
    del config.sequence_batching.state[0]
    for wrong in (batched, config):
        (model / "config.pbtxt").write_text(text_format.MessageToString(wrong))
        with pytest.raises(ServerError):
            Model(model)
