"""`thalweg window`: windows that show surfaces while they are measured, and commands to them from anywhere."""

from __future__ import annotations

import os
import re
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from protocol import roll
from protocol import view as views
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface, replacing
from protocol.requests import WindowInfo, WindowLeave, WindowList
from protocol.steering import WindowClient
from protocol.view import PRESETS
from protocol.windows import MOST_SHOWN, Screenshot, Show, ViewGet, ViewReply, ViewSet, WindowClose
from tui import flags, forward, opening, progress, reach, session, starting, things
from tui.forward import Forward
from tui.opening import Opened
from tui.pictures import check_view, view_changes
from tui.reach import Reach
from tui.session import Common
from tui.tables import table
from tui.workspace import SHORT, looks_like_file

if TYPE_CHECKING:
    PresetName = str
else:
    PresetName = Literal[tuple(PRESETS)]

ANSWER_S = 2.0  # a window that draws answers `hello` meanwhile
SHOT_S = 120.0
AGAIN_S = (1.0, 30.0)  # between two tries at an ssh that has ended: the first pause, and the longest
SMALLEST = 16  # side of a picture that shows anything
UPLOAD = "upload:"  # begin of what a window calls a file that it was sent
Which = Annotated[
    str | None,
    Parameter(help="The end of a window's id, or its endpoint; by default the only one, or the last that was opened."),
]
Changes = Annotated[
    list[str] | None, Parameter(negative=(), help="Override a field of the view, as NAME=VALUE; may be repeated.")
]


# ---------------------------------------------------------------- open


def window_open(
    things: Annotated[
        list[str] | None,
        Parameter(negative=(), help="Surfaces: files (.npz), or ids or names of the workspace; by default the last."),
    ] = None,
    /,
    *,
    surface: Annotated[
        list[str] | None, Parameter(negative=(), help="A surface of the workspace; may be repeated.")
    ] = None,
    from_: Annotated[
        Path | None, Parameter(name="--from", help="A picture (PNG) made by thalweg: open its view, and its surface.")
    ] = None,
    preset: Annotated[PresetName | None, Parameter(help="How it is drawn.")] = None,
    view: Changes = None,
    size: Annotated[str, Parameter(help="Width x height.")] = "1280x800",
    scale: Annotated[
        float | None, Parameter(help="Pixels for each of these; by default what the display asks for.")
    ] = None,
    pictures: Annotated[
        Path | None, Parameter(help="Folder that the window may save pictures into; default: thalweg in your pictures.")
    ] = None,
    headless: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Without a display: for streams and pictures alone.")
    ] = False,
    wait: Annotated[
        bool, Parameter(negative=(), show_default=False, help="Go on until the window is closed; Ctrl-C closes it.")
    ] = False,
    common: Common | None = None,
) -> None:
    """Open a window."""
    common = session.common(common)
    typed = [*(things or ()), *(surface or ())]
    check_view(preset or "contours-3d", view_changes(view or []))
    _few(typed)
    files = [str(Path(t).expanduser().absolute()) for t in typed if looks_like_file(t)]
    for file in files:
        Surface.load(file)
    if from_ is not None and not from_.is_file():
        raise InputError(f"--from: {from_}: expected a picture made by thalweg, found no file there", code="not_found")
    if not headless and not opening.has_display():
        starting.say("there is no display here: the window draws without one (thalweg window shot shows it)")
    how: dict[str, Any] = {
        "picture": None if from_ is None else from_.absolute(),
        "preset": preset,
        "view": view or [],
        "size": size,
        "scale": scale,
        "headless": headless,
        "pictures": None if pictures is None else pictures.expanduser().absolute(),
    }
    names = [t for t in typed if not looks_like_file(t)]
    if not typed and from_ is None:
        names = ["last"]
    with ExitStack() as stack:
        opened, way = stack.enter_context(_opened(common, files, names, how))
        _tell(opened, common, headless)
        if wait or common.ssh is not None:
            opened.wait(None if way is None else way.keep)


class Way:
    """A tunnel that is made anew when it breaks, at first soon, then every half minute."""

    def __init__(self, tunnel: Forward) -> None:
        self._tunnel = tunnel
        self._pause_s, self._next = AGAIN_S[0], 0.0
        self._cut = False

    def keep(self) -> None:
        """Look at it, and try again where that is due."""
        if self._tunnel.alive:
            self._pause_s = AGAIN_S[0]
            return
        now = time.monotonic()
        if not self._cut:
            self._cut, self._next = True, now + self._pause_s
            starting.say(f"the connection to {self._tunnel.host} ended: the window stays, trying again")
        if now < self._next:
            return
        try:
            self._tunnel.again()
        except InputError:
            self._pause_s = min(2 * self._pause_s, AGAIN_S[1])
            self._next = time.monotonic() + self._pause_s
            return
        self._cut = False
        starting.say(f"connected to {self._tunnel.host} again")


@contextmanager
def _opened(
    common: Common, files: list[str], names: list[str], how: dict[str, Any]
) -> Iterator[tuple[Opened, Way | None]]:
    """The window. What it needs of this command (a tunnel) is there for the block."""
    if common.ssh is not None:
        with _through_ssh(common, files, names, how) as found:
            yield found
        return
    if common.connect is not None:
        with reach.daemon(common) as there:
            surfaces = _ids(there, names)
            ends = there.client.address
            line = opening.command(
                files,
                surfaces=surfaces,
                daemon=(ends.cmd, ends.evt),
                key=None if common.key is None else common.key.expanduser().absolute(),
                announce="no",  # the machine of that daemon does not reach a socket of this one
                of=whose(common),
                **how,
            )
        opened = opening.begin(line)
        starting.say("commands of this machine alone steer it: the daemon's machine does not reach a window here")
        yield opened, None
        return
    root = common.place().root
    surfaces = []
    if names:
        with reach.daemon(common) as there:
            surfaces = _ids(there, names)
    yield opening.begin(opening.command(files, surfaces=surfaces, workspace=root, **how)), None


@contextmanager
def _through_ssh(
    common: Common, files: list[str], names: list[str], how: dict[str, Any]
) -> Iterator[tuple[Opened, Way]]:
    """A window here that follows the daemon over there: one ssh carries the daemon's sockets here and the window's
    there. Where the server forbids the latter, the window follows and obeys its own mouse and keys."""
    with ExitStack() as stack:
        first = stack.enter_context(reach.daemon(common))
        assert first.tunnel is not None
        surfaces = _ids(first, names)
        remote = first.tunnel.remote
        stack.pop_all().close()
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="thalweg-window-")))
        window, told = folder / "cmd", "no"
        tunnel = stack.enter_context(_tunnel(common.ssh or "", remote, window))
        if "window" in tunnel.theirs:
            told = f"ipc://{tunnel.theirs['window']}"
        else:
            starting.say(
                f"{common.ssh} forbids sockets of this machine there (AllowStreamLocalForwarding): the window follows "
                "live and obeys its own mouse and keys and commands of this machine, but none from there"
            )
        line = opening.command(
            files,
            surfaces=surfaces,
            daemon=(tunnel.endpoint("cmd"), tunnel.endpoint("evt")),
            cmd=f"ipc://{window}",
            announce=told,
            of=whose(common),
            **how,
        )
        opened = opening.begin(line)
        try:
            yield opened, Way(tunnel)
        finally:
            if opened.child.poll() is None:
                opened.child.terminate()
                opened.child.wait()


@contextmanager
def _tunnel(host: str, remote: forward.Remote, window: Path) -> Iterator[Forward]:
    """One ssh with the window's socket if the server lets it, without it where it does not."""
    with ExitStack() as stack:
        tunnel = stack.enter_context(Forward(host, remote, {"window": window}))
        try:
            tunnel.client().close()
        except InputError as e:
            if "forbids" not in e.msg:
                raise
            stack.pop_all().close()
            tunnel = stack.enter_context(Forward(host, remote))
            tunnel.client().close()
        yield tunnel


def _ids(there: Reach, names: Sequence[str]) -> list[str]:
    return [things.thing(there.client, "surface", name)["id"] for name in names]


def _tell(opened: Opened, common: Common, headless: bool) -> None:
    if not (opened.screen or headless) and opening.has_display():
        starting.say("the display does not let us in: the window draws without one (thalweg window shot shows it)")
    if common.json:
        progress.print_json(
            {
                "t": "window",
                "window": opened.window,
                "endpoint": opened.endpoint,
                "screen": opened.screen,
                "pid": opened.child.pid,
            }
        )
        return
    print(f"window {opened.window[-SHORT:]} is open; steer it: thalweg window set preset=mesh{common.again()}")


# ---------------------------------------------------------------- find


@dataclass(frozen=True)
class Found:
    """A window. `here`: it is on the roll of this machine, so that its endpoint is reached from here."""

    window: str
    endpoint: str
    title: str
    here: bool


def whose(common: Common) -> str:
    """Under which name windows that were opened with these flags stand on the roll."""
    if common.ssh is not None:
        return f"ssh://{common.ssh}/{common.remote_workspace or ''}"
    if common.connect is not None:
        return common.connect.partition(",")[0].strip()
    return os.path.realpath(common.place().root)


@contextmanager
def found(common: Common) -> Iterator[tuple[Reach | None, list[Found]]]:
    """The daemon, where there is one, and the windows: those that it was told of and those on the roll of this machine,
    the oldest first."""
    reach.check_flags(common)
    gone: list[roll.Entry] = []
    here = {e.window: Found(e.window, e.endpoint, e.title, True) for e in roll.found(whose(common), gone)}
    for entry in gone:
        logs = [file for file in roll.logs() if file.stem == entry.window]
        how = f"broke, what it said is in {logs[0]}" if logs else "ended without a word: it was killed"
        starting.say(f"window {entry.window[-SHORT:]} {how}")
    with ExitStack() as stack:
        there = None
        try:
            there = stack.enter_context(reach.running(common))
        except InputError:
            if not here:  # a window is steered though the way to the daemon is cut
                raise
        told = () if there is None else listed(there)
        known = {w.window: Found(w.window, w.endpoint, w.title, False) for w in told} | here
        yield there, [known[id] for id in sorted(known)]  # ids begin with the time


@contextmanager
def steered(common: Common, which: str | None) -> Iterator[WindowClient]:
    """A client of the window that is meant. Raises InputError that lists the windows."""
    if which is not None and which.startswith(("ipc://", "tcp://")):
        key = None if common.key is None or which.startswith("ipc") else common.key.expanduser()
        with WindowClient.open(which, keys=key, timeout_s=ANSWER_S) as client:
            yield client
        return
    with found(common) as (there, known), client_of(there, chosen(common, there, known, which)) as client:
        yield client


@contextmanager
def client_of(there: Reach | None, window: Found) -> Iterator[WindowClient]:
    """A client of a window; of one that only the other machine reaches, through a second ssh."""
    with ExitStack() as stack:
        endpoint = window.endpoint
        if there is not None and there.tunnel is not None and not window.here:
            remote = msgspec.structs.replace(there.tunnel.remote, cmd=endpoint)
            tunnel = stack.enter_context(Forward(there.tunnel.host, remote))
            tunnel.wait()
            endpoint = tunnel.endpoint("cmd")
        keys = None if there is None or endpoint.startswith("ipc") else there.client.address.keys  # ipc asks for none
        yield stack.enter_context(WindowClient.open(endpoint, keys=keys, timeout_s=ANSWER_S))


def listed(there: Reach) -> tuple[WindowInfo, ...]:
    """The windows that announced themselves, in that order."""
    known: tuple[WindowInfo, ...] = there.client.request(WindowList(id=new_id())).windows
    return known


def chosen(common: Common, there: Reach | None, known: Sequence[Found], which: str | None) -> Found:
    """The window of that id or end of it; by default the last one that answers."""
    if which is not None:
        fits = [w for w in known if w.window.endswith(which.upper())]
        if len(fits) == 1:
            return fits[0]
        names = ", ".join(w.window[-SHORT:] for w in known) or "none"
        if fits:
            raise InputError(f"--window: several end in {which}: {names}: type more of it", code="ambiguous")
        raise InputError(f"--window: expected {_one_of(known)}; got '{which}'{_broke(which)}", code="not_found")
    for window in reversed(known):
        if (there is not None and there.tunnel is not None) or answers(there, window) is not None:
            return window
    if known:
        names = ", ".join(w.window[-SHORT:] for w in known if roll.listens(w.endpoint))
        if names:
            raise InputError(f"window: {names} is open and does not answer: try again", code="unavailable")
    hint = f"thalweg window open{common.again()}"
    raise InputError(f"window: expected one that is open, there is none: {hint}", code="not_found")


def _one_of(known: Sequence[Found]) -> str:
    if not known:
        return "a window that is open, there is none"
    return "one of " + ", ".join(w.window[-SHORT:] for w in known)


def _broke(which: str) -> str:
    """Where the log of a window lies that ended without closing."""
    logs = [file for file in roll.logs() if file.stem.endswith(which.upper())]
    return f"; it broke, what it said is in {logs[0]}" if len(logs) == 1 else ""


def answers(there: Reach | None, window: Found) -> ViewReply | None:
    """What the window shows; None where nobody answers. One of this machine that is gone is struck off the list."""
    try:
        with client_of(there, window) as client:
            reply: ViewReply = client.request(ViewGet(id=new_id()), timeout_s=ANSWER_S)
            return reply
    except InputError:
        if there is not None and there.root is not None and not roll.listens(window.endpoint):
            there.client.request(WindowLeave(id=new_id(), window=window.window))
        return None


# ---------------------------------------------------------------- steer


def window_list(*, common: Common | None = None) -> None:
    """List the windows."""
    common = session.common(common)
    rows = []
    with found(common) as (there, known):
        for window in known:
            state = answers(there, window)
            if state is None and there is not None and there.root is not None and not roll.listens(window.endpoint):
                continue  # it was killed
            title = window.title if state is None else state.title
            if common.json:
                progress.print_json(
                    {
                        "window": window.window,
                        "title": title,
                        "endpoint": window.endpoint,
                        "answers": state is not None,
                        "surfaces": None if state is None else state.surfaces,
                    }
                )
                continue
            shows = "does not answer" if state is None else ", ".join(_short(s) for s in state.surfaces) or "nothing"
            size = "" if state is None else f"{state.width} x {state.height}"
            where = "" if state is None else "display" if state.screen else "headless"
            rows.append((window.window[-SHORT:], title, shows, size, where))
    if not common.json:
        empty = f"no window is open: thalweg window open{common.again()}"
        table(("window", "title", "surfaces", "pixels", "where"), rows, empty=empty)


def _short(key: str) -> str:
    if key.startswith(UPLOAD):
        return "a file"
    return Path(key).name if looks_like_file(key) else key[-SHORT:]


def window_set(
    changes: Annotated[
        list[str] | None, Parameter(negative=(), help="Fields of the view, as NAME=VALUE; none: print them all.")
    ] = None,
    /,
    *,
    window: Which = None,
    common: Common | None = None,
) -> None:
    """Change fields of a window's view."""
    common = session.common(common)
    wanted = view_changes(changes or [], flag="")
    with steered(common, window) as client:
        if wanted:
            state: ViewReply = client.request(ViewSet(id=new_id(), view=wanted))
        else:
            state = client.request(ViewGet(id=new_id()))
    if common.json:
        progress.print_json({"t": "window", **msgspec.to_builtins(state)})
        return
    shown = {"preset": state.view.preset} | views.fields(state.view)
    for name in wanted or shown:
        value = shown[name]
        text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
        print(f"{name}={text.lower() if isinstance(value, bool) else text}")


def window_show(
    things: Annotated[
        list[str], Parameter(negative=(), help="Surfaces: files (.npz), or ids or names of the workspace, or `last`.")
    ],
    /,
    *,
    window: Which = None,
    common: Common | None = None,
) -> None:
    """Show other surfaces in a window."""
    common = session.common(common)
    _few(things)
    for typed in things:
        if looks_like_file(typed):
            Surface.load(Path(typed).expanduser())
    names = [t for t in things if not looks_like_file(t)]
    ids: dict[str, str] = {}
    if names:
        with reach.daemon(common, start=False) as there:
            ids = dict(zip(names, _ids(there, names)))
    with steered(common, window) as client:
        keys = [ids[t] if t in ids else f"upload:{client.upload(Path(t).expanduser())}" for t in things]
        state: ViewReply = client.request(Show(id=new_id(), surfaces=tuple(keys)))
    if common.json:
        progress.print_json({"t": "window", **msgspec.to_builtins(state)})
        return
    shows = ", ".join(_short(ids.get(t, t)) for t in things) if names else state.title
    print(f"window {state.window[-SHORT:]} shows {shows}")


def _few(typed: Sequence[str]) -> None:
    if len(typed) > MOST_SHOWN:
        raise InputError(f"surfaces: a window shows at most {MOST_SHOWN}, got {len(typed)}")


def check_name(save: str | None) -> None:
    """Raise InputError for what cannot be the name of a picture or video in the window's folder."""
    if save is not None and (not save or save[0] == "." or len(save) > 120 or any(c in "/\\" or c < " " for c in save)):
        raise InputError(
            f"--save: expected a file's name of at most 120 characters, without a folder, got '{save[:120]}'"
        )


def window_shot(
    *,
    out: Annotated[Path | None, Parameter(help="PNG to write here; by default named after the window.")] = None,
    save: Annotated[
        str | None, Parameter(help="Save it on the window's machine instead, under this name in its pictures folder.")
    ] = None,
    size: Annotated[str | None, Parameter(help="Width x height, before --scale; default: the window's.")] = None,
    scale: Annotated[float | None, Parameter(help="Pixels for each of these; 2 for sharp prints.")] = None,
    view: Changes = None,
    window: Which = None,
    common: Common | None = None,
) -> None:
    """Take a picture of what a window shows, in full quality."""
    common = session.common(common)
    if out is not None and save is not None:
        raise InputError("--save: expected it or --out, got both: leave one out")
    if out is not None and out.suffix.lower() != ".png":
        raise InputError(f"--out: expected a file that ends in .png, got '{out.name}'")
    pixels = None if size is None else re.fullmatch(r"(\d+)[xX×](\d+)", size.strip())
    if size is not None and pixels is None:
        raise InputError(f"--size: expected WIDTHxHEIGHT, as 1280x800; got '{size}'")
    if pixels and min(int(pixels[1]), int(pixels[2])) < SMALLEST:
        raise InputError(f"--size: expected sides of at least {SMALLEST}, got '{size}'")
    check_name(save)
    wanted = {
        "id": new_id(), "view": view_changes(view or []), "save": save, "scale": scale,
        "width": int(pixels[1]) if pixels else None, "height": int(pixels[2]) if pixels else None,
    }  # fmt: skip
    request = flags.build(Screenshot, None, wanted, {"width": "--size", "height": "--size"})
    with steered(common, window) as client:
        shot, arrays = client.call(request, timeout_s=SHOT_S)
        where = shot.saved
        if save is None:
            file = out or Path(f"window-{(client.hello.boot if client.hello else '')[-SHORT:]}.png")
            with replacing(file) as to:
                to.write(client.picture(shot, arrays))
            where = str(file)
    if common.json:
        progress.print_json({"t": "picture", "out": where, "width": shot.width, "height": shot.height})
        return
    print(f"{where}  {shot.width} x {shot.height}")


def window_close(*, window: Which = None, common: Common | None = None) -> None:
    """Close a window; jobs go on."""
    common = session.common(common)
    with steered(common, window) as client:
        client.request(WindowClose(id=new_id()))
        id = client.hello.boot if client.hello else ""
    if common.json:
        progress.print_json({"t": "result", "window": id, "closed": True})
        return
    print(f"window {id[-SHORT:]} is closed")
