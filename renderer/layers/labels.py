"""The value written along major isolines, in 2d and on raised surfaces seen from above."""

from __future__ import annotations

from renderer.frame import Frame
from renderer.ink import Ink
from renderer.scene import Dirty


class Labels:
    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        pass

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
