"""What a picture says: complete, inside of the picture, nothing over anything else."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import scenes

from protocol.files import PlaneMeta, SurfaceMeta
from protocol.view import PRESETS, override
from renderer import fonts, frame, words
from renderer.ink import Ink, Text
from renderer.layers import axes, colorbar, labels, legend, title
from renderer.layers.box import axis_ticks, height_ticks
from renderer.scene import Scene


def said(surface, preset: str, width: int = 1280, height: int = 800, **changes: object) -> tuple[Ink, frame.Frame]:
    scene = Scene(override(PRESETS[preset], changes))
    scene.apply(surface)
    made = frame.make(scene, width, height, 1.0)
    ink = Ink()
    for layer in (labels.Labels(), axes.Axes(), colorbar.ColorBar(), legend.Legend(), title.Title()):
        layer.overlay(made, ink)
    return ink, made


def corners(text: Text) -> np.ndarray:
    """The four corners (4, 2) of a text's small-letter box, in pixels."""
    w = fonts.width(text.text, text.size, text.bold)
    drop = 0.36 * text.size if text.anchor == "middle" else 0.0
    box = np.array(
        [(x - text.align * w, y + drop) for x, y in ((0, 0), (w, 0), (w, -0.7 * text.size), (0, -0.7 * text.size))]
    )
    a = math.radians(text.angle)
    turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
    return box @ turn.T + [text.x, text.y]


def apart(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two convex quadrilaterals have a separating axis."""
    for quad in (a, b):
        for p, q in itertools.pairwise([*quad, quad[0]]):
            normal = np.array([-(q - p)[1], (q - p)[0]])
            if (a @ normal).max() <= (b @ normal).min() + 1e-6 or (b @ normal).max() <= (a @ normal).min() + 1e-6:
                return True
    return False


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", scenes.ODD)
@pytest.mark.parametrize("size", [(1280, 800), (640, 400), (700, 1000)])
def test_no_text_is_cut_or_lies_over_another(name, preset, size):
    ink, made = said(scenes.ODD[name](), preset, *size)
    w, h = made.layout.size
    boxes = [(t.text, corners(t)) for t in ink.texts]
    for text, box in boxes:
        assert box.min() >= 0, text
        assert box[:, 0].max() <= w, text
        assert box[:, 1].max() <= h, text
    for (s, a), (t, b) in itertools.combinations(boxes, 2):
        assert apart(a, b), (s, t)


def test_the_check_sees_an_overlap():
    a = Text("0.25", 100, 100, 12, (0, 0, 0, 1))
    assert not apart(corners(a), corners(replace(a, x=110)))
    assert not apart(corners(a), corners(replace(a, x=104, angle=30.0)))
    assert apart(corners(a), corners(replace(a, y=112)))


def test_long_words_are_shortened_and_stay_inside():
    long = "a model with a name that nobody should have given to it, of many thousand layers " * 3
    meta = SurfaceMeta(
        model=long, data=long, name=long, note=long, loss=long, plane=PlaneMeta(kind="random", origin=long)
    )
    for preset in PRESETS:
        ink, made = said(replace(scenes.vgg(), meta=meta), preset)
        assert all(corners(t)[:, 0].max() <= made.layout.size[0] for t in ink.texts)


def test_the_picture_names_model_data_plane_and_variance():
    plane = PlaneMeta(kind="pca", explained_variance_ratio=(0.6, 0.2), random_walk_ratio=(0.5, 0.25), checkpoints=11)
    meta = SurfaceMeta(model="ResNet-50", data="CIFAR-10", split="train", samples=50000, plane=plane)
    ink, _ = said(replace(scenes.resnet(), meta=meta), "contours-2d")
    everything = " ".join(t.text for t in ink.texts)
    for part in (
        "ResNet-50 on CIFAR-10, PCA plane of the descent",
        "cross-entropy loss over 50 000 train samples",
        "explains 80.0 % of the descent's variance (a random walk of as many steps: 75.0 %)",
        "α, distance along principal component 1 (60.0 %)",
        "β, distance along principal component 2 (20.0 %)",
        "Loss (cross-entropy)",
        "logarithmic scale",
        "Lowest value: 0.02862",
        "Start of the path, epoch 0",
        "End of the path, epoch 10",
    ):
        assert part in everything


def test_the_picture_tells_what_it_hides():
    for surface, part in (
        (scenes.off_plane(), "off this plane"),
        (scenes.leaving(), "lie outside of the grid"),
        (scenes.holes(), "Diverged"),
        (scenes.holes(), "21 of 625 points"),
        (scenes.ODD["outlier"](), "Clipped above"),
        (scenes.ODD["constant"](), "2.303 everywhere"),
        (scenes.ODD["all-nan"](), "Every measured point diverged"),
        (scenes.ODD["nothing"](), "Nothing is measured yet"),
    ):
        ink, _ = said(surface, "solid")
        assert any(part in t.text for t in ink.texts), part
    ink, _ = said(scenes.ODD["negative"](), "solid", log_color="on")
    assert any("Zero or less" in t.text for t in ink.texts)


def test_different_scales_of_colour_and_height_are_both_told():
    scene = Scene(override(PRESETS["solid"], {"log_height": "off"}))
    scene.apply(scenes.resnet())
    assert words.bar(scene) == ("Loss (cross-entropy)", "colour logarithmic, height linear")


def test_an_imported_surface_claims_no_batch_norm_policy():
    scene = Scene()
    scene.apply(scenes.vgg())
    assert "batch norm" not in words.subtitle(scene)
    assert "fp32" not in words.provenance(scene)


@pytest.mark.parametrize("preset", ["mesh", "contours-3d", "contours-2d"])
@pytest.mark.parametrize("name", ["resnet", "vgg", "huge", "off-plane", "outlier"])
@pytest.mark.parametrize("size", [(1280, 800), (640, 400), (1000, 300)])
def test_numbers_beside_each_other_do_not_run_together(name, preset, size):
    scene = Scene(PRESETS[preset])
    scene.apply(scenes.ODD[name]())
    made = frame.make(scene, *size, 1.0)
    ink = Ink()
    axes.Axes().overlay(made, ink)
    numbers = [corners(t) for t in ink.texts if t.text[-1].isdigit() or t.text[-1] in "⁰¹²³⁴⁵⁶⁷⁸⁹"]
    for a, b in itertools.combinations(numbers, 2):
        if abs(a[:, 1].mean() - b[:, 1].mean()) < 0.5 * np.ptp(a[:, 1]):  # on one line
            assert max(a[:, 0].min() - b[:, 0].max(), b[:, 0].min() - a[:, 0].max()) > 4 * made.unit


@pytest.mark.parametrize("size", [(1280, 800), (640, 400), (300, 260), (200, 180)])
@pytest.mark.parametrize("preset", ["heat", "contours-3d"])
def test_no_number_is_left_out_between_two_others(preset, size):
    scene = Scene(PRESETS[preset])
    scene.apply(scenes.resnet())
    made = frame.make(scene, *size, 1.0)
    ink = Ink()
    axes.Axes().overlay(made, ink)
    ticks = [label for _, label in axis_ticks(made, 0)]
    at = [ticks.index(t.text) for t in ink.texts if t.text in ticks]
    alpha = at[: next((k for k in range(1, len(at)) if at[k] <= at[k - 1]), len(at))]  # those of beta come next
    assert alpha
    assert len(set(np.diff(alpha))) <= 1


@pytest.mark.parametrize("name", ["resnet", "vgg", "huge", "off-plane", "leaving", "holes"])
def test_every_axis_has_four_ticks_and_the_height_axis_begins_at_the_floor(name):
    scene = Scene(PRESETS["mesh"])
    scene.apply(scenes.ODD[name]())
    made = frame.make(scene, 1280, 800, 1.0)
    assert all(len(axis_ticks(made, which)) >= 4 for which in (0, 1))
    heights = [z for z, _ in height_ticks(made)]
    assert heights[0] == pytest.approx(0, abs=0.02 * made.top)
    assert heights == sorted(heights)
    assert len(heights) >= 3
    assert heights[-1] <= made.top + 1e-9


def test_no_text_is_smaller_than_the_foot():
    for preset in PRESETS:
        ink, made = said(scenes.resnet(), preset)
        assert min(t.size for t in ink.texts) >= fonts.NOTE * made.unit


def test_a_run_is_named_by_the_end_of_its_id():
    assert words.origin("01M865QQB8T0HXGKR7X45ZB0DT@120") == "run 5ZB0DT, step 120"
    assert words.origin("weights.pt") == "origin weights.pt"
    plane = PlaneMeta(kind="pca", origin="01M865QQB8T0HXGKR7X45ZB0DT@120", hash="c28018c1103c3a61")
    scene = Scene()
    scene.apply(replace(scenes.resnet(), meta=SurfaceMeta(plane=plane)))
    assert words.provenance(scene) == "26 × 26 points · run 5ZB0DT, step 120 · plane c28018"


def test_a_surface_that_does_not_name_its_loss_leaves_no_gap_for_it():
    scene = Scene()
    scene.apply(replace(scenes.vgg(), meta=SurfaceMeta(loss="", note="imported from 01M867HJ9VAQVR2CJ11A3QGEWB")))
    assert words.bar(scene)[0] == "Loss"
    assert words.subtitle(scene) == "loss"
    assert words.provenance(scene) == "26 × 26 points · imported from 3QGEWB"


@pytest.mark.parametrize("preset", PRESETS)
def test_the_smallest_letters_of_a_default_picture_read_in_print(preset):
    ink, _ = said(scenes.resnet(), preset)
    points = 17 / 2.54 * 72 / 1280  # a pixel, in a picture of 1280 x 800 that is printed 17 cm wide
    assert min(text.size for text in ink.texts) * points >= 6.5


def test_a_long_line_under_the_title_breaks_between_its_parts():
    text = "loss over 50 000 samples · the plane explains 80.0 % of the variance (a random walk: 75.0 %)"
    assert title.broken(text, 15.0, 2000.0, 2) == [text]
    assert title.broken(text, 15.0, 480.0, 2) == text.split(" · ")
    assert len(title.broken(text, 15.0, 300.0, 2)) == 2  # nowhere between the parts: at a space
