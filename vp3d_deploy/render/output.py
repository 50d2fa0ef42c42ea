"""Pictures to files: mp4 through ffmpeg, gif and png through Pillow."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from vp3d_deploy.formats.atomic import check_folder, replacing
from vp3d_deploy.render import theme
from vp3d_deploy.render.figures import draw_keypoints
from vp3d_deploy.render.frame import (
    Painter,
    draw_card,
    draw_stage,
    fit_image,
    joined,
    light_floor,
    visible_part,
)
from vp3d_deploy.render.raster import vertical_gradient
from vp3d_deploy.render.scene import RenderError, Scene
from vp3d_deploy.render.text import text

SUFFIXES = (".mp4", ".gif", ".png")
Progress = Callable[[int, int], None]

# GIF counts time in hundredths of a second, and a viewer slows down what is faster than 50 Hz.
_GIF_MAX_FPS = 20.0
_GIF_SIZE = (840, 420)
_GIF_COLORS = 96
_MOMENTS = 6
_NEEDS = {".mp4": ("PIL", "imageio_ffmpeg"), ".gif": ("PIL",), ".png": ("PIL",)}


def check_render(path: str | os.PathLike[str]) -> Path:
    """The path, if a picture can be written to it; meant to be called before long work begins.

    Raises RenderError for an unknown suffix and where the extra is not installed, and OSError if
    the path is a folder, or in one that does not exist or cannot be written to.
    """
    target = Path(path)
    suffix = target.suffix.lower()
    if suffix not in SUFFIXES:
        raise RenderError(
            f"{target}: cannot draw {suffix or 'a file without a suffix'}; the formats for "
            f"pictures are {', '.join(SUFFIXES)}"
        )
    missing = [name for name in _NEEDS[suffix] if importlib.util.find_spec(name) is None]
    if missing:
        raise RenderError(
            f"{target}: drawing needs {' and '.join(missing)}, which is not installed; "
            'pip install "vp3d-deploy[render]"'
        )
    check_folder(target)
    return target


def write_picture(
    scene: Scene,
    path: str | os.PathLike[str],
    size: tuple[int, int] = (1280, 640),
    progress: Progress | None = None,
) -> Path:
    """Draw a whole clip as .mp4 or .gif, or six of its moments as .png.

    size: (width, height) of an mp4 in pixels; made even, as the encoder wants it.
    progress: called with the frames done and in all.
    The file appears complete or not at all. Raises RenderError, and OSError if it cannot be
    written.
    """
    target = check_render(path)
    with replacing(target) as temporary:
        if target.suffix.lower() == ".mp4":
            _write_mp4(scene, temporary, target, size, progress)
        elif target.suffix.lower() == ".gif":
            _write_gif(scene, temporary, progress)
        else:
            _save_png(contact_sheet(scene), temporary)
            if progress:
                progress(1, 1)
    return target


def _write_mp4(
    scene: Scene, path: Path, target: Path, size: tuple[int, int], progress: Progress | None
) -> None:
    """H.264 that plays everywhere: 4:2:0 colour, index at the front for streaming."""
    import imageio_ffmpeg

    even = (size[0] // 2 * 2, size[1] // 2 * 2)
    painter = Painter(scene, even)
    writer = imageio_ffmpeg.write_frames(
        str(path),
        even,
        pix_fmt_in="rgb24",
        pix_fmt_out="yuv420p",
        fps=scene.fps,
        codec="libx264",
        quality=None,
        macro_block_size=2,
        ffmpeg_log_level="error",
        output_params=["-preset", "veryfast", "-crf", "19", "-movflags", "+faststart"],
    )
    try:
        writer.send(None)
        for index in range(scene.n_frames):
            writer.send(painter.frame(index).tobytes())
            if progress:
                progress(index + 1, scene.n_frames)
    except (OSError, RuntimeError, StopIteration) as error:
        reason = str(error).partition("\n")[0]  # the rest is ffmpeg's command line
        raise RenderError(
            f"{target}: ffmpeg stopped before the video was done ({reason}); is the disk full?"
        ) from None
    finally:
        writer.close()
    # On a full disk it is ffmpeg that fails, after the last frame, and nobody says so.
    if not _is_whole_mp4(path):
        raise RenderError(f"{target}: ffmpeg could not finish the video; is the disk full?")


def _is_whole_mp4(path: Path) -> bool:
    """Whether the file's boxes end where it ends, and its index ("moov") is among them.

    Source: ISO/IEC 14496-12, 4.2: a box begins with its size in 4 bytes, which if 1 follows in 8
    bytes after the type, and its type in 4.
    """
    kinds, position, end = set(), 0, path.stat().st_size
    with path.open("rb") as file:
        while position + 8 <= end:
            file.seek(position)
            header = file.read(16)
            size = int.from_bytes(header[:4], "big")
            if size == 1:
                size = int.from_bytes(header[8:], "big")
            if size < 8:
                return False
            kinds.add(header[4:8])
            position += size
    return position == end and b"moov" in kinds


def _write_gif(scene: Scene, path: Path, progress: Progress | None) -> None:
    """One palette for all frames, so that colours do not flicker; at most 20 frames a second."""
    from PIL import Image

    step = max(1, int(np.ceil(scene.fps / _GIF_MAX_FPS)))
    indices = range(0, scene.n_frames, step)
    painter = Painter(scene, _GIF_SIZE)
    probes = [painter.frame(i) for i in np.linspace(0, scene.n_frames - 1, 4).astype(int)]
    palette = Image.fromarray(np.concatenate(probes)).quantize(
        _GIF_COLORS, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE
    )
    frames = []
    for done, index in enumerate(indices):
        frame = Image.fromarray(painter.frame(index))
        frames.append(frame.quantize(palette=palette, dither=Image.Dither.NONE))
        if progress:
            progress(done + 1, len(indices))
    # In whole hundredths of a second, whose sum does not drift from the clip's time.
    ends = np.round(np.arange(1, len(frames) + 1) * step / scene.fps * 100).astype(int)
    durations = np.maximum(np.diff(ends, prepend=0), 2) * 10
    frames[0].save(
        path, format="GIF", save_all=True, append_images=frames[1:], loop=0,
        duration=durations.tolist(), optimize=False,
    )  # fmt: skip


def contact_sheet(scene: Scene, cell: tuple[int, int] = (300, 380)) -> np.ndarray:
    """(H, W, 3) uint8: up to six moments side by side, 2D above and 3D below.

    The moments are spread evenly over the frames in which anybody is seen.
    """
    seen = np.flatnonzero(np.isfinite(scene.stage.joints_m).all(-1).any((0, 2)))
    if not len(seen):
        seen = np.arange(scene.n_frames)
    # Not the very first and last frames: people are often just coming or going.
    spread = (np.arange(_MOMENTS) + 0.5) / _MOMENTS
    moments = np.unique(seen[(spread * len(seen)).astype(int)])
    width, height = cell
    crop = visible_part(scene)
    shape = (crop[3] - crop[1]) / (crop[2] - crop[0])
    card_height, margin, gap, header = round(width * min(max(shape, 0.5), 1.25)), 28, 14, 64
    total = (
        2 * margin + len(moments) * width + (len(moments) - 1) * gap,
        header + card_height + height + margin,
    )
    image = vertical_gradient(total[1], total[0], theme.TOP, theme.BOTTOM)
    used = text(image, (margin, 20), "2D keypoints to 3D poses", 21, theme.TEXT)
    about = joined([scene.source, scene.model])
    text(image, (margin + used + 14, 25), about, 15, theme.DIM)
    for column, index in enumerate(moments):
        x = margin + column * (width + gap)
        origin, scale = fit_image(crop, (x, header, x + width, header + card_height))
        draw_card(image, crop, origin, scale)
        draw_keypoints(image, scene, int(index), origin, scale)
        box = (x, header + card_height, x + width, header + card_height + height)
        light_floor(image, scene, box)
        draw_stage(image, scene, int(index), box, sway=False)
        seconds = int(scene.frame_indices[index]) / scene.fps
        text(image, (x + width / 2, box[3] - 4), f"{seconds:.2f} s", 15, theme.DIM, align="center")
    return image


def _save_png(image: np.ndarray, path: Path) -> None:
    from PIL import Image

    Image.fromarray(image).save(path, format="PNG", optimize=True)
