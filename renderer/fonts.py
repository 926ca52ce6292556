"""Text by Pillow: widths for the layout and coverage bitmaps for the atlas. The font (Inter, SIL OFL) is shipped."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).with_name("fonts")
FINE = 4  # text is drawn so many times larger and averaged: hinting at small sizes would spread the letters
# Sizes, in units (layout.py): headings and names, the line under the title, numbers, details, the foot.
BODY, SUBTITLE, TICK, SMALL, NOTE = 15.0, 15.0, 14.0, 14.0, 14.0
FILES = {False: "Inter-Regular.otf", True: "Inter-SemiBold.otf"}


@cache
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FOLDER / FILES[bold]), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(4096)
def width(text: str, size: float, bold: bool = False) -> float:
    """Advance width of one line of text in pixels, at `size` pixels an em."""
    return float(_font(size * FINE, bold).getlength(text)) / FINE


def shortened(text: str, size: float, room: float, bold: bool = False) -> str:
    """The text, with its end cut to an ellipsis where it would be wider than `room` pixels."""
    if width(text, size, bold) <= room:
        return text
    while text and width(text + "…", size, bold) > room:
        text = text[:-1]
    return text.rstrip(" ,·") + "…"


def wrapped(text: str, size: float, room: float, bold: bool = False, lines: int = 3) -> list[str]:
    """The text broken at spaces into at most `lines` lines of `room` pixels; the last is cut if it must be."""
    out: list[str] = []
    for word in text.split(" "):
        if out and width(f"{out[-1]} {word}", size, bold) <= room:
            out[-1] += f" {word}"
        else:
            out.append(word)
    if len(out) > lines:
        out = [*out[: lines - 1], " ".join(out[lines - 1 :])]
    return [shortened(line, size, room, bold) for line in out]


@lru_cache(1024)
def bitmap(text: str, size: float, bold: bool = False, stroke: float = 0.0) -> tuple[NDArray[np.uint8], int, int]:
    """Coverage (h, w) of one line, and where its corner lies from the pen: (dx, dy), y downwards from the baseline."""
    font = _font(size * FINE, bold)
    wide = round(stroke * FINE)
    box = font.getbbox(text, anchor="ls", stroke_width=wide)
    x0, y0 = (int(np.floor(v / FINE)) - 1 for v in box[:2])
    x1, y1 = (int(np.ceil(v / FINE)) + 1 for v in box[2:])
    image = Image.new("L", ((x1 - x0) * FINE, (y1 - y0) * FINE), 0)
    ImageDraw.Draw(image).text((-x0 * FINE, -y0 * FINE), text, fill=255, font=font, anchor="ls", stroke_width=wide)
    return np.asarray(image.reduce(FINE)), x0, y0
