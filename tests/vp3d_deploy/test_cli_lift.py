"""The command vp3d-lift, from arguments to files, on a small bundle of random weights."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from bundles import random_bundle
from bvh_reader import read_bvh
from pose_samples import make_poses, project_px

from vp3d_deploy import Lifter
from vp3d_deploy.cli_lift import main
from vp3d_deploy.poses import Poses
from vp3d_deploy.spec import ModelSpec

SPEC = ModelSpec((3, 3), 8)
LIMIT_BYTES = 3000


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "small.vp3d"
    random_bundle(path, SPEC, trajectory=True, lags=(0, 2))
    return path


@pytest.fixture
def keypoints(tmp_path):
    """A file of two people over 20 frames that carries everything there is to say."""
    points = project_px(make_poses(20, n_people=2))
    path = tmp_path / "in.npz"
    np.savez(path, keypoints_px=points, image_size=[1000, 1000], fps=50, skeleton="h36m17")
    return path


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_every_format_out(capsys, bundle, keypoints, tmp_path):
    outs = [tmp_path / f"out{suffix}" for suffix in (".npz", ".json", ".csv", ".bvh")]
    options = [option for out in outs for option in ("-o", out)]
    code, out, err = run(capsys, bundle, keypoints, *options)
    assert (code, err) == (0, "")
    assert "2 people, 20 frames at 50 frames/s, 1000x1000, h36m17 (named in the file)" in out
    assert [line for line in out.splitlines() if line.startswith("wrote")] == [
        f"wrote {tmp_path / name}"
        for name in ("out.npz", "out.json", "out.csv", "out_0.bvh", "out_1.bvh")
    ]
    poses = Poses.load(outs[0])
    with np.load(keypoints) as file, Lifter.open(bundle) as lifter:
        expected = lifter.lift(file["keypoints_px"], (1000, 1000))
    np.testing.assert_allclose(poses.joints_m, expected.joints_m, rtol=0, atol=1e-6)
    np.testing.assert_allclose(poses.trajectory_m, expected.trajectory_m, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(Poses.load(outs[1]).joints_m, poses.joints_m)
    assert len(read_bvh(tmp_path / "out_1.bvh").motion) == 20
    assert len(outs[2].read_text().splitlines()) == 1 + 2 * 20 * 17


def test_json_summary(capsys, bundle, keypoints, tmp_path):
    code, out, _ = run(capsys, bundle, keypoints, "-o", tmp_path / "x.npz", "--json", "--lag", 2)
    summary = json.loads(out)
    assert code == 0
    assert summary["people"] == 2
    assert summary["frames"] == 20
    assert summary["lag"] == 2
    assert summary["engine"] == "native"
    assert summary["precision"] == "fp32"
    assert summary["trajectory"] is True
    assert summary["written"] == [str(tmp_path / "x.npz")]


def test_live_equals_the_stream_and_flip_the_flipped(capsys, bundle, keypoints, tmp_path):
    assert run(capsys, bundle, keypoints, "-o", tmp_path / "live.npz", "--live")[0] == 0
    assert run(capsys, bundle, keypoints, "-o", tmp_path / "flip.npz", "--flip")[0] == 0
    with np.load(keypoints) as file, Lifter.open(bundle) as lifter:
        points = file["keypoints_px"]
        flipped = lifter.lift(points, (1000, 1000), flip=True)
        with lifter.stream((1000, 1000), lag=0) as stream:
            answers = [stream.push({0: points[0, t], 1: points[1, t]}) for t in range(20)]
    live = Poses.load(tmp_path / "live.npz")
    expected = np.concatenate([answer[1].joints_m for answer in answers])
    np.testing.assert_allclose(live.joints_m[1], expected, rtol=0, atol=1e-6)
    flip = Poses.load(tmp_path / "flip.npz")
    np.testing.assert_allclose(flip.joints_m, flipped.joints_m, rtol=0, atol=1e-6)


def test_builtin_clip_and_pictures(capsys, bundle, tmp_path):
    pytest.importorskip("PIL")
    arguments = (bundle, "builtin:walking", "--frames", 24, "--seed", 3)
    code, out, _ = run(capsys, *arguments, "-o", tmp_path / "x.npz", "--render", tmp_path / "x.png")
    assert code == 0
    assert "builtin:walking: 1 person, 24 frames at 50 frames/s, 1000x" in out
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    first = Poses.load(tmp_path / "x.npz").joints_m
    assert run(capsys, *arguments[:-1], 4, "-o", tmp_path / "x.npz")[0] == 0
    assert (Poses.load(tmp_path / "x.npz").joints_m != first).any()


def test_a_picture_of_live_poses_at_another_rate(capsys, bundle, keypoints, tmp_path):
    pytest.importorskip("PIL")
    code, _, err = run(
        capsys, bundle, keypoints, "--fps", 30, "--lag", 2, "--render", tmp_path / "x.gif"
    )
    assert (code, err) == (0, "")
    assert (tmp_path / "x.gif").read_bytes().startswith(b"GIF89a")


def test_options_about_the_input(capsys, bundle, tmp_path):
    points = project_px(make_poses(6))
    np.save(tmp_path / "k.npy", points)
    out = tmp_path / "x.npz"
    code, _, err = run(capsys, bundle, tmp_path / "k.npy", "-o", out)
    assert code == 1
    assert err == (
        f"vp3d-lift: {tmp_path / 'k.npy'}: the file does not say how large the video's image is; "
        "pass --image-size WIDTHxHEIGHT\n"
    )
    code, text, _ = run(capsys, bundle, tmp_path / "k.npy", "-o", out, "--image-size", "1000x1000")
    assert code == 0
    assert "frames at 50 frames/s assumed" in text
    assert "h36m17 (judged by the keypoints)" in text
    assert Poses.load(out).fps == 50
    code, text, _ = run(
        capsys, bundle, tmp_path / "k.npy", "-o", out, "--image-size", "100x100", "--fps", "30"
    )
    assert code == 0
    assert "100% of the joints lie outside an image of 100x100; is --image-size right?" in text
    assert Poses.load(out).fps == 30
    code, text, _ = run(capsys, bundle, tmp_path / "k.npy", "-o", out, "--image-size", "1000x1000",
                        "--skeleton", "coco")  # fmt: skip
    assert code == 0
    assert "coco17 (as given)" in text


def test_choosing_a_video_and_people(capsys, bundle, tmp_path):
    points = project_px(make_poses(8, n_people=2))
    points[1, 5:] = np.nan
    metadata = {"layout_name": "h36m", "video_metadata": {
        name: {"w": 1000, "h": 1000} for name in ("a.mp4", "b.mp4")}}  # fmt: skip
    np.savez(tmp_path / "w.npz", metadata=metadata, positions_2d={
        "a.mp4": {"custom": list(points)}, "b.mp4": {"custom": [points[0][:5]]}})  # fmt: skip
    arguments = (bundle, tmp_path / "w.npz", "-o", tmp_path / "x.npz")
    code, _, err = run(capsys, *arguments)
    assert code == 1
    assert "holds 2 videos: a.mp4, b.mp4; choose one with --clip" in err
    code, _, err = run(capsys, *arguments, "--clip", "c.mp4")
    assert code == 1
    assert "no video 'c.mp4' in it; it holds a.mp4, b.mp4" in err
    assert run(capsys, *arguments, "--clip", "a.mp4")[0] == 0
    poses = Poses.load(tmp_path / "x.npz")
    assert poses.track_ids == (0, 1)
    assert np.isnan(poses.joints_m[1, 5:]).all()
    assert run(capsys, *arguments, "--clip", "a.mp4", "--people", 1)[0] == 0
    assert Poses.load(tmp_path / "x.npz").track_ids == (0,)


def test_a_network_of_another_skeleton_reads_files(capsys, tmp_path):
    spec = ModelSpec((3, 3), 8, joints_in=16, joints_out=16)
    random_bundle(tmp_path / "own.vp3d", spec)
    points = project_px(make_poses(6))[:, :16]
    np.save(tmp_path / "k.npy", points)
    for options in ((), ("--skeleton", "test")):
        code, out, err = run(
            capsys, tmp_path / "own.vp3d", tmp_path / "k.npy", "--image-size", "1000x1000",
            "-o", tmp_path / "x.npz", "-o", tmp_path / "x.bvh", *options,
        )  # fmt: skip
        assert (code, err) == (0, "")
        assert "test (as given)" in out if options else "test (16 joints, as the" in out
    with Lifter.open(tmp_path / "own.vp3d") as lifter:
        expected = lifter.lift(points, (1000, 1000)).joints_m
    np.testing.assert_array_equal(Poses.load(tmp_path / "x.npz").joints_m[0], expected)


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are POSIX")
@pytest.mark.parametrize("name", ["x.npz", "x.csv", "x.gif", "x.mp4"])
def test_a_full_disk_is_told_by_the_name_of_the_output(bundle, tmp_path, name):
    """Stood in for by a limit on the size of files, which is an error of the same kind."""
    pytest.importorskip("PIL")
    if name == "x.mp4":
        pytest.importorskip("imageio_ffmpeg")
    code = (
        "import resource, sys; from vp3d_deploy.cli_lift import main; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({LIMIT_BYTES}, {LIMIT_BYTES})); "
        "sys.exit(main(sys.argv[1:]))"
    )
    option = "-o" if name in ("x.npz", "x.csv") else "--render"
    result = subprocess.run(
        [sys.executable, "-c", code, str(bundle), "builtin:walking", "--frames", "30",
         option, str(tmp_path / name)],
        capture_output=True, text=True, cwd=Path(__file__).resolve().parents[2],
    )  # fmt: skip
    assert result.returncode == 1
    said = [line for line in result.stderr.splitlines() if line.startswith("vp3d-lift: ")]
    assert len(said) == 1
    assert said[0].startswith(f"vp3d-lift: {tmp_path / name}: ")
    assert "File too large" in said[0] or "is the disk full?" in said[0]
    assert ".part" not in said[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{bundle}", "{in}", "-o", "{tmp}/x.fbx"], "x.fbx: cannot write .fbx"),
        (["{bundle}", "{in}", "-o", "{tmp}/no/x.npz"], "the folder"),
        (["{bundle}", "{in}", "-o", "{in}"], "is the input; the output would replace it"),
        (["{bundle}", "{in}", "-o", "{tmp}/x.npz", "-o", "{tmp}/x.npz"], "named twice"),
        (["{bundle}", "{in}", "--render", "{tmp}/x.avi"], "cannot draw .avi"),
        (["{bundle}", "{tmp}/gone.npz", "-o", "{tmp}/x.npz"], "gone.npz: No such file"),
        (["{bundle}", "builtin:flying", "-o", "{tmp}/x.npz"], "flying"),
        (["{tmp}/gone.vp3d", "{in}", "-o", "{tmp}/x.npz"], "gone.vp3d"),
        (["{bundle}", "{in}", "-o", "{tmp}/x.npz", "--engine", "abacus"], "abacus"),
        (["{bundle}", "{in}", "-o", "{tmp}/x.npz", "--lag", "14"], "lag"),
        (
            ["{bundle}", "{in}", "-o", "{tmp}/x.npz", "--lag", "1", "--engine", "onnx"],
            "or open it with the native engine, which streams at any lag",
        ),
        (["{bundle}", "{in}", "-o", "{tmp}/x.npz", "--skeleton", "dog"], "unknown skeleton 'dog'"),
        (["{bundle}", "{in}", "-o", "{tmp}/x.npz", "--skeleton", "halpe26"], "has 26"),
    ],
)
def test_what_goes_wrong_is_one_sentence_and_exit_code_one(
    capsys, bundle, keypoints, tmp_path, arguments, message
):
    values = {"bundle": bundle, "in": keypoints, "tmp": tmp_path}
    code, out, err = run(capsys, *(argument.format(**values) for argument in arguments))
    assert (code, out) == (1, "")
    assert err.startswith("vp3d-lift: ")
    assert message in err
    assert err.count("\n") == 1
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.npz"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write"),
        (["-o", "x.npz", "--flip", "--live"], "--flip needs the whole clip"),
        (["-o", "x.npz", "--image-size", "big"], "'big': expected WIDTHxHEIGHT"),
        (["-o", "x.npz", "--image-size", "0x5"], "expected WIDTHxHEIGHT"),
        (["-o", "x.npz", "--fps", "-3"], "expected a positive number"),
        (["-o", "x.npz", "--people", "0"], "expected a whole number from 1 on"),
        (["-o", "x.npz", "--lag", "-1"], "expected a number of frames from 0 on"),
    ],
)
def test_wrong_usage(capsys, arguments, message):
    with pytest.raises(SystemExit) as caught:
        main(["bundle.vp3d", "in.npz", *arguments])
    assert caught.value.code == 2
    assert message in capsys.readouterr().err


def test_the_command_needs_neither_torch_nor_pillow_to_start():
    code = (
        "import sys, vp3d_deploy.cli_lift as c; c.build_parser(); "
        "bad = {'torch', 'PIL', 'matplotlib', 'imageio_ffmpeg', 'onnx'} & set(sys.modules); "
        "sys.exit(', '.join(sorted(bad)) or 0)"
    )
    root = Path(__file__).resolve().parents[2]
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=root)
    assert result.returncode == 0, result.stderr
