"""vp3d-export --int8, from checkpoint and calibration clips to a bundle that was checked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from checkpoint_files import write_checkpoint
from integer_network import assert_same_answers, integer_live, integer_sequence
from reference import random_parameters

from vp3d_deploy import Bundle, BundleError, Lifter
from vp3d_deploy.bundle import PARITY
from vp3d_deploy.data import save_clip
from vp3d_deploy.data.procedural import make_clip
from vp3d_deploy.engines import CPU_ENGINES, open_engine
from vp3d_deploy.skeleton import H36M_17
from vp3d_deploy.spec import ModelSpec
from vp3d_export import calibration, compare, evaluation
from vp3d_export.bundle_writer import write_manifest
from vp3d_export.cli import main
from vp3d_export.parity import DEFAULT_LIMITS

SPEC = ModelSpec((3, 3), 32)
# Random weights magnify rounding more than trained ones.
LOOSE = ["--int8-mean-distance", "99", "--int8-mpjpe-change", "99"]
DEMO = Path(evaluation.__file__).parent / "assets" / "demo_27f.pth"


@pytest.fixture(autouse=True)
def _short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 80)
    monkeypatch.setattr(compare, "STREAM_ANSWERS", (10, 30))


def export(path: Path, *arguments: str, spec: ModelSpec = SPEC) -> int:
    if not path.exists():
        write_checkpoint(path, "videopose3d", random_parameters(spec, 1), spec=spec)
    return main(["--ckpt", str(path), "--int8", *LOOSE, *arguments])


def own_clip(folder: Path, name: str, action: str = "sitting", seed: int = 5) -> Path:
    """A file as docs/own-data.md describes it."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.npz"
    save_clip(path, make_clip(action, 90, seed))
    return path


def refusal(capsys: pytest.CaptureFixture[str]) -> str:
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    return errors[0]


def test_the_demo_checkpoint_is_within_its_limits(tmp_path: Path) -> None:
    """A trained network at the limits that the command sets by itself."""
    checkpoint = Path(shutil.copyfile(DEMO, tmp_path / "demo.pth"))
    assert main(["--ckpt", str(checkpoint), "--int8", "--no-fp32", "--lag", "0", "full"]) == 0
    bundle = Bundle.open(tmp_path / "demo.vp3d")
    assert bundle.precisions == ("int8",)
    rows = json.loads(bundle.file(PARITY).read_text())["rows"]
    assert {(row["engine"], row["form"]) for row in rows} == {
        (engine, form) for engine in CPU_ENGINES for form in ("window", "sequence", "stream")
    }
    for row in rows:
        assert 0.1 < row["mean_distance"] < DEFAULT_LIMITS["int8"].mean_distance
        assert abs(row["mpjpe_change"]) < DEFAULT_LIMITS["int8"].mpjpe_change


@pytest.mark.parametrize(
    "spec",
    [ModelSpec((3, 5, 3), 16, causal=True), ModelSpec((5, 3), 16, 16, 2, 16), ModelSpec((3,), 16)],
    ids=str,
)
def test_engines_answer_as_the_weights_file_says(spec: ModelSpec, tmp_path: Path) -> None:
    causal = ["--causal"] if spec.causal else []
    assert export(tmp_path / "x.bin", "--lag", "full", *causal, spec=spec) == 0
    bundle = Bundle.open(tmp_path / "x.vp3d")
    tensors = safetensors.numpy.load_file(bundle.file("weights.int8.safetensors"))
    shape = (60, spec.joints_in, spec.features)
    clip = np.random.default_rng(5).normal(0, 0.4, shape).astype(np.float32)
    for name in CPU_ENGINES:
        engine = open_engine(bundle, name, "int8")
        whole = integer_sequence(spec, tensors, "pose", clip[None])
        assert_same_answers(engine.sequence(clip[None]).pose, whole)
        stream = engine.open_stream(spec.lookahead)
        stream.add_rows(1)
        shown = [clip[min(t, len(clip) - 1)][None] for t in range(len(clip) + spec.lookahead)]
        live = [stream.step(frame).pose[0].copy() for frame in shown][spec.lookahead :]
        expected = integer_live(spec, tensors, "pose", clip, spec.lookahead)
        assert_same_answers(np.array(live), expected)


def test_precisions_stand_side_by_side(tmp_path: Path) -> None:
    assert export(tmp_path / "x.bin", "--fp16", "--fp16-mean-distance", "9") == 0
    bundle = Bundle.open(tmp_path / "x.vp3d")
    assert bundle.precisions == ("fp32", "fp16", "int8")
    seeds = f"seeds {calibration.SEED} and {calibration.SEED + 1}"
    assert seeds in bundle.manifest["provenance"]["calibration"]
    for engine in CPU_ENGINES:
        with Lifter.open(tmp_path / "x.vp3d", engine=engine, precision="int8") as lifter:
            poses = lifter.lift(np.full((12, 17, 2), 400.0), image_size=(1000, 1000))
            assert poses.joints_m.shape == (12, 17, 3)


def test_an_export_without_rounding_names_no_calibration(tmp_path: Path) -> None:
    write_checkpoint(tmp_path / "x.bin", "videopose3d", random_parameters(SPEC, 1), spec=SPEC)
    assert main(["--ckpt", str(tmp_path / "x.bin")]) == 0
    assert "calibration" not in Bundle.open(tmp_path / "x.vp3d").manifest["provenance"]


def test_what_it_is_fitted_to_decides_on_the_weights(tmp_path: Path) -> None:
    """Clips, folders and built-in motion; the same twice is the same."""
    sitting = own_clip(tmp_path / "one", "anna_sit")
    own_clip(tmp_path / "data" / "train", "ben_wave", "waving")
    own_clip(tmp_path / "data" / "test", "clara_walk", "walking")
    weights = {}
    for name, places in {
        "built-in": [],
        "clip": [sitting],
        "again": [sitting],
        "folder": [tmp_path / "data"],
    }.items():
        option = ["--calibration", *map(str, places)] if places else []
        assert export(tmp_path / "x.bin", "--forms", "window", *option) == 0
        bundle = Bundle.open(tmp_path / "x.vp3d")
        weights[name] = bundle.file("weights.int8.safetensors").read_bytes()
        title = bundle.manifest["provenance"]["calibration"]
        assert str(tmp_path) not in title
        if places:
            assert title.endswith(f"{places[0].name}: 1 clips, 90 frames")
    assert weights["clip"] == weights["again"]
    assert len(set(weights.values())) == 3


def test_motion_that_is_checked_on_cannot_be_fitted_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Longer, shorter, under another name: the same frames are the same motion."""
    checked = evaluation.built_in_set(SPEC, H36M_17, H36M_17).clips[2]
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 80)
    from vp3d_deploy.data.procedural import make_clips

    for n_frames in (60, 80, 100):
        clip = make_clips(4, n_frames, seed=evaluation.BUILT_IN_SEED)[2]
        assert clip.name == checked.name
        path = tmp_path / f"renamed_{n_frames}.npz"
        save_clip(path, clip)
        assert export(tmp_path / "x.bin", "--calibration", str(path)) == 2
        assert "on which the export is checked" in refusal(capsys)
    assert not (tmp_path / "x.vp3d").exists()


@pytest.mark.parametrize(
    ("place", "message"),
    [
        ("nowhere.npz", "nowhere.npz"),
        ("x.bin", "x.bin"),
        ("empty", "holds neither train/*.npz or test/*.npz"),
        ("only", "has no clip in train"),
    ],
)
def test_calibration_that_is_none(
    place: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    own_clip(tmp_path / "only" / "test", "anna_sit")
    assert export(tmp_path / "x.bin", "--calibration", str(tmp_path / place)) == 2
    assert message in refusal(capsys)
    assert not (tmp_path / "x.vp3d").exists()


def test_beyond_its_limits_nothing_is_written(tmp_path: Path) -> None:
    assert export(tmp_path / "x.bin", "--int8-mean-distance", "0.001") == 1
    assert not (tmp_path / "x.vp3d").exists()


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("int8")
    assert export(folder / "x.bin", "--no-fp32", "--lag", "0") == 0
    return folder / "x.vp3d"


def cut(content: bytes) -> bytes:
    return content[: len(content) // 2]


def with_header(content: bytes, change: dict[str, object]) -> bytes:
    """Another safetensors header of the same length before the same data."""
    size = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + size])
    header["pose.level1.conv.weight"] |= change
    text = json.dumps(header, separators=(",", ":")).encode().ljust(size)
    assert len(text) == size
    return content[:8] + text + content[8 + size :]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "weights.int8.safetensors"),
        (lambda content: b"", "weights.int8.safetensors"),
        (lambda content: with_header(content, {"dtype": "U8"}), "pose.level1.conv.weight"),
        (lambda content: with_header(content, {"shape": [96, 32]}), "pose.level1.conv.weight"),
        (lambda content: with_header(content, {"data_offsets": [0, 1 << 60]}), "weights.int8"),
    ],
    ids=["cut", "empty", "unsigned", "turned", "beyond the end"],
)
def test_a_foreign_weights_file_is_refused(
    damage: object, message: str, exported: Path, tmp_path: Path
) -> None:
    """Though the manifest fits it: whoever made the bundle made that too."""
    bundle = with_weights(exported, tmp_path / "x.vp3d", damage)
    with pytest.raises(BundleError, match=message):
        open_engine(bundle, "native", "int8")


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_steps_that_mean_nothing_are_refused(value: float, exported: Path, tmp_path: Path) -> None:
    def damage(content: bytes) -> bytes:
        tensors = safetensors.numpy.load(content)
        tensors["pose.level1.mix.input_scale"] = np.asarray(value, np.float32)
        return bytes(safetensors.numpy.save(tensors))

    bundle = with_weights(exported, tmp_path / "x.vp3d", damage)
    with pytest.raises(BundleError, match=r"pose\.level1\.mix\.input_scale"):
        open_engine(bundle, "native", "int8")


@pytest.mark.parametrize("damage", [cut, lambda content: b""])
def test_graphs_without_their_weights_are_refused(
    damage: object, exported: Path, tmp_path: Path
) -> None:
    bundle = with_weights(exported, tmp_path / "x.vp3d", damage)
    with pytest.raises(BundleError, match=r"ONNX Runtime cannot load .*window\.int8\.onnx"):
        open_engine(bundle, "onnx", "int8").window(np.zeros((1, 9, 17, 2), np.float32))


def with_weights(exported: Path, path: Path, damage: object) -> Bundle:
    """A bundle whose weights were changed by someone who also wrote its manifest."""
    shutil.copytree(exported, path)
    before = Bundle.open(path)
    weights = path / "weights.int8.safetensors"
    weights.write_bytes(damage(weights.read_bytes()))  # type: ignore[operator]
    skeletons = (before.skeleton_in, before.skeleton_out)
    write_manifest(path, before.networks, *skeletons, before.fps, list(before.graphs), {})
    return Bundle.open(path)
