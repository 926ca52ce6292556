"""What the legend says, in words: each number once and in one rounding, nothing hidden, nothing unexplained."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes

from protocol.files import PATH_DTYPE
from protocol.view import View, override
from renderer import facts, frame, levels
from renderer.layers import legend
from renderer.scene import Scene


def shown(surface, **changes: object) -> Scene:
    scene = Scene(override(View(), changes))
    scene.apply(surface)
    return scene


def collapsed(n: int = 11) -> np.ndarray:
    """A path on a random plane: everything falls onto the origin, which is its end."""
    path = np.zeros(n, PATH_DTYPE)
    path["step"] = 12 * np.arange(n)
    path["epoch"] = np.arange(n)
    path["alpha"] = path["beta"] = np.append(1e-4 * np.arange(n - 1, 0, -1) / n, 0.0)
    path["off_plane"] = np.append(np.full(n - 1, 0.99999), 0.0)
    path["loss_plane"] = 0.0086
    path["loss_weights"] = path["loss_true"] = np.geomspace(2.83, 0.008565, n)
    return path


def test_a_minimum_on_the_border_says_that_the_valley_may_go_on():
    tilted = scenes.function(lambda x, y: 10 + x + 0.1 * y * y)
    said = facts.lowest(shown(tilted))
    assert "on the border of what was measured: the valley may go on" in said.lines
    assert said.short().lines == said.lines[1:]  # where room is short its place goes, and not this
    bowl = scenes.function(lambda x, y: 10 + x * x + y * y)
    assert not any("border" in line for line in facts.lowest(shown(bowl)).lines)


@pytest.mark.parametrize("corner", [(0, 3), (-1, 3), (3, 0), (3, -1)])
def test_every_side_of_the_grid_is_border(corner):
    surface = scenes.function(lambda x, y: 5 + 0 * x * y, 9, 9)
    loss = surface.loss.copy()
    loss[corner] = 1.0
    assert any("border" in line for line in facts.lowest(shown(replace(surface, loss=loss))).lines)


def test_a_path_that_falls_onto_a_point_is_one_entry():
    scene = shown(replace(scenes.vgg(), path=collapsed()))
    found = [e for e in legend.entries(frame.make(scene, 1280, 800, 1.0)) if "ath" in e.fact.heading]
    assert [e.fact.heading for e in found] == ["Path: off this plane"]
    words = " ".join(found[0].fact.lines)
    assert "all 11 checkpoints project onto this point: over 99.9 % of their distance from the end" in words
    assert "their own losses: 2.83 at epoch 0, 0.008565 at epoch 10" in words


def test_a_path_off_the_plane_that_is_spread_keeps_start_and_end():
    found = legend.entries(frame.make(shown(scenes.off_plane()), 1280, 800, 1.0))
    headings = [e.fact.heading for e in found]
    assert headings[:3] == ["Path: off this plane", "Start of the path, epoch 0", "End of the path, epoch 5"]
    assert "98 % of a checkpoint's distance from the end (median) is not in it" in found[0].fact.lines[0]
    assert found[0].ramp is None  # no colours along it: it is not drawn as a line


def test_a_projected_path_says_how_much_of_it_is_hidden_and_where_its_height_comes_from():
    path = scenes.resnet().path.copy()
    path["off_plane"] = np.append(np.linspace(0.1, 0.9, len(path) - 1), 0.0)
    path["loss_true"], path["loss_plane"] = 2.38, 2.4848
    path["loss_true"][-1] = path["loss_plane"][-1] = 0.008565
    scene = shown(replace(scenes.resnet(), path=path))
    assert facts.path(scene).heading == "Path, coloured by epoch"
    assert facts.path(scene).lines[0].startswith("projected; median 50 % of a checkpoint's distance from the end")
    assert facts.path_point(scene, 0, "Start", True).lines[-1] == "own loss 2.38; surface 2.485"
    assert facts.path_point(scene, 10, "End", True).lines[-1] == "own loss 0.008565"


def test_distances_from_another_origin_are_not_called_distances_from_the_end():
    path = collapsed()
    path["alpha"] += 0.1
    assert facts.path_end(path) == "the origin"


def test_one_number_has_one_rounding():
    scene = shown(replace(scenes.vgg(), path=collapsed()))
    loss = scene.values["loss"]
    loss[np.unravel_index(loss.argmin(), loss.shape)] = float(scene.path["loss_true"][-1])
    assert facts.lowest(scene).heading == "Lowest value: 0.008565"
    assert "0.008565 at epoch 10" in facts.path_on_a_point(scene).lines[1]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.526, "53 %"), (0.09836, "9.8 %"), (0.994, "99.4 %"), (0.99999, "over 99.9 %"), (1.0, "100 %"), (0.0, "0 %")],
)
def test_a_share_is_never_rounded_to_the_whole(value, text):
    assert facts.share(value) == text


def test_it_is_always_said_whether_something_was_clipped_or_left_out():
    for surface, changes, text in (
        (scenes.resnet(), {}, "Nothing clipped or left out"),
        (scenes.holes(), {}, "Nothing clipped"),
        (scenes.leaving(), {}, "Nothing clipped"),
        (scenes.vgg(), {"clip": 0.2}, "Clipped above 0.2"),
    ):
        found = legend.entries(frame.make(shown(surface, **changes), 1280, 800, 1.0))
        assert [e.fact.heading for e in found if "lipped" in e.fact.heading] == [text]


@pytest.mark.parametrize(
    ("found", "spacing", "text"),
    [
        (levels.log(0.0017, 4.8, 16), "log", "3 per decade, thick at 0.01, 0.1, 1"),
        (levels.log(0.0086, 15000, 16), "log", "3 per decade, thick at powers of ten"),
        (levels.log(0.2, 2e4, 4), "log", "one per decade: 1, 10, 100, 1000, 10000"),
        (levels.log(0.2, 2e10, 5), "log", "every 2 decades: 1, 100, … 10¹⁰"),
        (levels.log(1.0, 3.0, 16), "log", "every 0.2, thick every 1"),
        (levels.linear(0.07, 0.33, 16), "linear", "every 0.02, thick every 0.1"),
        (levels.linear(0, 40, 16), "linear", "every 2.5, thick every 10"),
        (levels.given((0.5, 0.1, 2)), "given", "at 0.1, 0.5, 2"),
        (levels.quantile(np.arange(100.0), 9), "quantile", "9 quantiles: equally many points between them"),
        ([], "log", ""),
    ],
)
def test_the_rule_of_the_contours_is_told(found, spacing, text):
    assert levels.describe(found, spacing) == text


@pytest.mark.parametrize("name", scenes.ODD)
def test_every_surface_has_words(name):
    for changes in ({}, {"metric": "accuracy"}, {"log_color": "on", "log_height": "on"}, {"normalise": True}):
        scene = shown(scenes.ODD[name](), **changes)
        for entry in legend.entries(frame.make(scene, 640, 400, 1.0)):
            assert entry.fact.heading
            assert all(line and "nan" not in line.lower() for line in entry.fact.lines)


def test_where_room_is_short_details_go_before_entries_and_what_was_clipped_stays_longest():
    found = legend.entries(frame.make(shown(scenes.resnet()), 1280, 800, 1.0))
    whole = legend.arrange(found, 1, 1000, 240)
    assert [p.entry for p in whole] == found
    high = max(p.y for p in whole)
    shorter = legend.arrange(found, 1, high - 10, 240)
    assert len(shorter) == len(found)
    assert sum(len(p.lines) for p in shorter) < sum(len(p.lines) for p in whole)
    least = legend.arrange(found, 1, 0.62 * high, 240)
    headings = [p.entry.fact.heading for p in least]
    assert "Grid of measured points" not in headings
    assert "Nothing clipped or left out" in headings
    assert legend.arrange(found, 1, 5, 240) == []


def test_two_columns_are_filled_one_after_the_other():
    found = legend.entries(frame.make(shown(scenes.resnet()), 1280, 800, 1.0))
    placed = legend.arrange(found, 2, 200, 240)
    assert {p.column for p in placed} == {0, 1}
    assert all(p.y >= 0 for p in placed)
    assert [p.column for p in placed] == sorted(p.column for p in placed)
