"""What lies over a window: the read-out of the probe, notes and the keys; placed inside of the window, and never in the
picture."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scenes

from protocol.view import PRESETS, override
from renderer import fonts, frame, hud, picking
from renderer.hud import Hud
from renderer.ink import Ink
from renderer.layers import help as keys
from renderer.layers import probe
from renderer.layers.notes import Note
from renderer.scene import Scene

SIZES = [(1280, 800, 1.0), (640, 400, 1.0), (640, 400, 2.0), (400, 900, 1.0)]


def made(surface, width=1280, height=800, scale=1.0, **changes) -> frame.Frame:
    scene = Scene(override(PRESETS["solid"], changes))
    scene.apply(surface)
    return frame.make(scene, width, height, scale)


def boxes(ink: Ink) -> list[tuple[float, float, float, float]]:
    """Where each line of text lies: x0, y0, x1, y1."""
    out = []
    for t in ink.texts:
        x0 = t.x - t.align * fonts.width(t.text, t.size, t.bold)
        middle = t.y if t.anchor == "middle" else t.y - 0.36 * t.size
        out.append((x0, middle - 0.5 * t.size, x0 + fonts.width(t.text, t.size, t.bold), middle + 0.5 * t.size))
    return out


def panels(ink: Ink) -> list[tuple[float, float, float, float]]:
    return [(s[0], s[1], s[3], s[4]) for s in ink.shapes if s[7] == 7]


def test_the_read_out_tells_what_was_measured():
    surface = scenes.resnet()
    sem, accuracy = np.full((26, 26), 0.00123), np.full((26, 26), 0.8765)
    made_ = made(replace(surface, sem=sem, accuracy=accuracy))
    x, y, _ = made_.pixels(made_.world(surface.alpha[14], surface.beta[10]))[0]
    hit = picking.pick(made_, x, y)
    heading, lines = probe.lines(made_, hit)
    assert heading.startswith("Loss ")
    assert heading.endswith("± 0.0012")
    assert lines[0] == "α = 1.5, β = −1.5"
    assert lines[1] == "accuracy 0.8765, n = 512"
    made_.scene.apply(override(made_.view, {"metric": "accuracy"}))
    assert probe.lines(made_, hit) == ("Accuracy 0.8765", [lines[0], f"{heading.lower()}, n = 512"])


@pytest.mark.parametrize("mode", ["2d", "3d"])
@pytest.mark.parametrize(
    ("i", "j", "words"), [(11, 5, "Not measured yet"), (5, 7, "Diverged: loss NaN"), (16, 17, "Diverged: loss ∞")]
)
def test_the_read_out_says_why_there_is_no_value(mode, i, j, words):
    surface = scenes.holes()
    made_ = made(surface, mode=mode, **{"camera.elevation": 90})
    world = made_.world(surface.alpha[j], surface.beta[i])
    world[:, 2] = 0
    x, y, _ = made_.pixels(world)[0]
    hit = picking.pick(made_, x, y)
    assert probe.lines(made_, hit)[0] == words
    assert probe.marked(made_, hit) == pytest.approx((x, y), abs=1e-6)


@pytest.mark.parametrize(("width", "height", "scale"), SIZES)
@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_the_read_out_is_inside_of_the_window_and_beside_the_pointer(width, height, scale, mode):
    made_ = made(scenes.resnet(), width, height, scale, mode=mode)
    w, h = made_.layout.size
    hits = 0
    for fx, fy in itertools.product(np.linspace(0.02, 0.98, 9), repeat=2):
        hit = picking.pick(made_, fx * w, fy * h)
        if hit is None:
            continue
        hits += 1
        ink = hud.letter(Hud(made_, hit, (fx * w, fy * h)))
        ((x0, y0, x1, y1),) = panels(ink)
        assert 0 <= x0 < x1 <= w
        assert 0 <= y0 < y1 <= h
        assert not (x0 <= fx * w <= x1 and y0 <= fy * h <= y1)
        for a, b, c, d in boxes(ink):
            assert x0 < a < c < x1
            assert y0 < b < d < y1
    assert hits > 3


@pytest.mark.parametrize(("width", "height", "scale"), SIZES)
def test_the_keys_fit_into_the_window_and_do_not_touch(width, height, scale):
    made_ = made(scenes.resnet(), width, height, scale)
    ink = hud.letter(Hud(made_, help=True))
    w, h = made_.layout.size
    found = boxes(ink)
    assert all(min(a, b) >= 0 and c <= w and d <= h for a, b, c, d in found)
    for p, q in itertools.combinations(found, 2):
        assert p[2] <= q[0] or q[2] <= p[0] or p[3] <= q[1] or q[3] <= p[1]
    told = {t.text for t in ink.texts}
    assert all(row.words in told for column in keys.columns() for row in column)
    if min(width, height) >= 400 * 1 and width >= 640:
        assert min(t.size for t in ink.texts) >= 8.0


def test_the_help_hides_the_probe():
    made_ = made(scenes.resnet())
    hit = picking.pick(made_, 480, 500)
    assert hit is not None
    words = [t.text for t in hud.letter(Hud(made_, hit, (480, 500), help=True)).texts]
    assert not any(word.startswith("Loss ") for word in words)


@pytest.mark.parametrize(("width", "height", "scale"), SIZES)
def test_notes_stand_under_each_other_and_are_cut_at_the_edge(width, height, scale):
    made_ = made(scenes.resnet(), width, height, scale)
    long = "Deleted: the daemon has this surface no more, and what follows is far too long " * 3
    notes = (Note("Reconnecting …", "busy"), Note("Recording", "record"), Note("Rows", share=0.4), Note(long, "bad"))
    ink = hud.letter(Hud(made_, notes=notes))
    found = panels(ink)
    assert len(found) == 4
    assert all(a[3] <= b[1] for a, b in itertools.pairwise(found))
    assert all(x1 <= made_.layout.size[0] for _, _, x1, _ in found)
    assert boxes(ink)[-1][2] <= found[-1][2]
    assert ink.texts[-1].text.endswith("…")


def test_nothing_to_tell_draws_nothing():
    ink = hud.letter(Hud(made(scenes.resnet())))
    assert not ink.shapes
    assert not ink.texts


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_what_lies_over_the_window_is_not_in_the_picture(theme):
    renderer = scenes.renderer()
    scene = Scene(override(PRESETS["heat"], {"theme": theme}))
    scene.apply(scenes.vgg())
    drawn = renderer.draw(scene, 400, 300, 1.0, samples=1)
    before = renderer.pixels().copy()
    hit = picking.pick(drawn, 120, 150)
    assert hit is not None
    with renderer.ctx:
        texture = renderer.ctx.texture((400, 300), 4)
        screen = renderer.ctx.framebuffer([texture])
        renderer.show(screen, hud.letter(Hud(drawn, hit, (120, 150), notes=(Note("Recording", "record"),))))
        shown = np.frombuffer(screen.read(components=3, alignment=1), np.uint8).reshape(300, 400, 3)[::-1]
        renderer.ready((400, 300))  # unbinds it
        screen.release()
        texture.release()
    assert np.array_equal(renderer.pixels(), before)
    other = (shown != before).any(-1)
    assert 0.01 < other.mean() < 0.5
    x, y = probe.marked(drawn, hit)
    assert other[int(y) - 8 : int(y) + 8, int(x) - 8 : int(x) + 8].any()


@pytest.mark.parametrize(("width", "height"), [(1, 1), (30, 12), (8, 700), (7680, 4320)])
def test_a_window_of_any_size_can_be_lettered(width, height):
    made_ = made(scenes.resnet(), width, height)
    plot = made_.layout.plot
    middle = ((plot.x0 + plot.x1) / 2, (plot.y0 + plot.y1) / 2)
    hit = picking.pick(made_, *middle)
    for over in (
        Hud(made_, help=True),
        Hud(made_, hit, middle, middle, (Note("Recording", "record", 0.5), Note("x" * 300, "bad"))),
    ):
        ink = hud.letter(over)
        assert np.isfinite(ink.array()).all()
        for t in ink.texts:
            fonts.bitmap(t.text, t.size, t.bold)
