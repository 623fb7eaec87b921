"""From SVG text to a small RGB picture, with an optional disk cache."""

from __future__ import annotations

import io
import random

import resvg_py
from PIL import Image

SIDE = 64  # pixels; models resize from here


def rasterize(svg: str, side: int = SIDE) -> Image.Image:
    """Render an SVG document to an RGB image of side x side pixels (no system fonts, so the same
    everywhere).
    """
    png = resvg_py.svg_to_bytes(svg_string=svg, width=side, height=side, skip_system_fonts=True)
    return Image.open(io.BytesIO(bytes(png))).convert("RGB")


def place(inner: str, size: tuple[float, float], background: str, rng: random.Random, spread: float) -> str:
    """Return a square document with `inner` on a background, slightly turned, scaled and moved.

    `spread` in [0, 1] scales the variation: 1 turns by up to 20 degrees, scales by 0.65 to 1.05 and moves by
    10 %.
    """
    angle = rng.uniform(-20, 20) * spread
    scale = 100 / max(size) * (0.9 + rng.uniform(-0.25, 0.15) * spread)
    dx, dy = (rng.uniform(-10, 10) * spread for _ in range(2))
    move = (
        f"translate({50 + dx:.3f} {50 + dy:.3f}) rotate({angle:.3f}) scale({scale:.5f}) "
        f"translate({-size[0] / 2} {-size[1] / 2})"
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 '
        '100 100">'
        f'<rect width="100" height="100" fill="{background}"/><g transform="{move}">{inner}</g></svg>'
    )


def color(rng: random.Random) -> str:
    """Return a random background colour that is neither black nor strongly saturated."""
    base = rng.uniform(120, 255)
    return "#" + "".join(f"{int(max(0, min(255, base + rng.uniform(-60, 60)))):02x}" for _ in range(3))
