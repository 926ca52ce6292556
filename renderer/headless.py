"""`python -m renderer.headless`: reads a `render` request a line (JSON, protocol.messages.Render) from stdin, draws the
PNG and answers a line each (`ok` or `err`) on stdout. Ends with its input. Needs no display.

A PNG is written whole or not at all. It carries, as text chunks, the view that made it (`thalweg:view`), where its
values come from (`thalweg:meta`) and the request's picture size, so that it can be opened again as that view.
"""

from __future__ import annotations

import sys
import time
from dataclasses import replace
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta, read_path_csv, replacing
from protocol.messages import Render, RenderErr, RenderOk
from protocol.view import View, override, preset
from renderer import png
from renderer.picture import Renderer
from renderer.scene import Scene

MOST_PIXELS = 64 * 2**20  # a picture of more would not fit beside its buffers in a small machine's memory
VIEW_KEY, META_KEY = "thalweg:view", "thalweg:meta"


def render(request: Render, renderer: Renderer) -> RenderOk:
    """Draw one picture into its file. Raises InputError, with nothing written, for whatever cannot be done."""
    began = time.perf_counter()
    if request.width * request.height * request.scale**2 > MOST_PIXELS:
        raise InputError(
            f"picture: {request.width} x {request.height} at scale {request.scale:g} is over {MOST_PIXELS // 2**20} "
            "million pixels: ask for a smaller one",
            code="too_large",
        )
    view = override(preset(request.preset), request.view)
    surface = Surface.load(request.file)
    if request.path_csv is not None:
        surface = replace(surface, path=read_path_csv(request.path_csv))
    scene = Scene(view)
    scene.apply(surface)
    with replacing(request.out) as out:  # opened first: a place that cannot be written is told before drawing
        renderer.draw(scene, request.width, request.height, request.scale)
        pixels = renderer.pixels()
        write_png(out, pixels, view, surface.meta, request.scale)
    height, width = pixels.shape[:2]
    return RenderOk(
        out=request.out,
        view=view,
        width=width,
        height=height,
        renderer=renderer.name,
        seconds=round(time.perf_counter() - began, 3),
    )


def write_png(file: IO[bytes], pixels: NDArray[np.uint8], view: View, meta: SurfaceMeta, scale: float) -> None:
    """Write pixels (h, w, 3) uint8 as a PNG that carries its view and provenance."""
    texts = {
        VIEW_KEY: msgspec.json.encode(view).decode(),
        META_KEY: msgspec.json.encode(meta).decode(),
        "Software": "thalweg",
    }
    png.write(file, pixels, texts, 96 * scale)


def read_png_view(file: str) -> tuple[View, SurfaceMeta]:
    """The view and provenance of a PNG made here. Raises InputError for another sort of file."""
    try:
        with Image.open(file) as image:
            image.load()
            texts = getattr(image, "text", {})
        return (
            msgspec.json.decode(str(texts[VIEW_KEY]), type=View),
            msgspec.json.decode(str(texts[META_KEY]), type=SurfaceMeta),
        )
    except (OSError, KeyError, SyntaxError, msgspec.MsgspecError) as e:
        raise InputError(f"{file}: expected a PNG made by thalweg, which carries its view", code="integrity") from e


def answer(line: str | bytes, renderer: Renderer | None) -> tuple[RenderOk | RenderErr, Renderer | None]:
    """The answer to one line, and the renderer, made when first needed."""
    try:
        try:
            request = msgspec.json.decode(line, type=Render)
        except msgspec.DecodeError as e:  # ValidationError is one
            raise InputError(f"render: {e}") from e
        override(preset(request.preset), request.view)  # a bad view is told even where there is no OpenGL
        renderer = renderer or Renderer()
        return render(request, renderer), renderer
    except InputError as e:
        return RenderErr(code=e.code, msg=e.msg, path=e.path), renderer
    except MemoryError:
        return RenderErr(code="too_large", msg="picture: not enough memory for it: ask for a smaller one"), renderer
    except Exception as e:  # a driver's failure must not end the loop without an answer
        return RenderErr(code="internal", msg=f"picture: {type(e).__name__}: {e}"), renderer


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer every line of `source` on `sink`, in order."""
    renderer: Renderer | None = None
    for line in source:
        if not line.strip():
            continue
        reply, renderer = answer(line, renderer)
        sink.write(msgspec.json.encode(reply) + b"\n")
        sink.flush()
    if renderer is not None:
        renderer.release()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
