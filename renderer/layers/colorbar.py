"""The colour bar: what a colour means, whether the scale is logarithmic, where it was clipped, where isolines lie."""

from __future__ import annotations

import itertools

import numpy as np

from renderer import fonts, words
from renderer.camera import Rect
from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.ink import TRIANGLE, Ink
from renderer.layout import BAR
from renderer.scene import Dirty
from renderer.theme import fade, hexa
from renderer.ticks import number

WIDTH = 18.0
MOST = 560.0  # height in a raised picture; beside a flat one it is as high as the plot
HEAD = 50.0  # from the panel's top to the bar's


def drawn(frame: Frame) -> bool:
    """Whether there is a bar."""
    return frame.view.layers.colorbar and frame.scale.measured > 0 and frame.layout.panel.width > 0


def width(frame: Frame) -> float:
    """Width of the bar with its numbers and the space beside them, in pixels; 0 where none is drawn."""
    if not drawn(frame):
        return 0.0
    widest = max((fonts.width(label, fonts.TICK * frame.unit) for _, label in _ticks(frame)), default=0.0)
    return max(BAR * frame.unit, widest + (WIDTH + 34) * frame.unit)


def head(frame: Frame) -> float:
    """From the panel's top to the bar's, in pixels; 0 where none is drawn."""
    if not drawn(frame):
        return 0.0
    pointed = frame.scale.clip is not None and frame.view.clip_mode == "plateau"
    return (HEAD + (10.0 if pointed else 0.0)) * frame.unit


def _ticks(frame: Frame) -> list[tuple[float, str]]:
    return frame.scale.ticks(6, frame.scale.log_color, frame.view.normalise)


def bar(frame: Frame, ink: Ink, at: Rect, count: int) -> float:
    """A bar of colours in whole pixels, upright or across, with its isolines, about `count` numbers, and over an
    upright one a pointer where values were clipped; how far the numbers reach from it."""
    u, theme, scale, table = frame.unit, frame.theme, frame.scale, frame.table
    x0, y0, x1, y1 = at.x0, at.y0, at.x1, at.y1
    upright = at.height > at.width
    length = int(at.height if upright else at.width)
    w = max(1.0, round(u * 0.75))

    def place(unit: float) -> float:
        return y0 + (1 - unit) * length if upright else x0 + unit * length

    shares = (np.arange(length) + 0.5) / length
    entries = np.round((1 - shares if upright else shares) * 255).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(entries)) + 1), length]  # pixels of one colour are one rectangle
    part: tuple[float, float, float, float]
    for a, b in itertools.pairwise(edges):
        r, g, blue = (float(v) for v in table[entries[a]] / 255.0)
        part = (x0, y0 + a, x1, y0 + b) if upright else (x0 + a, y0, x0 + b, y1)
        ink.rect(*part, (r, g, blue, 1.0))
    ink.frame(x0, y0, x1, y1, w, theme.line)

    if frame.view.layers.contours and scale.levels and frame.view.layers.surface:
        units = scale.unit(np.array([level.value for level in scale.levels]), scale.log_color)
        thin = max(1.0, round(u * 0.6))
        for level, unit in zip(scale.levels, units):
            under = table[int(np.clip(round(float(unit) * 255), 0, 255))] / 255.0
            tint = hexa("ffffff", 0.6) if luminance(under) < 0.16 else hexa("0b0e13", 0.55)
            q = float(round(place(float(unit))))
            part = (x0, q, x1, q + thin) if upright else (q, y0, q + thin, y1)
            ink.rect(*part, tint if level.major else fade(tint, 0.6))

    size, reach, end = fonts.TICK * u, 0.0, -1e9  # `end` of the last label, along the bar
    for unit, label in scale.ticks(count, scale.log_color, frame.view.normalise):
        p, wide = place(unit), fonts.width(label, size)
        if not (y0 - 1 <= p <= y1 + 1 if upright else x0 - 1 <= p <= x1 + 1):
            continue
        q = round(p - w / 2)
        if upright:
            ink.rect(x1 + w, q, x1 + w + 4 * u, q + w, theme.line)
            if -p > end + 16 * u:
                ink.text(label, x1 + 10 * u, p, size, theme.text, anchor="middle")
                reach, end = max(reach, 10 * u + wide), -p
        else:
            ink.rect(q, y1 + w, q + w, y1 + w + 4 * u, theme.line)
            if p - wide / 2 > end + 8 * u:
                ink.text(label, p, y1 + 20 * u, size, theme.text, align=0.5)
                reach, end = 24 * u, p + wide / 2
    if upright and scale.clip is not None and frame.view.clip_mode == "plateau":
        top = table[255] / 255.0
        middle, r = (x0 + x1) / 2, (x1 - x0 + 2 * w) / 1.732
        ink.glyph(TRIANGLE, (middle, y0 - w - r / 2), r, theme.line)
        r -= 2 * w
        ink.glyph(TRIANGLE, (middle, y0 - 2 * w - r / 2), r, (float(top[0]), float(top[1]), float(top[2]), 1.0))
    return reach


class ColorBar:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def key(self, frame: Frame) -> object:
        return frame.place, frame.scene.meta, frame.scale

    def overlay(self, frame: Frame, ink: Ink) -> None:
        if not drawn(frame):
            return
        u, theme, panel, scale = frame.unit, frame.theme, frame.layout.panel, frame.scale
        heading, note = words.bar(frame.scene)
        room = panel.width
        size, small = fonts.BODY * u, fonts.SMALL * u
        ink.text(fonts.shortened(heading, size, room, True), panel.x0, panel.y0 + 12 * u, size, theme.text, bold=True)
        if frame.view.normalise:
            note = words.normalised(scale)
        ink.text(fonts.shortened(note, small, room), panel.x0, panel.y0 + 32 * u, small, theme.muted)

        x0 = round(panel.x0)
        x1 = x0 + round(WIDTH * u)
        y0 = round(panel.y0 + head(frame))
        bottom = panel.y1 - (24 * u if scale.constant or frame.layout.below else 4 * u)
        if frame.layout.flat and not frame.layout.below:
            bottom = min(max(frame.layout.plot.y1, y0 + 150 * u), bottom)
        else:
            bottom = min(bottom, y0 + MOST * u)
        y1 = y0 + max(round(bottom) - y0, 1)
        bar(frame, ink, Rect(x0, y0, x1, y1), 6)
        if scale.constant:
            text = f"{number(scale.lo * 0.5 + scale.hi * 0.5)} everywhere"
            ink.text(text, panel.x0, y1 + 18 * u, small, theme.muted)
