"""The probe: a ring on the measured point nearest to the pointer, and what was measured there.

Numbers are those of the measured point, not of the place between the points: nothing is told that nobody measured.
"""

from __future__ import annotations

import math

import numpy as np

from renderer import fonts
from renderer.frame import Frame
from renderer.ink import RING, Ink
from renderer.layers.critical import RIM
from renderer.picking import Hit
from renderer.theme import fade, hexa
from renderer.ticks import number

AWAY = 16.0  # units from the pointer to the read-out
PAD, LINE = 10.0, 19.0


def lines(frame: Frame, hit: Hit) -> tuple[str, list[str]]:
    """The heading and the lines under it."""
    scene = frame.scene
    assert scene.axes is not None
    at = f"α = {number(float(scene.axes[0][hit.j]), 3)}, β = {number(float(scene.axes[1][hit.i]), 3)}"
    where = f"column {hit.j + 1}, row {hit.i + 1}"
    if hit.state == "missing":
        return "Not measured yet", [at, where]
    counted = f"n = {hit.n}"
    if hit.state == "diverged":
        return f"Diverged: loss {number(hit.loss)}", [at, f"{where}, {counted}"]
    loss = f"loss {number(hit.loss, 4)}"
    if math.isfinite(hit.sem):
        loss += f" ± {number(hit.sem, 2)}"
    told = [loss]
    if not math.isnan(hit.accuracy):
        told.insert(frame.view.metric != "accuracy", f"accuracy {number(hit.accuracy, 4)}")
    heading = told[0][0].upper() + told[0][1:]
    return heading, [at, ", ".join([*told[1:], counted, *([] if told[1:] else [where])])]


def marked(frame: Frame, hit: Hit) -> tuple[float, float]:
    """The pixel of the ring."""
    scene = frame.scene
    assert scene.axes is not None
    alpha, beta = scene.axes[0][hit.j], scene.axes[1][hit.i]
    unit = 0.0 if hit.state == "diverged" or (hit.state == "missing" and hit.world[2] < 1e-6) else None
    world = frame.world(np.array([alpha]), np.array([beta]), unit)
    if unit is not None:
        world[:, 2] = 0.0  # on the hatching of the floor
    x, y, _ = frame.pixels(world)[0]
    return float(x), float(y)


def draw(frame: Frame, hit: Hit, pointer: tuple[float, float], ink: Ink) -> None:
    u, theme = frame.unit, frame.theme
    x, y = marked(frame, hit)
    ink.glyph(RING, (x, y), 6.4 * u, fade(RIM, 0.9))
    ink.glyph(RING, (x, y), 4.8 * u, hexa("ffffff"))
    heading, rest = lines(frame, hit)
    size, small = fonts.BODY * u, fonts.SMALL * u
    width = max(fonts.width(heading, size, True), *(fonts.width(line, small) for line in rest)) + 2 * PAD * u
    height = (LINE * (1 + len(rest)) + 2 * PAD - 5) * u
    w, h = frame.layout.size
    end = frame.layout.plot.x1 if frame.layout.flat or frame.layout.stage is None else frame.layout.stage.x1
    right, left = pointer[0] + AWAY * u, pointer[0] - AWAY * u - width
    fits = right + width < min(end, w - 4 * u) or (left < 4 * u and right + width < w - 4 * u)
    x0 = right if fits else left  # clear of colour bar and legend where there is room
    y0 = pointer[1] - AWAY * u - height if pointer[1] - AWAY * u - height > 4 * u else pointer[1] + AWAY * u
    x0, y0 = round(max(4 * u, x0)), round(max(4 * u, min(y0, h - height - 4 * u)))
    ink.panel(x0, y0, x0 + round(width), y0 + round(height), 6 * u, fade(theme.paper, 0.94), theme.line)
    at = y0 + (PAD + LINE / 2 - 2) * u
    ink.text(heading, x0 + PAD * u, at, size, theme.text, anchor="middle", bold=True)
    for line in rest:
        at += LINE * u
        ink.text(line, x0 + PAD * u, at, small, theme.muted, anchor="middle")


def draw_pivot(frame: Frame, at: tuple[float, float], ink: Ink) -> None:
    """The point that the camera turns around."""
    u = frame.unit
    ink.dot(at, 4.4 * u, RIM)
    ink.dot(at, 2.8 * u, hexa("ffffff"))
