"""Pictures in half blocks and the heat map: what is shown where, in few bytes, with and without colours."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("textual")

from pilots import awaited, until
from rich.console import Console
from textual.app import App, ComposeResult

from tui.widgets.halfblock import BANDS, HalfBlock, Quantiser, depth, median_cut, shaded
from tui.widgets.heat import DIVERGED, MISSING, Heat, Scale, bands, fit, legend, levels, palette, scale_of

RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def bowl(turn: float = 0.0, height: int = 60, width: int = 60) -> np.ndarray:
    """A picture with smooth colours, an edge and a line, as of a surface."""
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    u, v = x * np.cos(turn) + y * np.sin(turn), y * np.cos(turn) - x * np.sin(turn)
    z = np.clip(u * u + 0.4 * v + 0.2 * np.sin(5 * u), 0, 1)
    out = np.stack([40 + 200 * z, 60 + 120 * (1 - z), 90 + 60 * v], -1)
    out[u * u + v * v > 1.2] = 250
    out[abs(u - v) < 0.04] = (255, 255, 0)
    return np.clip(out, 0, 255).astype(np.uint8)


class Stage(App[None]):
    """One picture and one heat map."""

    def __init__(self) -> None:
        super().__init__()
        self.pointed: list[object] = []

    def compose(self) -> ComposeResult:
        yield HalfBlock()
        yield Heat()

    def on_heat_pointed(self, event: Heat.Pointed) -> None:
        self.pointed.append(event.at)


def text(widget: HalfBlock | Heat, y: int) -> str:
    return widget.render_line(y).text


def colours(widget: HalfBlock | Heat, y: int, x: int) -> tuple[object, object]:
    """Upper and lower colour of a character."""
    at = 0
    for segment in widget.render_line(y):
        if at <= x < at + len(segment.text):
            style = segment.style
            assert style is not None
            below = tuple(style.bgcolor.triplet) if style.bgcolor and style.bgcolor.triplet else None
            above = tuple(style.color.triplet) if style.color and style.color.triplet else None
            return (below if segment.text[x - at] == " " else above), below
        at += len(segment.text)
    raise AssertionError


# ---------------------------------------------------------------- palettes


def test_a_picture_of_few_colours_keeps_them() -> None:
    pixels = np.array([[RED, GREEN], [BLUE, BLACK]], np.uint8)
    quantise = Quantiser()
    index = quantise(pixels)
    assert np.abs(quantise.palette[index].astype(int) - pixels).max() < 8  # a colour's place is one of 32 a channel


def test_a_picture_is_near_to_its_palette_and_a_line_keeps_its_colour() -> None:
    pixels = bowl()
    quantise = Quantiser()
    index = quantise(pixels)
    found = quantise.palette[index]
    assert len(quantise.palette) == BANDS
    assert np.abs(found.astype(int) - pixels).mean() < 8
    line = (pixels == (255, 255, 0)).all(-1)
    assert np.abs(found[line].astype(int) - (255, 255, 0)).max() < 60


def test_frames_of_one_scene_share_a_palette_and_another_scene_gets_its_own() -> None:
    quantise = Quantiser()
    for k in range(10):
        quantise(bowl(0.1 * k))
    assert quantise.made == 1
    quantise(255 - bowl())
    assert quantise.made == 2


def test_a_palette_of_one_colour_is_one_colour() -> None:
    assert median_cut(np.full((4, 4, 3), 200, np.uint8)).tolist() == [[204, 204, 204]]


def test_shades_span_from_the_darkest_to_the_brightest() -> None:
    index, greys = shaded(np.repeat(np.linspace(100, 120, 10)[None, :, None], 3, 2).repeat(4, 0).astype(np.uint8))
    assert (index.min(), index.max(), len(greys)) == (0, 4, 5)


# ---------------------------------------------------------------- on the screen


@awaited
async def test_two_pixels_share_a_character_the_upper_in_front() -> None:
    app = Stage()
    async with app.run_test(size=(10, 8)):
        block = app.query_one(HalfBlock)
        block._depth = "colours"
        block.show(np.array([[RED, RED, BLUE], [BLUE, BLUE, BLUE]], np.uint8))
        assert text(block, 0).rstrip() == "▀▀"
        assert len(text(block, 0)) == 10
        upper, lower = colours(block, 0, 0)
        assert upper[0] > 200 > 60 > lower[0]  # type: ignore[index]
        assert colours(block, 0, 2)[0] == lower


@awaited
async def test_only_what_changed_is_painted() -> None:
    app = Stage()
    async with app.run_test(size=(60, 60)) as pilot:
        block = app.query_one(HalfBlock)
        block._depth = "colours"
        pixels = bowl()
        block.show(pixels)
        await pilot.pause()
        before = block.painted
        block.show(pixels)
        assert block.painted == before
        changed = pixels.copy()
        changed[31, 10:20] = pixels[0, 0]
        block.show(changed)
        assert block.painted == before + 1


@awaited
async def test_a_frame_is_within_its_bytes() -> None:
    """60 x 30 characters in at most 34 kB."""
    app = Stage()
    console = Console(color_system="truecolor", force_terminal=True)
    async with app.run_test(size=(60, 60)):
        block = app.query_one(HalfBlock)
        block._depth = "colours"
        for k in range(3):
            block.show(bowl(0.3 * k))
            assert sum(len(block.render_line(y).render(console).encode()) for y in range(30)) < 34_000


@awaited
async def test_without_colours_a_picture_is_shades_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = Stage()
    async with app.run_test(size=(20, 20)):
        assert depth(app) == "shades"
        block, heat = app.query_one(HalfBlock), app.query_one(Heat)
        block.show(bowl(height=20, width=20))
        heat.show(np.arange(200.0).reshape(10, 20))
        for widget in (block, heat):
            strips = [widget.render_line(y) for y in range(10)]
            assert set("".join(s.text for s in strips)) <= set(" ░▒▓█")
            assert {segment.style for strip in strips for segment in strip} == {widget.rich_style}


# ---------------------------------------------------------------- the heat map


def test_beta_grows_upwards_and_alpha_to_the_right() -> None:
    rows, columns = fit((2, 3), (4, 6))
    assert rows.tolist() == [1, 1, 0, 0]
    assert columns.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_large_grid_is_shown_from_its_first_to_its_last_point() -> None:
    rows, columns = fit((1001, 500), (60, 80))
    assert (rows[0], rows[-1], columns[0], columns[-1]) == (1000, 0, 0, 499)
    assert (len(rows), len(columns)) == (60, 29)


def test_a_grid_keeps_its_shape_and_uses_the_room() -> None:
    for shape, room, shown in (
        ((25, 25), (60, 40), (40, 40)),
        ((13, 13), (20, 46), (20, 20)),
        ((3, 400), (60, 80), (3, 80)),
    ):
        rows, columns = fit(shape, room)
        assert (len(rows), len(columns)) == shown
        assert set(rows) == set(range(shape[0]))
        assert (np.diff(columns) >= 0).all()


def test_what_diverged_and_what_is_missing_are_told_apart() -> None:
    values = np.array([[1.0, np.nan, np.inf, 2.0]])
    found = bands(values, np.array([[True, True, True, False]]), Scale(1, 2))
    assert found.tolist() == [[0, DIVERGED, DIVERGED, MISSING]]
    assert len(palette()) == len(levels()) == BANDS + 2
    assert levels()[DIVERGED] + levels()[MISSING] == "x·"


def test_a_wide_range_is_logarithmic_and_no_range_is_no_error() -> None:
    assert scale_of(np.array([0.01, 1.0])).log
    assert not scale_of(np.array([-0.01, 1.0])).log
    for values in (np.array([[np.nan]]), np.array([[3.0]]), np.array([[1e-320, 1e308]])):
        bands(values, np.isfinite(values), scale_of(values))
    assert legend(Scale(0.01, 1.0, True)) == "0.01 to 1, logarithmic"


@awaited
async def test_rows_fill_in_and_the_cursor_reads_the_surface() -> None:
    app = Stage()
    async with app.run_test(size=(40, 20)) as pilot:
        heat = app.query_one(Heat)
        heat._depth = "colours"
        values, measured = np.arange(20.0).reshape(4, 5), np.zeros((4, 5), bool)
        measured[0] = True
        heat.show(values, measured)
        # 20 pixels over 4 rows of beta: row 0 is at the bottom
        assert colours(heat, 0, 0)[0] == tuple(palette()[MISSING])
        assert colours(heat, 9, 0)[0] == tuple(palette()[0])
        measured = measured.copy()
        measured[:] = True
        heat.show(values, measured)
        assert colours(heat, 0, 24)[0] == tuple(palette()[BANDS - 1])
        heat.focus()
        await pilot.press("right", "up")
        await until(pilot, lambda: app.pointed[-1:] == [(3, 2)])
        assert any("┼" in text(heat, y) for y in range(10))
        await pilot.click(heat, offset=(0, 9))
        await until(pilot, lambda: app.pointed[-1:] == [(0, 0)])
