"""`thalweg window record` and `thalweg window turntable`: videos that a window makes, fetched here."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import replacing
from protocol.messages import JobProgress
from protocol.steering import WindowClient
from protocol.windows import (
    RecordDone,
    RecordStart,
    RecordStop,
    ShotReply,
    Turntable,
    ViewGet,
    ViewReply,
    WindowChanged,
    WindowWatch,
)
from tui import flags, progress, session
from tui.interrupt import Interrupted, interrupts
from tui.session import Common
from tui.verbs.window import Which, check_name, steered
from tui.workspace import SHORT

TICK_S = 0.2
ASK_S = 2.0  # between two questions whether the window is still there
FINISH_S = 600.0  # for the encoder to finish
LONGEST_S = 3600.0
Out = Annotated[Path | None, Parameter(help="MP4 to fetch to here; the window keeps it too.")]
Save = Annotated[
    str | None, Parameter(help="Its name in the window's pictures folder; by default that of --out, or the window's.")
]
Fps = Annotated[int, Parameter(help="Frames a second of the video.")]


def window_record(
    *,
    seconds: Annotated[float | None, Parameter(help="How long; by default until Ctrl-C.")] = None,
    out: Out = None,
    save: Save = None,
    fps: Fps = 30,
    window: Which = None,
    common: Common | None = None,
) -> None:
    """Record what a window shows as a video."""
    common = session.common(common)
    _check(out)
    check_name(save)
    asked: dict[str, Any] = {"seconds": LONGEST_S if seconds is None else seconds, "fps": fps}
    _request(RecordStart, asked | {"save": save or "x"})
    with steered(common, window) as client:
        request = _request(RecordStart, asked | {"save": save or _name(client, out)})
        shot = _made(client, request, seconds, common)
        _fetch(client, shot, out, common)


def window_turntable(
    *,
    seconds: Annotated[float, Parameter(help="Length of one turn.")] = 8.0,
    turns: Annotated[float, Parameter(help="How many; negative: clockwise; 0 ends what turns.")] = 1.0,
    out: Out = None,
    save: Save = None,
    fps: Fps = 30,
    window: Which = None,
    common: Common | None = None,
) -> None:
    """Turn a window's picture, or make a video of it turning in full quality."""
    common = session.common(common)
    _check(out)
    check_name(save)
    asked: dict[str, Any] = {"seconds": seconds, "turns": turns, "fps": fps}
    _request(Turntable, asked | {"save": save})
    with steered(common, window) as client:
        if turns == 0 or (out is None and save is None):
            client.request(_request(Turntable, asked))
            id = client.hello.boot if client.hello else ""
            if common.json:
                progress.print_json({"t": "result", "window": id, "turns": turns})
            else:
                print(f"window {id[-SHORT:]} " + ("turns" if turns else "stands still"))
            return
        request = _request(Turntable, asked | {"save": save or _name(client, out)})
        shot = _made(client, request, seconds * abs(turns), common)
        _fetch(client, shot, out, common)


def _check(out: Path | None) -> None:
    if out is not None and out.suffix.lower() != ".mp4":
        raise InputError(f"--out: expected a file that ends in .mp4, got '{out.name}'")


def _request(kind: type[Any], fields: dict[str, Any]) -> Any:
    """A request of what was typed. Raises InputError that names the flag."""
    return flags.build(kind, None, {"id": new_id(), **fields})


def _name(client: WindowClient, out: Path | None) -> str:
    return (
        out.stem.lstrip(".")[:80]
        if out is not None
        else f"window-{(client.hello.boot if client.hello else '')[-SHORT:]}"
    )


def _made(client: WindowClient, request: RecordStart | Turntable, seconds: float | None, common: Common) -> ShotReply:
    """Start a video and wait for its end. Ctrl-C ends a recording, and gives a turntable up."""
    with interrupts() as stop, progress.display(as_json=common.json) as show:
        show.start("recording" if isinstance(request, RecordStart) else "turntable")
        client.request(WindowWatch(id=new_id()))
        client.request(request)
        began, asked, pressed = time.monotonic(), time.monotonic(), False
        done: RecordDone | None = None
        while done is None:
            for message, _ in client.poll(TICK_S):
                if isinstance(message, RecordDone):
                    done = message
                elif isinstance(message, WindowChanged) and seconds is not None and message.recorded:
                    share, now = min(message.recorded / seconds, 1.0), time.monotonic() - began
                    left = now / share - now if share else None
                    told = JobProgress(job="", done=round(1000 * share), total=1000, eta_s=left)
                    if not common.json:
                        show.event(told, {})
            if stop.count and not pressed:
                pressed = True
                if isinstance(request, RecordStart):
                    client.request(RecordStop(id=new_id()), timeout_s=FINISH_S)
                else:
                    client.request(Turntable(id=new_id(), turns=0))
            if done is None and time.monotonic() > asked + ASK_S:
                asked = time.monotonic()
                state: ViewReply = client.request(ViewGet(id=new_id()), timeout_s=FINISH_S)
                if not state.recording and not client._exchange.pushed:
                    raise InputError("window: the video ended and nothing was heard of it", code="wrong_state")
        if pressed and not isinstance(request, RecordStart):
            raise Interrupted("no video was kept")
        if done.shot is None:
            raise InputError(done.error or "window: there is no video", code="unavailable")
        show.done(f"{done.shot.total / 1e6:.1f} MB")
    return done.shot


def _fetch(client: WindowClient, shot: ShotReply, out: Path | None, common: Common) -> None:
    where = shot.saved
    if out is not None:
        with replacing(out) as to:
            to.write(client.picture(shot))
        where = str(out)
    if common.json:
        progress.print_json(
            {"t": "video", "out": where, "saved": shot.saved, "width": shot.width, "height": shot.height}
        )
        return
    print(f"{where}  {shot.width} x {shot.height}")
