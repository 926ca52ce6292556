"""What mouse, keys and commands do to a view: every entry of the table, and laws that hold for any order of events."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import keys_docs
import msgspec
import numpy as np
import pytest
import scenes

from protocol.errors import InputError
from protocol.view import PRESETS, View, override
from protocol.windows import CameraOrbit, CameraPreset, CameraSet, CameraZoom, ViewSet
from renderer import controls, frame, moves, picking
from renderer.controls import KEYS, Key, KeyPress, Leave, Move, Outcome, Press, Release, State, Wheel, command, step
from renderer.moves import Place
from renderer.scene import Scene

SIZE = (1000, 700)


@functools.cache
def surface():
    return scenes.resnet()


def placed(view: View) -> Place:
    scene = Scene(view)
    scene.apply(surface())
    return Place.of(frame.make(scene, *SIZE, 1.0), *SIZE, 1.0)


VIEWS = [PRESETS["contours-3d"], PRESETS["heat"]]
PLACES = {view.preset: placed(view) for view in VIEWS}


def place(view: View) -> Place:
    return PLACES["heat" if view.mode == "2d" else "contours-3d"]


def play(view: View, *events: controls.Event, state: State | None = None, pick=lambda x, y: None) -> Outcome:
    """The outcome of the last event."""
    out = Outcome(state or State(), view)
    for event in events:
        out = step(out.state, event, out.view, place(out.view), pick)
    return out


def press(name: str) -> KeyPress:
    *mods, key = name.split("+") if len(name) > 1 and not name.endswith("+") else [name]
    return KeyPress(key, frozenset(mods))


def legal(view: View) -> None:
    """Raises where a field is out of its bounds: a view that could not go over the wire."""
    assert msgspec.convert(msgspec.to_builtins(view), View) == view


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize("key", KEYS, ids=lambda key: key.id)
def test_every_key_does_what_its_entry_says(key: Key):
    assert (key.change is None) != (key.action is None)
    assert key.words == key.words.strip() != ""
    told = False
    for view in VIEWS:
        turned = override(view, {"camera.zoom": 1.5}) if key.id == "camera.fit" else view
        outcomes = [play(turned, press(name)) for name in key.keys]
        assert all(o == outcomes[0] for o in outcomes)
        legal(outcomes[0].view)
        told |= bool(outcomes[0].actions) or outcomes[0].view != turned or outcomes[0].state.help or key.id == "escape"
    assert told


def test_no_two_entries_share_a_key_or_an_id():
    names = [name for key in KEYS for name in key.keys]
    assert len(names) == len(set(names))
    assert len({key.id for key in KEYS}) == len(KEYS)
    assert {key.action for key in KEYS} - {None} == set(controls.ACTIONS)


def test_the_help_tells_every_key_once():
    told = [name for lines in controls.lines().values() for keys, _ in lines for name in keys]
    assert sorted(told) == sorted(key.keys[0] for key in KEYS)


def test_switches_come_back():
    for key in KEYS:
        if key.id.startswith("layers.") or key.id in ("theme", "normalise", "contours.labels"):
            view = VIEWS[0]
            twice = play(view, press(key.keys[0]), press(key.keys[0])).view
            assert twice == moves.settled(view, place(view)), key.id


def test_no_key_but_fit_leaves_the_camera_to_look_for_other_angles():
    """What a key changes, as the height, may change which angles hide least: the picture would turn by itself."""
    for key in KEYS:
        view = play(VIEWS[0], press(key.keys[0])).view
        if view not in (VIEWS[0], play(VIEWS[0], press("r")).view) and view.mode == "3d":
            assert "auto" not in (view.camera.azimuth, view.camera.elevation), key.id
    assert play(play(VIEWS[0], press("n")).view, press("r")).view.camera.azimuth == "auto"


def test_an_unknown_key_and_one_with_ctrl_do_nothing():
    for event in (KeyPress("ü"), KeyPress("c", frozenset({"ctrl"})), KeyPress("r", frozenset({"alt"}))):
        assert play(VIEWS[0], event) == Outcome(State(), VIEWS[0])


def test_a_held_key_goes_on_stepping_but_does_not_switch_to_and_fro():
    for key in KEYS:
        event = replace(press(key.keys[0]), again=True)
        out = play(VIEWS[0], event)
        if key.id.startswith("layers.") or key.action is not None or key.id in ("theme", "metric", "log"):
            assert out == Outcome(State(), VIEWS[0]), key.id
        if key.id in ("camera.left", "pan.up", "zoom.in", "height.less", "contours.more"):
            assert out == play(VIEWS[0], press(key.keys[0])), key.id


def test_tab_visits_every_kind_of_picture_and_keeps_what_the_hand_set():
    view = override(VIEWS[0], {"theme": "dark", "colormap": "rainbow", "layers.path": False, "camera.azimuth": 12})
    seen = []
    for _ in PRESETS:
        view = play(view, press("tab")).view
        seen.append(view.preset)
        assert (view.theme, view.colormap, view.layers.path, view.camera.azimuth) == ("dark", "rainbow", False, 12)
        assert view.mode == PRESETS[view.preset].mode
    assert sorted(seen) == sorted(PRESETS)


def test_escape_closes_the_help_first_and_then_goes_to_the_window():
    out = play(VIEWS[0], press("h"))
    assert out.state.help
    out = play(VIEWS[0], press("escape"), state=out.state)
    assert (out.state.help, out.actions) == (False, ())
    assert play(VIEWS[0], press("escape")).actions == ("escape",)


def test_each_mode_keeps_its_own_zoom():
    out = play(VIEWS[0], Wheel(300, 300, 3.0), Move(10, 10))
    raised = out.view.camera
    flat = play(out.view, press("2"), state=out.state)
    assert (flat.view.camera.zoom, flat.view.camera.shift_x) == (1.0, 0.0)
    flat = play(flat.view, Wheel(300, 300, -2.0), state=flat.state)
    again = play(flat.view, press("3"), state=flat.state)
    assert again.view.camera == raised
    assert play(again.view, press("2"), state=again.state).view.camera.zoom == flat.view.camera.zoom


def test_what_is_hard_to_see_is_said():
    assert play(VIEWS[0], press("c")).note == "Contours: off"
    assert play(VIEWS[0], press("g")).note.startswith("Colours: ")
    assert play(VIEWS[0], press("]")).note == "Height: 1.25"
    assert play(VIEWS[0], press("left")).note == ""


# ---------------------------------------------------------------- the mouse


def drag(button="left", mods=frozenset(), by=(60.0, -20.0)) -> tuple[controls.Event, ...]:
    return Press(400, 300, button, mods), Move(400 + by[0], 300 + by[1])


def test_a_drag_turns_what_it_takes_with_it():
    out = play(VIEWS[0], *drag())
    a, e = placed(VIEWS[0]).azimuth, placed(VIEWS[0]).elevation
    assert out.view.camera.azimuth < a  # the near side goes to the right
    assert out.view.camera.elevation < e
    assert out.state.pivot
    assert out.state.pointer is None
    out = play(out.view, Release(460, 280), state=out.state)
    assert out.state.drag is None
    assert not out.state.pivot
    assert play(out.view, Move(600, 600), state=out.state).view == out.view


@pytest.mark.parametrize(("button", "mods"), [("left", {"shift"}), ("middle", set()), ("right", set())])
@pytest.mark.parametrize("view", VIEWS, ids=["3d", "2d"])
def test_other_drags_move_the_picture_with_the_pointer(view, button, mods):
    out = play(view, *drag(button, frozenset(mods)))
    assert out.view == moves.pan(view, place(view), 60, -20)
    assert out.view != view


def test_in_2d_every_drag_moves():
    assert play(VIEWS[1], *drag()).view == moves.pan(VIEWS[1], place(VIEWS[1]), 60, -20)


def test_a_drag_in_pieces_is_the_drag():
    """Several events may come between two frames."""
    whole = play(VIEWS[0], Press(400, 300), Move(460, 280)).view.camera
    pieces = play(VIEWS[0], Press(400, 300), *(Move(400 + 6 * k, 300 - 2 * k) for k in range(1, 11))).view.camera
    assert pieces.azimuth == pytest.approx(whole.azimuth)
    assert pieces.elevation == pytest.approx(whole.elevation)
    assert pieces.zoom == whole.zoom


def test_a_press_without_a_move_changes_nothing():
    assert play(VIEWS[0], Press(400, 300), Release(400, 300)).view == VIEWS[0]


def test_the_release_of_another_button_does_not_end_a_drag():
    out = play(VIEWS[0], Press(400, 300), Release(400, 300, "right"))
    assert out.state.drag is not None


def test_a_double_click_picks_the_point_to_turn_around_and_moves_nothing():
    spot = np.array([0.4, -0.3, 0.2])
    view = moves.held(VIEWS[0], place(VIEWS[0]))
    x, y = place(view).projection(view).pixels(spot[None])[0, :2]
    clicks = (Press(x, y, time=1.0), Release(x, y), Press(x, y, time=1.2))
    out = play(VIEWS[0], *clicks, pick=lambda *_: spot)
    assert out.view.camera.pivot == tuple(spot)
    assert out.state.pivot
    assert "point" in out.note
    corners = np.array([[-1.0, -1, 0], [1, 1, 0.5]])
    at = place(view).projection(out.view).pixels(corners)
    assert at == pytest.approx(place(view).projection(view).pixels(corners))
    turned = play(out.view, Move(x + 120, y + 10), state=out.state).view
    assert moves.pivot_pixel(turned, place(turned)) == pytest.approx((x, y))
    nothing = play(out.view, Press(x, y, time=5.0), Press(x, y, time=5.1), state=out.state)
    assert "middle" in nothing.note


@pytest.mark.parametrize(("dx", "dt"), [(0, 0.6), (12, 0.1)])
def test_two_slow_or_distant_clicks_are_not_a_double_click(dx, dt):
    out = play(VIEWS[0], Press(400, 300, time=1.0), Press(400 + dx, 300, time=1.0 + dt), pick=lambda *_: np.zeros(3))
    assert out.view.camera.pivot == "auto"


def test_a_drag_far_from_the_pivot_turns_around_what_is_under_the_pointer():
    """Zoomed in so far that the middle of the box is out of sight, a small turn would swing everything away."""
    view = moves.zoom(VIEWS[0], place(VIEWS[0]), 12, 520, 420)
    spot = np.array([0.7, -0.2, 0.2])
    assert play(view, *drag(), pick=lambda *_: spot).view.camera.pivot == tuple(spot)
    assert play(VIEWS[0], *drag(), pick=lambda *_: spot).view.camera.pivot == "auto"


def test_the_pointer_is_where_the_probe_is_and_gone_outside():
    out = play(VIEWS[0], Move(10, 20))
    assert out.state.pointer == (10, 20)
    assert play(VIEWS[0], Leave(), state=out.state).state.pointer is None


@pytest.mark.parametrize("seed", range(6))
def test_no_sequence_of_events_makes_a_view_that_cannot_be_drawn_or_sent(seed):
    rng = random.Random(seed)
    state, view = State(), VIEWS[seed % 2]
    keys = [press(name) for key in KEYS for name in key.keys]
    for _ in range(250):
        x, y = rng.uniform(-200, 1300), rng.uniform(-200, 900)
        button = rng.choice(["left", "left", "middle", "right"])
        mods = frozenset(rng.sample(["shift", "ctrl"], rng.choice([0, 0, 0, 1])))
        event = rng.choice(
            [
                rng.choice(keys),
                Press(x, y, button, mods, rng.uniform(0, 2)),
                Release(x, y, button),
                Move(x, y),
                Move(x, y),
                Wheel(x, y, rng.uniform(-15, 15)),
                Leave(),
            ]
        )
        out = step(state, event, view, place(view), lambda *_: np.array([rng.uniform(-1, 1) for _ in range(3)]))
        state, view = out.state, out.view
    legal(view)
    settled = moves.settled(view, place(view))
    box = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (0, 0.5)])
    assert np.isfinite(place(view).projection(settled).pixels(box)).all()


@pytest.mark.parametrize("size", [(1, 1), (30, 12), (9, 700), (7680, 4320)])
@pytest.mark.parametrize("view", VIEWS, ids=["3d", "2d"])
def test_a_window_of_any_size_is_handled(view, size):
    scene = Scene(view)
    scene.apply(surface())
    drawn = frame.make(scene, *size, 1.0)
    where = Place.of(drawn, *size, 1.0)
    state, now = State(), view
    w, h = size
    for event in (
        Wheel(w / 2, h / 2, 3.0), Press(0, 0), Move(w, h), Release(w, h), Press(0, 0, "right"), Move(w, 0),
        Press(w / 2, h / 2, time=1.0), Press(w / 2, h / 2, time=1.1), *(press(key.keys[0]) for key in KEYS),
    ):  # fmt: skip
        out = step(state, event, now, where, lambda x, y: (hit := picking.pick(drawn, x, y)) and hit.world)
        state, now = out.state, out.view
        legal(now)


# ---------------------------------------------------------------- commands


def test_commands_and_the_hand_go_the_same_way():
    view, where = VIEWS[0], place(VIEWS[0])
    assert (
        command(view, where, CameraZoom(id="a", factor=controls.NOTCH, x=0.3, y=0.4))
        == play(view, Wheel(300, 280, 1.0)).view
    )
    assert command(view, where, CameraPreset(id="a", name="top")) == play(view, press("t")).view
    turned = command(view, where, CameraOrbit(id="a", azimuth=-controls.STEP))
    assert turned == play(view, press("left")).view


def test_what_camera_set_leaves_out_stays():
    view, where = VIEWS[0], place(VIEWS[0])
    out = command(view, where, CameraSet(id="a", elevation=70.0, zoom=2.0)).camera
    assert (out.azimuth, out.elevation, out.zoom, out.target) == (where.azimuth, 70.0, 2.0, "auto")
    assert command(view, where, CameraSet(id="a", azimuth=400.0)).camera.azimuth == 40.0
    assert command(view, where, CameraSet(id="a")) == view


def test_view_set_changes_all_or_nothing_and_a_new_mode_begins_unzoomed():
    view, where = moves.zoom(VIEWS[0], place(VIEWS[0]), 3, 300, 300), place(VIEWS[0])
    flat = command(view, where, ViewSet(id="a", view={"mode": "2d", "theme": "dark"}))
    assert (flat.mode, flat.theme, flat.camera.zoom) == ("2d", "dark", 1.0)
    assert command(view, where, ViewSet(id="a", view={"mode": "2d", "camera.zoom": 2})).camera.zoom == 2.0
    with pytest.raises(InputError, match="theme"):
        command(view, where, ViewSet(id="a", view={"mode": "2d", "theme": "pink"}))


def test_the_page_of_the_keys_is_written_from_the_table():
    assert keys_docs.PAGE.read_text() == keys_docs.page(), "python tests/keys_docs.py --write"
