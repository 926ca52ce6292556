"""Values between the points: through the samples, the same on CPU and GPU, and isolines from them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import contourpy
import numpy as np
import pytest
import scenes

from protocol.view import View, override
from renderer import colormaps, isolines
from renderer.layers.path import cut
from renderer.scene import EVERYTHING, Scene


def scene_of(surface, **changes) -> Scene:
    scene = Scene(override(View(), changes))
    scene.apply(surface)
    return scene


@pytest.mark.parametrize("smoothing", ["catmull-rom", "bilinear", "none"])
@pytest.mark.parametrize("name", ["resnet", "vgg", "wide", "2x2", "uneven", "huge"])
def test_every_smoothing_passes_through_the_samples(name, smoothing):
    surface = scenes.ODD[name]()
    scene = scene_of(surface, smoothing=smoothing)
    x, y = np.meshgrid(surface.alpha, surface.beta)
    assert scene.field.at(x, y) == pytest.approx(scene.scale.unit(surface.loss), abs=1e-9)


def test_planes_are_reproduced_exactly_up_to_the_rim():
    scene = scene_of(scenes.function(lambda x, y: 3 * x - 2 * y + 40, 9, 7))
    x, y = np.random.default_rng(0).uniform(-5, 5, (2, 500))
    assert scene.field.at(x, y) == pytest.approx(scene.scale.unit(3 * x - 2 * y + 40), abs=1e-9)


@pytest.mark.parametrize(
    "name", ["resnet", "holes", "huge", "outlier", "close", "2x2", "wide", "tall", "largest", "uneven"]
)
@pytest.mark.parametrize("smoothing", ["catmull-rom", "bilinear"])
def test_the_gpu_field_equals_its_cpu_twin(name, smoothing):
    renderer = scenes.renderer()
    scene = scene_of(scenes.ODD[name](), smoothing=smoothing)
    with renderer.ctx:
        renderer.kit.store.sync(scene, EVERYTHING)
        store, texture = renderer.kit.store, renderer.kit.store.field
        coded = np.frombuffer(texture.read(), "<f4").reshape(texture.size[::-1])
    assert store.reference is not None
    got = store.reference.a * coded.astype(float) + store.reference.b
    k = renderer.kit.store.k
    x, y = np.meshgrid(np.arange(texture.size[0]) / k, np.arange(texture.size[1]) / k)
    assert got == pytest.approx(scene.field.at_grid(x, y), abs=2e-5)


def test_isolines_as_geometry_match_contourpy():
    scene = scene_of(scenes.function(scenes.himmelblau, 130, 130))
    refined = isolines.refine(scene.field)
    for unit in (0.02, 0.1, 0.4):
        ours = isolines.segments(refined, unit).reshape(-1, 2)
        lines = contourpy.contour_generator(refined.x, refined.y, refined.values).lines(unit)
        theirs = np.concatenate([np.linspace(a, b, 9) for line in lines for a, b in itertools.pairwise(line)])
        for some in ours[:: max(1, len(ours) // 200)]:
            assert np.min(np.linalg.norm(theirs - some, axis=1)) < 0.15  # cells of a 130 grid are 5 pixels
        assert len(ours) / 2 == pytest.approx(sum(len(line) - 1 for line in lines), rel=0.02)


def test_isolines_end_at_holes():
    surface = scenes.holes()
    scene = scene_of(surface)
    pieces = isolines.segments(isolines.refine(scene.field), 0.3).reshape(-1, 2)
    near = np.round(pieces).astype(int)
    assert scene.field.valid(near[:, 1], near[:, 0]).mean() > 0.97


def test_a_path_is_cut_at_the_grids_rim():
    inside = cut(np.array([0.0, 2.0]), np.array([0.0, 0.0]), (-1, 1, -1, 1), joined=True)
    assert inside.b[:, 0].max() == pytest.approx(1.0, abs=0.05)
    assert inside.dots.tolist() == [[0.0, 0.0]]
    assert len(cut(np.array([0.0, 0.5]), np.zeros(2), (-1, 1, -1, 1), joined=False).a) == 0
    nowhere = cut(np.array([np.nan, 0.5, 0.6]), np.zeros(3), (-1, 1, -1, 1), joined=True)
    assert np.isfinite(nowhere.a).all()
    assert len(nowhere.dots) == 2


def test_shipped_tables_are_cmaps():
    pytest.importorskip("cmap")
    for name, table in colormaps.bake().items():
        assert np.array_equal(colormaps.table(name), table), name


def test_lines_on_paper_contrast_with_it():
    for name in ("lipari", "viridis", "plasma", "grey"):
        for paper in ((1.0, 1.0, 1.0), (0.06, 0.07, 0.09)):
            table = colormaps.legible(colormaps.table(name), paper) / 255.0
            assert colormaps.contrast(table, np.array(paper)).min() > 1.85


def test_a_surface_with_another_path_keeps_its_values():
    surface = scenes.vgg()
    assert replace(surface, path=scenes.resnet().path).loss is surface.loss


def test_a_clipped_outlier_digs_no_pit_beside_itself():
    surface = scenes.function(lambda x, y: np.where(np.hypot(x - 1, y) < 0.8, 1e6, 40 + x + 2 * y), 31, 31)
    scene = scene_of(surface, log_color="off", log_height="off", clip=60.0)
    assert scene.scale.clip is not None
    fine = np.linspace(0, 30, 301)
    values = scene.field.on(fine, fine)
    assert values == pytest.approx(scene.field.at_grid(*np.meshgrid(fine, fine)), abs=1e-12)
    straight = scene.scale.unit(40 + np.add.outer(2 * (fine / 3 - 5), fine / 3 - 5))
    cell = 3 / 30 * np.ptp(straight)  # it may stay level over a cell, and never falls under it
    assert (values - straight).min() > -cell / 2
    unheld = scene.field
    unheld._ceiling = np.inf
    assert (unheld.on(fine, fine) - straight).min() < -cell / 2  # what the spline alone would do
