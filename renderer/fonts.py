"""Text by Pillow: widths for the layout and coverage bitmaps for the atlas. The font (Inter, SIL OFL) is shipped."""

from __future__ import annotations

from functools import cache, lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).with_name("fonts")
FILES = {False: "Inter-Regular.otf", True: "Inter-SemiBold.otf"}


@cache
def _font(size: float, bold: bool) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(str(FOLDER / FILES[bold]), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(4096)
def width(text: str, size: float, bold: bool = False) -> float:
    """Advance width of one line of text in pixels, at `size` pixels an em."""
    return float(_font(size, bold).getlength(text))


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
    font = _font(size, bold)
    wide = round(stroke)
    box = font.getbbox(text, anchor="ls", stroke_width=wide)
    x0, y0, x1, y1 = (
        int(np.floor(box[0])) - 1,
        int(np.floor(box[1])) - 1,
        int(np.ceil(box[2])) + 1,
        int(np.ceil(box[3])) + 1,
    )
    image = Image.new("L", (max(1, x1 - x0), max(1, y1 - y0)), 0)
    ImageDraw.Draw(image).text((-x0, -y0), text, fill=255, font=font, anchor="ls", stroke_width=wide)
    return np.asarray(image), x0, y0
