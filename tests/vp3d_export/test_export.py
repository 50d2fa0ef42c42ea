"""Checkpoint to bundle, end to end, as the command does it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bundles import trajectory_spec
from checkpoint_files import write_checkpoint
from reference import dilated_network, live_answers, padded, random_parameters

from vp3d_deploy import Bundle, Lifter
from vp3d_deploy.bundle import PARITY
from vp3d_deploy.engines import open_engine
from vp3d_deploy.spec import ModelSpec
from vp3d_export import compare, evaluation
from vp3d_export.cli import main
from vp3d_export.options import ExportError
from vp3d_export.prepare import resolve_lags

FAMILIES = ("videopose3d", "mmpose-1.x", "mmpose-0.x", "vp3d-deploy")
SPEC = ModelSpec((3, 3), 16)
# Random weights magnify half precision more than trained ones.
LOOSE = ["--fp16-mean-distance", "5", "--fp16-mpjpe-change", "5"]


@pytest.fixture(autouse=True)
def _short_clips(monkeypatch: pytest.MonkeyPatch) -> None:
    """The comparisons are the same on fewer frames; only the time they take is not."""
    monkeypatch.setattr(evaluation, "BUILT_IN_FRAMES", 80)
    monkeypatch.setattr(compare, "STREAM_ANSWERS", (10, 30))


def make_checkpoint(
    path: Path, spec: ModelSpec = SPEC, family: str = "videopose3d", trajectory: bool = False
) -> dict[str, dict[str, np.ndarray]]:
    parameters = {"pose": random_parameters(spec, 1)}
    if trajectory:
        parameters["trajectory"] = random_parameters(trajectory_spec(spec), 2)
    write_checkpoint(path, family, parameters["pose"], parameters.get("trajectory"), spec=spec)
    return parameters


def clip(spec: ModelSpec, n_frames: int) -> np.ndarray:
    shape = (n_frames, spec.joints_in, spec.features)
    return np.random.default_rng(5).normal(0, 0.4, shape).astype(np.float32)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("trajectory", [False, True])
def test_every_family_gives_the_poses_of_its_network(
    family: str, trajectory: bool, tmp_path: Path
) -> None:
    parameters = make_checkpoint(tmp_path / "x.pth", SPEC, family, trajectory)
    assert main(["--ckpt", str(tmp_path / "x.pth"), "--lag", "0", "full"]) == 0
    bundle = Bundle.open(tmp_path / "x.vp3d")
    assert bundle.spec == SPEC
    assert bundle.has_trajectory == trajectory
    assert bundle.manifest["provenance"]["checkpoint_family"] == family
    keypoints = padded(SPEC, clip(SPEC, 30))
    output = open_engine(bundle).sequence(keypoints[None])
    expected = dilated_network(SPEC, parameters["pose"], keypoints)
    np.testing.assert_allclose(output.pose[0], expected, rtol=0, atol=1e-5)
    if trajectory:
        assert output.trajectory is not None
        expected = dilated_network(trajectory_spec(SPEC), parameters["trajectory"], keypoints)
        np.testing.assert_allclose(output.trajectory[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "spec",
    [
        ModelSpec((3, 5, 3), 16, causal=True),
        ModelSpec((1, 1, 1), 16),
        ModelSpec((5, 3), 16, 16, 2, 16),
    ],
    ids=str,
)
def test_causal_single_frame_and_other_joints(spec: ModelSpec, tmp_path: Path) -> None:
    parameters = make_checkpoint(tmp_path / "x.bin", spec)
    causal = ["--causal"] if spec.causal else []
    arguments = ["--ckpt", str(tmp_path / "x.bin"), "--fp16", *LOOSE, *causal]
    assert main(arguments) == 0
    bundle = Bundle.open(tmp_path / "x.vp3d")
    assert bundle.spec == spec
    assert bundle.precisions == ("fp32", "fp16")
    keypoints = clip(spec, 20)
    stream = open_engine(bundle, precision="fp32").open_stream(0)
    stream.add_rows(1)
    found = np.array([stream.step(frame[None]).pose[0].copy() for frame in keypoints])
    expected = live_answers(spec, parameters["pose"], keypoints, 0)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_the_report_is_kept_and_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_checkpoint(tmp_path / "x.bin", trajectory=True)
    arguments = ["--ckpt", str(tmp_path / "x.bin"), "--fp16", *LOOSE]
    assert main([*arguments, "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    kept = json.loads((tmp_path / "x.vp3d" / PARITY).read_text())
    assert kept["rows"] == printed["rows"]
    assert "built-in procedural motion" in kept["data"]
    forms = {(row["form"], row["precision"]) for row in kept["rows"]}
    assert forms == {(f, p) for f in ("window", "sequence", "stream") for p in ("fp32", "fp16")}
    for row in kept["rows"]:
        assert row["passed"]
        assert row["n_frames"] > 0
        assert row["mpjpe_pytorch"] > 0
        assert row["trajectory_mean_distance"] is not None
        assert row["mpjpe_change"] == pytest.approx(row["mpjpe_engine"] - row["mpjpe_pytorch"])
    # Half precision is told apart from single: a comparison of something with itself would not.
    worst = {p: max(r["mean_distance"] for r in kept["rows"] if r["precision"] == p)
             for p in ("fp32", "fp16")}  # fmt: skip
    assert 0 < worst["fp32"] < 0.01 < worst["fp16"]

    assert main(arguments) == 0
    table = capsys.readouterr().out
    assert "built-in procedural motion" in table.replace("\n", " ")
    assert "stream lag 0" in table


def test_beyond_a_limit_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_checkpoint(tmp_path / "x.bin")
    arguments = ["--ckpt", str(tmp_path / "x.bin"), "--fp32-mean-distance", "1e-9"]
    assert main(arguments) == 1
    printed = capsys.readouterr().out
    assert "mean distance is" in printed
    assert "beyond its limit of 1e-09" in printed
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin"]

    assert main(arguments[:2]) == 0
    before = (tmp_path / "x.vp3d" / "manifest.json").read_bytes()
    assert main(arguments) == 1
    assert (tmp_path / "x.vp3d" / "manifest.json").read_bytes() == before
    Bundle.open(tmp_path / "x.vp3d")


def test_a_network_that_gives_nan_fails(tmp_path: Path) -> None:
    """Weights are finite, their products are not: every comparison must fail, none may pass."""
    spec = ModelSpec((3, 3), 16)
    parameters = random_parameters(spec, 1)
    parameters["levels.1.mix.weight"] = parameters["levels.1.mix.weight"] * np.float32(1e30)
    parameters["levels.1.conv.weight"] = parameters["levels.1.conv.weight"] * np.float32(1e30)
    write_checkpoint(tmp_path / "x.bin", "videopose3d", parameters, spec=spec)
    assert main(["--ckpt", str(tmp_path / "x.bin")]) == 1
    assert not (tmp_path / "x.vp3d").exists()


def test_human36m_of_either_layout(shared_data: Path, tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "x.bin")
    for layout in ("videopose3d", "mmpose"):
        directory = shared_data / "motion" / layout
        arguments = ["--ckpt", str(tmp_path / "x.bin"), "--h36m", str(directory)]
        assert main([*arguments, "--max-frames", "300", "--keypoints", "cpn"]) == 0
        report = json.loads((tmp_path / "x.vp3d" / PARITY).read_text())
        assert "subjects S9 and S11, cpn keypoints" in report["data"]
        assert report["rows"][1]["n_frames"] == pytest.approx(300, abs=20)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--lag", "5"],
            "lag 5 is not possible: a network of 9 frames can trail the camera by 0 to 4",
        ),
        (["--causal", "--lag", "1"], "a causal network can trail"),
        (["--input-skeleton", "coco18"], "coco18"),
        (["--input-skeleton", "halpe26"], "halpe26 has 26 joints, the network 17"),
        (["--h36m", "nowhere"], "nowhere"),
        (["--out", "nowhere/x.vp3d"], "create it first"),
    ],
)
def test_bad_options_get_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_checkpoint(tmp_path / "x.bin")
    assert main(["--ckpt", str(tmp_path / "x.bin"), *arguments]) == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if "error:" in line]
    assert len(errors) == 1
    assert message in errors[0]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--no-fp32"], "--no-fp32 without --fp16 or --int8 leaves nothing to write"),
        (["--calibration", "x.npz"], "--calibration is for --int8 and --fp16"),
        (["--int8", "--int8-mean-distance", "inf"], "must be a distance in mm from 0, not inf"),
        (["--keypoints", "cpn"], "--h36m, which is not given"),
        (["--max-frames", "5"], "--h36m, which is not given"),
        (["--forms", "window", "--lag", "0"], "--forms leaves out"),
        (["--forms", "video"], "choose from window,sequence,stream"),
        (["--fp16-mean-distance", "nan"], "must be a distance in mm from 0, not nan"),
        (["--fp32-mpjpe-change", "-1"], "must be a distance in mm from 0, not -1"),
        (["--fps", "0"], "--fps must be between"),
        (["--lag", "soon"], '"full"'),
    ],
)
def test_options_that_mean_nothing_are_refused(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--ckpt", "x.bin", *arguments])
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


def test_the_table_shows_every_verdict(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The widest there is: a trajectory, a long lag, half precision, and no terminal."""
    spec = ModelSpec((3, 9, 9), 8)
    make_checkpoint(tmp_path / "x.bin", spec, trajectory=True)
    limits = [f"--fp16-{n}" for n in ("mean-distance", "mpjpe-change", "trajectory-distance")]
    loose = [word for limit in limits for word in (limit, "99")]
    assert main(["--ckpt", str(tmp_path / "x.bin"), "--fp16", "--lag", "full", *loose]) == 0
    rows = [line for line in capsys.readouterr().out.splitlines() if " onnx " in line]
    assert len(rows) == 6
    assert all(row.rstrip().endswith("ok") for row in rows)
    assert not any("…" in row for row in rows)
    assert any("stream lag 121" in row for row in rows)


def test_a_file_that_is_no_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.pth").write_text("hello")
    assert main(["--ckpt", str(tmp_path / "x.pth")]) == 2
    assert capsys.readouterr().err.count("error:") == 1


def test_lags_are_sorted_and_named_once() -> None:
    assert resolve_lags(ModelSpec((3, 3), 8), ("full", 0, 2, 4, 0)) == (0, 2, 4)
    with pytest.raises(ExportError, match="lag -1 is not possible"):
        resolve_lags(ModelSpec((3, 3), 8), (-1,))


def run_export(path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "vp3d_export.cli", "--ckpt", str(path), *arguments]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def wait_for(process: subprocess.Popen[bytes], step: bytes) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if step in line:
            return
    raise AssertionError(f"the export ended before {step!r}")


@pytest.mark.parametrize("step", [b"folding", b"fp32 weights", b"sequence fp32", b"publishing"])
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_killed_at_any_moment_it_leaves_the_old_bundle(
    step: bytes, how: signal.Signals, tmp_path: Path
) -> None:
    make_checkpoint(tmp_path / "x.bin")
    assert main(["--ckpt", str(tmp_path / "x.bin")]) == 0
    before = Bundle.open(tmp_path / "x.vp3d").manifest
    process = run_export(tmp_path / "x.bin")
    wait_for(process, step)
    os.kill(process.pid, how)
    process.wait()
    after = Bundle.open(tmp_path / "x.vp3d").manifest
    assert without_time(after) == without_time(before)
    if how == signal.SIGTERM and step != b"publishing":
        assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "x.vp3d"]
    assert main(["--ckpt", str(tmp_path / "x.bin")]) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.bin", "x.vp3d"]


def without_time(manifest: Any) -> dict[str, Any]:
    kept = {**manifest, "provenance": {**manifest["provenance"]}}
    kept["provenance"].pop("created")
    return kept


def test_killed_where_there_was_none_it_leaves_none(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "x.bin")
    process = run_export(tmp_path / "x.bin")
    wait_for(process, b"sequence fp32")
    process.kill()
    process.wait()
    assert not (tmp_path / "x.vp3d").exists()


def test_the_runtime_needs_no_torch(tmp_path: Path) -> None:
    """A process in which torch, onnx and rich cannot be imported lifts with the bundle."""
    make_checkpoint(tmp_path / "x.bin")
    assert main(["--ckpt", str(tmp_path / "x.bin")]) == 0
    code = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'rich', 'scipy', 'PIL'): sys.modules[name] = None\n"
        "import numpy as np\n"
        "from vp3d_deploy import Lifter\n"
        f"with Lifter.open({str(tmp_path / 'x.vp3d')!r}) as lifter:\n"
        "    poses = lifter.lift(np.full((20, 17, 2), 400.0), image_size=(1000, 1000))\n"
        "    with lifter.stream((1000, 1000)) as stream:\n"
        "        live = stream.push(np.full((17, 2), 400.0))\n"
        "print(poses.joints_m.shape, live.joints_m.shape)\n"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "(20, 17, 3) (1, 17, 3)", found.stderr


def test_lifter_on_an_exported_bundle_is_the_network_over_the_padded_clip(tmp_path: Path) -> None:
    parameters = make_checkpoint(tmp_path / "x.bin")
    assert main(["--ckpt", str(tmp_path / "x.bin"), "--lag", "0", "2", "full"]) == 0
    keypoints = clip(SPEC, 50)
    pixels = keypoints.astype(np.float64) * 320 + [320, 240]
    with Lifter.open(tmp_path / "x.vp3d") as lifter:
        found = lifter.lift(pixels, image_size=(640, 480)).joints_m
        whole = dilated_network(SPEC, parameters["pose"], padded(SPEC, keypoints))
        np.testing.assert_allclose(found, whole, rtol=0, atol=1e-5)
        for lag in (0, 2, 4):
            with lifter.stream((640, 480), lag=lag) as stream:
                pushed = [stream.push(frame) for frame in pixels]
                answers = [p for p in pushed if p is not None] + [stream.flush()]
            assert sum(p is None for p in pushed) == lag
            live = np.concatenate([p.joints_m for p in answers])
            defined = live_answers(SPEC, parameters["pose"], keypoints, lag)
            np.testing.assert_allclose(live, defined, rtol=0, atol=1e-5)
            indices = np.concatenate([p.frame_indices for p in answers])
            np.testing.assert_array_equal(indices, np.arange(50))


def test_progress_says_each_step_once(tmp_path: Path) -> None:
    make_checkpoint(tmp_path / "x.bin")
    process = run_export(tmp_path / "x.bin", "--forms", "window")
    assert process.stderr is not None
    lines = process.stderr.read().decode().splitlines()
    assert process.wait() == 0
    assert lines == [
        "reading x.bin",
        "loading motion to check on",
        "folding batch normalisation",
        "writing fp32 weights and graphs",
        "window fp32 on onnx",
        "window fp32 on native",
        "keeping PyTorch's answers for engines that are built later",
        "publishing x.vp3d",
    ]


@pytest.mark.parametrize("package", ["torch", "onnx", "rich"])
def test_without_its_libraries_it_says_what_to_install(package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        "from vp3d_export.entry import main; sys.exit(main())"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.returncode == 2
    assert found.stderr.count("\n") == 1
    assert f"{package} is not installed" in found.stderr
    assert 'pip install "vp3d-deploy[export]"' in found.stderr
