"""Whole pictures and the files they go to."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from pose_samples import lose, make_poses, project_px

from vp3d_deploy.render import RenderError, check_render, make_scene, write_picture
from vp3d_deploy.render.frame import Painter, caption, visible_part
from vp3d_deploy.render.output import _is_whole_mp4, contact_sheet
from vp3d_deploy.render.theme import PALETTES
from vp3d_deploy.skeleton import COCO_WHOLEBODY

pytest.importorskip("PIL")


def scene_of(n_frames: int = 30, n_people: int | None = None, **options):
    poses = make_poses(n_frames, n_people)
    keypoints = project_px(poses)
    defaults = {"source": "walk.mp4", "model": "demo", "lag": None}
    return make_scene(poses, keypoints, (1000, 1000), "h36m17", **{**defaults, **options})


def pixels_near(image: np.ndarray, color: tuple[int, int, int], within: int = 40) -> np.ndarray:
    """(K, 2) positions x, y of the pixels of about this colour."""
    distance = np.abs(image.astype(int) - np.array(color)).max(-1)
    rows, columns = np.nonzero(distance < within)
    return np.stack([columns, rows], axis=-1)


def test_both_panels_show_an_upright_person():
    painter = Painter(scene_of())
    image = painter.frame(10)
    assert image.shape == (640, 1280, 3)
    assert image.dtype == np.uint8
    for left, right in ((0, 560), (560, 1280)):
        panel = image[70:570, left:right]
        limbs = {
            "left": pixels_near(panel, PALETTES[0].left),
            "right": pixels_near(panel, PALETTES[0].right),
            "middle": pixels_near(panel, PALETTES[0].middle, 25),
        }
        assert all(len(found) > 150 for found in limbs.values())
        # The head and spine end higher up than the legs do, which reach the lower part.
        assert limbs["middle"][:, 1].min() < 150
        assert limbs["left"][:, 1].max() > 350
        # Somebody who faces the camera has their left at the right of the picture.
        assert limbs["left"][:, 0].mean() > limbs["right"][:, 0].mean()


def test_frames_do_not_influence_each_other():
    painter = Painter(scene_of())
    first = painter.frame(3)
    other = painter.frame(20)
    assert (first != other).any()
    np.testing.assert_array_equal(painter.frame(3), first)


def test_missing_people_and_joints_are_left_out():
    poses = make_poses(10, n_people=2)
    lose(poses, 0, slice(0, 5))
    lose(poses, 1, slice(0, 10))
    keypoints = project_px(poses)
    keypoints[0, 7, 3:9] = np.nan
    poses.joints_m[0, 7, 3:9] = np.nan
    scene = make_scene(poses, keypoints, (1000, 1000), "h36m17", lag=3)
    painter = Painter(scene)
    empty, partial, whole = (painter.frame(t)[70:570] for t in (0, 7, 8))
    middle = PALETTES[0].middle
    assert len(pixels_near(empty, middle, 25)) == 0
    assert len(pixels_near(partial, PALETTES[0].left)) < len(pixels_near(whole, PALETTES[0].left))
    assert caption(scene, 0) == "0.00 s  ·  live, lag 3  ·  nobody"
    assert caption(scene, 8) == "0.16 s  ·  live, lag 3  ·  1 of 2 people"


def test_a_scene_of_nobody_and_of_many_can_be_drawn(tmp_path):
    poses = make_poses(3, n_people=1)
    lose(poses, 0, slice(None))
    nobody = make_scene(poses, np.full((1, 3, 17, 2), np.nan), (640, 480), "h36m17")
    assert Painter(nobody).frame(0).shape == (640, 1280, 3)
    write_picture(nobody, tmp_path / "nobody.png")
    Painter(scene_of(2, n_people=9)).frame(1)


def test_faces_and_fingers_can_be_drawn():
    poses = make_poses(2)
    points = np.random.default_rng(0).uniform(0, 500, (2, COCO_WHOLEBODY.n_joints, 3))
    scene = make_scene(poses, points, (500, 500), COCO_WHOLEBODY)
    assert (Painter(scene, (640, 320)).frame(0) != Painter(scene, (640, 320)).frame(1)).any()


def test_low_scores_are_faint():
    poses = make_poses(2)
    keypoints = np.concatenate([project_px(poses), np.ones((2, 17, 1), np.float32)], -1)
    keypoints[1, :, 2] = 0.05
    keypoints[1, :, :2] = keypoints[0, :, :2]
    scene = make_scene(poses, keypoints, (1000, 1000), "h36m17")
    strong, faint = (Painter(scene).frame(t)[70:570, :520] for t in (0, 1))
    assert int(faint.max()) < int(strong.max()) - 40


def test_the_card_shows_where_people_are():
    scene = scene_of()
    left, top, right, bottom = visible_part(scene)
    points = scene.keypoints_px.reshape(-1, 2)
    assert (points >= [left, top]).all()
    assert (points <= [right, bottom]).all()
    assert right - left < 1000
    spread = make_poses(4)
    keypoints = project_px(spread)
    keypoints[0] = np.linspace(0, 999, 34).reshape(17, 2)
    whole = make_scene(spread, keypoints, (1000, 1000), "h36m17")
    assert visible_part(whole) == (0, 0, 1000, 1000)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (np.zeros((4, 17, 2)), r"shape \(4, 17, 2\); for these poses expected \(1, 5, 17, 2\)"),
        (np.zeros((5, 16, 2)), "expected"),
        (np.zeros((2, 5, 17, 2)), "expected"),
        (np.zeros((5, 17, 4)), "expected"),
    ],
)
def test_keypoints_that_are_not_those_of_the_poses(keypoints, message):
    with pytest.raises(RenderError, match=message):
        make_scene(make_poses(5), keypoints, (100, 100), "h36m17")
    with pytest.raises(RenderError, match="no frames"):
        make_scene(make_poses(0), np.zeros((0, 17, 2)), (100, 100), "h36m17")


def test_mp4(tmp_path):
    imageio_ffmpeg = pytest.importorskip("imageio_ffmpeg")
    calls = []
    path = write_picture(
        scene_of(30), tmp_path / "x.mp4", (641, 321), progress=lambda *done: calls.append(done)
    )
    assert calls[-1] == (30, 30)
    reader = imageio_ffmpeg.read_frames(str(path))
    about = next(reader)
    frames = [np.frombuffer(frame, np.uint8).reshape(320, 640, 3) for frame in reader]
    assert about["size"] == (640, 320)
    assert about["fps"] == 50
    assert about["pix_fmt"].startswith("yuv420p")
    assert len(frames) == 30
    drawn = Painter(scene_of(30), (640, 320)).frame(17).astype(int)
    assert np.abs(frames[17].astype(int) - drawn).mean() < 3
    # The index comes before the data, so that players can start at once.
    data = path.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert [file.name for file in tmp_path.iterdir()] == ["x.mp4"]


def test_gif(tmp_path):
    from PIL import Image

    path = write_picture(scene_of(31), tmp_path / "x.gif")
    with Image.open(path) as gif:
        durations = []
        for index in range(gif.n_frames):
            gif.seek(index)
            durations.append(gif.info["duration"])
        assert gif.info["loop"] == 0
    assert sum(durations) == pytest.approx(31 / 50 * 1000, abs=40)
    assert min(durations) >= 40


def test_png_has_a_column_for_each_moment(tmp_path):
    from PIL import Image

    with Image.open(write_picture(scene_of(30), tmp_path / "x.png")) as image:
        array = np.asarray(image)
    columns = pixels_near(array, PALETTES[0].left)[:, 0]
    cell = (array.shape[1] - 2 * 28 + 14) / 6
    assert np.bincount(((columns - 28) / cell).astype(int)).min() > 300
    single = contact_sheet(scene_of(1))
    assert single.shape[1] < array.shape[1] / 3


def test_a_failed_drawing_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.mp4"
    path.write_text("old")
    monkeypatch.setattr(Painter, "frame", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        write_picture(scene_of(5), path)
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["x.mp4"]


def test_a_video_that_was_cut_off_is_no_success(tmp_path):
    """On a full disk ffmpeg fails while it moves the index to the front, after the last frame."""
    pytest.importorskip("imageio_ffmpeg")
    path = write_picture(scene_of(10), tmp_path / "x.mp4")
    whole = path.read_bytes()
    assert _is_whole_mp4(path)
    for damaged in (b"", whole[:-1], whole[: len(whole) // 2], whole[: whole.index(b"moov") - 4],
                    whole + b"\0" * 8, whole + b"\0\0\0"):  # fmt: skip
        path.write_bytes(damaged)
        assert not _is_whole_mp4(path)


def test_what_cannot_be_drawn_is_said_before_the_work(tmp_path, monkeypatch):
    with pytest.raises(RenderError, match=r"cannot draw \.avi; .*\.mp4, \.gif, \.png"):
        check_render(tmp_path / "x.avi")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        check_render(tmp_path / "no" / "x.png")
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "PIL" else find_spec(name)
    )
    with pytest.raises(RenderError, match=r'needs PIL.*pip install "vp3d-deploy\[render\]"'):
        check_render(tmp_path / "x.png")
