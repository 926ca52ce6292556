"""What lies over the picture in a window and is no part of it: the probe, notes, the help. Pure.

    renderer.show(screen, hud.letter(hud))      # over the picture drawn last; the picture is not drawn anew

Screenshots and videos are without it.
"""

from __future__ import annotations

from dataclasses import dataclass

from renderer.frame import Frame
from renderer.ink import Ink
from renderer.layers import help as keys
from renderer.layers import notes, probe
from renderer.layers.notes import Note
from renderer.picking import Hit


@dataclass(frozen=True, eq=False)
class Hud:
    """`frame`: the one last drawn, or of several panels that under the pointer; `pointer` and `pivot` in its pixels."""

    frame: Frame
    hit: Hit | None = None
    pointer: tuple[float, float] | None = None
    pivot: tuple[float, float] | None = None  # the point that the camera is being turned around
    notes: tuple[Note, ...] = ()
    help: bool = False


def letter(hud: Hud) -> Ink:
    """The shapes and the lettering."""
    ink = Ink()
    if hud.help:
        keys.draw(hud.frame, ink)
        return ink
    if hud.pivot is not None:
        probe.draw_pivot(hud.frame, hud.pivot, ink)
    if hud.hit is not None and hud.pointer is not None:
        probe.draw(hud.frame, hud.hit, hud.pointer, ink)
    notes.draw(hud.frame, hud.notes, ink)
    return ink
