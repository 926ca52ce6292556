"""The numbers beside the path's checkpoints: which, and where they stand."""

from __future__ import annotations

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.view import Layers, View, override
from renderer import frame as frames
from renderer.ink import Ink
from renderer.layers import epochs
from renderer.scene import Scene


def lettered(view: View) -> list[str]:
    scene = Scene(view)
    scene.apply(scenes.resnet())
    ink = Ink()
    epochs.Epochs().overlay(frames.make(scene, 1280, 800, 1.0), ink)
    return [text.text for text in ink.texts]


def test_the_ends_come_first_then_what_halves_the_way() -> None:
    assert epochs.order(9, list(range(9))) == [0, 8, 4, 2, 6, 1, 3, 5, 7]
    assert epochs.order(9, [1, 2, 8]) == [8, 2, 1]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_no_label_touches_another_or_the_path(seed: int) -> None:
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 300, (20, 2))
    sizes = np.tile([[24.0, 9.0]], (20, 1))
    found = epochs.places(at, sizes, list(range(20)), 1.0, at)
    assert found  # twenty dots on 300 x 300 pixels leave room
    for k, (x, y) in found:
        assert not ((abs(at[:, 0] - x) < 12) & (abs(at[:, 1] - y) < 4.5)).any()
        for other, (ox, oy) in found:
            assert other == k or abs(ox - x) >= 24 or abs(oy - y) >= 9


@pytest.mark.parametrize("mode", ["2d", "3d"])
def test_checkpoints_are_numbered_by_epoch(mode: str) -> None:
    found = lettered(override(View(), {"mode": mode}))
    assert found[:2] in (["0", "10"], ["0", "8"])  # the end may lie too near to the mark of the lowest point
    assert set(found) <= {str(k) for k in range(11)}
    assert len(set(found)) == len(found)


def test_numbers_and_path_are_left_out_where_asked() -> None:
    assert lettered(View(layers=Layers(epochs=False))) == []
    assert lettered(View(layers=Layers(path=False))) == []
