"""The camera fits the box exactly, and looks from where the path is seen."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from protocol.view import PRESETS, Camera, override
from renderer import camera, frame
from renderer.camera import Rect
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
