"""Pictures by request: one answer a line, whole files or none, and PNGs that know their view."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
import scenes
from PIL import Image

from protocol import pictures
from protocol.messages import Render, RenderErr, RenderOk, RenderProgress
from protocol.view import override, preset
from renderer import headless, png


@pytest.fixture
def surface(tmp_path: Path) -> str:
    return str(scenes.resnet().save(tmp_path / "surface.npz"))


def ask(tmp_path: Path, surface: str, **changes: object) -> RenderOk | RenderErr:
    request = {
        "t": "render",
        "file": surface,
        "out": str(tmp_path / "out.png"),
        "width": 320,
        "height": 200,
        "scale": 1,
    }
    reply, _ = headless.answer(json.dumps(request | changes), scenes.renderer())
    return reply


def test_a_picture_is_written_and_carries_its_view(tmp_path, surface):
    reply = ask(tmp_path, surface, preset="heat", view={"colormap": "rainbow", "height": "0.5"})
    assert isinstance(reply, RenderOk)
    with Image.open(reply.out) as image:
        assert image.size == (reply.width, reply.height) == (320, 200)
    view, meta = headless.read_png_view(reply.out)
    assert view == reply.view == override(preset("heat"), {"colormap": "rainbow", "height": 0.5})
    assert (meta.model, meta.plane.kind) == ("ResNet-50", "pca")


def test_a_picture_drawn_again_from_its_own_view_is_the_same(tmp_path, surface):
    first = ask(tmp_path, surface, preset="contours-2d", view={"theme": "dark", "contours.count": 7})
    assert isinstance(first, RenderOk)
    before = np.asarray(Image.open(first.out))
    view, _ = headless.read_png_view(first.out)
    flat = {k: v for k, v in _dotted(msgspec.to_builtins(view)).items() if k != "preset"}
    again = ask(tmp_path, surface, preset=view.preset, view=flat)
    assert isinstance(again, RenderOk)
    assert np.array_equal(before, np.asarray(Image.open(again.out)))


def _dotted(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
    out: dict[str, object] = {}
    for key, value in tree.items():
        out |= _dotted(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return out


def test_the_seeds_csv_takes_the_paths_place(tmp_path, surface):
    bare = ask(tmp_path, surface, view={"layers.path": False})
    with_path = ask(tmp_path, surface, path_csv=str(scenes.DATA / "ResNet_PCA_gradient_descent_results.csv"))
    assert isinstance(bare, RenderOk)
    assert isinstance(with_path, RenderOk)


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        ({"file": "no.npz"}, "not_found", "found no file"),
        ({"path_csv": "no.csv"}, "not_found", "found no file"),
        ({"preset": "poster"}, "not_found", "expected one of contours-2d"),
        ({"view": {"hight": 1}}, "not_found", "did you mean height"),
        ({"view": {"height": "tall"}}, "bad_request", "a number from 0 to 10"),
        ({"out": "/nowhere/at/all.png"}, "unavailable", "cannot write there"),
        ({"width": 3}, "bad_request", "`int` >= 160"),
        ({"width": 8192, "height": 8192, "scale": 8}, "too_large", "million pixels"),
        ({"t": "paint"}, "bad_request", "Invalid value 'paint'"),
        ({"file": 7}, "bad_request", "Expected `str`"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_no_file(tmp_path, surface, changes, code, sentence):
    reply = ask(tmp_path, surface, **changes)
    assert isinstance(reply, RenderErr)
    assert reply.code == code
    assert sentence in reply.msg
    assert "\n" not in reply.msg
    assert sorted(p.name for p in tmp_path.iterdir()) == ["surface.npz"]


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not a zip", b"x" * 5000])
def test_a_damaged_file_is_told(tmp_path, damage):
    file = tmp_path / "surface.npz"
    file.write_bytes(damage)
    reply = ask(tmp_path, str(file))
    assert isinstance(reply, RenderErr)
    assert reply.code == "integrity"


def test_a_full_disk_leaves_the_old_picture(tmp_path, surface, monkeypatch):
    old = tmp_path / "out.png"
    old.write_bytes(b"old")

    def full(fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    reply = ask(tmp_path, surface)
    assert isinstance(reply, RenderErr)
    assert "No space left" in reply.msg
    assert old.read_bytes() == b"old"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out.png", "surface.npz"]


def test_another_png_is_not_taken_for_ours(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "other.png")
    with pytest.raises(ValueError, match="made by thalweg"):
        headless.read_png_view(str(tmp_path / "other.png"))


def test_several_surfaces_are_one_picture_that_carries_them_all(tmp_path, surface):
    other = str(scenes.vgg().save(tmp_path / "vgg.npz"))
    reply = ask(tmp_path, surface, others=[other], preset="heat")
    assert isinstance(reply, RenderOk)
    picture = pictures.read(reply.out)
    assert [meta.model for meta in picture.metas] == ["ResNet-50", "VGG-11"]
    assert [pictures.lies(shown, reply.out) for shown in picture.surfaces] == [Path(surface), Path(other)]
    assert (picture.width, picture.height, picture.scale) == (320, 200, 1.0)
    alone = ask(tmp_path, surface, preset="heat", out=str(tmp_path / "alone.png"))
    assert isinstance(alone, RenderOk)
    assert not np.array_equal(np.asarray(Image.open(reply.out)), np.asarray(Image.open(alone.out)))


@pytest.mark.parametrize(
    ("changes", "code", "sentence"),
    [
        ({"others": ["no.npz"]}, "not_found", "found no file"),
        ({"others": ["a", "b", "c", "d"]}, "bad_request", "length <= 3"),
        ({"out": "x.mp4", "preset": "heat"}, "bad_request", "turns a raised picture"),
        ({"out": "x.mp4", "turns": 0}, "bad_request", "other than 0"),
        ({"out": "x.mp4", "width": 4000, "height": 4000, "scale": 2}, "too_large", "4096 a side"),
        ({"out": "x.mp4", "fps": 1000}, "bad_request", "<= 60"),
    ],
)
def test_a_video_or_comparison_that_cannot_be_is_one_sentence(tmp_path, surface, changes, code, sentence):
    if "out" in changes:
        changes = changes | {"out": str(tmp_path / changes["out"])}
    reply = ask(tmp_path, surface, **changes)
    assert isinstance(reply, RenderErr)
    assert reply.code == code
    assert sentence in reply.msg
    assert sorted(p.name for p in tmp_path.iterdir()) == ["surface.npz"]


def video_request(tmp_path: Path, surface: str, **changes: object) -> bytes:
    fields = {"file": surface, "out": str(tmp_path / "x.mp4"), "preset": "solid", "width": 200, "height": 120}
    return msgspec.json.encode(msgspec.convert({"t": "render", "scale": 1.0} | fields | changes, Render)) + b"\n"


def test_a_video_tells_its_progress_and_then_its_answer(tmp_path, surface):
    pytest.importorskip("imageio_ffmpeg")
    told: list[RenderProgress] = []
    reply, _ = headless.answer(video_request(tmp_path, surface, seconds=0.5, fps=10), scenes.renderer(), told.append)
    assert isinstance(reply, RenderOk), reply
    assert (reply.frames, reply.width, reply.height) == (5, 200, 120)
    assert Path(reply.out).stat().st_size > 1000
    assert told[0].done == 1
    assert told[0].total == 5


def test_closing_stdin_cancels_a_video(tmp_path, surface):
    pytest.importorskip("imageio_ffmpeg")
    scenes.renderer()
    child = subprocess.Popen(
        [sys.executable, "-m", "renderer.headless"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write(video_request(tmp_path, surface, seconds=600).decode())
    child.stdin.flush()
    assert json.loads(child.stdout.readline())["t"] == "progress"
    assert any(p.name.endswith(".tmp") for p in tmp_path.iterdir())
    child.stdin.close()
    *_, last = child.stdout
    assert json.loads(last)["code"] == "wrong_state"
    assert child.wait(20) == 0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["surface.npz"]


def test_every_line_has_its_answer_in_order(tmp_path, surface):
    scenes.renderer()
    good = {"t": "render", "file": surface, "out": str(tmp_path / "a.png"), "width": 200, "height": 150, "scale": 1}
    lines = [
        json.dumps(good),
        "nonsense",
        "",
        json.dumps(good | {"preset": "x"}),
        json.dumps(good | {"preset": "mesh"}),
    ]
    sink = io.BytesIO()
    headless.serve(io.BytesIO("\n".join(lines).encode()), sink)
    replies = [msgspec.json.decode(line, type=RenderOk | RenderErr) for line in sink.getvalue().splitlines()]
    assert [type(r).__name__ for r in replies] == ["RenderOk", "RenderErr", "RenderErr", "RenderOk"]


def test_the_process_answers_on_stdout_and_says_where_there_is_no_opengl(tmp_path, surface):
    request = msgspec.json.encode(Render(file=surface, out=str(tmp_path / "b.png"), width=200, height=150))
    for env, expected in (({}, "ok"), ({"LD_LIBRARY_PATH": str(_blind(tmp_path))}, "err")):
        if expected == "ok":
            scenes.renderer()
        done = subprocess.run(
            [sys.executable, "-m", "renderer.headless"],
            input=request + b"\n",
            capture_output=True,
            env=os.environ | env,
            check=True,
        )
        reply = json.loads(done.stdout)
        assert reply["t"] == expected, reply
        if expected == "err":
            assert reply["code"] == "unavailable"
            assert "OpenGL" in reply["msg"]


def _blind(folder: Path) -> Path:
    """A folder whose libEGL and libGL are no libraries, as on a machine without them."""
    blind = folder / "blind"
    blind.mkdir()
    for name in ("libEGL.so", "libEGL.so.1", "libGL.so", "libGL.so.1", "libX11.so", "libX11.so.6"):
        (blind / name).write_text("no library")
    return blind


def test_a_png_holds_its_pixels_texts_and_resolution(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (7, 11, 3), np.uint8)
    file = tmp_path / "x.png"
    with open(file, "wb") as f:
        png.write(f, pixels, {"a:b": "Grüße, δ", "Software": "thalweg"}, 192.0)
    with Image.open(file) as image:
        image.load()
        assert np.array_equal(np.asarray(image), pixels)
        assert image.text == {"a:b": "Grüße, δ", "Software": "thalweg"}  # type: ignore[attr-defined]
        assert image.info["dpi"] == pytest.approx((192, 192), abs=0.1)
