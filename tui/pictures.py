"""Which pictures `thalweg render` draws: from what was typed to render requests, everything checked beforehand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from protocol import pictures
from protocol.errors import InputError
from protocol.files import Surface, read_path_csv
from protocol.messages import Render
from protocol.pictures import Picture
from protocol.view import View, fields, override, preset
from tui import flags
from tui.workspace import SHORT, Workspace, looks_like_file

DEFAULT_PRESET = "contours-3d"
DEFAULT_SIZE, DEFAULT_SCALE, VIDEO_SCALE = "1280x800", 2.0, 1.0
FLAGS = {"width": "--size", "height": "--size", "others": "--together"}
MOST_TOGETHER = 4
LONGEST = 60  # characters of a picture's name out of several surfaces' names
Ways = list[tuple[str, str, dict[str, Any]]]  # name of the picture, preset, changes of the view


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What was typed, beside the surfaces."""

    presets: Sequence[str] = ()
    view: Sequence[str] = ()
    begin: Picture | None = None  # another picture, whose view and size are the first to hold
    path: Path | None = None
    size: str | None = None
    scale: float | None = None
    out: Path | None = None
    together: bool = False
    turn: Mapping[str, float | None] = field(default_factory=dict)  # seconds, turns, fps

    @property
    def video(self) -> bool:
        """Whether it is a video."""
        return self.out is not None and self.out.suffix.lower() == ".mp4"


def remembered(picture: Picture, file: Path, place: Workspace) -> list[str]:
    """The files of the surfaces that a picture shows. Raises InputError that names one which is not found any more."""
    out = []
    for surface in picture.surfaces:
        stored = [place.surface_file(surface.id)] if surface.id else []
        found = pictures.lies(surface, file, *stored)
        if found is None:
            raise pictures.lost(surface, file)
        out.append(str(found))
    return out


def remembered_path(picture: Picture, file: Path) -> Path | None:
    """The file of the path that a picture shows in place of its surface's own."""
    typed = picture.surfaces[0].path_csv if picture.surfaces else ""
    if not typed:
        return None
    found = Path(typed).expanduser()
    if not found.is_file():
        raise InputError(
            f"{file}: the path that it shows ({typed}) is not there any more: name one with --path", code="not_found"
        )
    return found


def plan(place: Workspace, files: Sequence[str], wanted: Wanted) -> list[Render]:
    """The pictures that were asked for, everything checked that can be checked before anything is drawn."""
    found = [Path(f).expanduser() if looks_like_file(f) else place.surface_file(place.surface(f)) for f in files]
    _check(found, wanted)
    ways = _ways(wanted)
    for file in found:
        Surface.load(file)
    if wanted.path is not None:
        read_path_csv(wanted.path)
    width, height = _size(wanted)
    groups = [found] if wanted.together else [[file] for file in found]
    several = len(groups) * len(ways) > 1
    _check_out(wanted, len(groups) * len(ways))
    stems = _stems(groups)
    scale = wanted.scale
    if scale is None:
        scale = wanted.begin.scale if wanted.begin else VIDEO_SCALE if wanted.video else DEFAULT_SCALE
    requests = []
    for group, stem in zip(groups, stems):
        for name, base, changes in ways:
            if wanted.out is not None and not several:
                target = wanted.out
            else:
                target = (wanted.out or Path()) / f"{stem}-{name}.png"
            given = {
                "file": str(group[0].absolute()),
                "others": tuple(str(file.absolute()) for file in group[1:]),
                "out": str(target.expanduser().absolute()),
                "path_csv": None if wanted.path is None else str(wanted.path.absolute()),
                "preset": base,
                "view": changes,
                "width": width,
                "height": height,
                "scale": scale,
                **{name: value for name, value in wanted.turn.items() if value is not None},
            }
            requests.append(flags.build(Render, None, given, FLAGS))
    return requests


def called(file: Path) -> str:
    """What a picture of this file is called: its stem, or the end of the id where that is its name."""
    is_id = re.match(r"[0-9A-HJKMNP-TV-Z]{26}(\.|$)", file.stem)
    return file.stem.partition(".")[0][-SHORT:] if is_id else file.stem


def _stems(groups: Sequence[Sequence[Path]]) -> list[str]:
    """A name for each picture out of its surfaces' names; the folder tells apart files of one name."""
    names = {file: called(file) for group in groups for file in group}
    alike = {name for name in names.values() if list(names.values()).count(name) > 1}
    for file, name in names.items():
        if name in alike:
            names[file] = f"{file.absolute().parent.name}-{name}"
    out: list[str] = []
    for group in groups:
        stem = "-".join(names[file] for file in group)[:LONGEST]
        number = sum(name == stem or re.fullmatch(rf"{re.escape(stem)}-\d+", name) is not None for name in out)
        out.append(f"{stem}-{number + 1}" if number else stem)
    return out


def _ways(wanted: Wanted) -> Ways:
    """Name, preset and changes of each way in which the surfaces are drawn."""
    changes = view_changes(wanted.view)
    if wanted.begin is not None:
        view = wanted.begin.view
        changes = _kept(view) | changes
        check_view(view.preset, changes)
        return [(view.preset, view.preset, changes)]
    names = list(dict.fromkeys(wanted.presets or [DEFAULT_PRESET]))
    for name in names:
        check_view(name, changes)
    return [(name, name, changes) for name in names]


def _kept(view: View) -> dict[str, Any]:
    """A view as changes of its preset."""
    usual = fields(preset(view.preset))
    return {name: msgspec.to_builtins(v) for name, v in fields(view).items() if v != usual[name]}


def _check(found: Sequence[Path], wanted: Wanted) -> None:
    if not found:
        raise InputError("expected a surface to draw: a file (.npz), an id, or `last`; or --from a picture")
    if wanted.begin is not None and wanted.presets:
        raise InputError("--preset: the view comes from --from: change fields of it with --view")
    if wanted.together and not 2 <= len(found) <= MOST_TOGETHER:
        raise InputError(f"--together: expected 2 to {MOST_TOGETHER} surfaces for one picture, got {len(found)}")
    if not wanted.together and len(found) > 1 and view_changes(wanted.view).get("arrange") == "overlay":
        raise InputError("--view: arrange=overlay is for two surfaces in one picture: add --together")
    if not wanted.video:
        for name, value in wanted.turn.items():
            if value is not None:
                raise InputError(f"--{name}: only a video turns: expected --out with a file that ends in .mp4")


def _check_out(wanted: Wanted, count: int) -> None:
    out = wanted.out
    if out is None:
        return
    is_file = out.suffix.lower() in (".png", ".mp4")
    if count == 1 and not is_file:
        raise InputError(f"--out: expected a file that ends in .png or .mp4, got '{out.name}'")
    if count > 1 and is_file:
        what = "one surface and one preset for a video" if wanted.video else f"a folder for {count} pictures"
        raise InputError(f"--out: expected {what}, got the file '{out.name}'")


def _size(wanted: Wanted) -> tuple[int, int]:
    if wanted.size is None and wanted.begin is not None:
        return wanted.begin.width, wanted.begin.height
    size = wanted.size or DEFAULT_SIZE
    pixels = re.fullmatch(r"(\d+)[xX×](\d+)", size.strip())
    if not pixels:
        raise InputError(f"--size: expected WIDTHxHEIGHT, as {DEFAULT_SIZE}; got '{size}'")
    return int(pixels[1]), int(pixels[2])


def view_changes(texts: Sequence[str], flag: str = "--view") -> dict[str, Any]:
    """`["height=0.5"]` -> {"height": "0.5"}; protocol.view converts by the field's own type. Raises InputError that
    names the flag ("": none, they are the command's words)."""
    changes = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise InputError(f"{flag}{': ' if flag else ''}expected NAME=VALUE, as height=0.5; got '{text}'")
        changes[name.strip()] = value
    return changes


def check_view(name: str, changes: dict[str, Any]) -> None:
    """Refuse an unknown preset, an unknown field or a value out of bounds."""
    try:
        override(preset(name), changes)
    except InputError as e:
        words = e.msg.removeprefix("view: ").removeprefix("view.")
        raise InputError(f"--view: {words}", code=e.code, path=e.path) from e
