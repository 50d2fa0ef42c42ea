"""TensorRT on real hardware: built from the demo checkpoint, read back, and run in every form."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gpu.answers import LIMITS_MM, Truth, distance_mm, stream_distance_mm
from gpu.hardware import REHEARSED, skip_module_without_gpu

from vp3d_deploy import Lifter
from vp3d_deploy.bundle import Bundle, BundleError
from vp3d_deploy.engines import open_engine
from vp3d_deploy.engines.tensorrt import TensorRTEngine
from vp3d_deploy.engines.tensorrt_api import TensorRTError, version_numbers
from vp3d_export.tensorrt.engines import EngineReport
from vp3d_export.tensorrt.inspection import layers_of, precision_problem
from vp3d_export.tensorrt.options import EngineOptions, Span
from vp3d_export.tensorrt.resume import resume_engines

skip_module_without_gpu(rehearsable=True)
pytestmark = pytest.mark.gpu

# Profiles that tests go beyond on purpose, and streams that share a run of an engine.
OPTIONS = EngineOptions(
    batch=Span(1, 2, 4), frames=Span(1, 32, 64), stream_rows=2, detailed=True
)  # fmt: skip
PRECISIONS = ("fp32", "fp16", "int8")
PEOPLE, FRAMES = 3, 40
# So often that what one engine alone would keep is more than memory fluctuates by.
TIMES_OPENED = 30 if REHEARSED is None else 2


@dataclasses.dataclass(frozen=True)
class Built:
    """A bundle with engines, how they came about, and which TensorRT built them."""

    bundle: Bundle
    report: EngineReport
    version: str

    def precision(self, name: str) -> str:
        """Skips where this TensorRT has no engines of the precision, saying so."""
        if name == "int8" and version_numbers(self.version) < (10,):
            pytest.skip(f"TensorRT {self.version} reads no weights of 8 bits")
        return name


@pytest.fixture(scope="session")
def built(trt: Any, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Built:
    path = tmp_path_factory.mktemp("engines") / "demo.vp3d"
    shutil.copytree(demo, path)
    report = resume_engines(path, OPTIONS)
    assert report.absent is None
    return Built(Bundle.open(path), report, trt.__version__)


@pytest.fixture(scope="session")
def truth(built: Built) -> Truth:
    return Truth.of(built.bundle, PEOPLE, FRAMES)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_an_engine_was_built_for_every_graph(built: Built, precision: str) -> None:
    built.precision(precision)
    graphs = {(g.form, g.lag) for g in built.bundle.graphs if g.precision == precision}
    failures = [text for text in built.report.failures if f".{precision}." in text]
    assert failures == []
    found = {(e.form, e.lag) for e in built.bundle.engines if e.precision == precision}
    assert found == graphs
    assert len(graphs) == 5


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_engine_was_compared_with_pytorch_in_millimetres(
    built: Built, precision: str
) -> None:
    built.precision(precision)
    rows = [row for row in built.report.rows if row.precision == precision]
    assert {(row.form, row.lag) for row in rows} == {
        (e.form, e.lag) for e in built.bundle.engines if e.precision == precision
    }
    for row in rows:
        print(f"{row.form} {row.lag} {precision}: mean {row.mean_distance:.5f} mm, "
              f"largest {row.max_distance:.5f} mm")  # fmt: skip
        assert row.passed
        assert 0 < row.mean_distance <= LIMITS_MM[precision]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_builders_precision_is_read_back(built: Built, precision: str) -> None:
    built.precision(precision)
    for entry in built.bundle.engines:
        if entry.precision != precision:
            continue
        file = built.bundle.path / f"{entry.file}.inspector.json"
        layers = layers_of(file.read_text("utf-8"))
        plan = (built.bundle.path / entry.file).stat().st_size
        weights = (built.bundle.path / f"weights.{precision}.safetensors").stat().st_size
        assert precision_problem(layers, precision, plan, weights) is None
        assert entry.details["layers"] == [layer.to_list() for layer in layers]


def test_the_manifest_says_what_engines_were_built_for(built: Built) -> None:
    from vp3d_deploy.engines.gpu import open_gpu

    gpu = open_gpu()
    for entry in built.bundle.engines:
        assert (entry.gpu, entry.compute_capability) == (gpu.name, gpu.compute_capability)
        assert entry.tensorrt == built.version
        assert entry.details["driver"]
        assert entry.details["build_seconds"] >= 0
        if entry.form != "stream":
            smallest, likeliest, largest = entry.details["profile"]["keypoints"]
            assert smallest[0] == 1
            assert largest[0] >= likeliest[0]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_windows_of_any_number_answer_as_the_definition(
    built: Built, truth: Truth, precision: str
) -> None:
    """One, the profile's likeliest, its largest, and more than fit into one run."""
    engine = open_engine(built.bundle, "tensorrt", built.precision(precision))
    lookahead = built.bundle.spec.lookahead
    # The same number again and again: the third run is a captured graph's.
    for count in (1, 2, 4, 4, 4, 4, 9, 1):
        frames = [(5 * index) % FRAMES for index in range(count)]
        windows = np.concatenate([truth.windows(frame)[:1] for frame in frames])
        expected = np.concatenate([truth.live(frame, lookahead)[:1] for frame in frames])
        assert distance_mm(engine.window(windows).pose, expected) < LIMITS_MM[precision]
    engine.close()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("n_frames", [1, 31, 64, 150])
def test_clips_of_any_length_answer_as_the_definition(
    built: Built, n_frames: int, precision: str
) -> None:
    """Lengths within the profile other than the likeliest, and beyond it."""
    truth = Truth.of(built.bundle, 2, n_frames)
    engine = open_engine(built.bundle, "tensorrt", built.precision(precision))
    found = engine.sequence(truth.padded()).pose
    assert found.shape[:2] == (2, n_frames)
    for frame in {0, n_frames // 2, n_frames - 1}:
        expected = truth.live(frame, built.bundle.spec.lookahead)
        assert distance_mm(found[:, frame], expected) < LIMITS_MM[precision]
    engine.close()


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("lag", [0, 5, 13])
def test_chained_streams_answer_as_the_definition(
    built: Built, truth: Truth, lag: int, precision: str
) -> None:
    engine = open_engine(built.bundle, "tensorrt", built.precision(precision))
    frames = {0, 1, 2, 11, 26, 27, 28, FRAMES - 1}
    assert stream_distance_mm(engine, truth, lag, frames) < LIMITS_MM[precision]
    engine.close()


@pytest.mark.parametrize("graphs", [True, False])
def test_people_come_and_go(built: Built, truth: Truth, graphs: bool) -> None:
    """Those who stay have the answers that they have alone; who comes back begins anew."""
    engine = open_engine(built.bundle, "tensorrt", "fp32", graphs=graphs)
    alone = [_alone(engine, truth, person, 30) for person in range(PEOPLE)]
    stream = engine.open_stream(0)
    stream.add_rows(2)
    present, begun = [0, 1], {0: 0, 1: 0}
    for frame in range(30):
        if frame == 7:
            stream.remove_rows([0])
            present = [1]
        if frame == 12:
            stream.add_rows(2)
            present, begun[2], begun[0] = [1, 2, 0], 12, 12
        shown = np.stack([truth.clips[p, frame - begun[p]] for p in present])
        pose = stream.step(shown).pose
        for row, person in enumerate(present):
            expected = alone[person][frame - begun[person]]
            np.testing.assert_allclose(pose[row], expected, rtol=0, atol=1e-6)
    engine.close()


def _alone(engine: Any, truth: Truth, person: int, n_frames: int) -> list[np.ndarray]:
    stream = engine.open_stream(0)
    stream.add_rows(1)
    shown = truth.clips[person : person + 1]
    answers = [
        stream.step(np.ascontiguousarray(shown[:, f])).pose[0].copy() for f in range(n_frames)
    ]
    stream.close()
    return answers


@pytest.mark.parametrize("precision", PRECISIONS)
def test_captured_graphs_change_no_answer(built: Built, truth: Truth, precision: str) -> None:
    built.precision(precision)
    with_graphs = open_engine(built.bundle, "tensorrt", precision, timings=True)
    without = open_engine(built.bundle, "tensorrt", precision, graphs=False)
    for frame in range(6):
        windows = truth.windows(frame)
        np.testing.assert_array_equal(
            with_graphs.window(windows).pose, without.window(windows).pose
        )
        assert with_graphs.gpu_ms > 0  # type: ignore[attr-defined]
    for person in range(2):
        np.testing.assert_array_equal(
            _alone(with_graphs, truth, person, 12), _alone(without, truth, person, 12)
        )
    runner = next(iter(with_graphs._runners.values()))  # type: ignore[attr-defined]
    assert runner._repeated.problem is None, "the steady state was not captured"
    with_graphs.close()
    without.close()


def test_a_live_stream_of_pixels_answers_as_onnx_runtime(built: Built) -> None:
    """The whole runtime around the engine: people, gaps, flush."""
    rng = np.random.default_rng(0)
    walk = np.cumsum(rng.normal(0, 2, (40, 17, 2)), 0) + rng.uniform(300, 700, (17, 2))
    found = []
    for engine in ("tensorrt", "onnx"):
        lifter = Lifter.open(built.bundle.path, engine, "fp32")
        with lifter.stream((1280, 720), lag=5) as stream:
            poses = [stream.push(frame) for frame in walk]
            answers = [p.joints_m for p in poses if p is not None]
            rest = stream.flush()
        answers += [rest.joints_m] if hasattr(rest, "joints_m") else [r.joints_m for r in rest]
        found.append(np.concatenate([np.reshape(a, (-1, 17, 3)) for a in answers]))
        lifter.engine.close()
    assert len(found[0]) == 40
    assert distance_mm(found[0], found[1]) < LIMITS_MM["fp32"]


def test_an_engine_of_another_version_or_gpu_is_refused_by_name(built: Built) -> None:
    entry = next(e for e in built.bundle.engines if (e.form, e.precision) == ("window", "fp32"))
    for change, words in (
        ({"tensorrt": "7.0.0"}, "built by TensorRT 7.0.0, and this is TensorRT"),
        ({"gpu": "Riva 128"}, "built on a GPU Riva 128"),
        ({"compute_capability": "1.0"}, "of compute capability 1.0"),
    ):
        other = dataclasses.replace(entry, **change)
        bundle = dataclasses.replace(built.bundle, engines=(other,))
        with pytest.raises(BundleError, match=words):
            TensorRTEngine(bundle, "fp32")


def test_a_damaged_plan_is_refused_by_tensorrt_and_we_say_so(built: Built, tmp_path: Path) -> None:
    path = tmp_path / "damaged.vp3d"
    shutil.copytree(built.bundle.path, path)
    entry = next(e for e in built.bundle.engines if (e.form, e.precision) == ("window", "fp32"))
    plan = (path / entry.file).read_bytes()
    (path / entry.file).write_bytes(bytes(200) + plan[200:])
    engine = TensorRTEngine(Bundle.open(path, verify=False), "fp32")
    with pytest.raises(TensorRTError, match="does not load"):
        engine.window(np.zeros((1, 27, 17, 2), np.float32))
    engine.close()


def test_closing_gives_all_memory_back(built: Built, truth: Truth, memory_comes_back: Any) -> None:
    def use() -> None:
        engine = open_engine(built.bundle, "tensorrt", "fp16")
        engine.window(truth.windows(3))
        engine.sequence(truth.padded())
        stream = engine.open_stream(0)
        stream.add_rows(5)
        for frame in range(6):
            stream.step(np.ascontiguousarray(truth.clips[[0, 1, 2, 0, 1], frame]))
        engine.close()

    use()
    with memory_comes_back():
        for _ in range(TIMES_OPENED):
            use()


def test_threads_have_their_own_answers(built: Built, truth: Truth) -> None:
    engine = open_engine(built.bundle, "tensorrt", "fp32")
    expected = [engine.window(truth.windows(frame)).pose for frame in range(4)]
    wrong: list[str] = []

    def work(number: int) -> None:
        try:
            for turn in range(20):
                frame = (number + turn) % 4
                found = engine.window(truth.windows(frame)).pose
                if not np.array_equal(found, expected[frame]):
                    wrong.append(f"thread {number}, turn {turn}: another answer")
        except Exception as error:  # told by the thread that waits
            wrong.append(f"thread {number}: {error!r}")

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    engine.close()


def test_pytorch_in_the_same_process_is_left_alone(built: Built, truth: Truth) -> None:
    torch = pytest.importorskip("torch", reason="needs PyTorch")
    if not torch.cuda.is_available():
        pytest.skip("needs a PyTorch that sees the GPU")
    before = torch.arange(1 << 20, device="cuda", dtype=torch.float64)
    total = before.sum().item()
    engine = open_engine(built.bundle, "tensorrt", "fp32")
    alone = engine.window(truth.windows(2)).pose
    for _ in range(5):
        product = torch.ones(512, 512, device="cuda") @ torch.ones(512, 512, device="cuda")
        np.testing.assert_array_equal(engine.window(truth.windows(2)).pose, alone)
        assert product[0, 0].item() == 512
    engine.close()
    assert before.sum().item() == total
    assert (torch.ones(8, device="cuda") * 2).sum().item() == 16


def test_the_cuda_engine_in_the_same_process_is_left_alone(built: Built, truth: Truth) -> None:
    """Both answer in turns as each does alone, and whichever is closed first, the other goes on."""
    try:
        ours = open_engine(built.bundle, "cuda", "fp32")
    except ImportError as error:
        pytest.skip(f"needs the CUDA engine: {error}")
    theirs = open_engine(built.bundle, "tensorrt", "fp32")
    expected = [[_alone(engine, truth, 0, 8), engine.window(truth.windows(2)).pose]
                for engine in (ours, theirs)]  # fmt: skip
    engines, streams = [ours, theirs], [ours.open_stream(0), theirs.open_stream(0)]
    for stream in streams:
        stream.add_rows(1)
    for frame in range(8):
        shown = np.ascontiguousarray(truth.clips[:1, frame])
        for engine, stream, (live, window) in zip(engines, streams, expected, strict=True):
            np.testing.assert_array_equal(stream.step(shown).pose[0], live[frame])
            np.testing.assert_array_equal(engine.window(truth.windows(2)).pose, window)
    theirs.close()
    np.testing.assert_array_equal(ours.window(truth.windows(2)).pose, expected[0][1])
    again = open_engine(built.bundle, "tensorrt", "fp32")
    ours.close()
    np.testing.assert_array_equal(again.window(truth.windows(2)).pose, expected[1][1])
    again.close()


def test_auto_takes_tensorrt_where_its_engines_run(built: Built) -> None:
    engine = open_engine(built.bundle)
    assert (engine.name, engine.precision) == ("tensorrt", "fp16")
    engine.close()


def test_engines_are_built_again_in_place(built: Built, tmp_path: Path) -> None:
    """`--resume-engines` on a bundle that has some: the same files, and one comparison of each."""
    path = tmp_path / "again.vp3d"
    shutil.copytree(built.bundle.path, path)
    report = resume_engines(path, OPTIONS)
    again = Bundle.open(path)
    assert {e.file for e in again.engines} == {e.file for e in built.bundle.engines}
    rows = json.loads((path / "parity.json").read_text("utf-8"))["rows"]
    named = [row["engine_file"] for row in rows if row.get("engine_file")]
    assert sorted(named) == sorted(e.file for e in again.engines)
    assert len(report.built) == len(again.engines)


def test_an_export_builds_engines_by_itself(trt: Any, tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="exporting needs PyTorch")
    from gpu.conftest import DEMO

    from vp3d_export.cli import main

    path = tmp_path / "window.vp3d"
    arguments = ["--ckpt", str(DEMO), "--fp16", "--forms", "window", "--out", str(path)]
    assert main(arguments) == 0
    assert {e.precision for e in Bundle.open(path).engines} == {"fp32", "fp16"}
