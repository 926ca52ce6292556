"""Lines of text from an atlas of Pillow's bitmaps, at device pixels. A line is rendered once and kept."""

from __future__ import annotations

import math
from collections.abc import Sequence

import moderngl
import numpy as np
from numpy.typing import NDArray

from renderer import fonts
from renderer.gl.programs import Programs, put
from renderer.ink import Text
from renderer.theme import Colour

WIDTH = 2048
FIRST_HEIGHT = 512
Key = tuple[str, float, bool, float]


class TextAtlas:
    """Bitmaps on shelves in one R8 texture; it grows, and starts over when it would pass the driver's limit."""

    def __init__(self, ctx: moderngl.Context, programs: Programs) -> None:
        self.ctx, self.program = ctx, programs["text"]
        self._texture: moderngl.Texture | None = None
        self._places: dict[Key, tuple[int, int, int, int, int, int]] = {}
        self._pen = (0, 0, 0)  # x, y of the shelf, its height
        self._image = np.zeros((FIRST_HEIGHT, WIDTH), np.uint8)
        self._stale = True
        self._drawn: Sequence[Text] | None = None
        self._records = np.zeros((0, 14), np.float32)

    def draw(self, texts: Sequence[Text], picture: tuple[int, int]) -> None:
        """Draw lines of text, halos first, into the bound framebuffer of `picture` pixels. A list that was drawn must
        not be changed."""
        if texts is not self._drawn or self._stale:  # the same list again is drawn from the same records
            self._drawn, self._records = texts, self._recorded(texts)
        data = self._records
        if not len(data):
            return
        if self._texture is None or self._stale:
            if self._texture is None or self._texture.size != self._image.shape[::-1]:
                if self._texture is not None:
                    self._texture.release()
                self._texture = self.ctx.texture(self._image.shape[::-1], 1, alignment=1)
                self._texture.filter = (moderngl.LINEAR, moderngl.LINEAR)
            self._texture.write(self._image.tobytes())
            self._stale = False
        buffer = self.ctx.buffer(data.tobytes())
        vao = self.ctx.vertex_array(self.program, [(buffer, "4f 4f 2f 4f /i", "place", "bitmap", "source", "ink")])
        self._texture.use(0)
        put(self.program, atlas=0, picture=picture)
        vao.render(moderngl.TRIANGLE_STRIP, vertices=4, instances=len(data))
        vao.release()
        buffer.release()

    def _recorded(self, texts: Sequence[Text]) -> NDArray[np.float32]:
        records = [self._record(t, t.halo_width, t.halo) for t in texts if t.halo is not None and t.halo_width > 0]
        records += [self._record(text, 0.0, text.colour) for text in texts]
        return np.array(records, np.float32)

    def _record(self, text: Text, stroke: float, colour: Colour) -> tuple[float, ...]:
        x, y, w, h, dx, dy = self._place((text.text, text.size, text.bold, stroke))
        shift = -text.align * fonts.width(text.text, text.size, text.bold)
        drop = 0.36 * text.size if text.anchor == "middle" else 0.0
        c, s = math.cos(math.radians(text.angle)), math.sin(math.radians(text.angle))
        if text.angle in (0.0, 90.0):  # pen and bitmap on whole pixels keep the stems sharp
            along, across = round(shift), round(drop)
            return (round(text.x), round(text.y), round(c), round(s), dx + along, dy + across, w, h, x, y, *colour)
        return (text.x, text.y, c, s, dx + shift, dy + drop, w, h, x, y, *colour)

    def _place(self, key: Key) -> tuple[int, int, int, int, int, int]:
        if key in self._places:
            return self._places[key]
        bitmap, dx, dy = fonts.bitmap(*key)
        bitmap = bitmap[:, :WIDTH]
        h, w = bitmap.shape
        x, y, shelf = self._pen
        if x + w + 1 > WIDTH:
            x, y, shelf = 0, y + shelf + 1, 0
        while y + h + 1 > len(self._image):
            self._image = np.concatenate([self._image, np.zeros_like(self._image)])
        self._image[y : y + h, x : x + w] = bitmap
        self._pen = (x + w + 1, y, max(shelf, h))
        self._places[key] = (x, y, w, h, dx, dy)
        self._stale = True
        return self._places[key]

    def trim(self, most: int = 4096) -> None:
        """Forget everything once the atlas is over `most` pixels high; call between frames."""
        if len(self._image) > most:
            self._places.clear()
            self._pen, self._image, self._stale = (0, 0, 0), np.zeros((FIRST_HEIGHT, WIDTH), np.uint8), True

    def release(self) -> None:
        if self._texture is not None:
            self._texture.release()
            self._texture = None
