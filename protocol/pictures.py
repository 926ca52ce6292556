"""What a picture carries: its view, its size, and for each of its surfaces which one it is and where it lay.

Text chunks of the PNG: `thalweg:view` and `thalweg:meta` (the first surface's provenance) as JSON, and
`thalweg:picture` with the rest. So a picture can be opened again as the view that made it, in a window or of another
surface. Read here without an image library: a terminal needs no more than the chunks.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from pathlib import Path

import msgspec
from msgspec import Struct

from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.view import View

SIGNATURE = b"\x89PNG\r\n\x1a\n"
VIEW_KEY, META_KEY, PICTURE_KEY = "thalweg:view", "thalweg:meta", "thalweg:picture"
MOST_TEXT = 1 << 20  # bytes of one text chunk: ours are a few kilobytes
TEXT_INCH = 0.0254


class Shown(Struct, frozen=True, kw_only=True):
    """One surface of a picture: its id and name, where it is known by one, and the file that was drawn."""

    id: str = ""
    name: str = ""
    file: str = ""  # absolute; under the home folder it begins with "~"
    sha256: str = ""  # of the file
    path_csv: str = ""  # the path drawn in place of the surface's own

    @property
    def called(self) -> str:
        """What a person knows it by."""
        what = f"surface {self.id[-6:]}" if self.id else "a surface"
        parts = [what, f"'{self.name}'" if self.name else "", f"of {self.file}" if self.file else ""]
        return " ".join(p for p in parts if p)


class Picture(Struct, frozen=True, kw_only=True):
    """What is known of a picture that was drawn here. `width` and `height` are before `scale`."""

    view: View
    metas: tuple[SurfaceMeta, ...]
    width: int
    height: int
    scale: float = 1.0
    surfaces: tuple[Shown, ...] = ()


class _Rest(Struct, frozen=True, kw_only=True):
    """The chunk `thalweg:picture`."""

    width: int
    height: int
    scale: float
    surfaces: tuple[Shown, ...]
    metas: tuple[SurfaceMeta, ...] = ()  # from the second surface on


def shown(meta: SurfaceMeta, file: str | os.PathLike[str] | None = None, path_csv: str | None = None) -> Shown:
    """How a picture names a surface; a file that can be read is named by its content too."""
    where = digest = ""
    if file is not None:
        where = _tilde(Path(file))
        try:
            with open(file, "rb") as f:
                digest = hashlib.file_digest(f, "sha256").hexdigest()
        except OSError:
            pass  # drawn from memory: it is named by its id
    csv = "" if path_csv is None else _tilde(Path(path_csv))
    return Shown(id=meta.id, name=meta.name, file=where, sha256=digest, path_csv=csv)


def _tilde(file: Path) -> str:
    """An absolute path that tells nobody whose home it lies in."""
    whole = file.expanduser().absolute()
    try:
        return str(Path("~") / whole.relative_to(Path.home()))
    except (ValueError, RuntimeError):
        return str(whole)


def texts(picture: Picture) -> dict[str, str]:
    """The text chunks of a picture."""
    rest = _Rest(
        width=picture.width,
        height=picture.height,
        scale=picture.scale,
        surfaces=picture.surfaces,
        metas=picture.metas[1:],
    )
    return {
        VIEW_KEY: msgspec.json.encode(picture.view).decode(),
        META_KEY: msgspec.json.encode(picture.metas[0]).decode(),
        PICTURE_KEY: msgspec.json.encode(rest).decode(),
        "Software": "thalweg",
    }


def read(file: str | os.PathLike[str]) -> Picture:
    """What a picture carries. Raises InputError for a missing file, or one that was not drawn here."""
    try:
        found, (columns, rows), per_inch = _chunks(Path(file))
        view = msgspec.json.decode(found[VIEW_KEY], type=View)
        meta = msgspec.json.decode(found[META_KEY], type=SurfaceMeta)
        if PICTURE_KEY in found:
            rest = msgspec.json.decode(found[PICTURE_KEY], type=_Rest)
        else:  # of before it carried more
            scale = max(per_inch / 96, 0.5)
            size = round(columns / scale), round(rows / scale)
            rest = _Rest(width=size[0], height=size[1], scale=scale, surfaces=(shown(meta),))
    except FileNotFoundError as e:
        raise InputError(f"{file}: expected a picture (.png), found no file there", code="not_found") from e
    except OSError as e:
        raise InputError(f"{file}: cannot read it ({e.strerror})", code="unavailable") from e
    except (KeyError, ValueError, struct.error, zlib.error, msgspec.MsgspecError) as e:
        raise InputError(f"{file}: expected a PNG made by thalweg, which carries its view", code="integrity") from e
    return Picture(
        view=view,
        metas=(meta, *rest.metas),
        width=rest.width,
        height=rest.height,
        scale=rest.scale,
        surfaces=rest.surfaces,
    )


def _chunks(file: Path) -> tuple[dict[str, str], tuple[int, int], float]:
    """Text chunks, size in pixels and pixels an inch of a PNG."""
    out: dict[str, str] = {}
    size, per_inch = (0, 0), 96.0
    with open(file, "rb") as f:
        if f.read(8) != SIGNATURE:
            raise ValueError("not a PNG")
        while len(head := f.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            if kind == b"IEND":
                break
            if kind not in (b"IHDR", b"pHYs", b"iTXt", b"tEXt") or length > MOST_TEXT:
                f.seek(length + 4, os.SEEK_CUR)
                continue
            data = f.read(length)
            if len(data) != length or struct.unpack(">I", f.read(4))[0] != zlib.crc32(kind + data):
                raise ValueError("damaged")
            if kind == b"IHDR":
                size = struct.unpack(">II", data[:8])
            elif kind == b"pHYs":
                per_inch = struct.unpack(">I", data[:4])[0] * TEXT_INCH
            else:
                keyword, _, rest = data.partition(b"\0")
                if kind == b"iTXt":
                    packed = rest[:1] == b"\1"
                    rest = rest[2:].split(b"\0", 2)[2]
                    rest = zlib.decompress(rest) if packed else rest
                out[keyword.decode("latin-1")] = rest.decode("utf-8")
    return out, size, per_inch


def lies(surface: Shown, picture: str | os.PathLike[str], *others: Path) -> Path | None:
    """The file of a surface that a picture shows: where it lay, else beside the picture, else one of `others`. A file
    counts if it has the same content, or holds the surface of the same id."""
    lay = Path(surface.file).expanduser() if surface.file else None
    tried = [] if lay is None else [lay, Path(picture).parent / lay.name]
    return next((file for file in (*tried, *others) if _is(file, surface)), None)


def lost(surface: Shown, picture: str | os.PathLike[str]) -> InputError:
    """What to say of a surface that is not found any more."""
    there = bool(surface.file) and Path(surface.file).expanduser().is_file()
    why = "another one lies there now" if there else "it is not there any more"
    return InputError(
        f"{picture}: it shows {surface.called}, and {why}: name a surface or a file to draw instead", code="not_found"
    )


def _is(file: Path, surface: Shown) -> bool:
    if not file.is_file():
        return False
    with open(file, "rb") as f:
        same = hashlib.file_digest(f, "sha256").hexdigest() == surface.sha256
    if same or not surface.id:
        return same
    try:
        return Surface.load(file).meta.id == surface.id
    except InputError:
        return False
