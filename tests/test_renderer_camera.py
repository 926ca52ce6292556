"""The camera fits the box exactly, and looks from where the path is seen."""

from __future__ import annotations

import itertools

import msgspec
import numpy as np
import pytest
import scenes

from protocol.errors import InputError
from protocol.messages import SurfaceBegin, SurfaceRow
from protocol.shares import row_order
from protocol.view import PRESETS, Camera, View, override
from renderer import camera, frame, moves
from renderer.camera import Rect
from renderer.layers import box
from renderer.layout import compute
from renderer.scene import Scene

SIZE = (1280, 800)
RECT = Rect(100, 90, 900, 700)


@pytest.mark.parametrize("projection", ["perspective", "orthographic"])
@pytest.mark.parametrize("azimuth", [-170, -35, 0, 45, 90, 200])
@pytest.mark.parametrize("elevation", [-30, 0, 32, 90])
def test_the_box_fills_the_rectangle_and_stays_inside(projection, azimuth, elevation):
    cam = Camera(azimuth=azimuth, elevation=elevation, projection=projection)
    p = camera.turntable(RECT, SIZE, (1.0, 0.6), 0.8, cam)
    px = p.pixels(camera.corners((1.0, 0.6), 0.8))
    lo, hi = px[:, :2].min(0), px[:, :2].max(0)
    assert (lo >= [RECT.x0 - 1e-6, RECT.y0 - 1e-6]).all()
    assert (hi <= [RECT.x1 + 1e-6, RECT.y1 + 1e-6]).all()
    assert max((hi - lo) / [RECT.width, RECT.height]) == pytest.approx(1)
    assert (np.abs(px[:, 2]) <= 1).all()


def test_alpha_grows_to_the_right_and_beta_away_at_azimuth_zero():
    p = camera.turntable(RECT, SIZE, (1, 1), 0.8, Camera(azimuth=0.0))
    a, b, c = p.pixels(np.array([[-1.0, -1, 0], [1, -1, 0], [-1, 1, 0]]))
    assert b[0] > a[0]
    assert c[1] < a[1]  # further away is higher in the picture
    assert c[2] > a[2]


def test_flat_puts_the_grids_edges_on_the_plots():
    p = camera.flat(RECT, SIZE, (800 / 610, 1.0), Camera())
    a, b = p.pixels(np.array([[-800 / 610, -1.0, 0], [800 / 610, 1.0, 0]]))
    assert a[:2] == pytest.approx([RECT.x0, RECT.y1])
    assert b[:2] == pytest.approx([RECT.x1, RECT.y0])


def test_one_scale_for_both_axes_unless_the_grid_is_a_ribbon():
    assert camera.half_sides(2, 1) == (1.0, 0.5)
    assert camera.half_sides(1, 2) == (0.5, 1.0)
    assert camera.half_sides(1000, 1) == (1.0, pytest.approx(1 / 3))


def test_automatic_azimuth_looks_over_the_low_side():
    # A wall on the side of low beta hides everything from azimuth -35; the automatic one stands elsewhere.
    scene = Scene(PRESETS["solid"])
    scene.apply(scenes.function(lambda x, y: 3 + np.exp(-2 * (y + 4) ** 2) * 5 + 0.01 * (x * x + y * y)))
    assert frame.automatic([scene]).azimuth in (55.0, 145.0)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (640, 400), (400, 900), (1600, 300), (160, 120)])
@pytest.mark.parametrize("sides", [(1.0, 1.0), (1.0, 0.34), (0.34, 1.0)])
def test_the_layout_keeps_everything_inside_of_the_picture(preset, width, height, sides):
    layout = compute(PRESETS[preset], width, height, 2.0, sides)
    w, h = layout.size
    assert layout.size == (2 * width, 2 * height)
    for r in (layout.plot, layout.panel):
        assert r.x1 >= r.x0
        assert r.y1 >= r.y0
        assert r.x0 >= 0
        assert r.x1 <= w
    if layout.below:
        assert layout.plot.y1 <= layout.panel.y0
    elif layout.panel.width:
        assert layout.plot.x1 <= layout.panel.x0
    assert layout.plot.y1 <= h


def test_from_the_top_in_parallel_is_laid_out_as_2d():
    top = override(PRESETS["solid"], {"camera.elevation": 90, "camera.azimuth": 0, "camera.projection": "orthographic"})
    assert compute(top, 1280, 800, 1, (1, 1)).plot == compute(PRESETS["heat"], 1280, 800, 1, (1, 1)).plot


def funnel(depth: float):
    """A wide bowl with a hole in the middle, as the loss around weights that were trained."""
    return scenes.function(lambda x, y: 1 + x * x + y * y - depth * np.exp(-1.5 * (x * x + y * y)), 41, 41)


def test_a_funnel_is_looked_into_from_above_and_a_bowl_is_not():
    for surface, elevations in ((funnel(0.95), {50.0, 57.0}), (scenes.resnet(), {35.0, 42.0})):
        scene = Scene(override(PRESETS["mesh"], {"log_height": "on"}))
        scene.apply(surface)
        assert frame.automatic([scene]).elevation in elevations


def test_angles_that_were_given_are_kept():
    scene = Scene(override(PRESETS["mesh"], {"camera.elevation": 20, "log_height": "on"}))
    scene.apply(funnel(0.95))
    assert frame.automatic([scene]).elevation == 20
    scene.apply(override(scene.view, {"camera.elevation": "auto", "camera.azimuth": 77}))
    found = frame.automatic([scene])
    assert found.azimuth == 77
    assert found.elevation != 20


def test_twins_of_one_surface_have_one_height_scale():
    heights = []
    for preset in ("contours-3d", "mesh", "solid", "contours-air"):
        scene = Scene(PRESETS[preset])
        scene.apply(scenes.resnet())
        heights.append(frame.make(scene, 1280, 800, 1.0).heights(np.array([0.001, 0.0286, 1.0, 100.0])))
    assert all(np.allclose(h, heights[0]) for h in heights)
    assert heights[0][0] == pytest.approx(0)  # the floor stands at a thousandth


# ---------------------------------------------------------------- moves by hand

CLOUD = np.random.default_rng(3).uniform([-1, -1, 0], [1, 1, 0.8], (40, 3))
HANDS = {
    "automatic": {},
    "parallel": {"camera.projection": "orthographic"},
    "zoomed": {"camera.zoom": 3, "camera.shift_x": 0.4, "camera.shift_y": -0.2},
    "top": {"camera.elevation": 90, "camera.azimuth": 0},
    "flat-3d": {"camera.elevation": 90, "camera.azimuth": 0, "camera.projection": "orthographic"},
    "held": {"camera.azimuth": 20, "camera.elevation": 30, "camera.target": (0.2, -0.1, 0.3)},
    "pivot": {"camera.azimuth": 20, "camera.elevation": 30, "camera.target": "0.2 -0.1 0.3", "camera.pivot": "-1,1,0"},
    "2d": {"mode": "2d"},
    "2d-zoomed": {"mode": "2d", "camera.zoom": 5, "camera.shift_x": -1.5},
}


def at_hand(name: str) -> tuple[View, moves.Place]:
    scene = Scene(override(PRESETS["contours-3d"], HANDS[name]))
    scene.apply(SURFACE)
    place = moves.Place.of(frame.make(scene, 1280, 800, 1.0), 1280, 800, 1.0)
    return scene.view, place


SURFACE = scenes.resnet()


def seen(view: View, place: moves.Place, points: np.ndarray = CLOUD) -> np.ndarray:
    view = moves.settled(view, place)
    flat = points * [1, 1, 0] if view.mode == "2d" else points
    return place.projection(view).pixels(flat)[:, :2]


@pytest.mark.parametrize("name", HANDS)
def test_taking_the_camera_into_the_hand_moves_nothing(name):
    view, place = at_hand(name)
    within = 0.6 if name == "flat-3d" else 1e-6  # a flat plot ends on whole pixels
    assert np.abs(seen(moves.settled(view, place), place) - seen(view, place)).max() < 1e-9
    assert np.abs(seen(moves.held(view, place), place) - seen(view, place)).max() < within
    assert np.abs(seen(moves.pivot(view, place, np.array([0.5, 0.5, 0.1])), place) - seen(view, place)).max() < within


@pytest.mark.parametrize("name", HANDS)
@pytest.mark.parametrize("factor", [1.2, 0.9])
def test_what_is_under_the_pointer_stays_when_zoomed(name, factor):
    view, place = at_hand(name)
    for point in CLOUD[:8]:
        x, y = seen(view, place, point[None])[0]
        zoomed = moves.zoom(view, place, factor, x, y)
        assert seen(zoomed, place, point[None])[0] == pytest.approx((x, y), abs=1e-6)
        spread = np.ptp(seen(zoomed, place), 0) / np.ptp(seen(view, place), 0)
        assert spread == pytest.approx([factor, factor])


@pytest.mark.parametrize("name", HANDS)
def test_panning_moves_every_point_alike(name):
    view, place = at_hand(name)
    assert seen(moves.pan(view, place, 31, -17), place) == pytest.approx(seen(view, place) + np.array([31, -17]))


@pytest.mark.parametrize("name", [n for n in HANDS if not n.startswith("2d")])
@pytest.mark.parametrize("spot", [None, (0.9, -0.8, 0.4)])
def test_turning_keeps_the_pivot_in_place_and_comes_back(name, spot):
    view, place = at_hand(name)
    view = moves.pivot(view, place, None if spot is None else np.array(spot))
    x, y = moves.pivot_pixel(view, place)
    turned = view
    for _ in range(9):
        turned = moves.orbit(turned, place, 40, 0)
        assert moves.pivot_pixel(turned, place) == pytest.approx((x, y))
        assert turned.camera.zoom == view.camera.zoom
    assert seen(turned, place) == pytest.approx(seen(view, place))
    down = min(20.0, float(view.camera.elevation) - 1)
    back = moves.orbit(moves.orbit(view, place, 25, -down), place, -25, down)
    assert seen(back, place) == pytest.approx(seen(view, place))


def test_a_turning_box_keeps_its_size():
    """Fitted anew at every angle it would breathe."""
    view, place = at_hand("parallel")
    view = moves.held(view, place)
    stick = np.array([[0.0, 0, 0], [0, 0, 0.8]])
    lengths = [np.ptp(seen(moves.orbit(view, place, a, 0), place, stick)[:, 1]) for a in range(0, 360, 45)]
    assert np.ptp(lengths) < 1e-6


def test_angles_end_where_they_should():
    view, place = at_hand("held")
    assert moves.orbit(view, place, 0, 200).camera.elevation == 90
    assert moves.orbit(view, place, 0, -200).camera.elevation == 0
    assert moves.orbit(moves.turned(view, place, None, -30), place, 0, -200).camera.elevation == -30
    for degrees in (170, 190, 3600, -1234.5):
        azimuth = moves.orbit(view, place, degrees, 0).camera.azimuth
        assert -180 < azimuth <= 180
        assert (azimuth - 20 - degrees) % 360 == pytest.approx(0) or (azimuth - 20 - degrees) % 360 == pytest.approx(
            360
        )


@pytest.mark.parametrize("name", HANDS)
def test_no_pan_and_no_zoom_loses_the_box(name):
    view, place = at_hand(name)
    for dx, dy in ((1e5, 0), (-1e5, 30), (0, 1e5), (-1e5, -1e5)):
        away = moves.pan(view, place, dx, dy)
        for there in (away, moves.zoom(away, place, 0.3, 5, 700)):
            px, rect = seen(there, place, camera.corners(place.sides, 0.8)), place.plot(there)
            assert px[:, 0].max() > rect.x0
            assert px[:, 0].min() < rect.x1
            assert px[:, 1].max() > rect.y0
            assert px[:, 1].min() < rect.y1
    for factor, end in ((1e9, 100), (1e-9, 0.05)):
        last = moves.zoom(view, place, factor, 500, 400)
        assert last.camera.zoom == end
        assert seen(moves.zoom(last, place, factor, 300, 300), place) == pytest.approx(seen(last, place))


@pytest.mark.parametrize("name", moves.PLACES)
def test_named_places_look_along_what_they_say(name):
    view, place = at_hand("held")
    there = moves.to(view, name)
    axis = {"top": [0, 0, 1], "front": [0, -1, 0], "side": [1, 0, 0], "iso": np.array([-1, -1, 1]) / 3**0.5}[name]
    assert place.projection(there).eye == pytest.approx(axis, abs=1e-12)
    assert (there.camera.target, there.camera.zoom) == ("auto", 1.0)
    assert moves.to(view, "fit").camera == Camera()


def test_the_top_in_parallel_is_flat_until_a_hand_takes_it():
    view, place = at_hand("flat-3d")
    assert place.layout(view).flat
    assert not place.layout(moves.orbit(view, place, 3, 0)).flat


def test_a_view_from_before_targets_means_what_it_did():
    old = msgspec.json.decode(b'{"camera":{"azimuth":30,"elevation":"auto","zoom":2}}', type=View)
    assert old.camera == Camera(azimuth=30, zoom=2)
    with pytest.raises(InputError, match="3 numbers between commas or auto"):
        override(View(), {"camera.target": "1,2"})
    assert override(View(), {"camera.target": "auto"}) == View()


@pytest.mark.parametrize("name", [n for n in HANDS if n != "2d-zoomed"])
def test_everything_in_the_box_has_a_depth_that_is_drawn(name):
    view, place = at_hand(name)
    for azimuth in range(0, 360, 60):
        turned = moves.settled(moves.orbit(view, place, azimuth, 10), place)
        depth = place.projection(turned).pixels(camera.corners(place.sides, 0.0 if turned.mode == "2d" else 0.86))[:, 2]
        assert (np.abs(depth) <= 1).all()


def test_a_zoomed_plane_has_ticks_of_what_it_shows():
    scene = Scene(override(PRESETS["heat"], {"camera.zoom": 8, "camera.shift_x": -2, "camera.shift_y": 1}))
    scene.apply(SURFACE)
    made = frame.make(scene, 1280, 800, 1.0)
    for which, (lo, hi) in enumerate((("x0", "x1"), ("y0", "y1"))):
        ticks = box.axis_ticks(made, which)
        world = np.zeros((len(ticks), 3))
        world[:, which] = [w for w, _ in ticks]
        at = made.pixels(world)[:, which]
        assert len(ticks) >= 4
        assert (at > getattr(made.layout.plot, lo) - 1).all()
        assert (at < getattr(made.layout.plot, hi) + 1).all()
        axis = scene.axes[which]
        for w, label in ticks:
            value = axis[0] + (w / made.sides[which] + 1) / 2 * (axis[-1] - axis[0])
            assert float(label.replace("−", "-")) == pytest.approx(value, abs=1e-9)


def test_a_zoomed_mesh_has_finer_lines():
    fine = scenes.function(lambda x, y: x * x + y * y + 1, 257, 257)
    steps = {}
    for zoom in (1, 4):
        scene = Scene(override(PRESETS["contours-2d"], {"camera.zoom": zoom}))
        scene.apply(fine)
        steps[zoom] = frame.make(scene, 1280, 800, 1.0).mesh_steps
    assert steps[1] == (4 * steps[4][0], 4 * steps[4][1])


@pytest.mark.parametrize("name", ["resnet", "vgg", "negative", "funnel"])
def test_a_surface_that_fills_turns_the_camera_twice_at_most(name):
    whole = funnel(0.95) if name == "funnel" else scenes.ODD[name]()
    scene, watch = Scene(PRESETS["solid"]), frame.Watch()
    scene.apply(SurfaceBegin(surface="s", meta=whole.meta, passes=2), {"alpha": whole.alpha, "beta": whole.beta})
    lenses = []
    for pass_ in range(2):
        for i in row_order(len(whole.beta)):
            scene.apply(SurfaceRow(surface="s", i=i, pass_=pass_, n=9 * pass_ + 9), {"loss": whole.loss[i]})
            lenses.append(frame.make(scene, 1280, 800, 1.0, watch).camera)
    turns = sum(a != b for a, b in itertools.pairwise(lenses))
    assert turns <= 2
    assert len(set(lenses[: len(whole.beta) // 4])) <= 2
    assert lenses[-1] == frame.automatic([scene])
