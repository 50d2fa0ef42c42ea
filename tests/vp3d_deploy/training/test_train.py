"""vp3d-train as a user runs it: whole runs, killed and resumed ones, two processes, bad input."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from reference import dilated_network

torch = pytest.importorskip("torch", reason="training needs PyTorch")
pytest.importorskip("lightning", reason="training needs Lightning")

from vp3d_deploy.bundle import Bundle  # noqa: E402
from vp3d_deploy.camera import normalize_screen  # noqa: E402
from vp3d_deploy.data import load_own, save_clip  # noqa: E402
from vp3d_deploy.data.procedural import make_clips  # noqa: E402
from vp3d_deploy.evaluation.errors import average_errors, clip_errors  # noqa: E402
from vp3d_deploy.skeleton import H36M_17, get_skeleton  # noqa: E402
from vp3d_deploy.training import trainer as trainer_module  # noqa: E402
from vp3d_deploy.training.cli_train import is_first_process, main  # noqa: E402
from vp3d_deploy.training.presets import PRESETS  # noqa: E402
from vp3d_export.checkpoint import load_checkpoint  # noqa: E402
from vp3d_export.exporter import export_bundle  # noqa: E402
from vp3d_export.options import ExportOptions  # noqa: E402

SMALL = ["--channels", "16", "--threads", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six training clips of three people and two test clips, as users' own data."""
    folder = tmp_path_factory.mktemp("data")
    for part, seed, count in (("train", 1, 6), ("test", 9, 2)):
        (folder / part).mkdir()
        for number, clip in enumerate(make_clips(count, 60 + 5 * count, seed=seed)):
            named = replace(clip, subject=f"P{number % 3}", action=f"Move {number}")
            save_clip(folder / part / f"P{number % 3}_{number}.npz", named)
    return folder


def run(data: Path, out: Path, *words: str, preset: str = "h36m-27f") -> int:
    return main([preset, "--data", str(data), "--out", str(out), *SMALL, *words])


def weights(out: Path) -> dict[str, torch.Tensor]:
    return torch.load(out / "checkpoint.pth", weights_only=True)["pose"]


def test_a_run_ends_in_a_checkpoint_that_exports_and_results_that_hold(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--epochs", "3", "--batch-size", "64") == 0
    assert {path.name for path in out.iterdir()} >= {
        "run.json", "checkpoint.pth", "last.ckpt", "results.json", "curves.png", "logs",
        "tensorboard",
    }  # fmt: skip
    results = json.loads((out / "results.json").read_text())
    assert results["settings"]["channels"] == 16
    assert results["preset"] == "h36m-27f"
    assert results["data"]["labelled"] == {
        "subjects": ["P0", "P1", "P2"],
        "clips": 6,
        "frames": 540,
    }
    assert [epoch["epoch"] for epoch in results["epochs"]] == [0, 1, 2]
    losses = [epoch["train/pose"] for epoch in results["epochs"]]
    assert losses[2] < losses[0]

    # The recorded errors are those of the checkpoint, lifted here window by window.
    checkpoint = load_checkpoint(out / "checkpoint.pth")
    assert checkpoint.meta["preset"] == "h36m-27f"
    assert checkpoint.meta["fps"] == 50.0
    rows = [errors_by_windows(clip, out) for clip in load_own(data, "gt", "test")]
    expected = average_errors(rows, H36M_17.joints)
    assert results["errors"]["recorded"]["frames"]["mpjpe_mm"] == pytest.approx(
        expected.frames.mpjpe_mm, abs=1e-3
    )
    assert results["epochs"][2]["test/mpjpe_mm"] == pytest.approx(
        expected.frames.mpjpe_mm, abs=1e-2
    )
    assert f"wrote {out / 'checkpoint.pth'}" in capsys.readouterr().out

    bundle = export_bundle(ExportOptions(out / "checkpoint.pth", lags=(0, "full")))
    assert bundle.passed


def test_a_bundle_knows_the_frame_rate_and_joints_that_its_network_was_trained_on(
    tmp_path: Path,
) -> None:
    (tmp_path / "data" / "train").mkdir(parents=True)
    clip = make_clips(1, 80, seed=4)[0]
    coco = replace(clip, fps=25.0, keypoint_skeleton=get_skeleton("coco17"))
    save_clip(tmp_path / "data" / "train" / "P0.npz", coco)
    out = tmp_path / "run"
    words = ("--epochs", "1", "--check-every", "0", "--batch-size", "40")
    assert run(tmp_path / "data", out, *words) == 0
    export_bundle(ExportOptions(out / "checkpoint.pth", forms=("window",)))
    bundle = Bundle.open(out / "checkpoint.vp3d")
    assert (bundle.fps, bundle.skeleton_in.name) == (25.0, "coco17")
    named = ExportOptions(out / "checkpoint.pth", out=tmp_path / "named.vp3d", fps=30.0)
    export_bundle(replace(named, forms=("window",), input_skeleton="h36m17"))
    bundle = Bundle.open(tmp_path / "named.vp3d")
    assert (bundle.fps, bundle.skeleton_in.name) == (30.0, "h36m17")


def errors_by_windows(clip, out: Path):
    from vp3d_deploy.spec import ModelSpec
    from vp3d_deploy.training.networks import TemporalModelStrided

    network = TemporalModelStrided(ModelSpec((3, 3, 3), 16))
    network.load_state_dict(weights(out))
    points = normalize_screen(clip.keypoints_px, clip.image_size)
    windows = [
        [points[min(max(t + o, 0), len(points) - 1)] for o in range(-13, 14)]
        for t in range(len(points))
    ]
    with torch.no_grad():
        poses = network.eval()(torch.tensor(np.array(windows))).numpy()
    return clip_errors(poses, clip.pose_m - clip.pose_m[:, :1], clip.base_action)


@pytest.mark.parametrize(
    "words",
    [
        ("--chunk", "9", "--flip", "both"),
        ("--views", "--lag-zero", "0.3", "--lag-any", "0.3", "--schedule", "cosine"),
        ("--unlabelled", "P1", "P2", "--unlabelled-batch-size", "64", "--subjects", "P0",
         "--warmup-epochs", "1"),
    ],
    ids=["chunks", "views", "semi-supervised"],
)  # fmt: skip
def test_a_killed_run_resumes_to_the_same_weights(
    words: tuple[str, ...], data: Path, tmp_path: Path
) -> None:
    words = (*words, "--epochs", "4", "--batch-size", "64", "--check-every", "0")
    assert run(data, tmp_path / "whole", *words) == 0
    cut = tmp_path / "cut"
    command = [sys.executable, "-m", "vp3d_deploy.training.cli_train", "h36m-27f"]
    command += ["--data", str(data), "--out", str(cut), *SMALL, *words]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    wait_until(lambda: (cut / "last.ckpt").exists() or process.poll() is not None)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if not (cut / "checkpoint.pth").exists():  # the run may have been too quick to be killed
        assert json.loads((cut / "run.json").read_text())["finished"] is False
        assert run(data, cut, *words, "--resume") == 0
    whole, resumed = weights(tmp_path / "whole"), weights(cut)
    assert whole.keys() == resumed.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    results = json.loads((cut / "results.json").read_text())
    assert [epoch["epoch"] for epoch in results["epochs"]] == [0, 1, 2, 3]


def wait_until(condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "nothing happened for two minutes"
        time.sleep(0.005)


def test_a_run_that_was_killed_before_its_results_gets_them_on_resuming(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vp3d_deploy.training import finish

    def killed(*_: object) -> None:
        raise OSError("killed")

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(finish, "finish_run", killed)
        assert run(data, out, "--epochs", "1", "--check-every", "0") == 2
    before = weights(out)
    assert run(data, out, "--epochs", "1", "--check-every", "0", "--resume") == 0
    after = weights(out)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert json.loads((out / "run.json").read_text())["finished"] is True


def test_the_same_command_gives_the_same_network_and_another_seed_another(
    data: Path, tmp_path: Path
) -> None:
    words = ("--epochs", "1", "--check-every", "0")
    for name, seed in (("a", "5"), ("b", "5"), ("c", "6")):
        assert run(data, tmp_path / name, *words, "--seed", seed) == 0
    a, b, c = (weights(tmp_path / name) for name in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not torch.equal(a["shrink.weight"], c["shrink.weight"])


def test_two_processes_train_one_network(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "vp3d_deploy.training.cli_train", "h36m-27f"]
    command += ["--data", str(data), "--out", str(out), *SMALL, "--epochs", "2"]
    command += ["--accelerator", "cpu", "--devices", "2", "--batch-size", "64"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("epoch 2/2") == 1
    results = json.loads((out / "results.json").read_text())
    assert results["errors"]["recorded"]["frames"]["mpjpe_mm"] > 0


def refused(capsys: pytest.CaptureFixture[str], code: int) -> str:
    assert code == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith("vp3d-train: error: ")
    return lines[-1]


def test_bad_input_gets_one_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert "nowhere is not a directory" in refused(capsys, run(tmp_path / "nowhere", out))
    assert "neither train" in refused(capsys, run(tmp_path, out))
    assert "no S1; its subjects are P0, P1, P2" in refused(
        capsys, run(data, out, "--subjects", "S1")
    )
    assert "keypoints_cpn_px" in refused(capsys, run(data, out, "--keypoints", "cpn"))
    assert "--lr-decay is 2.0" in refused(capsys, run(data, out, "--lr-decay", "2"))
    assert "filter widths must be odd" in refused(capsys, run(data, out, "--widths", "3,4"))
    assert "'3;3', expected odd numbers" in refused(capsys, run(data, out, "--widths", "3;3"))
    assert "no NVIDIA GPU" in refused(capsys, run(data, out, "--accelerator", "gpu"))
    assert "give them: --init" in refused(capsys, run(data, out, "--bn-frozen"))
    assert "holds no run to resume" in refused(capsys, run(data, out, "--resume"))
    assert "S5" in refused(capsys, run(data, out, preset="h36m-27f-semi"))
    assert not out.exists()


def test_a_folder_with_a_run_or_anything_else_is_not_overwritten(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    occupied = tmp_path / "other"
    occupied.mkdir()
    (occupied / "thesis.tex").write_text("...")
    assert "not empty" in refused(capsys, run(data, occupied))
    out = tmp_path / "run"
    words = ("--epochs", "1", "--check-every", "0")
    assert run(data, out, *words) == 0
    before = (out / "checkpoint.pth").read_bytes()
    assert "holds a finished run" in refused(capsys, run(data, out, *words))
    assert "nothing to resume" in refused(capsys, run(data, out, *words, "--resume"))
    assert (out / "checkpoint.pth").read_bytes() == before


def test_resuming_with_other_settings_or_data_is_refused(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--epochs", "1", "--check-every", "0") == 0
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "finished": False}))
    said = refused(capsys, run(data, out, "--epochs", "1", "--resume", "--lr", "0.5"))
    assert "learning_rate 0.001, not 0.5" in said
    record["data"]["sha256"] = "of other frames"
    (out / "run.json").write_text(json.dumps({**record, "finished": False}))
    assert "begun on other data" in refused(capsys, run(data, out, "--epochs", "1", "--resume"))


def test_a_gpu_that_is_too_small_gets_a_sentence(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(trainer_module.lightning.Trainer, "fit", too_small)
    said = refused(capsys, run(data, tmp_path / "run", "--batch-size", "512"))
    assert "too little memory for 512 answers a step; use a smaller --batch-size" in said


def test_the_list_of_presets_names_them_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in PRESETS)
    assert "40.1" in text


def test_help_and_list_need_no_torch() -> None:
    code = (
        "import sys; sys.modules['torch'] = None; sys.modules['lightning'] = None\n"
        "from vp3d_deploy.training.cli_train import main\n"
        "raise SystemExit(main(['--list']))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_a_run_that_diverges_stops_and_leaves_no_checkpoint(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ("--lr", "1e30", "--epochs", "2", "--batch-size", "64", "--check-every", "0")
    said = refused(capsys, run(data, out, *words))
    assert "is not finite: the run diverged" in said
    assert not (out / "checkpoint.pth").exists()


@pytest.mark.parametrize(
    ("environment", "first"),
    [
        ({}, True),
        ({"LOCAL_RANK": "0"}, True),
        ({"LOCAL_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "NODE_RANK": "1"}, False),
        ({"LOCAL_RANK": "0", "GROUP_RANK": "1", "RANK": "2"}, False),
        ({"LOCAL_RANK": "0", "RANK": "0", "GROUP_RANK": "0"}, True),
        ({"SLURM_PROCID": "0", "SLURM_LOCALID": "0"}, True),
        ({"SLURM_PROCID": "3", "SLURM_LOCALID": "0"}, False),
    ],
)
def test_one_process_of_all_keeps_the_folder(environment: dict[str, str], first: bool) -> None:
    assert is_first_process(environment) == first


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stopped_run_says_how_to_go_on(
    number: signal.Signals, data: Path, tmp_path: Path
) -> None:
    words = ("--epochs", "400", "--batch-size", "32", "--check-every", "0")
    out = tmp_path / "run"
    command = [sys.executable, "-m", "vp3d_deploy.training.cli_train", "h36m-27f"]
    command += ["--data", str(data), "--out", str(out), *SMALL, *words]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: (out / "last.ckpt").exists() or process.poll() is not None)
    process.send_signal(number)
    _, said = process.communicate(timeout=120)
    assert process.returncode == 128 + number, said
    assert "add --resume to the command to go on from the last whole epoch" in said
    assert "Traceback" not in said
    assert not (out / "checkpoint.pth").exists()


@pytest.mark.parametrize("content", [b"", b"no checkpoint", "cut", "other network"])
def test_a_damaged_state_is_named(
    content: bytes | str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    words = ("--epochs", "1", "--check-every", "0")
    assert run(data, out, *words) == 0
    record = json.loads((out / "run.json").read_text())
    (out / "run.json").write_text(json.dumps({**record, "finished": False}))
    state = out / "last.ckpt"
    if content == "cut":
        content = state.read_bytes()[:5000]
    elif content == "other network":
        saved = torch.load(state, weights_only=True)
        del saved["state_dict"]["networks.pose.shrink.bias"]
        torch.save(saved, state)
        content = state.read_bytes()
    assert isinstance(content, bytes)
    state.write_bytes(content)
    said = refused(capsys, run(data, out, *words, "--resume"))
    assert "last.ckpt cannot be resumed from" in said
    state.unlink()
    assert run(data, out, *words) == 0


def test_a_run_that_was_refused_or_finished_no_epoch_leaves_its_folder_free(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_small(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    out = tmp_path / "run"
    assert "less than two per batch" in refused(
        capsys, run(data, out, "--batch-size", "2", "--chunk", "2")
    )
    assert not out.exists()
    with monkeypatch.context() as patch:
        patch.setattr(trainer_module.lightning.Trainer, "fit", too_small)
        assert run(data, out, "--epochs", "1") == 2
    assert run(data, out, "--epochs", "1", "--batch-size", "64", "--check-every", "0") == 0


def test_own_data_without_test_clips_is_trained_on_without_a_curve_of_errors(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "train").symlink_to(data / "train")
    out = tmp_path / "run"
    assert run(tmp_path / "data", out, "--epochs", "1") == 0
    assert "has no test clips: training without test errors" in capsys.readouterr().err
    assert json.loads((out / "results.json").read_text())["errors"] == {}


def test_a_full_disk_is_an_error_that_names_the_file(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from vp3d_deploy.training import checkpoint

    def full(*_: object) -> None:
        raise RuntimeError("PytorchStreamWriter failed writing file data/7: file write failed")

    monkeypatch.setattr(checkpoint.torch, "save", full)
    said = refused(capsys, run(data, tmp_path / "run", "--epochs", "1", "--check-every", "0"))
    assert "last.ckpt could not be written; is the disk full?" in said


def test_test_errors_are_shown_for_the_epochs_that_measured_them(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--epochs", "4", "--check-every", "2", "--lag-zero", "1")
    assert run(data, tmp_path / "run", *words) == 0
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("epoch ")]
    assert ["test MPJPE" in line for line in lines] == [False, True, False, True]
    assert ["live at lag 0" in line for line in lines] == [False, True, False, True]


def test_a_semi_supervised_run_tells_how_far_off_the_root_is(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run(data, out, "--epochs", "2", "--batch-size", "64", "--trajectory") == 0
    root_mm = json.loads((out / "results.json").read_text())["errors"]["root_mm"]
    checkpoint = load_checkpoint(out / "checkpoint.pth")
    assert checkpoint.trajectory is not None
    distances = []
    for clip in load_own(data, "gt", "test"):
        points = normalize_screen(clip.keypoints_px, clip.image_size)
        padded = np.concatenate([points[:1]] * 13 + [points] + [points[-1:]] * 13)
        root = dilated_network(checkpoint.trajectory.spec, checkpoint.trajectory.tensors, padded)
        distances.append(np.linalg.norm(root[:, 0] - clip.pose_m[:, 0], axis=-1))
    assert root_mm == pytest.approx(1000 * np.concatenate(distances).mean(), abs=0.05)


def test_the_settings_of_one_preset_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["h36m-27f-semi", "--list"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["--dropout", "0.25"] in lines
    assert ["--unlabelled", "S5", "S6", "S7", "S8"] in lines
    assert ["--bn-momentum", "0.1", "0.1"] in lines
