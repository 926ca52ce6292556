"""`thalweg render`: surfaces become pictures and videos, drawn by `python -m renderer.headless`."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from protocol import pictures
from protocol.errors import InputError
from protocol.messages import JobProgress, Render
from protocol.view import PRESETS
from tui import progress, reach, session, things
from tui.children import ChildError, JsonChild, need, python
from tui.pictures import DEFAULT_PRESET, DEFAULT_SCALE, DEFAULT_SIZE, Wanted, plan, remembered, remembered_path
from tui.session import Common
from tui.workspace import SHORT, check_writable, folders, looks_like_file

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]

Told = Callable[[dict[str, Any]], None]


def render(
    files: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Surfaces: files (.npz), or ids of the workspace, or `last`."),
    ] = None,
    /,
    *,
    preset: Annotated[
        list[PresetName] | None,
        Parameter(negative=(), help=f"How it is drawn; may be repeated. [default: {DEFAULT_PRESET}]"),
    ] = None,
    view: Annotated[
        list[str] | None, Parameter(negative=(), help="Override a field of the view, as NAME=VALUE; may be repeated.")
    ] = None,
    from_: Annotated[
        Path | None,
        Parameter(name="--from", help="A picture drawn before: its view and size, of its surface or of those named."),
    ] = None,
    together: Annotated[
        bool,
        Parameter(
            negative=(),
            show_default=False,
            help="All surfaces, 2 to 4, in one picture with one scale, colour bar and camera.",
        ),
    ] = False,
    path: Annotated[
        Path | None, Parameter(help="Path to draw (*-path.csv, or two columns x,y) instead of the surface's own.")
    ] = None,
    size: Annotated[str | None, Parameter(help=f"Width x height, before --scale. [default: {DEFAULT_SIZE}]")] = None,
    scale: Annotated[
        float | None,
        Parameter(help=f"Pixels for each of these; 2 for sharp prints. [default: {DEFAULT_SCALE:g}, of a video 1]"),
    ] = None,
    seconds: Annotated[float | None, Parameter(help="Length of one turn of a video. [default: 8]")] = None,
    turns: Annotated[float | None, Parameter(help="Turns of a video; negative: clockwise. [default: 1]")] = None,
    fps: Annotated[int | None, Parameter(help="Frames a second of a video. [default: 30]")] = None,
    out: Annotated[
        Path | None,
        Parameter(
            help="PNG to write, or MP4 for a turntable, or the folder for several; by default named after file and "
            "preset, here."
        ),
    ] = None,
    common: Common | None = None,
) -> None:
    """Draw surfaces as pictures (PNG) or turntable videos (MP4)."""
    common = session.common(common)
    typed, begin = list(files or ()), None
    if from_ is not None:
        begin = pictures.read(from_)
        if not typed:
            typed, together = remembered(begin, from_, common.place()), len(begin.surfaces) > 1
            path = path or remembered_path(begin, from_)
    wanted = Wanted(
        presets=preset or (),
        view=view or (),
        begin=begin,
        path=path,
        size=size,
        scale=scale,
        out=out,
        together=together,
        turn={"seconds": seconds, "turns": turns, "fps": fps},
    )
    with ExitStack() as stack:
        requests = plan(common.place(), stack.enter_context(found(common, typed)), wanted)
        need("window", "moderngl", "PIL", *(("imageio_ffmpeg",) if wanted.video else ()))
        stack.enter_context(folders(*{Path(r.out).parent for r in requests}))
        child = stack.enter_context(renderer())
        for request in requests:
            answer = filmed(child, request, common) if wanted.video else draw(child, request)
            if common.json:
                progress.print_json(answer)
            else:
                print(f"{request.out}  {answer['width']} x {answer['height']}")


def filmed(child: JsonChild, request: Render, common: Common) -> dict[str, Any]:
    """Make a video, showing how far it is."""
    with progress.display(as_json=common.json) as show:
        show.start(Path(request.out).name)

        def tell(told: dict[str, Any]) -> None:
            if common.json:
                progress.print_json(told)
            else:
                show.event(JobProgress(job="", done=told["done"], total=told["total"], eta_s=told["eta_s"]), {})

        answer = draw(child, request, tell)
        show.done(f"{answer['frames']} frames")
    return answer


@contextmanager
def found(common: Common, files: Sequence[str]) -> Iterator[list[str]]:
    """The files with those of a daemon's surfaces in the place of ids and names; what is far away is fetched for the
    block. Where no daemon runs, ids are looked for in the workspace's folder, and none is started for it."""
    if all(looks_like_file(f) for f in files):
        yield list(files)
        return
    with reach.running(common) as there, tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        out = []
        for typed in files:
            if there is None or looks_like_file(typed):
                out.append(typed)
                continue
            record = things.thing(there.client, "surface", typed)
            if there.root is not None and record.get("file"):
                out.append(str(there.root / record["file"]))
            else:
                name = record.get("name") or record["id"][-SHORT:]
                out.append(str(there.client.fetch(Path(folder) / f"{name}.npz", surface=record["id"])))
        yield out


@contextmanager
def renderer() -> Iterator[JsonChild]:
    """One renderer process for the length of a block; it draws without a screen."""
    with JsonChild(python("renderer.headless"), "the renderer process", undoes=True) as child:
        yield child


def draw(child: JsonChild, request: Render, tell: Told | None = None) -> dict[str, Any]:
    """Draw one picture; the renderer's answer, its progress to `tell`. Raises InputError where it refuses."""
    check_writable(Path(request.out).parent)
    answer = child.ask(msgspec.json.encode(request), tell)
    if answer.get("t") == "err":
        if answer.get("code") == "internal":
            raise ChildError(str(answer["msg"]))
        raise InputError(str(answer["msg"]), code=answer["code"], path=answer.get("path"))
    return answer
