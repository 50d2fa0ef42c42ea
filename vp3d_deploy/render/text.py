"""Text as masks, drawn by Pillow and kept."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from vp3d_deploy.render.raster import Color, blend_mask


def text(
    image: np.ndarray,
    corner: tuple[float, float],
    words: str,
    size_px: int,
    color: Color,
    *,
    align: str = "left",
    alpha: float = 1.0,
) -> int:
    """Write words at (x, y), the top of the line; "right" and "center" align about x.

    Returns the width in pixels.
    """
    mask = text_mask(words, size_px)
    width = mask.shape[1]
    shift = {"left": 0, "center": width // 2, "right": width}[align]
    blend_mask(image, mask, (round(corner[0]) - shift, round(corner[1])), color, alpha)
    return width


@lru_cache(maxsize=512)
def text_mask(words: str, size_px: int) -> np.ndarray:
    """(h, w) float32 opacity of one line of text; h is the height of the font's line."""
    from PIL import Image, ImageDraw

    font = _font(size_px)
    height = round(size_px * 1.4)
    canvas = Image.new("L", (max(1, round(font.getlength(words)) + 2), height))
    ImageDraw.Draw(canvas).text((0, size_px * 1.05), words, fill=255, font=font, anchor="ls")
    mask: np.ndarray = np.asarray(canvas, np.float32) / np.float32(255)
    return mask


@lru_cache(maxsize=16)
def _font(size_px: int):  # type: ignore[no-untyped-def]  # Pillow is an extra
    from PIL import ImageFont

    return ImageFont.load_default(size_px)
