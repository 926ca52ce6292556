"""What a hand does to the window: mouse and keys to a new view and to actions. Pure; knows no window library.

    state = State()
    out = controls.step(state, event, view, place, pick)     # for every event, in order
    state, view = out.state, out.view                        # apply the view to every scene, if it changed
    for action in out.actions: ...                           # what only the window can do (ACTIONS)
    if out.note: show it for a while                         # "Contours: off"

- Events (Press, Release, Move, Wheel, Leave, KeyPress) are in device pixels of the picture, y downwards. Keys are named
  by the character that they type alone ("c", "[", "-"; glfw.get_key_name), others by name ("tab", "space", "escape",
  "left", "right", "up", "down", "home", "f1", "enter"), with "shift", "ctrl", "alt", "super" as modifiers.
- `place` is where the plot under the pointer stands (moves.Place.of the frame last drawn): with several panels, that of
  the panel where a drag began, else under the pointer. Always pass the newest view: several events may come between two
  frames.
- `pick(x, y)` gives the world point (3,) drawn at a pixel, or None (picking.pick). It is called only when needed.
- `out.state.pointer` is where the probe is (None while dragging, or outside); `out.state.help` whether the keys are
  shown; renderer/hud.py draws both.
- Commands of the wire go through `command(view, place, request)`, and as keys do through the same moves.

KEYS is the one table of keys: it drives `step`, the help that the window draws, and whoever lists them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final, Literal, get_args

import msgspec

from protocol.view import COLORMAPS, PRESETS, Metric, Mode, Smoothing, View, override
from protocol.windows import CameraOrbit, CameraPreset, CameraSet, CameraZoom, ViewSet
from renderer import moves
from renderer.camera import Floats
from renderer.frame import AUTO_FILL, AUTO_LINES
from renderer.moves import Place

Action = Literal["close", "help", "escape", "screenshot", "record", "turntable"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)
Button = Literal["left", "middle", "right"]
Pick = Callable[[float, float], "Floats | None"]
Command = CameraSet | CameraOrbit | CameraZoom | CameraPreset | ViewSet

DOUBLE_S, DOUBLE_PX = 0.35, 6.0  # two presses that are one double click, at most so far apart
NOTCH = 1.15  # zoom of one step of the wheel
HALF_TURN = 180.0  # degrees that a drag over the plot's shorter side turns
STEP = 7.5  # degrees a key press turns
NUDGE = 0.05  # of the plot that a key press pans
GROW = 1.25  # of zoom and height, a key press

# ---------------------------------------------------------------- events


@dataclass(frozen=True)
class Press:
    x: float
    y: float
    button: Button = "left"
    mods: frozenset[str] = frozenset()
    time: float = 0.0  # seconds, of any steady clock


@dataclass(frozen=True)
class Release:
    x: float
    y: float
    button: Button = "left"


@dataclass(frozen=True)
class Move:
    x: float
    y: float


@dataclass(frozen=True)
class Wheel:
    x: float
    y: float
    steps: float  # positive: away from the hand, closer


@dataclass(frozen=True)
class Leave:
    """The pointer left the window."""


@dataclass(frozen=True)
class KeyPress:
    """`again`: the key is held, and repeats itself."""

    key: str
    mods: frozenset[str] = frozenset()
    again: bool = False


Event = Press | Release | Move | Wheel | Leave | KeyPress

# ---------------------------------------------------------------- state


@dataclass(frozen=True)
class Drag:
    button: Button
    how: Literal["orbit", "pan"]
    x: float
    y: float


@dataclass(frozen=True)
class State:
    """What the hand is at."""

    pointer: tuple[float, float] | None = None  # where the probe is
    drag: Drag | None = None
    clicked: tuple[float, float, float] | None = None  # time, x, y of the last press of the left button
    pivot: bool = False  # whether the point that the camera turns around is to be marked
    help: bool = False
    kept: tuple[tuple[Mode, tuple[float, float, float]], ...] = ()  # zoom and shift of the mode not shown


@dataclass(frozen=True)
class Outcome:
    state: State
    view: View
    actions: tuple[Action, ...] = ()
    note: str = ""  # what changed, in words, for what is hard to see


def step(state: State, event: Event, view: View, place: Place, pick: Pick = lambda x, y: None) -> Outcome:
    """What an event does. The view is the one given, where nothing changes."""
    if isinstance(event, KeyPress):
        return _key(state, event, view, place)
    if isinstance(event, Press):
        return _press(state, event, view, place, pick)
    if isinstance(event, Release):
        if state.drag is None or state.drag.button != event.button:
            return Outcome(state, view)
        return Outcome(replace(state, drag=None, pivot=False, pointer=(event.x, event.y)), view)
    if isinstance(event, Wheel):
        state = replace(state, pointer=(event.x, event.y) if state.drag is None else None)
        return Outcome(state, moves.zoom(view, place, NOTCH**event.steps, event.x, event.y))
    if isinstance(event, Leave):
        return Outcome(replace(state, pointer=None), view)
    if state.drag is None:
        return Outcome(replace(state, pointer=(event.x, event.y)), view)
    dx, dy = event.x - state.drag.x, event.y - state.drag.y
    if dx == dy == 0:
        return Outcome(state, view)
    if state.drag.how == "pan":
        view = moves.pan(view, place, dx, dy)
    else:
        rect = place.plot(view)
        each = HALF_TURN / max(min(rect.width, rect.height), 1.0)
        view = moves.orbit(view, place, -dx * each, dy * each)
    drag = replace(state.drag, x=event.x, y=event.y)
    return Outcome(replace(state, drag=drag, pointer=None, clicked=None, pivot=drag.how == "orbit"), view)


def _press(state: State, event: Press, view: View, place: Place, pick: Pick) -> Outcome:
    flat = view.mode == "2d"
    how: Literal["orbit", "pan"] = "orbit" if event.button == "left" and "shift" not in event.mods else "pan"
    drag = Drag(event.button, "pan" if flat else how, event.x, event.y)
    last = state.clicked
    double = (
        event.button == "left"
        and last is not None
        and event.time - last[0] <= DOUBLE_S
        and abs(event.x - last[1]) <= DOUBLE_PX
        and abs(event.y - last[2]) <= DOUBLE_PX
    )
    clicked = (event.time, event.x, event.y) if event.button == "left" and not double else None
    state = replace(state, drag=drag, pointer=None, clicked=clicked, pivot=False)
    if flat or event.button != "left":
        return Outcome(state, view)
    if double:
        spot = pick(event.x, event.y)
        note = "Turns around the middle" if spot is None else "Turns around this point"
        return Outcome(replace(state, pivot=True), moves.pivot(view, place, spot), note=note)
    if how == "orbit" and _out_of_sight(view, place) and (spot := pick(event.x, event.y)) is not None:
        view = moves.pivot(view, place, spot)  # or a small turn would swing the picture away
    return Outcome(state, view)


def _out_of_sight(view: View, place: Place) -> bool:
    """Whether the point that the camera turns around is outside of the plot."""
    (x, y), rect = moves.pivot_pixel(view, place), place.plot(view)
    return not (rect.x0 <= x <= rect.x1 and rect.y0 <= y <= rect.y1)


# ---------------------------------------------------------------- keys

Change = Callable[[View, Place], View]
Group = Literal["Camera", "Picture", "Layers", "Window"]


@dataclass(frozen=True)
class Key:
    """One entry of the table: the keys that do the same, the first one the one to tell; an id; what it does in words;
    and a change of the view or an action of the window. Neighbours with one `line`, which are steps in two or more
    directions, share a line of the help and go on while they are held; what switches does not."""

    keys: tuple[str, ...]
    id: str
    group: Group
    words: str
    change: Change | None = None
    action: Action | None = None
    line: str = ""


def _toggle(layer: str) -> Change:
    def change(view: View, place: Place) -> View:
        layers = view.layers
        return msgspec.structs.replace(
            view, layers=msgspec.structs.replace(layers, **{layer: not getattr(layers, layer)})
        )

    return change


def _to(name: moves.Name) -> Change:
    return lambda view, place: moves.to(view, name)


def _mode(mode: Mode) -> Change:
    return lambda view, place: moves.as_mode(view, mode)


def _zoom(factor: float) -> Change:
    return lambda view, place: moves.zoom(view, place, factor)


def _turn(right: float, up: float, pan: bool = False) -> Change:
    """Towards the arrow: the eye in 3d; in 2d, and to pan, what is seen (the picture goes the other way)."""

    def change(view: View, place: Place) -> View:
        if pan or view.mode == "2d":
            rect = place.plot(view)
            return moves.pan(view, place, -right * NUDGE * rect.width, up * NUDGE * rect.height)
        return moves.orbit(view, place, right * STEP, up * STEP)

    return change


def _projection(view: View, place: Place) -> View:
    other = "perspective" if view.camera.projection == "orthographic" else "orthographic"
    return moves.through(view, place, other)  # type: ignore[arg-type]


def _kind(by: int) -> Change:
    """The next kind of picture: its mode, layers and contours; all else stays as the hand has set it."""

    def change(view: View, place: Place) -> View:
        names = list(PRESETS)
        name = names[(names.index(view.preset) + by) % len(names)]
        new = PRESETS[name]
        layers = msgspec.structs.replace(new.layers, path=view.layers.path, critical=view.layers.critical)
        view = moves.as_mode(view, new.mode)
        return msgspec.structs.replace(view, preset=name, layers=layers, contours=new.contours)

    return change


def _height(factor: float) -> Change:
    def change(view: View, place: Place) -> View:
        height = view.height * factor if view.height else 0.1
        return msgspec.structs.replace(view, height=round(min(max(height, 0.05), 10.0), 4))

    return change


def _logarithmic(view: View, place: Place) -> View:
    order = {"auto": "on", "on": "off", "off": "auto"}
    wanted = order[view.log_color]
    return msgspec.structs.replace(view, log_color=wanted, log_height=wanted)


def _count(by: int) -> Change:
    def change(view: View, place: Place) -> View:
        count = min(max(view.contours.count + by, 2), 60)
        return msgspec.structs.replace(view, contours=msgspec.structs.replace(view.contours, count=count, values=()))

    return change


def _labels(view: View, place: Place) -> View:
    return msgspec.structs.replace(
        view, contours=msgspec.structs.replace(view.contours, labels=not view.contours.labels)
    )


def _colours(by: int) -> Change:
    def change(view: View, place: Place) -> View:
        names = [name for name in COLORMAPS if name != "auto"]
        used = view.colormap if view.colormap != "auto" else (AUTO_FILL if view.layers.surface else AUTO_LINES)
        at = names.index(used) if used in names else min(-by, 0)  # AUTO_LINES has no name
        return msgspec.structs.replace(view, colormap=names[(at + by) % len(names)])

    return change


def _next(field: str, options: tuple[Any, ...]) -> Change:
    def change(view: View, place: Place) -> View:
        return msgspec.structs.replace(
            view, **{field: options[(options.index(getattr(view, field)) + 1) % len(options)]}
        )

    return change


_TURN, _GO, _ZOOM, _MODE = "turn; in 2D move", "move", "further, closer", "flat (2D), raised (3D)"
_KIND, _HEIGHT, _COLOURS, _COUNT = (
    "next, previous kind of picture",
    "lower, higher",
    "next, previous colours",
    "fewer, more contours",
)

KEYS: Final[tuple[Key, ...]] = (
    Key(("r", "home"), "camera.fit", "Camera", "fit into the window", _to("fit")),
    Key(("t",), "camera.top", "Camera", "from the top", _to("top")),
    Key(("f",), "camera.front", "Camera", "from the front", _to("front")),
    Key(("x",), "camera.side", "Camera", "from the side", _to("side")),
    Key(("i",), "camera.iso", "Camera", "from a corner", _to("iso")),
    Key(("o",), "camera.projection", "Camera", "perspective or parallel", _projection),
    Key(("left",), "camera.left", "Camera", "turn left; in 2D go left", _turn(-1, 0), line=_TURN),
    Key(("right",), "camera.right", "Camera", "turn right; in 2D go right", _turn(1, 0), line=_TURN),
    Key(("up",), "camera.up", "Camera", "turn up; in 2D go up", _turn(0, 1), line=_TURN),
    Key(("down",), "camera.down", "Camera", "turn down; in 2D go down", _turn(0, -1), line=_TURN),
    Key(("shift+left",), "pan.left", "Camera", "go left", _turn(-1, 0, True), line=_GO),
    Key(("shift+right",), "pan.right", "Camera", "go right", _turn(1, 0, True), line=_GO),
    Key(("shift+up",), "pan.up", "Camera", "go up", _turn(0, 1, True), line=_GO),
    Key(("shift+down",), "pan.down", "Camera", "go down", _turn(0, -1, True), line=_GO),
    Key(("-",), "zoom.out", "Camera", "further away", _zoom(1 / GROW), line=_ZOOM),
    Key(("=", "+", "shift+="), "zoom.in", "Camera", "closer", _zoom(GROW), line=_ZOOM),
    Key(("space",), "turntable", "Camera", "turn on its own, or stop", action="turntable"),
    Key(("2",), "mode.2d", "Picture", "flat", _mode("2d"), line=_MODE),
    Key(("3",), "mode.3d", "Picture", "raised", _mode("3d"), line=_MODE),
    Key(("tab",), "preset.next", "Picture", "next kind of picture", _kind(1), line=_KIND),
    Key(("shift+tab",), "preset.previous", "Picture", "previous kind of picture", _kind(-1), line=_KIND),
    Key(("[",), "height.less", "Picture", "raise less", _height(1 / GROW), line=_HEIGHT),
    Key(("]",), "height.more", "Picture", "raise higher", _height(GROW), line=_HEIGHT),
    Key(("l",), "log", "Picture", "logarithmic: automatic, on, off", _logarithmic),
    Key(("n",), "normalise", "Picture", "scales from 0 to 1", _next("normalise", (False, True))),
    Key(("e",), "shared_scale", "Picture", "one scale for all, or each its own", _next("shared_scale", (True, False))),
    Key(("a",), "metric", "Picture", "loss, accuracy, standard error", _next("metric", get_args(Metric))),
    Key(("g",), "colormap.next", "Picture", "next colours", _colours(1), line=_COLOURS),
    Key(("shift+g",), "colormap.previous", "Picture", "previous colours", _colours(-1), line=_COLOURS),
    Key(("u",), "smoothing", "Picture", "tiles, linear or smooth", _next("smoothing", get_args(Smoothing))),
    Key(("d",), "theme", "Picture", "dark or light", _next("theme", ("light", "dark"))),
    Key(("w",), "layers.surface", "Layers", "filled surface", _toggle("surface")),
    Key(("c",), "layers.contours", "Layers", "contours", _toggle("contours")),
    Key((",",), "contours.fewer", "Layers", "fewer contours", _count(-4), line=_COUNT),
    Key((".",), "contours.more", "Layers", "more contours", _count(4), line=_COUNT),
    Key(("shift+c",), "contours.labels", "Layers", "values on the contours", _labels),
    Key(("m",), "layers.mesh", "Layers", "mesh of the measured points", _toggle("mesh")),
    Key(("b",), "layers.base", "Layers", "flat base", _toggle("base")),
    Key(("p",), "layers.path", "Layers", "path", _toggle("path")),
    Key(("k",), "layers.critical", "Layers", "critical points", _toggle("critical")),
    Key(("s",), "screenshot", "Window", "save a picture", action="screenshot"),
    Key(("v",), "record", "Window", "record a video, or stop", action="record"),
    Key(("h", "f1", "?", "shift+/"), "help", "Window", "these keys", action="help"),
    Key(("escape",), "escape", "Window", "leave this; stop turning", action="escape"),
    Key(("q", "ctrl+w"), "close", "Window", "close the window", action="close"),
)
"""Every key. With ctrl, alt or super held, only keys that say so."""

MOUSE: Final[tuple[tuple[str, str], ...]] = (
    ("drag", "turn; in 2D move"),
    ("shift or right drag", "move"),
    ("wheel", "zoom to the pointer"),
    ("double click", "turn around that point"),
)

GROUPS: Final[tuple[Group, ...]] = get_args(Group)


def lines() -> dict[str, list[tuple[tuple[str, ...], str]]]:
    """The help: for each group its lines, each the keys (the first spelling of each) and what they do."""
    out: dict[str, list[tuple[tuple[str, ...], str]]] = {group: [] for group in GROUPS}
    for group, keys in itertools.groupby(KEYS, lambda key: (key.group, key.line or key.id)):
        found = list(keys)
        out[group[0]].append((tuple(key.keys[0] for key in found), found[0].line or found[0].words))
    return out


BY_KEY: Final[dict[str, Key]] = {name: key for key in KEYS for name in key.keys}


def spelled(event: KeyPress) -> str:
    """The key with its modifiers, as KEYS names it: "shift+tab"."""
    return "".join(f"{mod}+" for mod in ("ctrl", "alt", "super", "shift") if mod in event.mods) + event.key.lower()


def _key(state: State, event: KeyPress, view: View, place: Place) -> Outcome:
    found = BY_KEY.get(spelled(event))
    if found is None or (event.again and not found.line):
        return Outcome(state, view)
    if found.action == "help":
        return Outcome(replace(state, help=not state.help), view)
    if found.action == "escape" and state.help:
        return Outcome(replace(state, help=False), view)
    if found.action is not None:
        return Outcome(state, view, (found.action,))
    assert found.change is not None
    new = found.change(view, place)
    if new.mode != view.mode:
        state, new = _other_mode(state, view, new)
    elif new != view and found.id != "camera.fit":
        new = moves.settled(new, place)  # a camera that looks for its own angles would look again now
    return Outcome(state, new, note=said(view, new))


def _other_mode(state: State, before: View, after: View) -> tuple[State, View]:
    """Zoom and shift of each mode are remembered while the other one is shown."""
    lens = before.camera
    kept = dict(state.kept) | {before.mode: (lens.zoom, lens.shift_x, lens.shift_y)}
    if after.mode in kept:
        zoom, x, y = kept.pop(after.mode)
        lens = msgspec.structs.replace(after.camera, zoom=zoom, shift_x=x, shift_y=y)
        after = msgspec.structs.replace(after, camera=lens)
    return replace(state, kept=tuple(kept.items())), after


NAMES = {
    "preset": "Picture",
    "mode": "Mode",
    "metric": "Metric",
    "height": "Height",
    "normalise": "Scales from 0 to 1",
    "shared_scale": "One scale for all",
    "log_color": "Logarithmic",
    "colormap": "Colours",
    "smoothing": "Between the points",
    "camera.projection": "Projection",
    "contours.count": "Contours, about",
    "contours.labels": "Values on contours",
    "layers.surface": "Filled surface",
    "layers.contours": "Contours",
    "layers.mesh": "Mesh",
    "layers.base": "Base",
    "layers.path": "Path",
    "layers.critical": "Critical points",
}
VALUES = {"orthographic": "parallel", "none": "one flat tile each", "bilinear": "linear", "catmull-rom": "smooth"}
VALUES |= {"loss": "loss", "sem": "standard error of the loss", "auto": "automatic", "2d": "2D", "3d": "3D"}


def _said(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return VALUES.get(value, value) if isinstance(value, str) else f"{value:.3g}"


def said(before: View, after: View) -> str:
    """What a key changed, in words; empty where nothing did, or where everybody sees it."""
    for name, words in NAMES.items():
        a: Any = before
        b: Any = after
        for part in name.split("."):
            a, b = getattr(a, part), getattr(b, part)
        if a != b:
            return f"{words}: {_said(b)}"
    return ""


# ---------------------------------------------------------------- commands of the wire


def command(view: View, place: Place, request: Command) -> View:
    """The view after a command. Raises InputError, for what `view.set` cannot set."""
    match request:
        case CameraOrbit(azimuth=azimuth, elevation=elevation):
            return moves.orbit(view, place, azimuth, elevation)
        case CameraZoom(factor=factor, x=x, y=y):
            width, height = place.layout(view).size
            return moves.zoom(view, place, factor, x * width, y * height)
        case CameraPreset(name=name):
            return moves.to(view, name)
        case CameraSet():
            if request.azimuth is not None or request.elevation is not None:
                view = moves.turned(view, place, request.azimuth, request.elevation)
            rest = {name: getattr(request, name) for name in ("zoom", "shift_x", "shift_y", "projection")}
            lens = msgspec.structs.replace(view.camera, **{k: v for k, v in rest.items() if v is not None})
            return msgspec.structs.replace(view, camera=lens)
        case ViewSet(view=changes):
            new = override(view, changes)
            keeps = any(name.startswith("camera.") or name == "preset" for name in changes)
            return (
                new if keeps or new.mode == view.mode else moves.as_mode(override(new, {"mode": view.mode}), new.mode)
            )
