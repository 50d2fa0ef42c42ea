"""Anti-aliased shapes on an RGB image, from their distance functions. numpy only.

A pixel is covered by as much of a shape as its centre lies inside, from half a pixel outside to
half a pixel inside. This is as smooth as drawing at several times the size, at a fraction of the
cost: only the pixels around each shape are touched.
"""

from __future__ import annotations

import math

import numpy as np

Color = tuple[int, int, int]

# How much darker a limb is at its edge than along its middle, which makes it look round.
_ROUNDNESS = 0.38


def mix(a: Color, b: Color, share: float) -> Color:
    """The colour `share` of the way from a to b."""
    return tuple(round(x + (y - x) * share) for x, y in zip(a, b, strict=True))  # type: ignore[return-value]


def capsule(
    image: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
    color: Color,
    *,
    alpha: float = 1.0,
    rim: Color | None = None,
    rim_px: float = 1.5,
    rounded: bool = True,
) -> None:
    """A line with round ends and a radius from radii[0] to radii[1]; a disc if it has no length.

    image: (H, W, 3) uint8, drawn into. start, end: (x, y) pixels; parts outside are cut off.
    rim: a thin border around it, which keeps limbs apart that cross. rounded: shaded like a
    cylinder rather than flat.
    """
    found = _window(image, start, end, max(radii) + (rim_px if rim else 0.0) + 1.0)
    if found is None:
        return
    part, xs, ys = found
    distance, radius = _distance(xs, ys, start, end, radii)
    outside = distance - radius
    body = _cover(outside) * np.float32(alpha)
    # What is left of the picture, of the rim and of the body add up to one.
    keep = 1 - body
    layers = [(body, color)]
    if rim is not None:
        border = _cover(outside - np.float32(rim_px)) * np.float32(alpha)
        layers.append((border * keep, rim))
        keep *= 1 - border
    if rounded:
        if start == end:  # a ball, lit from above left
            shift = np.float32(0.3 * max(radii))
            distance, _ = _distance(xs + shift, ys + shift, start, end, radii)
        body *= _light(distance, radius, max(color))
    _lay(part, keep, layers)


def soft_capsule(
    image: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    radius: float,
    squash: float,
    color: Color,
    alpha: float,
) -> None:
    """A blurred line, `squash` times as high as wide: a limb's shadow on the ground."""
    found = _window(image, start, end, radius + 1.0)
    if found is None:
        return
    part, xs, ys = found
    flat_start, flat_end = (start[0], start[1] / squash), (end[0], end[1] / squash)
    radii = (radius, radius)
    distance, _ = _distance(xs, ys / np.float32(squash), flat_start, flat_end, radii)
    distance *= np.float32(-1 / radius)
    distance += np.float32(1)
    cover = np.maximum(distance, np.float32(0), out=distance)
    cover *= cover
    cover *= np.float32(alpha)
    _lay(part, 1 - cover, [(cover, color)])


def thin_lines(
    image: np.ndarray, starts: np.ndarray, ends: np.ndarray, alphas: np.ndarray, color: Color
) -> None:
    """Many smooth lines about a pixel wide, at once.

    starts, ends: (K, 2) pixels. alphas: (K, 2), the opacity at either end.
    Lines are walked along their longer axis; at each step the two pixels that the line passes
    between share its colour (Wu 1991).
    """
    height, width = image.shape[:2]
    for steep in (False, True):
        chosen = (np.abs(ends - starts)[:, 1] > np.abs(ends - starts)[:, 0]) == steep
        a, b, fade = starts[chosen], ends[chosen], alphas[chosen]
        if not len(a):
            continue
        along, across = (1, 0) if steep else (0, 1)
        limit_along, limit_across = (height, width) if steep else (width, height)
        backwards = a[:, along] > b[:, along]
        a, b = np.where(backwards[:, None], b, a), np.where(backwards[:, None], a, b)
        fade = np.where(backwards[:, None], fade[:, ::-1], fade)
        first = np.clip(np.ceil(a[:, along]), 0, limit_along).astype(int)
        last = np.clip(np.floor(b[:, along]) + 1, 0, limit_along).astype(int)
        counts = np.maximum(last - first, 0)
        line = np.repeat(np.arange(len(a)), counts)
        step = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts) + first[line]
        length = np.maximum(b[:, along] - a[:, along], 1e-6)
        t = ((step - a[line, along]) / length[line]).astype(np.float32)
        centre = a[line, across] + t * (b[line, across] - a[line, across])
        opacity = fade[line, 0] + t * (fade[line, 1] - fade[line, 0])
        shown = (opacity > 0.01) & (centre > -1) & (centre < limit_across)
        centre, opacity, step = centre[shown], opacity[shown], step[shown]
        below = np.floor(centre).astype(int)
        for pixel, near in ((below, below + 1 - centre), (below + 1, centre - below)):
            inside = (pixel >= 0) & (pixel < limit_across)
            p, s = pixel[inside], step[inside]
            cover = (near * opacity)[inside].astype(np.float32)
            rows, columns = (s, p) if steep else (p, s)
            for channel in range(3):
                old = image[rows, columns, channel].astype(np.float32)
                image[rows, columns, channel] = old + (color[channel] - old) * cover + 0.5


def rounded_box(
    image: np.ndarray, box: tuple[float, float, float, float], radius: float, color: Color
) -> None:
    """A filled box (left, top, right, bottom) with round corners."""
    left, top, right, bottom = box
    found = _window(image, (left, top), (right, bottom), 1.0)
    if found is None:
        return
    part, xs, ys = found
    dx = np.abs(xs - (left + right) / 2) - ((right - left) / 2 - radius)
    dy = np.abs(ys - (top + bottom) / 2) - ((bottom - top) / 2 - radius)
    outside = np.hypot(np.maximum(dx, 0), np.maximum(dy, 0))
    cover = _cover(outside + np.minimum(np.maximum(dx, dy), 0) - radius)
    _lay(part, 1 - cover, [(cover, color)])


def blend_mask(
    image: np.ndarray, mask: np.ndarray, corner: tuple[int, int], color: Color, alpha: float = 1.0
) -> None:
    """Colour where `mask` (h, w) float32 0 .. 1 says, its corner at (x, y); text for example."""
    x, y = corner
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + mask.shape[1], image.shape[1]), min(y + mask.shape[0], image.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = image[y0:y1, x0:x1]
    cover = mask[y0 - y : y1 - y, x0 - x : x1 - x] * np.float32(alpha)
    _lay(part, 1 - cover, [(cover, color)])


def vertical_gradient(height: int, width: int, top: Color, bottom: Color) -> np.ndarray:
    """(H, W, 3) uint8, from one colour down to the other."""
    t = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    shades = np.array(top, np.float32) * (1 - t) + np.array(bottom, np.float32) * t
    return np.repeat((shades + np.float32(0.5)).astype(np.uint8), width, axis=1)


def _window(
    image: np.ndarray, start: tuple[float, float], end: tuple[float, float], margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """The part of the image around a line, with its pixel coordinates; None if it is outside."""
    if not math.isfinite(start[0] + start[1] + end[0] + end[1]):
        return None
    height, width = image.shape[:2]
    x0 = int(max(min(start[0], end[0]) - margin, 0))
    y0 = int(max(min(start[1], end[1]) - margin, 0))
    x1 = int(min(max(start[0], end[0]) + margin + 1, width))
    y1 = int(min(max(start[1], end[1]) + margin + 1, height))
    if x0 >= x1 or y0 >= y1:
        return None
    xs = np.arange(x0, x1, dtype=np.float32)[None, :]
    ys = np.arange(y0, y1, dtype=np.float32)[:, None]
    return image[y0:y1, x0:x1], xs, ys


def _distance(
    xs: np.ndarray,
    ys: np.ndarray,
    start: tuple[float, float],
    end: tuple[float, float],
    radii: tuple[float, float],
) -> tuple[np.ndarray, np.ndarray | np.float32]:
    """Distance of each pixel from a line segment, and the radius at the nearest point of it."""
    ax, ay = np.float32(start[0]), np.float32(start[1])
    dx, dy = np.float32(end[0] - start[0]), np.float32(end[1] - start[1])
    squared = dx * dx + dy * dy
    px, py = xs - ax, ys - ay
    if squared < 1e-6:
        return np.sqrt(px * px + py * py), np.float32(max(radii))
    t = px * (dx / squared) + py * (dy / squared)
    np.maximum(t, np.float32(0), out=t)
    np.minimum(t, np.float32(1), out=t)
    ex, ey = px - t * dx, py - t * dy
    ex *= ex
    ey *= ey
    ex += ey
    distance = np.sqrt(ex, out=ex)
    if radii[0] == radii[1]:
        return distance, np.float32(radii[0])
    return distance, np.float32(radii[0]) + t * np.float32(radii[1] - radii[0])


def _light(distance: np.ndarray, radius: np.ndarray | np.float32, brightest: int) -> np.ndarray:
    """How lit a round limb is at this distance from its middle; no channel may pass 255."""
    across: np.ndarray = distance / np.maximum(radius, np.float32(0.5))
    np.minimum(across, np.float32(1.3), out=across)
    across *= across
    across *= np.float32(-_ROUNDNESS)
    across += np.float32(1.06)
    return np.minimum(across, np.float32(254.4 / max(brightest, 1)), out=across)


def _cover(outside: np.ndarray) -> np.ndarray:
    """How much of each pixel is covered, from its distance to the edge; negative is inside."""
    cover: np.ndarray = np.float32(0.5) - outside
    np.maximum(cover, np.float32(0), out=cover)
    return np.minimum(cover, np.float32(1), out=cover)


def _lay(part: np.ndarray, keep: np.ndarray, layers: list[tuple[np.ndarray, Color]]) -> None:
    """Replace part (h, w, 3) by `keep` (h, w) of itself plus so much of each colour.

    One channel at a time: numpy is three times faster on that than on an inner loop of three.
    """
    for channel in range(3):
        mixed = part[..., channel] * keep
        for share, color in layers:
            if color[channel]:
                mixed += share * np.float32(color[channel])
        mixed += np.float32(0.5)
        part[..., channel] = mixed
