"""What is drawn, measured in its pixels: isolines against contourpy, holes, footprints, 3d from the top against 2d."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace

import contourpy
import numpy as np
import pytest
import scenes
from numpy.typing import NDArray

from protocol.files import PATH_DTYPE
from protocol.messages import SurfaceRow
from protocol.view import PRESETS, View, override
from renderer.frame import Frame
from renderer.picture import Renderer
from renderer.scene import EVERYTHING, Dirty, Scene

UNIT = 0.7  # device pixels a unit of length in a picture of 640 x 400 at scale 1
BARE = {
    f"layers.{name}": False
    for name in (
        "surface",
        "mesh",
        "box",
        "axes",
        "path",
        "critical",
        "minimum",
        "colorbar",
        "title",
        "legend",
        "provenance",
    )
}
BARE |= {"contours.labels": False, "contours.ink": "dark", "log_color": "off", "log_height": "off"}


def draw(
    surface, view: View, samples: int = 1, size: tuple[int, int] = (640, 400)
) -> tuple[NDArray[np.float64], Frame]:
    renderer = scenes.renderer()
    scene = Scene(view)
    scene.apply(surface)
    frame = renderer.draw(scene, 640, 400, 1.0, samples=samples)
    return renderer.pixels().astype(float) / 255, frame


def coverage(pixels: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ink of dark lines on white paper, 1 where a line covers a pixel."""
    ink = 1 - pixels.mean(-1)
    return ink / ink.max()


@pytest.mark.parametrize("samples", [1, 8])
def test_isolines_lie_on_contourpys_and_have_their_width(samples):
    # A tilted parabolic valley: lines of many directions, none of them crowded.
    surface = scenes.function(lambda x, y: (x + 0.37 * y) ** 2 + 0.6 * (y - 0.3 * x) ** 2 + 3, 400, 400)
    level = 12.0
    view = override(PRESETS["contours-2d"], BARE | {"contours.values": [level], "contours.width": 1.5 / UNIT})
    pixels, frame = draw(surface, view, samples)
    cover, plot = coverage(pixels), frame.layout.plot
    x = plot.x0 + (surface.alpha + 5) / 10 * plot.width
    y = plot.y1 - (surface.beta + 5) / 10 * plot.height
    off, width = [], []
    for line in contourpy.contour_generator(x, y, surface.loss).lines(level):
        for a, b in zip(line[:-1:7], line[1::7]):
            at, along = (a + b) / 2, (b - a) / np.linalg.norm(b - a)
            normal = np.array([-along[1], along[0]])
            t = np.arange(-4, 4.001, 0.05)
            if not (plot.x0 + 6 < at[0] < plot.x1 - 6 and plot.y0 + 6 < at[1] < plot.y1 - 6):
                continue
            profile = bilinear(cover, at + t[:, None] * normal)
            off.append((profile * t).sum() / profile.sum())
            width.append(profile.sum() * 0.05)
    assert len(off) > 50
    assert abs(float(np.mean(off))) < 0.05
    assert float(np.percentile(np.abs(off), 95)) < 0.1
    assert frame.unit == UNIT
    assert float(np.mean(width)) == pytest.approx(1.5, abs=0.1)


def bilinear(image: NDArray[np.float64], points: NDArray[np.float64]) -> NDArray[np.float64]:
    """The image at places (n, 2) in pixels, whose centres lie at halves."""
    x, y = points[:, 0] - 0.5, points[:, 1] - 0.5
    j, i = np.floor(x).astype(int), np.floor(y).astype(int)
    u, v = x - j, y - i
    top = image[i, j] * (1 - u) + image[i, j + 1] * u
    return top * (1 - v) + (image[i + 1, j] * (1 - u) + image[i + 1, j + 1] * u) * v


def test_from_the_top_in_parallel_3d_equals_2d():
    top = {"camera.elevation": 90, "camera.azimuth": 0, "camera.projection": "orthographic", "light": 0}
    for surface in (scenes.resnet(), scenes.holes()):
        flat, _ = draw(surface, override(PRESETS["heat"], {"layers.contours": True, "layers.colorbar": False}))
        raised, _ = draw(
            surface, override(PRESETS["contours-3d"], top | {"layers.base": False, "layers.colorbar": False})
        )
        # a plane is drawn as one quad and the sheet as many, so grid coordinates differ in their last bits
        assert (np.abs(flat - raised).max(-1) > 0.1).mean() < 2e-3


@pytest.mark.parametrize("preset", ["heat", "contours-2d"])
def test_a_hole_shows_the_background_and_its_mark(preset):
    surface = scenes.holes()
    pixels, frame = draw(surface, PRESETS[preset])
    plot, theme = frame.layout.plot, frame.theme
    for (i, j), ink in (((5, 7), theme.diverged), ((11, 5), theme.hatch)):
        x = plot.x0 + j / 24 * plot.width
        y = plot.y1 - i / 24 * plot.height
        block = pixels[int(y) - 8 : int(y) + 8, int(x) - 8 : int(x) + 8].reshape(-1, 3)
        # every pixel lies between paper and the mark's ink
        paper, mark = np.array(theme.paper[:3]), np.array(ink[:3])
        t = (block - paper) @ (mark - paper) / ((mark - paper) @ (mark - paper))
        assert np.abs(block - paper - t[:, None] * (mark - paper)).max() < 0.02
        assert t.max() > 0.5
        assert t.min() < 0.2


def test_a_plain_hole_in_3d_shows_the_floor_only():
    surface = scenes.function(lambda x, y: 3 + 0 * x + 0.001 * x, 21, 21)
    n = surface.n.copy()
    n[:] = 0
    view = override(PRESETS["solid"], BARE | {"layers.surface": True, "layers.contours": False})
    pixels, frame = draw(replace(surface, n=n), view)
    colours = np.unique(pixels.reshape(-1, 3), axis=0)
    assert len(colours) < 400  # paper and hatching in shades, no colour of the map
    assert np.ptp(colours, axis=1).max() < 0.08
    assert frame.scale.measured == 0


def test_a_row_changes_only_its_own_footprint():
    surface = scenes.function(lambda x, y: np.sin(x) * np.cos(y) + 2, 60, 60)
    renderer = scenes.renderer()
    scene = Scene(override(PRESETS["heat"], {"clip": "off", "layers.minimum": False}))
    scene.apply(surface)
    frame = renderer.draw(scene, 640, 400, 1.0, samples=1)
    before = renderer.pixels().astype(int)
    i = 37
    values = scene.values["loss"][i] * 0.9 + 0.2
    assert scene.scale.lo < values.min()
    assert values.max() < scene.scale.hi
    dirty = scene.apply(SurfaceRow(surface="", i=i, pass_=0, n=512), {"loss": values})
    renderer.draw(scene, 640, 400, 1.0, samples=1, dirty=dirty)
    after = renderer.pixels().astype(int)
    rows = np.flatnonzero((before != after).any((1, 2)))
    plot = frame.layout.plot
    cell = plot.height / 59
    middle = plot.y1 - i * cell
    assert len(rows)
    assert rows.min() >= middle - 2 * cell - 1.5
    assert rows.max() <= middle + 2 * cell + 1.5
    # and what the partial update drew is what a whole one draws
    renderer.draw(scene, 640, 400, 1.0, samples=1, dirty=EVERYTHING)
    assert np.array_equal(after, renderer.pixels())


def test_rows_beside_a_hole_update_what_borrowed_from_them():
    surface = scenes.holes()
    renderer = scenes.renderer()
    scene = Scene(override(PRESETS["contours-3d"], {"clip": "off", "layers.minimum": False}))
    scene.apply(surface)
    renderer.draw(scene, 320, 200, 1.0, samples=1)
    for i in (2, 8, 14):
        dirty = scene.apply(SurfaceRow(surface="", i=i, pass_=0, n=512), {"loss": scene.values["loss"][i] * 0.97})
        renderer.draw(scene, 320, 200, 1.0, samples=1, dirty=dirty)
        partial = renderer.pixels().copy()
        renderer.draw(scene, 320, 200, 1.0, samples=1, dirty=EVERYTHING)
        assert np.array_equal(partial, renderer.pixels())


def test_mesh_lines_stand_on_the_measured_points_only():
    surface = scenes.function(lambda x, y: x + 0 * y + 9, 11, 11)
    view = override(PRESETS["mesh"], BARE | {"mode": "2d", "layers.contours": False, "layers.mesh": True})
    pixels, frame = draw(surface, view)
    ink = 1 - pixels.mean(-1)
    plot = frame.layout.plot
    middle = ink[int(plot.y0 + 0.55 * plot.height)]
    peaks = [plot.x0 + j / 10 * plot.width for j in range(1, 10)]
    assert all(middle[int(p) - 1 : int(p) + 2].max() > 0.1 for p in peaks)
    assert all(middle[int(p + 0.5 * plot.width / 10)] < 0.02 for p in peaks)


@pytest.mark.parametrize("name", scenes.ODD)
def test_every_field_draws_with_every_preset(name):
    renderer = scenes.renderer()
    for preset in PRESETS:
        for changes in ({}, {"theme": "dark", "metric": "accuracy", "clip_mode": "cut", "smoothing": "none"}):
            scene = Scene(override(PRESETS[preset], changes))
            scene.apply(scenes.ODD[name]())
            renderer.draw(scene, 240, 150, 1.0, samples=1)
            assert renderer.pixels().shape == (150, 240, 3)


def test_two_renderers_of_one_process_do_not_mix():
    scene = Scene(PRESETS["heat"])
    scene.apply(scenes.vgg())
    first = scenes.renderer()
    first.draw(scene, 240, 150, 1.0, samples=1)
    alone = first.pixels().copy()
    second = Renderer()
    second.draw(scene, 200, 150, 1.0, samples=1)
    first.draw(scene, 240, 150, 1.0, samples=1)
    assert np.array_equal(alone, first.pixels())
    second.release()
    first.draw(scene, 240, 150, 1.0, samples=1)
    assert np.array_equal(alone, first.pixels())


def test_a_scene_without_a_surface_draws_paper():
    renderer = scenes.renderer()
    renderer.draw(Scene(), 240, 150, 1.0, samples=1, dirty=Dirty(view=True))
    assert renderer.pixels()[100:].min() == 255


def test_a_plain_3_3_context_is_enough():
    """Mesa is told to offer no more than OpenGL 3.3 core, as macOS and old cards do."""
    scenes.renderer()
    code = (
        "import sys; sys.path.insert(0, 'tests')\n"
        "import scenes; from renderer.scene import Scene; from protocol.view import PRESETS\n"
        "r = scenes.renderer(); print(r.ctx.version_code)\n"
        "for view in PRESETS.values():\n"
        "    s = Scene(view); s.apply(scenes.holes()); r.draw(s, 240, 150, 1.0, samples=2)\n"
        "    r.draw(s, 240, 150, 1.0, samples=1, interacting=True); r.refine(); r.pixels()\n"
        "print(r.ctx.error)"
    )
    env = os.environ | {"MESA_GL_VERSION_OVERRIDE": "3.3", "MESA_GLSL_VERSION_OVERRIDE": "330"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, check=False)
    assert done.stdout.split() == ["330", "GL_NO_ERROR"], done.stderr


@pytest.mark.parametrize("preset", ["contours-2d", "heat"])
def test_marks_on_the_frame_are_whole(preset):
    """The lowest point lies on the left border, the path begins on the right one: both are drawn over the frame."""
    path = np.zeros(3, PATH_DTYPE)
    path["alpha"], path["beta"] = [5, 3, 1], [2, 1, 0]
    surface = replace(scenes.function(lambda x, y: 10 + x + 0.1 * y * y), path=path)
    pixels, frame = draw(surface, PRESETS[preset], size=(640, 400))
    plot, u = frame.layout.plot, frame.unit
    for x, row, outwards in ((plot.x0, 0.0, -1), (plot.x1, 2.0, 1)):
        y = plot.y1 - (row + 5) / 10 * plot.height
        beyond = [int(x + outwards * 4 * u) + d for d in (-1, 0, 1)]
        patch = pixels[int(y) - 3 : int(y) + 4, min(beyond) : max(beyond) + 1]
        assert patch.min() < 0.6, (preset, x)  # ink outside of the frame
    scene = Scene(override(PRESETS[preset], {"camera.shift_x": 0.3}))  # a mark that is out of sight leaves no ink
    scene.apply(surface)
    renderer = scenes.renderer()
    moved = renderer.draw(scene, 640, 400, 1.0, samples=1)
    right = renderer.pixels()[int(plot.y0) : int(plot.y1), int(plot.x1 + 3) : int(plot.x1 + 8)]
    assert moved.layout.plot == plot
    assert right.min() == 255
