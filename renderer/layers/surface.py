"""The surface: filled with the colour map, as mesh lines, as isolines at their height, or any of them together.

Lines without a filled surface: isolines alone are drawn through (the air is clear); a mesh hides what lies behind it.
"""

from __future__ import annotations

import moderngl

from renderer.frame import Frame
from renderer.gl.kit import Kit
from renderer.ink import Ink
from renderer.layers import air
from renderer.scene import Dirty


class Surface:
    def __init__(self, kit: Kit) -> None:
        self.kit = kit

    def sync(self, frame: Frame, dirty: Dirty) -> None:
        pass  # the store holds the values

    def scene(self, frame: Frame) -> None:
        layers, ctx = frame.view.layers, self.kit.ctx
        if not (layers.surface or layers.mesh or layers.contours) or not frame.scale.measured:
            return
        if air.wanted(frame):
            return
        solid = layers.surface or (layers.mesh and not frame.flat)
        ctx.enable(moderngl.DEPTH_TEST)
        ctx.depth_func = "<="
        self.kit.ctx.fbo.depth_mask = solid
        self.kit.sheet.draw(
            frame,
            fill="map" if layers.surface else "paper" if solid else "none",
            contours=layers.contours,
            mesh=layers.mesh,
            mesh_map=layers.mesh and not layers.surface and not layers.contours,
        )
        self.kit.ctx.fbo.depth_mask = True

    def key(self, frame: Frame) -> object:
        return ()  # there is none

    def overlay(self, frame: Frame, ink: Ink) -> None:
        pass
