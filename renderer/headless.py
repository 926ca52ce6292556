"""`python -m renderer.headless`: reads a `render` request a line (JSON, protocol.messages.Render) from stdin, draws the
picture and answers a line each (`ok` or `err`) on stdout. Ends with its input. Needs no display.

A request whose `out` ends in .mp4 makes a video, with a `progress` line about once a second before its answer. Closing
stdin while one is drawn cancels it: keep it open until the answer comes.

A file is written whole or not at all. A PNG carries the view that made it, its size, and where its values come from
(protocol/pictures.py), so that it can be opened again as that view.
"""

from __future__ import annotations

import queue
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol import pictures
from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta, read_path_csv, replacing
from protocol.messages import Render, RenderErr, RenderOk, RenderProgress
from protocol.pictures import Picture, Shown
from protocol.view import View, override, preset
from renderer import comparing, frame, png, record
from renderer.layout import is_flat
from renderer.panels import Panels
from renderer.panels import check as check_together
from renderer.picture import Renderer
from renderer.scene import EVERYTHING, Dirty, Scene

MOST_PIXELS = 64 * 2**20  # a picture of more would not fit beside its buffers in a small machine's memory
VIDEO_SAMPLES = 6  # jittered frames that make one of a video: in motion nobody sees the difference to a still's
VIDEO_SIDE = 4096  # what decoders take
TELL_S = 1.0
Reply = RenderOk | RenderErr
Tell = Callable[[RenderProgress], None]


class Cancelled(Exception):
    """Nobody waits for this video any more."""


def _no_news(progress: RenderProgress) -> None:
    pass


def render(
    request: Render,
    renderer: Renderer,
    tell: Tell = _no_news,
    cancelled: Callable[[], bool] = lambda: False,
) -> RenderOk:
    """Draw one picture, or video, into its file. Raises InputError, with nothing written, for whatever cannot be done,
    and Cancelled."""
    began = time.perf_counter()
    if request.width * request.height * request.scale**2 > MOST_PIXELS:
        raise InputError(
            f"picture: {request.width} x {request.height} at scale {request.scale:g} is over {MOST_PIXELS // 2**20} "
            "million pixels: ask for a smaller one",
            code="too_large",
        )
    view = override(preset(request.preset), request.view)
    scenes, shown = _scenes(request, view)
    check_together(scenes)
    panels = Panels(renderer)
    try:
        if Path(request.out).suffix.lower() == ".mp4":
            frames, (width, height) = _video(request, scenes, panels, tell, cancelled)
        else:
            frames = 1
            with replacing(request.out) as out:  # opened first: a place that cannot be written is told before drawing
                panels.draw(scenes, request.width, request.height, request.scale)
                pixels = renderer.pixels()
                size = (request.width, request.height)
                write_png(out, pixels, view, [scene.meta for scene in scenes], request.scale, shown, size)
            height, width = pixels.shape[:2]
    finally:
        panels.release()
    return RenderOk(
        out=request.out,
        view=view,
        width=width,
        height=height,
        renderer=renderer.name,
        seconds=round(time.perf_counter() - began, 3),
        frames=frames,
    )


def _scenes(request: Render, view: View) -> tuple[list[Scene], list[Shown]]:
    scenes, shown = [], []
    for k, file in enumerate((request.file, *request.others)):
        surface, csv = Surface.load(file), request.path_csv if k == 0 else None
        if csv is not None:
            surface = replace(surface, path=read_path_csv(csv))
        scene = Scene(view)
        scene.apply(surface)
        scenes.append(scene)
        shown.append(pictures.shown(surface.meta, file, csv))
    return scenes, shown


def _video(
    request: Render, scenes: Sequence[Scene], panels: Panels, tell: Tell, cancelled: Callable[[], bool]
) -> tuple[int, tuple[int, int]]:
    """Draw a turntable; how many frames it has, and its size in pixels."""
    view = scenes[0].view
    if is_flat(view):
        raise InputError("out: a video turns a raised picture, and this view is flat: ask for view mode=3d")
    if request.turns == 0:
        raise InputError("turns: expected a number of turns other than 0: a camera that stands still is a picture")
    width, height = (round(v * request.scale) for v in (request.width, request.height))
    if max(width, height) > VIDEO_SIDE:
        raise InputError(
            f"video: {width} x {height} pixels, expected at most {VIDEO_SIDE} a side: choose a smaller size or scale",
            code="too_large",
        )
    total = max(1, round(request.seconds * abs(request.turns) * request.fps))
    texts = {
        "title": comparing.names(scenes).title if len(scenes) > 1 else view.title or scenes[0].meta.name,
        "comment": msgspec.json.encode(view).decode(),
    }
    began = told = time.perf_counter()
    with record.Recorder(request.out, (width, height), request.fps, wait=True, texts=texts) as video:
        if view.shared_scale:
            panels.settle(scenes)
        lens = frame.automatic(scenes)
        for k, camera in enumerate(record.turntable(lens, frame.box_top(view), total, request.turns)):
            if cancelled():
                raise Cancelled
            for scene in scenes:
                scene.apply(msgspec.structs.replace(view, camera=camera))
            dirty = [EVERYTHING if k == 0 else Dirty(view=True)] * len(scenes)
            panels.draw(scenes, request.width, request.height, request.scale, dirty=dirty, samples=VIDEO_SAMPLES)
            video.frame(panels.renderer.pixels(), k / request.fps)
            now = time.perf_counter()
            if now - told >= TELL_S or k == 0:
                told = now
                tell(RenderProgress(done=k + 1, total=total, eta_s=(now - began) / (k + 1) * (total - k - 1)))
        video.close()
    return video.frames, video.size


def write_png(
    file: IO[bytes],
    pixels: NDArray[np.uint8],
    view: View,
    metas: SurfaceMeta | Sequence[SurfaceMeta],
    scale: float,
    shown: Sequence[Shown] = (),
    size: tuple[int, int] | None = None,
) -> None:
    """Write pixels (h, w, 3) uint8 as a PNG that carries its view and, of each surface, provenance and place (`shown`;
    default: by the ids). `size` is the picture's before `scale`."""
    metas = (metas,) if isinstance(metas, SurfaceMeta) else tuple(metas)
    h, w = pixels.shape[:2]
    width, height = size or (round(w / scale), round(h / scale))
    picture = Picture(
        view=view,
        metas=metas,
        width=width,
        height=height,
        scale=scale,
        surfaces=tuple(shown) or tuple(pictures.shown(meta) for meta in metas),
    )
    png.write(file, pixels, pictures.texts(picture), 96 * scale)


def read_png_view(file: str) -> tuple[View, SurfaceMeta]:
    """The view and the first surface's provenance of a PNG made here (all of it: protocol.pictures.read). Raises
    InputError for another sort of file."""
    picture = pictures.read(file)
    return picture.view, picture.metas[0]


def answer(
    line: str | bytes,
    renderer: Renderer | None,
    tell: Tell = _no_news,
    cancelled: Callable[[], bool] = lambda: False,
) -> tuple[Reply, Renderer | None]:
    """The answer to one line, and the renderer, made when first needed."""
    try:
        try:
            request = msgspec.json.decode(line, type=Render)
        except msgspec.DecodeError as e:  # ValidationError is one
            raise InputError(f"render: {e}") from e
        override(preset(request.preset), request.view)  # a bad view is told even where there is no OpenGL
        renderer = renderer or Renderer()
        return render(request, renderer, tell, cancelled), renderer
    except InputError as e:
        return RenderErr(code=e.code, msg=e.msg, path=e.path), renderer
    except Cancelled:
        return RenderErr(code="wrong_state", msg="video: cancelled, nothing was written"), renderer
    except MemoryError:
        return RenderErr(code="too_large", msg="picture: not enough memory for it: ask for a smaller one"), renderer
    except Exception as e:  # a driver's failure must not end the loop without an answer
        return RenderErr(code="internal", msg=f"picture: {type(e).__name__}: {e}"), renderer


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """Answer every line of `source` on `sink`, in order."""
    renderer: Renderer | None = None
    closed = threading.Event()

    def say(message: Reply | RenderProgress) -> None:
        sink.write(msgspec.json.encode(message) + b"\n")
        sink.flush()

    for line in _lines(source, closed):
        reply, renderer = answer(line, renderer, say, closed.is_set)
        say(reply)
    if renderer is not None:
        renderer.release()


def _lines(source: IO[bytes], closed: threading.Event) -> Iterator[bytes]:
    """The lines of `source`, read ahead so that its end is known while one is answered."""
    waiting: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        try:
            for line in source:
                if line.strip():
                    waiting.put(line)
        finally:
            closed.set()
            waiting.put(None)

    threading.Thread(target=read, name="stdin", daemon=True).start()
    while (line := waiting.get()) is not None:
        yield line


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
