"""`thalweg render`: surfaces become pictures, drawn by `python -m renderer.headless`."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from protocol.errors import InputError
from protocol.files import Surface, read_path_csv
from protocol.messages import Render
from protocol.view import PRESETS, override, preset
from tui import flags, progress, reach, session, things
from tui.children import ChildError, JsonChild, need, python
from tui.session import Common
from tui.workspace import SHORT, Workspace, check_writable, folders, looks_like_file

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]

DEFAULT_PRESET = "contours-3d"
FLAGS = {"width": "--size", "height": "--size"}


def render(
    files: Annotated[
        list[str], Parameter(negative=(), help="Surfaces: files (.npz), or ids of the workspace, or `last`.")
    ],
    /,
    *,
    preset: Annotated[
        list[PresetName] | None,
        Parameter(negative=(), help=f"How it is drawn; may be repeated. [default: {DEFAULT_PRESET}]"),
    ] = None,
    view: Annotated[
        list[str] | None, Parameter(negative=(), help="Override a field of the view, as NAME=VALUE; may be repeated.")
    ] = None,
    path: Annotated[
        Path | None, Parameter(help="Path to draw (*-path.csv, or two columns x,y) instead of the surface's own.")
    ] = None,
    size: Annotated[str, Parameter(help="Width x height, before --scale.")] = "1280x800",
    scale: Annotated[float, Parameter(help="Pixels for each of these; 2 for sharp prints.")] = 2.0,
    out: Annotated[
        Path | None,
        Parameter(help="PNG to write, or the folder for several; by default named after file and preset, here."),
    ] = None,
    common: Common | None = None,
) -> None:
    """Draw a surface as a picture (PNG)."""
    common = session.common(common)
    with ExitStack() as stack:
        files = stack.enter_context(found(common, files))
        requests = plan(common.place(), files, preset or [DEFAULT_PRESET], view or [], path, size, scale, out)
        need("window", "moderngl", "PIL")
        stack.enter_context(folders(*{Path(r.out).parent for r in requests}))
        child = stack.enter_context(renderer())
        for request in requests:
            answer = draw(child, request)
            if common.json:
                progress.print_json(answer)
            else:
                print(f"{request.out}  {answer['width']} x {answer['height']}")


def called(file: Path) -> str:
    """What a picture of this file is called: its stem, or the end of the id where that is its name."""
    is_id = re.match(r"[0-9A-HJKMNP-TV-Z]{26}(\.|$)", file.stem)
    return file.stem.partition(".")[0][-SHORT:] if is_id else file.stem


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


def plan(
    place: Workspace,
    files: Sequence[str],
    presets: Sequence[str],
    view: Sequence[str],
    path: Path | None,
    size: str,
    scale: float,
    out: Path | None,
) -> list[Render]:
    """The pictures that were asked for, everything checked that can be checked before anything is drawn."""
    found = [Path(f).expanduser() if looks_like_file(f) else place.surface_file(place.surface(f)) for f in files]
    changes = view_changes(view)
    for name in presets:
        check_view(name, changes)
    for file in found:
        Surface.load(file)
    if path is not None:
        read_path_csv(path)
    pixels = re.fullmatch(r"(\d+)[xX×](\d+)", size.strip())
    if not pixels:
        raise InputError(f"--size: expected WIDTHxHEIGHT, as 1280x800; got '{size}'")
    several = len(found) * len(presets) > 1
    if out is not None and not several and out.suffix.lower() != ".png":
        raise InputError(f"--out: expected a file that ends in .png, got '{out.name}'")
    if out is not None and several and out.suffix.lower() == ".png":
        raise InputError(
            f"--out: expected a folder for {len(found) * len(presets)} pictures, got the file '{out.name}'"
        )
    requests = []
    for file in found:
        for name in presets:
            target = out if out is not None and not several else (out or Path()) / f"{called(file)}-{name}.png"
            fields = {
                "file": str(file.absolute()),
                "out": str(target.expanduser().absolute()),
                "path_csv": None if path is None else str(path.absolute()),
                "preset": name,
                "view": changes,
                "width": int(pixels[1]),
                "height": int(pixels[2]),
                "scale": scale,
            }
            requests.append(flags.build(Render, None, fields, FLAGS))
    return requests


def view_changes(texts: Sequence[str]) -> dict[str, Any]:
    """`["height=0.5"]` -> {"height": "0.5"}; protocol.view converts by the field's own type."""
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"--view: expected NAME=VALUE, as height=0.5; got '{text}'")
        changes[name] = value
    return changes


def check_view(name: str, changes: dict[str, Any]) -> None:
    """Refuse an unknown preset, an unknown field or a value out of bounds."""
    try:
        override(preset(name), changes)
    except InputError as e:
        words = e.msg.removeprefix("view: ").removeprefix("view.")
        raise InputError(f"--view: {words}", code=e.code, path=e.path) from e


@contextmanager
def renderer() -> Iterator[JsonChild]:
    """One renderer process for the length of a block; it draws without a screen."""
    with JsonChild(python("renderer.headless"), "the renderer process") as child:
        yield child


def draw(child: JsonChild, request: Render) -> dict[str, Any]:
    """Draw one picture; the renderer's answer. Raises InputError where it refuses."""
    check_writable(Path(request.out).parent)
    answer = child.ask(msgspec.json.encode(request))
    if answer.get("t") == "err":
        if answer.get("code") == "internal":
            raise ChildError(str(answer["msg"]))
        raise InputError(str(answer["msg"]), code=answer["code"], path=answer.get("path"))
    return answer
