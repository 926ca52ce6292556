"""From a pixel back to the surface: a projected point is picked again, and what is not drawn is not hit."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import scenes

from protocol.messages import SurfaceBegin, SurfaceRow
from protocol.view import PRESETS, override
from renderer import frame, moves, picking
from renderer.scene import Scene

SURFACES = {
    "resnet": scenes.resnet,
    "fine": lambda: scenes.function(lambda x, y: scenes.himmelblau(x, y) + 1, 201, 161),
    "uneven": scenes.ODD["uneven"],
    "huge": scenes.ODD["huge"],
    "outlier": scenes.ODD["outlier"],
    "2x2": scenes.ODD["2x2"],
    "wide": scenes.ODD["wide"],
}
LOOKS = {
    "automatic": {},
    "parallel": {"camera.projection": "orthographic"},
    "linear": {"smoothing": "bilinear", "log_height": "off", "log_color": "off"},
    "tiles": {"smoothing": "none", "height": 1.6},
    "low": {"camera.elevation": 8, "camera.azimuth": 130},
    "top": {"camera.elevation": 90, "camera.azimuth": 0, "camera.projection": "orthographic"},
    "zoomed": {"camera.zoom": 2.5, "camera.shift_x": 0.3},
    "2d": {"mode": "2d"},
    "2d-zoomed": {"mode": "2d", "camera.zoom": 4, "camera.shift_y": -0.5},
}


def made(surface, **changes: object) -> frame.Frame:
    scene = Scene(override(PRESETS["solid"], changes))
    scene.apply(surface)
    return frame.make(scene, 1000, 700, 1.0)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("name", SURFACES)
def test_a_point_that_is_seen_is_picked_again(name, look):
    made_ = made(SURFACES[name](), **LOOKS[look])
    alpha, beta = made_.scene.axes
    rng = np.random.default_rng(5)
    a, b = (axis[0] + rng.uniform(0.01, 0.99, 25) * np.ptp(axis) for axis in (alpha, beta))
    world = made_.world(a, b)
    seen = 0
    for point, (x, y, depth) in zip(world, made_.pixels(world)):
        hit = picking.pick(made_, x, y)
        stage = made_.layout.plot if made_.layout.flat else made_.layout.stage
        if not (stage.x0 <= x <= stage.x1 and stage.y0 <= y <= stage.y1):
            assert hit is None
            continue
        assert hit is not None
        at = made_.pixels(hit.world[None])[0]
        assert at[:2] == pytest.approx((x, y), abs=1e-6)
        assert hit.world == pytest.approx(made_.world(hit.alpha, hit.beta)[0], abs=1e-3)  # on the surface
        if np.linalg.norm(hit.world - point) < 2e-3:
            seen += 1
        else:
            assert at[2] < depth + 1e-6  # something in front of it
    assert seen >= (1 if "zoomed" in look or look == "low" else 12)


def test_an_isoline_in_the_air_is_picked_through_the_sheet_that_is_not_seen():
    air = {"layers.surface": False, "layers.mesh": False, "layers.contours": True, "camera.elevation": 25}
    lines = made(scenes.function(scenes.himmelblau), **air)
    sheet = made(scenes.function(scenes.himmelblau), **(air | {"layers.surface": True}))
    levels = lines.scale.unit(np.array([level.value for level in lines.scale.levels], float))
    alpha, beta = (v.ravel() for v in np.meshgrid(np.linspace(-4.5, 4.5, 60), np.linspace(-4.5, 4.5, 60)))
    on = np.abs(lines.scene.field.at(alpha, beta)[:, None] - levels).min(1) < 2e-3
    behind = again = 0
    for point, (x, y, _) in zip(lines.world(alpha[on], beta[on]), lines.pixels(lines.world(alpha[on], beta[on]))):
        hit, over = picking.pick(lines, x, y), picking.pick(sheet, x, y)
        assert hit is not None
        if over is not None and np.linalg.norm(over.world - point) > 0.05:  # hidden, were the sheet filled
            behind += 1
            again += bool(np.linalg.norm(hit.world - point) < 0.02)
    assert behind >= 5
    assert again >= 0.5 * behind  # the others lie behind another line


def test_the_values_are_those_of_the_nearest_measured_point():
    surface = scenes.resnet()
    made_ = made(surface)
    x, y, _ = made_.pixels(made_.world(surface.alpha[12] + 0.3, surface.beta[9] - 0.3))[0]
    hit = picking.pick(made_, x, y)
    assert (hit.i, hit.j, hit.state, hit.n) == (9, 12, "measured", 512)
    assert hit.loss == surface.loss[9, 12]
    assert math.isnan(hit.accuracy)
    assert abs(hit.alpha - surface.alpha[12]) < 0.5 * (surface.alpha[1] - surface.alpha[0])


@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_what_has_no_value_is_hit_on_the_floor_and_says_why(mode):
    surface = scenes.holes()
    made_ = made(surface, mode=mode, **{"camera.elevation": 90})
    for i, j, state in ((11, 5, "missing"), (5, 7, "diverged"), (16, 17, "diverged"), (20, 20, "measured")):
        world = made_.world(surface.alpha[j], surface.beta[i])
        if state != "measured":
            world[:, 2] = 0.0
        x, y, _ = made_.pixels(world)[0]
        hit = picking.pick(made_, x, y)
        assert (hit.i, hit.j, hit.state) == (i, j, state)


def test_a_line_of_sight_goes_on_behind_what_was_cut_away():
    surface = scenes.function(lambda x, y: np.exp(-((x + 2) ** 2) - y * y) * 5 + 0.1 * (y + 5), 61, 61)
    whole = made(surface, **{"camera.azimuth": 0, "camera.elevation": 15, "clip": 2.0})
    top = whole.world(-2.0, 0.0)
    x, y, _ = whole.pixels(top)[0]
    assert abs(picking.pick(whole, x, y + 2).beta) < 0.6
    cut = made(surface, **{"camera.azimuth": 0, "camera.elevation": 15, "clip": 2.0, "clip_mode": "cut"})
    behind = picking.pick(cut, x, y + 2)
    assert behind is None or behind.loss < 2.0
    flat = made(surface, mode="2d", clip=2.0, clip_mode="cut")
    assert picking.pick(flat, *flat.pixels(flat.world(-2.0, 0.0))[0, :2]) is None


def test_nothing_is_hit_beside_the_box_and_in_an_empty_scene():
    made_ = made(scenes.resnet())
    for x, y in ((3, 3), (990, 650), (5, 400), (-50, 1e4)):
        assert picking.pick(made_, x, y) is None
    assert picking.pick(frame.make(Scene(), 400, 300, 1.0), 200, 150) is None


def test_a_surface_that_is_not_drawn_is_not_hit():
    off = {"layers.surface": False, "layers.mesh": False, "layers.contours": False}
    shown, bare = made(scenes.resnet()), made(scenes.resnet(), **off)
    x, y, _ = shown.pixels(shown.world(0.0, 0.0))[0]
    assert picking.pick(shown, x, y) is not None
    assert picking.pick(bare, x, y) is None


def test_a_drafted_row_is_hit_and_is_not_measured_yet():
    whole = scenes.function(lambda x, y: 1 + x * x + y * y, 21, 21)
    scene = Scene(PRESETS["solid"])
    scene.apply(SurfaceBegin(surface="s", meta=whole.meta, passes=1), {"alpha": whole.alpha, "beta": whole.beta})
    for i in (0, 20):
        scene.apply(SurfaceRow(surface="s", i=i, pass_=0, n=4), {"loss": whole.loss[i]})
    made_ = frame.make(scene, 1000, 700, 1.0)
    x, y, _ = made_.pixels(made_.world(0.0, 0.0))[0]
    hit = picking.pick(made_, x, y)
    assert (hit.i, hit.j, hit.state, hit.n) == (10, 10, "missing", 0)
    assert hit.world[2] > 0.1  # on the draft, not on the floor


@pytest.mark.parametrize("name", [n for n in scenes.ODD if n not in SURFACES])
@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_odd_surfaces_are_picked_without_a_fault(name, mode):
    made_ = made(scenes.ODD[name](), mode=mode)
    for x in range(100, 900, 133):
        for y in range(100, 650, 87):
            hit = picking.pick(made_, x, y)
            assert hit is None or np.isfinite(hit.world).all()


def test_a_held_camera_picks_the_point_that_it_then_turns_around():
    made_ = made(scenes.resnet())
    place = moves.Place.of(made_, 1000, 700, 1.0)
    x, y, _ = made_.pixels(made_.world(2.0, 2.0))[0]
    hit = picking.pick(made_, x, y)
    view = moves.orbit(moves.pivot(made_.view, place, hit.world), place, 35, 5)
    scene = made_.scene
    scene.apply(view)
    again = frame.make(scene, 1000, 700, 1.0)
    assert again.pixels(again.world(hit.alpha, hit.beta))[0, :2] == pytest.approx((x, y), abs=0.5)


def test_values_that_a_metric_does_not_have_are_not_drawn():
    surface = replace(scenes.resnet(), accuracy=np.full((26, 26), np.nan))
    made_ = made(surface, metric="accuracy")
    hit = picking.pick(made_, *made_.pixels(np.zeros((1, 3)))[0, :2])
    assert hit is None or hit.world[2] == pytest.approx(0, abs=1e-9)
