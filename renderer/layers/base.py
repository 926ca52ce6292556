"""The flat base under a raised surface, and the marks of what has no value: hatching where nothing was measured,
crossed hatching where the loss diverged. In 2d the marks lie in the plane of the picture."""

from __future__ import annotations

import moderngl

from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.scene import Dirty


class Base:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass

    def scene(self, frame: Frame) -> None:
        ctx = self.kit.ctx
        ctx.disable(moderngl.DEPTH_TEST)  # nothing lies under the floor, and it hides nothing
        if frame.view.layers.base and not frame.flat and frame.scale.measured:
            self.kit.sheet.draw(frame, mesh=True, raised=False)
        if self.kit.store.any_invalid:
            self.kit.sheet.draw(frame, patches=True, raised=False)

    def key(self, frame: Frame) -> object:
        return ()  # there is none

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
