"""A picture tells what it shows, and its surfaces are found again where that can be."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from protocol import pictures
from protocol.errors import InputError
from protocol.files import Surface, SurfaceMeta
from protocol.pictures import Picture, Shown
from protocol.view import PRESETS, override

ID = "01M862BK30R3GEMK1DFMPB9X1M"
VIEW = override(PRESETS["mesh"], {"camera.azimuth": 12.5, "title": "größer"})


def surface(file: Path, value: float = 1.0, **meta: object) -> Path:
    axis = np.arange(3.0)
    loss = np.full((3, 3), value)
    return Surface(
        alpha=axis,
        beta=axis,
        loss=loss,
        accuracy=loss,
        sem=loss,
        n=np.ones((3, 3)),
        meta=SurfaceMeta(**meta),  # type: ignore[arg-type]
    ).save(file)


def drawn(file: Path, picture: Picture) -> Path:
    """A PNG of one pixel that carries the picture's texts."""
    png = pytest.importorskip("renderer.png")
    out = io.BytesIO()
    png.write(out, np.zeros((1, 1, 3), np.uint8), pictures.texts(picture), 192.0)
    file.write_bytes(out.getvalue())
    return file


def test_what_was_written_is_read(tmp_path):
    files = [surface(tmp_path / f"{name}.npz", name=name, id=ID) for name in "ab"]
    metas = tuple(SurfaceMeta(name=name, id=ID) for name in "ab")
    shown = tuple(pictures.shown(meta, file) for meta, file in zip(metas, files))
    picture = Picture(view=VIEW, metas=metas, width=640, height=400, scale=2.0, surfaces=shown)
    assert pictures.read(drawn(tmp_path / "x.png", picture)) == picture


def test_a_picture_of_before_is_read_by_its_view_and_pixels(tmp_path):
    png = pytest.importorskip("renderer.png")
    texts = pictures.texts(Picture(view=VIEW, metas=(SurfaceMeta(id=ID),), width=1, height=1))
    del texts[pictures.PICTURE_KEY]
    with open(tmp_path / "x.png", "wb") as out:
        png.write(out, np.zeros((400, 640, 3), np.uint8), texts, 192.0)
    read = pictures.read(tmp_path / "x.png")
    assert (read.view, read.width, read.height, read.scale) == (VIEW, 320, 200, pytest.approx(2.0, rel=1e-3))
    assert [s.id for s in read.surfaces] == [ID]


@pytest.mark.parametrize("damage", ["none", "empty", "text", "foreign", "cut", "flipped"])
def test_another_file_is_refused_in_a_sentence(tmp_path, damage):
    file = drawn(tmp_path / "x.png", Picture(view=VIEW, metas=(SurfaceMeta(),), width=1, height=1))
    data = file.read_bytes()
    at = data.index(b"thalweg:view") + 30
    contents = {
        "empty": b"",
        "text": b"a text",
        "foreign": pictures.SIGNATURE + data[-12:],
        "cut": data[: at + 20],
        "flipped": data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :],
    }
    if damage == "none":
        file.unlink()
    else:
        file.write_bytes(contents[damage])
    with pytest.raises(InputError, match=r"x\.png: expected a") as caught:
        pictures.read(file)
    assert caught.value.code == ("not_found" if damage == "none" else "integrity")


def test_a_surface_is_found_where_it_lay_beside_the_picture_or_by_id(tmp_path):
    first = surface(tmp_path / "a.npz")
    shown = pictures.shown(SurfaceMeta(), first)
    picture = tmp_path / "pictures" / "x.png"
    picture.parent.mkdir()
    assert pictures.lies(shown, picture) == first
    beside = first.rename(picture.parent / "a.npz")
    assert pictures.lies(shown, picture) == beside
    surface(beside, 2.0)
    assert pictures.lies(shown, picture) is None
    stored = surface(tmp_path / "stored.npz", 3.0, id=ID)  # analysed since: other content, the same surface
    assert pictures.lies(Shown(id=ID, file=str(first), sha256="0"), picture, stored) == stored


def test_a_lost_surface_is_named(tmp_path):
    gone = Shown(id=ID, name="deep", file=str(tmp_path / "deep.npz"), sha256="0")
    said = pictures.lost(gone, "x.png")
    assert said.code == "not_found"
    for words in ("x.png", "PB9X1M", "'deep'", "deep.npz", "not there any more"):
        assert words in said.msg
    surface(tmp_path / "deep.npz")
    assert "another one lies there now" in pictures.lost(gone, "x.png").msg


def test_no_home_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    file = surface(tmp_path / "a.npz")
    shown = pictures.shown(SurfaceMeta(), file)
    assert shown.file == "~/a.npz"
    assert pictures.lies(shown, "x.png") == file
