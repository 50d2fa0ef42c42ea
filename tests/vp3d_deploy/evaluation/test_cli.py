"""The command from end to end, against the network and the averages by definition."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="checkpoints are evaluated in PyTorch")
pytest.importorskip("rich", reason="tables need rich")
pytest.importorskip("matplotlib", reason="pictures need matplotlib")

from bundles import random_bundle  # noqa: E402
from checkpoint_files import write_checkpoint  # noqa: E402
from h36m_files import views_px, write_videopose3d  # noqa: E402
from pose_errors import protocol_of_the_paper  # noqa: E402
from reference import dilated_network, live_answers, padded, random_parameters  # noqa: E402

from vp3d_deploy.camera import world_to_camera  # noqa: E402
from vp3d_deploy.data.h36m_cameras import camera_ids, h36m_camera  # noqa: E402
from vp3d_deploy.data.h36m_videopose3d import KEPT_JOINTS  # noqa: E402
from vp3d_deploy.evaluation.cli import main  # noqa: E402
from vp3d_deploy.spec import ModelSpec  # noqa: E402
from vp3d_export.cli import main as export  # noqa: E402

SPEC = ModelSpec((3, 3), 8)
PARITY_MM = 1e-3  # what the issue asks of float32
ACTIONS = {"Walking": 5, "Walking 1": 9, "WalkDog 1": 4, "Sitting 1": 12}
METRICS = ("mpjpe_mm", "p_mpjpe_mm", "n_mpjpe_mm", "mpjve_mm")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """VideoPose3D's layout with random people; no clip of a subject is as long as another."""
    folder = tmp_path_factory.mktemp("data") / "motion"
    folder.mkdir()
    poses = {
        subject: {action: random_walk(n_frames + index) for action, n_frames in ACTIONS.items()}
        for index, subject in enumerate(("S1", "S9", "S11"))
    }
    keypoints = {s: {a: views_px(w, s) for a, w in own.items()} for s, own in poses.items()}
    return write_videopose3d(folder, poses, keypoints)


def random_walk(n_frames: int) -> np.ndarray:
    rng = np.random.default_rng(n_frames)
    steps = rng.normal(0, 0.02, (n_frames, 32, 3)).cumsum(0)
    return (rng.normal((0, 0, 1), 0.4, (32, 3)) + steps).astype(np.float32)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "net.bin"
    write_checkpoint(path, "videopose3d", random_parameters(SPEC, 1))
    return path


def evaluated(arguments: list[str], folder: Path) -> dict[str, Any]:
    out = folder / "out.json"
    assert main([*arguments, "--json", str(out)]) == 0
    return json.loads(out.read_text("utf-8"))


def clips_of(folder: Path) -> list[tuple[str, np.ndarray, np.ndarray]]:
    """(action, normalised keypoints (T, 17, 2), camera-space pose) straight from the files."""
    stored = np.load(folder / "data_3d_h36m.npz", allow_pickle=True)["positions_3d"].item()
    seen = np.load(folder / "data_2d_h36m_gt.npz", allow_pickle=True)["positions_2d"].item()
    clips = []
    for subject in ("S9", "S11"):
        for action, world in stored[subject].items():
            for view, camera_id in enumerate(camera_ids()):
                camera = h36m_camera(subject, camera_id)
                pose = world_to_camera(world[:, KEPT_JOINTS].astype(np.float64), camera)
                half = camera.width / 2
                middle = np.array([half, camera.height / 2])
                clips.append((action, (seen[subject][action][view] - middle) / half, pose))
    return clips


def check_averages(result: dict[str, Any], clips: list[tuple[str, np.ndarray, np.ndarray]]) -> None:
    per_action, over_actions, over_frames = protocol_of_the_paper(clips)
    for action, expected in per_action.items():
        found = [result["per_action"][action][name] for name in METRICS]
        np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY_MM)
    for key, expected in (("actions", over_actions), ("frames", over_frames)):
        found = [result[key][name] for name in METRICS]
        np.testing.assert_allclose(found, expected, rtol=0, atol=PARITY_MM)


@pytest.mark.parametrize("flip", [False, True])
def test_a_checkpoint_is_evaluated_as_the_original_does(
    flip: bool, checkpoint: Path, data: Path, tmp_path: Path
) -> None:
    arguments = [str(checkpoint), "--data", str(data)]
    found = evaluated(arguments + ["--flip"] * flip, tmp_path)
    tensors = random_parameters(SPEC, 1)
    left, right = [4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]

    def turned(x: np.ndarray) -> np.ndarray:
        out = x.copy()
        out[..., 0] *= -1
        out[:, left + right] = out[:, right + left]
        return out

    expected = []
    for action, keypoints, pose in clips_of(data):
        predicted = dilated_network(SPEC, tensors, padded(SPEC, keypoints))
        if flip:
            other = dilated_network(SPEC, tensors, padded(SPEC, turned(keypoints)))
            predicted = (predicted + turned(other)) / 2
        expected.append((action, predicted, pose))
    (result,) = found["results"]
    assert (result["label"], found["flip"]) == ("PyTorch", flip)
    check_averages(result, expected)
    assert found["data"]["frames"] == sum(len(pose) for _, _, pose in expected)
    assert found["data"]["subjects"] == ["S9", "S11"]
    assert found["model"]["kind"] == "checkpoint"
    # Nothing tells where on this machine things lie.
    assert str(tmp_path) not in json.dumps(found)
    assert found["command"].startswith("vp3d-eval net.bin --data motion")


def test_every_engine_beside_pytorch_at_every_lag(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loose = ["--fp16-mean-distance", "9", "--fp16-mpjpe-change", "9"]
    bundle = tmp_path / "net.vp3d"
    assert export(["--ckpt", str(checkpoint), "--fp16", "--lag", "0", "full", *loose]) == 0
    capsys.readouterr()
    pictures = [tmp_path / "lags.png", tmp_path / "errors.svg"]
    arguments = [str(bundle), "--data", str(data), "--ckpt", str(checkpoint), "--lags"]
    arguments += ["--per-joint", "--plot", str(pictures[0]), "--plot", str(pictures[1])]
    found = evaluated(arguments, tmp_path)
    labels = [result["label"] for result in found["results"]]
    assert labels == ["PyTorch", "native fp32", "native fp16", "onnx fp32", "onnx fp16"]
    tensors = random_parameters(SPEC, 1)
    clips = clips_of(data)
    for lag in range(5):
        expected = [(a, live_answers(SPEC, tensors, k, lag), p) for a, k, p in clips]
        _, over_actions, over_frames = protocol_of_the_paper(expected)
        for result in (found["results"][i] for i in (0, 1, 3)):
            point = result["lags"][lag]
            assert point["lag"] == lag
            for key, values in (("actions", over_actions), ("frames", over_frames)):
                figures = [point[key][name] for name in METRICS]
                np.testing.assert_allclose(figures, values, rtol=0, atol=PARITY_MM)
    forms = [[point["form"] for point in result["lags"]] for result in found["results"]]
    assert forms[1] == ["stream"] * 5
    assert forms[3] == ["stream", "window", "window", "window", "stream"]
    for pair in ((1, 2), (3, 4)):
        single, half = (found["results"][i]["difference"] for i in pair)
        assert single["mean_distance_mm"] < 0.01 < half["mean_distance_mm"]
        assert abs(single["mpjpe_change_mm"]) < PARITY_MM
    assert all(path.stat().st_size > 1000 for path in pictures)

    printed = capsys.readouterr().out
    for word in ("over frames, as MMPose", "over actions, as VideoPose3D", "WalkDog", "onnx fp16",
                 "right_wrist", "buys", f"wrote {pictures[0]}"):  # fmt: skip
        assert word in printed, word


def test_without_its_checkpoint_a_bundle_runs_folded_in_pytorch(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made = random_bundle(tmp_path / "x.vp3d", SPEC, precisions=("fp32", "fp16"))
    arguments = [str(made.bundle.path), "--data", str(data), "--precision", "fp32"]
    assert main([*arguments, "--json", "-", "--actions", "walking", "--max-frames", "40"]) == 0
    found = json.loads(capsys.readouterr().out)
    labels = [result["label"] for result in found["results"]]
    assert labels == ["PyTorch, folded weights", "native fp32", "onnx fp32"]
    assert found["data"]["actions"] == ["Walking"]
    assert found["data"]["frames"] == pytest.approx(40, abs=8)

    arguments = [str(made.bundle.path), "--data", str(data), "--engine", "pytorch"]
    assert [r["label"] for r in evaluated(arguments, tmp_path)["results"]] == labels[:1]


def test_half_precision_alone_has_no_pytorch_to_compare_with(data: Path, tmp_path: Path) -> None:
    made = random_bundle(tmp_path / "x.vp3d", SPEC, precisions=("fp16",))
    found = evaluated([str(made.bundle.path), "--data", str(data)], tmp_path)
    assert [result["label"] for result in found["results"]] == ["native fp16", "onnx fp16"]
    (missing,) = found["unavailable"]
    assert missing["label"] == "PyTorch"
    assert "no fp32 weights; give the checkpoint" in missing["reason"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere.bin"], "nowhere.bin does not exist; expected a bundle"),
        (["{net}", "--data", "nowhere"], "nowhere is not a directory"),
        (["{net}", "--keypoints", "cpn"], "data_2d_h36m_cpn_ft_h36m_dbb.npz"),
        (["{net}", "--subjects", "S9", "S3"], "no clip is of subject 'S3'; there are S11, S9"),
        (["{net}", "--actions", "Flying"], "no clip is of action 'Flying'; there are Sitting, "),
        (["{net}", "--lags", "5"], "lag 5 is not possible: a network of 9 frames"),
        (["{net}", "--causal", "--lags", "1"], "a causal network can trail"),
        (["{net}", "--engine", "onnx"], "net.bin is a checkpoint, which runs in PyTorch alone"),
        (["{net}", "--ckpt", "{net}"], "is not a bundle; --ckpt goes with one"),
        (["{net}", "--input-skeleton", "halpe26"], "halpe26 has 26 joints, the network 17"),
        (["{net}", "--output-skeleton", "coco17"], "there is ground truth for 'h36m17' only"),
        (["{net}", "--device", "cuda:77"], "PyTorch has no device 'cuda:77' here"),
        (["{net}", "--json", "nowhere/x.json"], "nowhere"),
        (["{net}", "--plot", "x.jpg"], "pictures are .png, .svg, .pdf"),
        (["{net}", "--plot", "a.png", "--json", "a.png"], "named twice as an output"),
        (
            ["{bundle}", "--engine", "warp"],
            "engine 'warp' is not known; choose from pytorch, tensorrt, cuda, native, onnx",
        ),
        (["{bundle}", "--precision", "fp16"], "x.vp3d has no fp16; it holds fp32"),
        (["{bundle}", "--ckpt", "{net}"], "was not exported from"),
        (["{bundle}", "--causal"], "is a bundle, which says itself"),
        (["{data}"], "holds no manifest.json"),
    ],
)
def test_bad_input_gets_one_sentence(
    arguments: list[str],
    message: str,
    checkpoint: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    places = {"net": checkpoint, "data": data, "bundle": tmp_path / "x.vp3d"}
    if "{bundle}" in arguments:
        random_bundle(places["bundle"], SPEC)
    before = sorted(tmp_path.iterdir())
    given = [word.format_map(places) for word in arguments]
    assert main([*given] if "--data" in given else [*given, "--data", str(data)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("vp3d-eval: error: ")
    assert message in line
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--data"),
        (["--data", "x", "--lags", "some"], "'some' is not a number of frames, nor"),
        (["--data", "x", "--plot", "a.png", "--plot", "b.png"], "there is one picture"),
        (["--data", "x", "--device", "gpu"], "expected cpu, cuda or cuda:N"),
        (["--data", "x", "--max-frames", "0"], "a whole number from 1 on"),
    ],
)
def test_wrong_usage(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["x.vp3d", *arguments])
    assert message in capsys.readouterr().err


def test_networks_of_other_joints_need_names(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = ModelSpec((3, 3), 8, joints_in=16)
    path = tmp_path / "other.bin"
    write_checkpoint(path, "videopose3d", random_parameters(spec, 1))
    assert main([str(path), "--data", str(data)]) == 2
    error = capsys.readouterr().err
    assert "the network's input has 16 joints, and nothing says which" in error
    assert "--input-skeleton" in error


def test_what_the_figures_may_hide_is_said(
    checkpoint: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [str(checkpoint), "--data", str(data), "--input-skeleton", "coco17"]
    found = evaluated(arguments, tmp_path)
    (note,) = found["notes"]
    assert "say nothing of left_ear" in note
    assert "note: the keypoints say nothing" in capsys.readouterr().out
