"""One file a layer, and the one list of them, in drawing order.

A layer has `scene(frame)` for what stands in the landscape (drawn once a jittered pass, with depth) and
`overlay(frame, ink)` for what lies on the picture (drawn last at whole device pixels). `key(frame)` is what the overlay
depends on: while it stays equal, the ink of the last time is drawn again. None: it is asked every time.

probe.py, notes.py and help.py are not in the list: they lie over the window and not in the picture (../hud.py).
"""

from __future__ import annotations

from typing import Protocol

from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.layers import air, axes, base, box, colorbar, critical, epochs, labels, legend, path, surface, title
from renderer.scene import Dirty


class Layer(Protocol):
    """What a layer does; `sync` is called once a frame, before drawing, with what changed."""

    def sync(self, frame: Frame, dirty: Dirty) -> None: ...

    def scene(self, frame: Frame) -> None: ...

    def key(self, frame: Frame) -> object: ...

    def overlay(self, frame: Frame, ink: Ink) -> None: ...


def make(kit: Kit) -> list[Layer]:
    """The layers, in drawing order."""
    return [
        box.Box(kit),
        base.Base(kit),
        surface.Surface(kit),
        air.Air(kit),
        axes.Axes(),  # its frame lies under the marks
        critical.Critical(kit),
        path.Path(kit),
        labels.Labels(),
        epochs.Epochs(),
        colorbar.ColorBar(),
        legend.Legend(),
        title.Title(),
    ]
