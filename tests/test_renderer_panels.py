"""Several surfaces in one picture: one scale, one camera, each at its place; two in one box where they belong."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scenes

from protocol.errors import InputError
from protocol.files import PlaneMeta, Surface, SurfaceMeta
from protocol.messages import SurfaceBegin, SurfaceRow
from protocol.view import PRESETS, override
from renderer import auto, comparing, overlay, tiling, together
from renderer.facts import Fact
from renderer.panels import Panels
from renderer.scene import CLEAN, Dirty, Scene


def shown(*surfaces: Surface, preset: str = "heat", **changes: object) -> list[Scene]:
    """Scenes of surfaces under one view; `camera__zoom` is the field camera.zoom."""
    view = override(PRESETS[preset], {name.replace("__", "."): value for name, value in changes.items()})
    out = []
    for surface in surfaces:
        scene = Scene(view)
        scene.apply(surface)
        out.append(scene)
    return out


def bowl(factor: float = 1.0, reach: float = 5.0, **how: object) -> Surface:
    return scenes.function(lambda x, y: factor * (1 + x * x + y * y), 21, 21, reach, **how)


@pytest.fixture
def panels():
    out = Panels(scenes.renderer())
    yield out
    out.release()


def pixels(panels: Panels) -> np.ndarray:
    return panels.renderer.pixels().astype(int)


# ---------------------------------------------------------------- one scale


def test_a_shared_scale_has_the_range_of_all_and_the_counts_of_each():
    a, b = scenes.holes(), scenes.vgg()
    view = PRESETS["contours-3d"]
    one, two = auto.shared([(s.loss, s.n) for s in (a, b)], view)
    alone = [auto.scale(s.loss, s.n, view) for s in (a, b)]
    assert one.lo == two.lo == min(scale.lo for scale in alone)
    assert one.hi == two.hi == max(scale.hi for scale in alone)
    assert (one.levels, one.log_color, one.clip) == (two.levels, two.log_color, two.clip)
    for scale, own in zip((one, two), alone):
        names = ("measured", "diverged", "missing", "lowest")
        assert [getattr(scale, name) for name in names] == [getattr(own, name) for name in names]


def test_a_field_shared_with_nobody_has_its_own_scale():
    for surface in (scenes.resnet(), scenes.holes(), scenes.vgg()):
        view = PRESETS["contours-2d"]
        assert auto.shared([(surface.loss, surface.n)], view) == [auto.scale(surface.loss, surface.n, view)]


def test_one_surface_without_values_takes_the_scale_of_the_other():
    empty = replace(scenes.vgg(), n=np.zeros_like(scenes.vgg().n))
    one, two = auto.shared([(s.loss, s.n) for s in (scenes.vgg(), empty)], PRESETS["heat"])
    assert (two.lo, two.hi, two.measured, two.lowest) == (one.lo, one.hi, 0, None)


def test_equal_values_have_equal_colours_in_every_panel(panels):
    found = panels.draw(shown(bowl(1), bowl(10), smoothing="bilinear", layers__minimum=False), 640, 400, samples=1)
    image = pixels(panels)
    places = [(0, (3.0, 0.0)), (1, (0.0, 0.0))]  # both surfaces are 10 there
    colours = []
    for k, (alpha, beta) in places:
        x, y, _ = found[k].pixels(found[k].world(np.array([alpha]), np.array([beta])))[0]
        colours.append(image[int(y), int(x)])
    assert np.abs(colours[0] - colours[1]).max() <= 6
    lone = panels.draw(shown(bowl(1), bowl(10), shared_scale=False, layers__minimum=False), 640, 400, samples=1)
    x, y, _ = lone[0].pixels(lone[0].world(np.array([3.0]), np.array([0.0])))[0]
    assert np.abs(pixels(panels)[int(y), int(x)] - colours[1]).max() > 20


# ---------------------------------------------------------------- drawing


def test_one_scene_is_drawn_as_by_the_renderer(panels):
    (scene,) = shown(scenes.resnet(), preset="contours-3d")
    panels.draw([scene], 320, 200, samples=2)
    through = panels.renderer.pixels().copy()
    panels.renderer.draw(scene, 320, 200, samples=2)
    assert np.array_equal(through, panels.renderer.pixels())


def test_a_row_changes_only_its_own_panel(panels):
    a, b = shown(bowl(), bowl(2))
    meta = SurfaceMeta(model="net")
    b.apply(SurfaceBegin(surface="b", meta=meta, passes=1), {"alpha": np.arange(4.0), "beta": np.arange(3.0)})
    for i in range(3):
        b.apply(SurfaceRow(surface="b", i=i, pass_=0, n=9), {"loss": np.full(4, 5.0 + i)})
    panels.draw([a, b], 640, 400, samples=1)
    before, cells = pixels(panels), panels._cells
    dirty = b.apply(SurfaceRow(surface="b", i=1, pass_=0, n=9), {"loss": np.full(4, 11.0)})
    panels.draw([a, b], 640, 400, samples=1, dirty=[CLEAN, dirty])
    rows, columns = np.nonzero(np.abs(pixels(panels) - before).max(-1))
    assert len(rows)
    assert columns.min() >= cells[1].x0
    assert columns.max() < cells[1].x1
    assert rows.max() < cells[1].y1


def test_a_scene_that_takes_anothers_place_is_drawn_whole(panels):
    a, b, c = shown(scenes.resnet(), scenes.vgg(), scenes.holes())
    panels.draw([a, b], 640, 400, samples=1)
    panels.draw([a, c], 640, 400, samples=1, dirty=[CLEAN, CLEAN])
    kept = pixels(panels)
    panels.draw([a, c], 640, 400, samples=1)
    assert np.array_equal(kept, pixels(panels))


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_preset_draws_panels_and_overlays(panels, preset, theme):
    for arrange in ("side-by-side", "overlay"):
        found = panels.draw(
            shown(scenes.resnet(), scenes.holes(), preset=preset, theme=theme, arrange=arrange), 480, 300, samples=1
        )
        assert len(found) == 2
        assert len(np.unique(pixels(panels).reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize("arrange", ["side-by-side", "overlay"])
@pytest.mark.parametrize("size", [(1, 1), (30, 900), (900, 30), (161, 121)])
def test_no_size_is_too_odd(panels, arrange, size):
    panels.draw(shown(scenes.resnet(), scenes.vgg(), preset="contours-3d", arrange=arrange), *size, samples=1)
    assert panels.renderer.pixels().shape == (size[1], size[0], 3)


def test_a_panel_of_nothing_measured_stands_beside_the_others(panels):
    empty = Scene(PRESETS["heat"])
    begin = SurfaceBegin(surface="b", meta=SurfaceMeta(model="net"), passes=1)
    empty.apply(begin, {"alpha": np.arange(4.0), "beta": np.arange(3.0)})
    panels.draw([*shown(scenes.vgg()), empty, Scene()], 640, 400, samples=1)
    assert empty.scale.hi == shown(scenes.vgg())[0].scale.hi


def test_one_camera_serves_all_and_is_chosen_for_all(panels):
    wall = scenes.function(lambda x, y: 3 + np.exp(-2 * (y + 4) ** 2) * 5 + 0.01 * (x * x + y * y))
    flat = scenes.function(lambda x, y: 3 + 0.01 * (x * x + y * y))
    first, second = panels.draw(shown(flat, wall, preset="solid"), 640, 400, samples=1)
    assert first.camera == second.camera
    assert first.camera.azimuth in (55.0, 145.0)  # looks over the second one's low side


def test_the_other_scenes_take_the_first_ones_view(panels):
    a, b = shown(scenes.resnet()), shown(scenes.vgg(), preset="mesh", theme="dark")
    panels.draw([*a, *b], 320, 200, samples=1)
    assert b[0].view == a[0].view


@pytest.mark.parametrize(("count", "arrange", "words"), [(0, "side-by-side", "1 to 4"), (5, "side-by-side", "got 5"),
                                                         (3, "overlay", "overlay takes 2")])  # fmt: skip
def test_what_cannot_be_one_picture_is_said(panels, count, arrange, words):
    with pytest.raises(InputError, match=words):
        panels.draw(shown(*[scenes.vgg()] * count, arrange=arrange), 320, 200)


# ---------------------------------------------------------------- places

SIZES = [(1280, 800), (640, 400), (160, 120), (700, 1100), (3840, 2160), (1920, 500)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", ["contours-3d", "contours-2d"])
@pytest.mark.parametrize("count", [2, 3, 4])
def test_panels_bar_and_legend_do_not_meet(size, preset, count):
    plan = tiling.plan(PRESETS[preset], *size, 1.0, [(1.0, 1.0)] * count)
    assert len(plan.cells) == count
    rects = [*plan.cells, plan.whole.panel]
    for a, b in itertools.combinations(rects, 2):
        assert a.x1 <= b.x0 or b.x1 <= a.x0 or a.y1 <= b.y0 or b.y1 <= a.y0
    for cell, layout in zip(plan.cells, plan.layouts):
        assert cell.x0 <= layout.plot.x0
        assert layout.plot.x1 <= cell.x1 or size[0] < 320
        assert cell.x0 >= 0
        assert cell.x1 <= size[0]


def test_plots_take_most_of_a_wide_picture():
    for preset in ("contours-3d", "contours-2d"):
        for count in (2, 3, 4):
            plan = tiling.plan(PRESETS[preset], 1280, 800, 1.0, [(1.0, 1.0)] * count)
            area = sum(layout.plot.width * layout.plot.height for layout in plan.layouts)
            assert area > 0.14 * 1280 * 800


def test_a_place_belongs_to_the_nearest_panel(panels):
    panels.draw(shown(scenes.resnet(), scenes.vgg()), 640, 400, samples=1)
    for k, cell in enumerate(panels._cells):
        assert panels.at((cell.x0 + cell.x1) / 2, (cell.y0 + cell.y1) / 2) == k
    assert panels.at(639, 5) == 1
    assert panels.at(0, 399) == 0


# ---------------------------------------------------------------- two in one box


def cut(surface: Surface, rows: slice, columns: slice) -> Surface:
    parts = {name: getattr(surface, name)[rows, columns] for name in ("loss", "accuracy", "sem", "n")}
    return replace(surface, alpha=surface.alpha[columns], beta=surface.beta[rows], **parts)


@pytest.mark.parametrize("preset", ["contours-3d", "contours-2d"])
def test_on_one_plane_each_lies_at_its_own_place(panels, preset):
    meta = SurfaceMeta(model="net", plane=PlaneMeta(kind="random", hash="abc"))
    whole = bowl(meta=meta)
    part = cut(whole, slice(8, 21), slice(2, 9))
    a, b = panels.draw(shown(whole, part, preset=preset, arrange="overlay"), 640, 400, samples=1)
    at = np.array([part.alpha[0], part.alpha[-1], 0.5 * (part.alpha[0] + part.alpha[-1])])
    on = np.array([part.beta[0], part.beta[-1], 0.5 * (part.beta[0] + part.beta[-1])])
    first, second = a.pixels(a.world(at, on, 0.2)), b.pixels(b.world(at, on, 0.2))
    assert np.abs(first - second).max() < 0.01


def test_surfaces_of_different_ranges_fill_one_box(panels):
    a, b = panels.draw(shown(scenes.resnet(), scenes.vgg(), preset="mesh", arrange="overlay"), 640, 400, samples=1)
    corners = [
        f.pixels(f.world(f.scene.axes[0][[0, -1, -1]], f.scene.axes[1][[0, 0, -1]], 0.5))
        for f in (a, b)  # type: ignore[index]
    ]
    assert np.abs(corners[0] - corners[1]).max() < 0.01


def test_the_first_surface_is_seen_through_the_second(panels):
    low, high = bowl(), bowl(3)
    panels.draw(shown(low, high, preset="solid", arrange="overlay", layers__path=False), 640, 400, samples=1)
    both = pixels(panels)
    _, hidden = shown(low, high, preset="solid")
    panels.draw([hidden], 640, 400, samples=1)
    covered = pixels(panels)[150:250, 150:350]
    colours = both[150:250, 150:350]
    assert (np.abs(colours - covered).max(-1) > 24).mean() > 0.5  # the higher one does not cover the lower one


@pytest.mark.parametrize(
    ("surfaces", "ground", "words"),
    [
        ([bowl(meta=SurfaceMeta(plane=PlaneMeta(hash="a")))] * 2, "plane", "same weights"),
        ([bowl(), bowl(2)], "ranges", "other weights"),
        ([scenes.resnet(), scenes.vgg()], "shapes", "α from −0.5 to 0.5"),
    ],
)
def test_an_overlay_says_what_it_compares(surfaces, ground, words):
    found = shown(*surfaces, arrange="overlay")
    assert comparing.ground(found) == ground
    fact = comparing.overlay(found)
    assert words in " ".join((fact.heading, *fact.lines))


def test_the_hull_of_one_plane_holds_both():
    meta = SurfaceMeta(model="net", plane=PlaneMeta(hash="abc"))
    a, b = bowl(meta=meta), bowl(reach=7.0, meta=meta)
    hull = overlay.hull(shown(a, b))
    assert [float(v) for axis in hull.axes or () for v in axis] == [-7, 7, -7, 7]


# ---------------------------------------------------------------- words


def meta(**fields: object) -> SurfaceMeta:
    plane = PlaneMeta(**{k: fields.pop(k) for k in ("kind", "seed", "origin", "hash") if k in fields})  # type: ignore[arg-type]
    return SurfaceMeta(**{"model": "resnet20", "data": "digits", "plane": plane} | fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("metas", "names"),
    [
        ([meta(), meta(model="vgg11")], ["resnet20", "vgg11"]),
        ([meta(kind="pca"), meta(kind="random")], ["PCA plane of the descent", "random plane"]),
        ([meta(seed=1), meta(seed=2)], ["plane seed 1", "plane seed 2"]),
        ([meta(), meta(batch_norm="recalibrate")], ["batch norm frozen", "batch norm recalibrated"]),
        ([meta(name="a"), meta(name="b"), meta(model="x")], ["resnet20, a", "resnet20, b", "x"]),
        ([meta(), meta()], ["surface 1", "surface 2"]),
        ([meta(model="x"), meta(), meta()], ["x", "resnet20, surface 2", "resnet20, surface 3"]),
        ([meta(seed=None), meta(seed=3)], ["surface 1", "plane seed 3"]),
    ],
)
def test_panels_are_named_by_what_differs(metas, names):
    assert comparing.telling(metas) == names


def test_what_is_common_is_said_once():
    a = bowl(meta=meta(split="train", samples=500, kind="pca"))
    b = bowl(meta=meta(split="train", samples=500, kind="pca", batch_norm="recalibrate"))
    said = comparing.names(shown(a, b))
    assert said.title == "resnet20 on digits, PCA plane of the descent"
    assert "500 train samples" in said.subtitle
    assert not any("500" in note for note in said.notes)
    assert "21 × 21 points" in said.foot[0]


def test_own_scales_are_admitted():
    wide = scenes.function(lambda x, y: 10 ** (x / 2), 21, 21, 5.0)
    said = comparing.names(shown(bowl(), wide, shared_scale=False))
    assert "own scale" in said.subtitle
    assert "linear" in said.notes[0]
    assert "logarithmic" in said.notes[1]


@pytest.mark.parametrize(
    ("reach", "told"), [(0.5, "axes differ: α from −5 to 5 in a and c, −0.5 to 0.5 in b"), (4.0, "")]
)
def test_a_surface_seen_from_nearer_is_told(reach, told):
    subtitle = comparing.names(shown(bowl(), bowl(reach=reach), bowl())).subtitle
    assert subtitle.endswith(told or "one scale for all")


def test_an_overlay_says_which_values_its_lines_have(panels):
    surfaces = (scenes.resnet(), scenes.vgg())
    for shared in (True, False):
        view = {"arrange": "overlay", "shared_scale": shared}
        under, top = panels.draw(shown(*surfaces, preset="contours-2d", **view), 640, 400, samples=1)
        (entry,) = together._steps(under, top)
        assert entry.fact.heading == "Contours"
        assert [line[:3] for line in entry.fact.lines] == (["3 p"] if shared else ["a: ", "b: "])


def test_a_lowest_point_on_the_border_is_told():
    slope = scenes.function(lambda x, y: 6 + x + 0 * y, 21, 21, 5.0)
    notes = comparing.names(shown(slope, bowl())).notes
    assert "on the border" in notes[0]
    assert "on the border" not in notes[1]


def test_a_path_of_one_panel_alone_is_named_in_one_line(panels):
    view = {"layers.path": True}
    found = panels.draw(shown(scenes.resnet(), scenes.vgg(), preset="contours-3d", **view), 960, 600, samples=1)
    entry = next(e for e in together._entries(found[0], found) if e.ramp is not None)
    assert entry.fact == Fact("Path of a by epoch")


def test_letters_are_read_aloud():
    assert [comparing.letters(list("abcd")[:k]) for k in (1, 2, 3)] == ["a", "a and b", "a, b and c"]


def test_the_foot_takes_two_lines_at_most():
    lines = together.feet(["common words", "a: some more words", "b: and some more words again"], 14.0, 220.0)
    assert len(lines) == 2
    assert lines[1].endswith("…")


def test_moving_the_camera_keeps_scales_and_field():
    (scene,) = shown(scenes.resnet())
    scale, field, revision = scene.scale, scene.field, scene.revision
    assert scene.apply(override(scene.view, {"camera.zoom": 2})) == Dirty(view=True)
    assert scene.scale is scale
    assert scene.field is field
    assert scene.revision == revision
    scene.apply(override(scene.view, {"smoothing": "none"}))
    assert scene.field is not field
