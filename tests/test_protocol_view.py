"""The view: bounds, names, presets, and one clear sentence for whatever cannot be set."""

from __future__ import annotations

import subprocess
import sys

import msgspec
import pytest

from protocol.errors import InputError
from protocol.view import COLORMAPS, PATH_COLORMAPS, PRESETS, Camera, View, fields, override, preset


def test_presets_are_the_seeds_pictures_by_name():
    assert sorted(PRESETS) == ["contours-2d", "contours-3d", "contours-air", "heat", "mesh", "solid"]
    assert {"grey", "red-blue", "rainbow"} <= set(COLORMAPS) & set(PATH_COLORMAPS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_knows_its_name_and_survives_the_wire(name):
    view = preset(name)
    assert view.preset == name
    assert msgspec.json.decode(msgspec.json.encode(view), type=View) == view
    assert msgspec.convert(msgspec.to_builtins(view), type=View) == view


def test_text_from_a_terminal_becomes_the_fields_own_type():
    view = override(
        View(),
        {
            "colormap": "rainbow",
            "height": "0.5",
            "camera.azimuth": "30",
            "contours.values": "0.1, 0.5 2",
            "contours.count": "8",
            "layers.path": "false",
            "clip": "12.5",
        },
    )
    assert (view.colormap, view.height, view.camera.azimuth, view.clip) == ("rainbow", 0.5, 30.0, 12.5)
    assert view.contours.values == (0.1, 0.5, 2.0)
    assert view.contours.count == 8
    assert view.layers.path is False


def test_values_of_the_right_type_pass_and_the_given_view_stays():
    before = View()
    after = override(before, {"contours.values": [1, 2], "normalise": True, "clip": "off"})
    assert after.contours.values == (1.0, 2.0)
    assert after.normalise
    assert before == View()


def test_preset_among_the_changes_replaces_the_view_first():
    assert override(View(), {"height": 2, "preset": "heat"}) == override(preset("heat"), {"height": 2})


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"colr": 1}, "unknown field 'colr': did you mean"),
        ({"azimuth": 3}, "did you mean camera.azimuth"),
        ({"height": "50"}, "view.height: expected a number from 0 to 10, got '50'"),
        ({"height": "nan"}, "view.height: expected a number from 0 to 10"),
        ({"height": float("nan")}, "view.height: expected a number from 0 to 10"),
        ({"colormap": "jet"}, "view.colormap: expected auto, "),
        ({"clip": "much"}, "view.clip: expected a number, auto or off, got 'much'"),
        ({"camera.azimuth": "north"}, "view.camera.azimuth: expected a number from -360 to 360 or auto"),
        ({"layers.path": "perhaps"}, "view.layers.path: expected true or false"),
        ({"contours.values": "a"}, "view.contours.values: expected at most 60 numbers"),
        ({"contours.count": "1e9"}, "view.contours.count: expected a whole number from 1 to 60"),
        ({"camera": 3}, "unknown field 'camera'"),
        ({"title": "x" * 201}, "view.title: expected"),
    ],
)
def test_what_cannot_be_set_is_told_in_one_sentence(change, sentence):
    with pytest.raises(InputError) as e:
        override(View(), change)
    assert sentence in e.value.msg
    assert "\n" not in e.value.msg


def test_unknown_preset_lists_the_known_ones():
    with pytest.raises(InputError, match="contours-2d, contours-3d, contours-air, heat, mesh, solid") as e:
        preset("heatmap")
    assert e.value.code == "not_found"


@pytest.mark.parametrize("name", fields())
def test_every_field_can_be_set_to_its_own_value(name):
    for view in PRESETS.values():
        assert override(view, {name: fields(view)[name]}) == view


def test_bounds_hold_on_the_wire_too():
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b'{"camera":{"elevation":91}}', type=View)
    assert msgspec.json.decode(b'{"camera":{"elevation":"auto"}}', type=View).camera == Camera()


def test_the_view_needs_no_graphics():
    code = "import protocol.messages, sys; print(sorted({'moderngl', 'glfw', 'torch', 'PIL'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
