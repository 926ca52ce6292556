"""A window's frames: little is drawn anew, the picture gets better when idle, and odd sizes draw."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import scenes
from numpy.typing import NDArray

from protocol.files import SurfaceMeta
from protocol.messages import SurfaceBegin, SurfaceRow
from protocol.view import PRESETS, View, override
from renderer import reference
from renderer.picture import SAMPLES, Renderer, jitter
from renderer.scene import CLEAN, EVERYTHING, Dirty, Scene


def scene_of(surface, preset: str = "contours-3d", **changes: object) -> Scene:
    scene = Scene(override(PRESETS[preset], {k.replace("__", "."): v for k, v in changes.items()}))
    scene.apply(surface)
    return scene


def drawn(renderer: Renderer, scene: Scene, dirty: Dirty = EVERYTHING, **how: object) -> NDArray[np.uint8]:
    renderer.draw(scene, 320, 200, 1.0, dirty=dirty, **how)  # type: ignore[arg-type]
    return renderer.pixels().copy()


def test_jitter_begins_at_the_middle_and_longer_ones_go_on_from_shorter_ones():
    assert jitter(1).tolist() == [[0, 0]]
    assert np.array_equal(jitter(5), jitter(SAMPLES)[:5])
    assert np.abs(jitter(SAMPLES)).max() < 0.6
    assert jitter(SAMPLES).mean(0) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("preset", PRESETS)
def test_refining_n_times_draws_what_n_samples_draw(preset):
    renderer = scenes.renderer()
    scene = scene_of(scenes.resnet(), preset)
    stills = {n: drawn(renderer, scene, samples=n) for n in (2, 5)}
    drawn(renderer, scene, samples=1, interacting=True)
    for n in range(1, 6):
        assert renderer.refine()
        if n in stills:
            assert np.array_equal(renderer.pixels(), stills[n])


def test_refining_ends_with_the_still_and_then_draws_nothing():
    renderer = scenes.renderer()
    scene = scene_of(scenes.resnet())
    still = drawn(renderer, scene)
    assert not renderer.refine()
    live = drawn(renderer, scene, CLEAN, samples=1)
    assert not np.array_equal(live, still)
    calls = 0
    while renderer.refine():
        calls += 1
    assert calls == SAMPLES
    assert np.array_equal(renderer.pixels(), still)


def test_a_frame_while_turning_shows_the_same_landscape():
    renderer = scenes.renderer()
    for surface in (scenes.resnet(), scenes.function(scenes.himmelblau, 300, 300)):
        scene = scene_of(surface)
        full, coarse = drawn(renderer, scene, samples=1), drawn(renderer, scene, CLEAN, samples=1, interacting=True)
        assert (np.abs(full.astype(int) - coarse).max(-1) > 40).mean() < 0.02
    assert not np.array_equal(full, coarse)  # 300 squared has vertices to leave out


def test_a_row_that_widens_the_range_a_little_leaves_the_values_on_the_gpu(monkeypatch):
    renderer = scenes.renderer()
    surface = scenes.function(lambda x, y: 3 + 0.8 * np.sin(x) * np.cos(y), 60, 60)
    scene = scene_of(surface, log_color="off", log_height="off", clip="off", camera__azimuth=-35, camera__elevation=40)
    drawn(renderer, scene, samples=1)
    refined: list[object] = []
    store = renderer.kit.store
    whole = type(store)._refine
    monkeypatch.setattr(type(store), "_refine", lambda self, rows: refined.append(rows) or whole(self, rows))
    before, i = scene.scale, int(surface.loss.max(1).argmax())
    dirty = scene.apply(SurfaceRow(surface="", i=i, pass_=0, n=512), {"loss": surface.loss[i] * 1.01})
    assert scene.scale.hi != before.hi
    partial = drawn(renderer, scene, dirty, samples=1)
    assert refined == [[i]]
    assert np.array_equal(partial, drawn(renderer, scene, samples=1))
    assert refined == [[i], None]


@pytest.mark.parametrize("log", [False, True])
def test_reference_changes_seldom_while_the_range_grows(log):
    from renderer.auto import Scale

    spaces = {
        reference.of(Scale(lo=2.0 - 0.01 * k, hi=5 + 0.05 * k, log_color=log, log_height=log)).space for k in range(100)
    }
    assert len(spaces) <= 4


def test_reference_keeps_what_float64_tells_apart():
    from renderer.auto import Scale

    for lo, hi in ((1e6, 1e6 + 1e-3), (-1.7e308, 1.7e308), (0.0, 1e-310), (-3.0, 5.0), (1e-12, 1e-11)):
        space = reference.of(Scale(lo=lo, hi=hi))
        units = np.linspace(0, 1, 50)
        values = lo * (1 - units) + hi * units
        coded = space.code(values).astype(np.float32)
        assert space.unit(coded.astype(float)) == pytest.approx(units, abs=1e-5)
        assert coded.min() >= -0.01
        assert coded.max() < 4


def test_an_automatic_camera_holds_still_while_rows_come():
    surface = scenes.resnet()
    renderer = scenes.renderer()
    scene = Scene()
    arrays = {"alpha": surface.alpha, "beta": surface.beta}
    dirty = scene.apply(SurfaceBegin(surface="s", meta=SurfaceMeta(), passes=1), arrays)
    cameras = []
    for i in np.random.default_rng(1).permutation(len(surface.beta)):
        dirty |= scene.apply(SurfaceRow(surface="s", i=int(i), pass_=0, n=8), {"loss": surface.loss[i]})
        cameras.append(renderer.draw(scene, 160, 120, 1.0, dirty=dirty, samples=1).camera)
        dirty = CLEAN
    turned = [k + 1 for k, (a, b) in enumerate(itertools.pairwise(cameras)) if a != b]
    assert len(turned) <= 5
    whole = Scene()
    whole.apply(replace(surface, path=surface.path[:0]))
    assert renderer.draw(whole, 160, 120, 1.0, samples=1).camera == cameras[-1]


def test_ink_is_kept_until_what_it_tells_changes():
    renderer = scenes.renderer()
    scene = scene_of(scenes.resnet())
    title = next(layer for layer in renderer.layers if type(layer).__name__ == "Title")
    asked: list[int] = []
    whole = type(title).overlay
    type(title).overlay = lambda self, frame, ink: asked.append(1) or whole(self, frame, ink)  # type: ignore[method-assign]
    try:
        for _ in range(3):
            drawn(renderer, scene, CLEAN, samples=1)
        assert len(asked) <= 1
        asked.clear()
        dirty = scene.apply(override(scene.view, {"title": "another"}))
        drawn(renderer, scene, dirty, samples=1)
        assert len(asked) == 1
    finally:
        type(title).overlay = whole  # type: ignore[method-assign]


SIZES = {"1x1": (1, 1, 1.0), "thin": (3, 700, 1.0), "flat": (900, 2, 1.0), "4k": (1920, 1080, 2.0)}


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("preset", ["contours-3d", "contours-2d", "contours-air"])
def test_a_picture_of_any_size_draws(size, preset):
    renderer = Renderer()
    width, height, scale = SIZES[size]
    frame = renderer.draw(scene_of(scenes.resnet(), preset), width, height, scale, samples=1, interacting=True)
    assert renderer.pixels().shape == (round(height * scale), round(width * scale), 3)
    assert frame.layout.size == (round(width * scale), round(height * scale))
    renderer.release()


def test_a_grid_of_2001_squared_draws_and_takes_rows():
    count = 2001
    axis = np.linspace(-5, 5, count)
    scene = scene_of(scenes.made(scenes.himmelblau(*np.meshgrid(axis, axis)), axis, axis))
    renderer = Renderer()
    drawn(renderer, scene, samples=1, interacting=True)
    dirty = scene.apply(SurfaceRow(surface="", i=1000, pass_=0, n=512), {"loss": scene.values["loss"][1000] * 1.1})
    partial = drawn(renderer, scene, dirty, samples=1)
    assert np.array_equal(partial, drawn(renderer, scene, Dirty(all=True), samples=1))
    assert len(np.unique(partial.reshape(-1, 3), axis=0)) > 500
    renderer.release()


@pytest.mark.parametrize("preset", PRESETS)
def test_a_single_row_draws_its_hatched_surroundings(preset):
    surface = scenes.function(scenes.himmelblau, 9, 9)
    n = np.zeros_like(surface.n)
    n[4] = 8
    renderer = scenes.renderer()
    picture = drawn(renderer, scene_of(replace(surface, n=n), preset, colormap="rainbow"), samples=1)
    nothing = drawn(renderer, scene_of(replace(surface, n=0 * n), preset, colormap="rainbow"), samples=1)
    assert not np.array_equal(picture, nothing)


def test_a_view_that_changes_alone_needs_no_values_again(monkeypatch):
    renderer = scenes.renderer()
    scene = scene_of(scenes.vgg())
    drawn(renderer, scene, samples=1)
    uploads: list[object] = []
    store = type(renderer.kit.store)
    monkeypatch.setattr(store, "_upload", lambda *a: uploads.append(a))
    monkeypatch.setattr(store, "_refine", lambda *a: uploads.append(a))
    for changes in ({"camera.azimuth": 10}, {"colormap": "rainbow"}, {"height": 2}, {"theme": "dark"}):
        dirty = scene.apply(override(View(), changes))
        drawn(renderer, scene, dirty, samples=1)
    assert not uploads
