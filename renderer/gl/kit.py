"""What the layers draw with: the context, programs, the values on the GPU, shapes and text."""

from __future__ import annotations

from dataclasses import dataclass

import moderngl

from renderer.gl.programs import Programs
from renderer.gl.shapes import Shapes
from renderer.gl.sheet import Sheet
from renderer.gl.store import Store
from renderer.gl.text import TextAtlas


@dataclass(frozen=True)
class Kit:
    ctx: moderngl.Context
    programs: Programs
    store: Store
    sheet: Sheet
    shapes: Shapes
    text: TextAtlas

    @classmethod
    def make(cls, ctx: moderngl.Context) -> Kit:
        programs = Programs(ctx)
        store = Store(ctx, programs)
        return cls(ctx, programs, store, Sheet(ctx, programs, store), Shapes(ctx, programs), TextAtlas(ctx, programs))

    def beside(self) -> Kit:
        """A kit for the values of another surface, with the same programs, shapes and text; end it by `leave`."""
        store = Store(self.ctx, self.programs)
        return Kit(self.ctx, self.programs, store, Sheet(self.ctx, self.programs, store), self.shapes, self.text)

    def leave(self) -> None:
        """Free what `beside` made."""
        self.sheet.release()
        self.store.release()

    def release(self) -> None:
        for part in (self.text, self.shapes, self.sheet, self.store, self.programs):
            part.release()
