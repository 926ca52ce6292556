"""The colour bar: what a colour means, whether the scale is logarithmic, where it was clipped, where isolines lie."""

from __future__ import annotations

import numpy as np

from renderer import fonts, words
from renderer.colormaps import luminance
from renderer.frame import Frame
from renderer.ink import TRIANGLE, Ink
from renderer.scene import Dirty
from renderer.theme import fade, hexa
from renderer.ticks import number

BAR = (16.0, 236.0)  # width, height
HEAD = 48.0  # from the panel's top to the bar's


def height(frame: Frame) -> float:
    """Height of the whole block in pixels, 0 where none is drawn."""
    if not frame.view.layers.colorbar or not frame.scale.measured:
        return 0.0
    return _head(frame) + _bar_height(frame) + 34 * frame.unit


def _head(frame: Frame) -> float:
    pointed = frame.scale.clip is not None and frame.view.clip_mode == "plateau"
    return (HEAD + (10.0 if pointed else 0.0)) * frame.unit


def _bar_height(frame: Frame) -> float:
    panel = frame.layout.panel
    if frame.layout.below:
        return max(round(panel.height - _head(frame) - 8 * frame.unit), 1)
    return round(min(BAR[1] * frame.unit, 0.42 * panel.height))


class ColorBar:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def overlay(self, frame: Frame, ink: Ink) -> None:
        if not height(frame) or frame.layout.panel.width <= 0:
            return
        u, theme, panel, scale = frame.unit, frame.theme, frame.layout.panel, frame.scale
        heading, note = words.bar(frame.scene)
        room = panel.width
        ink.text(
            fonts.shortened(heading, 13 * u, room, True), panel.x0, panel.y0 + 10 * u, 13 * u, theme.text, bold=True
        )
        if frame.view.normalise:
            note = words.normalised(scale)
        ink.text(fonts.shortened(note, 11.5 * u, room), panel.x0, panel.y0 + 27 * u, 11.5 * u, theme.muted)

        x0 = round(panel.x0)
        x1 = x0 + round(BAR[0] * u)
        y0 = round(panel.y0 + _head(frame))
        rows = int(_bar_height(frame))
        y1 = y0 + rows
        entries = np.round((1 - (np.arange(rows) + 0.5) / rows) * 255).astype(int)
        for k, rgb in enumerate(frame.table[entries] / 255.0):
            ink.rect(x0, y0 + k, x1, y0 + k + 1, (float(rgb[0]), float(rgb[1]), float(rgb[2]), 1.0))
        w = max(1.0, round(u * 0.75))
        ink.frame(x0, y0, x1, y1, w, theme.line)

        if frame.view.layers.contours and scale.levels and frame.view.layers.surface:
            units = scale.unit(np.array([level.value for level in scale.levels]), scale.log_color)
            for level, unit in zip(scale.levels, units):
                y = y0 + (1 - float(unit)) * rows
                under = frame.table[int(np.clip(round(float(unit) * 255), 0, 255))] / 255.0
                tint = hexa("ffffff", 0.6) if luminance(under) < 0.16 else hexa("0b0e13", 0.55)
                tint = tint if level.major else fade(tint, 0.6)
                ink.rect(x0, round(y), x1, round(y) + max(1.0, round(u * 0.6)), tint)

        low = 1e9
        for unit, label in scale.ticks(6, scale.log_color, frame.view.normalise):
            y = y0 + (1 - unit) * rows
            if not y0 - 1 <= y <= y1 + 1:
                continue
            ink.rect(x1 + w, round(y - w / 2), x1 + w + 4 * u, round(y - w / 2) + w, theme.line)
            if low - y > 14 * u:
                ink.text(label, x1 + 10 * u, y, 12 * u, theme.text, anchor="middle")
                low = y
        if scale.clip is not None and frame.view.clip_mode == "plateau":
            top = frame.table[255] / 255.0
            middle, r = (x0 + x1) / 2, (x1 - x0 + 2 * w) / 1.732
            ink.glyph(TRIANGLE, (middle, y0 - w - r / 2), r, theme.line)
            r -= 2 * w
            ink.glyph(TRIANGLE, (middle, y0 - 2 * w - r / 2), r, (float(top[0]), float(top[1]), float(top[2]), 1.0))
        if scale.constant:
            ink.text(
                f"{number(scale.lo * 0.5 + scale.hi * 0.5)} everywhere", panel.x0, y1 + 18 * u, 11.5 * u, theme.muted
            )
