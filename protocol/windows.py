"""What may be asked of a window, what it answers, and what it sends of its own accord. One struct each.

A window binds a ROUTER of its own and announces it to the daemon; a script, the terminal UI or the command line speaks
to it as to the daemon: same frames, same ids, same `ok` and `err`. It answers `hello` and `ping` too, and takes files
by `upload`. A command is one step: it is done whole, or an `err` says why and nothing changed.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct, field

from protocol.messages import Message
from protocol.requests import REPLIES, Hello, HelloReply, Id, Nothing, Ping, Request, Upload, UploadReply
from protocol.view import Projection, View

Degrees = Annotated[float, Meta(ge=-3600, le=3600)]
Share = Annotated[float, Meta(ge=0, le=1)]  # of the picture's width from the left, or of its height from the top
Side = Annotated[int, Meta(ge=1, le=8192)]  # pixels
Shot = Annotated[str, Meta(pattern=r"^[^/\\\x00-\x1f.][^/\\\x00-\x1f]{0,119}$(?!\n)")]  # a file's name, never a path
OfStream = bool  # places and sizes are those of this peer's stream, not of the window
FrameFormat = Literal["jpeg", "png", "raw"]  # raw: (height, width, 3) bytes, top row first
MOST_SHOWN = 4  # surfaces at once

# ---------------------------------------------------------------- requests


class ViewGet(Request, frozen=True, kw_only=True, tag="view.get"):
    """What the window shows and how."""


class ViewSet(Request, frozen=True, kw_only=True, tag="view.set"):
    """Change fields of the view by dotted name ("contours.count": 30), all of them or none; "preset" replaces the view
    before the others apply."""

    view: dict[str, Any]


class CameraSet(Request, frozen=True, kw_only=True, tag="camera.set"):
    """Place the camera; what is left out stays."""

    azimuth: Degrees | None = None
    elevation: Annotated[float, Meta(ge=-90, le=90)] | None = None
    zoom: Annotated[float, Meta(ge=0.05, le=100)] | None = None
    shift_x: Annotated[float, Meta(ge=-200, le=200)] | None = None
    shift_y: Annotated[float, Meta(ge=-200, le=200)] | None = None
    projection: Projection | None = None
    stream: OfStream = False


class CameraOrbit(Request, frozen=True, kw_only=True, tag="camera.orbit"):
    """Turn the camera by these degrees from where it is."""

    azimuth: Degrees = 0.0
    elevation: Degrees = 0.0
    stream: OfStream = False


class CameraZoom(Request, frozen=True, kw_only=True, tag="camera.zoom"):
    """Zoom by a factor; what is drawn at (x, y) stays there."""

    factor: Annotated[float, Meta(ge=0.01, le=100)]
    x: Share = 0.5
    y: Share = 0.5
    stream: OfStream = False


class CameraPreset(Request, frozen=True, kw_only=True, tag="camera.preset"):
    """A named place: `top` and `front` along an axis, `side` along the other, `iso` at 45 degrees, `fit` the automatic
    one."""

    name: Literal["top", "front", "side", "iso", "fit"]


class Show(Request, frozen=True, kw_only=True, tag="show"):
    """Show surfaces of the daemon by id, and files that were sent as `upload:<id>`; several are compared with one scale
    and one camera. None: an empty window."""

    surfaces: Annotated[tuple[str, ...], Meta(max_length=MOST_SHOWN)]


class Screenshot(Request, frozen=True, kw_only=True, tag="screenshot"):
    """Draw the picture in full quality: the PNG's first piece as buffer `piece`, the rest by `picture.get`.

    `save` writes it too, under this name in the folder for pictures that the window was started with. `view` changes
    fields for this picture only.
    """

    width: Side | None = None  # default: the window's
    height: Side | None = None
    scale: Annotated[float, Meta(ge=0.5, le=8)] | None = None
    view: dict[str, Any] = field(default_factory=dict)
    save: Shot | None = None


class RecordStart(Request, frozen=True, kw_only=True, tag="record.start"):
    """Record what the window shows as an MP4 of this name in its folder for pictures, until `record.stop`, or
    `seconds` have passed."""

    save: Shot
    fps: Annotated[int, Meta(ge=1, le=60)] = 30
    seconds: Annotated[float, Meta(gt=0, le=3600)] = 600.0


class RecordStop(Request, frozen=True, kw_only=True, tag="record.stop"):
    """End the recording; the video is complete when the answer comes."""


class Turntable(Request, frozen=True, kw_only=True, tag="turntable"):
    """Turn the camera around the box; with `save`, as an MP4 in full quality. `turns` 0 ends it."""

    seconds: Annotated[float, Meta(gt=0, le=600)] = 8.0  # of one turn
    turns: Annotated[float, Meta(ge=-100, le=100)] = 1.0  # negative: clockwise
    fps: Annotated[int, Meta(ge=1, le=60)] = 30
    save: Shot | None = None


class PictureGet(Request, frozen=True, kw_only=True, tag="picture.get"):
    """A piece (buffer `piece`, at most 4 MiB) of a picture or video that this window made, by the id in the reply."""

    picture: Id
    offset: Annotated[int, Meta(ge=0)] = 0


class FramesStart(Request, frozen=True, kw_only=True, tag="frames.start"):
    """Send the picture whenever it changes, as `frames.frame`, at most `fps` a second and never more than two that were
    not acknowledged; a lossless one when it is still. One stream a peer: a second start replaces the first."""

    width: Annotated[int, Meta(ge=16, le=4096)]
    height: Annotated[int, Meta(ge=16, le=4096)]
    fps: Annotated[float, Meta(gt=0, le=60)] = 10.0
    format: FrameFormat = "jpeg"
    scale: Annotated[float, Meta(ge=0.25, le=8)] = 1.0  # of lines and text: 0.5 suits a terminal
    bare: bool = False  # without title, legend and colour bar: the plot alone


class FramesAck(Request, frozen=True, kw_only=True, tag="frames.ack"):
    """This frame, and all before it, came."""

    number: Annotated[int, Meta(ge=0)]


class FramesStop(Request, frozen=True, kw_only=True, tag="frames.stop"):
    """Send no more frames."""


class Pick(Request, frozen=True, kw_only=True, tag="pick"):
    """What is drawn at this place of the window; with `stream`, of the newest frame that was sent to this peer."""

    x: Share
    y: Share
    stream: OfStream = False


class WindowWatch(Request, frozen=True, kw_only=True, tag="window.watch"):
    """Tell this peer of every change as `window.changed`, at most ten a second, until it is gone or `on` is false."""

    on: bool = True


class WindowClose(Request, frozen=True, kw_only=True, tag="close"):
    """Close the window. Jobs go on."""


AnyWindowRequest = (
    Hello | Ping | Upload
    | ViewGet | ViewSet | CameraSet | CameraOrbit | CameraZoom | CameraPreset | Show
    | Screenshot | RecordStart | RecordStop | Turntable | PictureGet
    | FramesStart | FramesAck | FramesStop | Pick | WindowWatch | WindowClose
)  # fmt: skip

# ---------------------------------------------------------------- replies


class ViewReply(Struct, frozen=True, kw_only=True):
    """The window as it is now."""

    window: str
    view: View
    surfaces: tuple[str, ...] = ()
    title: str = ""
    width: int = 0  # pixels
    height: int = 0
    scale: float = 1.0
    screen: bool = False  # whether a person sees it
    live: bool = False  # whether the daemon is there; without one files can still be shown
    recording: bool = False


class ShotReply(Struct, frozen=True, kw_only=True):
    """A picture or video that was made. `saved` is where, on the window's machine."""

    picture: str
    total: int  # bytes
    sha256: str
    width: int
    height: int
    saved: str | None = None


class ShotPiece(Struct, frozen=True, kw_only=True):
    """The buffer `piece` begins at `offset`."""

    offset: int
    total: int


class FramesReply(Struct, frozen=True, kw_only=True):
    """What was agreed: the stream's format and size."""

    width: int
    height: int
    format: FrameFormat


class PickReply(Struct, frozen=True, kw_only=True):
    """`hit` is false where nothing is drawn. `i`, `j`: row and column of the nearest measured point; the values are
    that point's, `alpha` and `beta` the place itself."""

    hit: bool
    surface: str = ""
    alpha: float | None = None
    beta: float | None = None
    i: int | None = None
    j: int | None = None
    loss: float | None = None
    accuracy: float | None = None
    sem: float | None = None
    n: int = 0


WINDOW_REPLIES: dict[type[Request], type[Struct]] = {
    Hello: HelloReply,
    Ping: Nothing,
    Upload: UploadReply,
    ViewGet: ViewReply,
    ViewSet: ViewReply,
    CameraSet: ViewReply,
    CameraOrbit: ViewReply,
    CameraZoom: ViewReply,
    CameraPreset: ViewReply,
    Show: ViewReply,
    Screenshot: ShotReply,
    RecordStart: Nothing,
    RecordStop: ShotReply,
    Turntable: Nothing,
    PictureGet: ShotPiece,
    FramesStart: FramesReply,
    FramesAck: Nothing,
    FramesStop: Nothing,
    Pick: PickReply,
    WindowWatch: Nothing,
    WindowClose: Nothing,
}

EVERY_REPLY: dict[type[Request], type[Struct]] = REPLIES | WINDOW_REPLIES
"""What `ok` holds for a request, to the daemon or to a window."""

# ---------------------------------------------------------------- what a window sends of its own accord


class Frame(Message, frozen=True, kw_only=True, tag="frames.frame"):
    """A frame of the stream, in the buffer `image`; to be answered by `frames.ack`."""

    number: int
    width: int
    height: int
    format: FrameFormat
    still: bool = False  # in full quality: nothing moves any more


class WindowChanged(Message, frozen=True, kw_only=True, tag="window.changed"):
    """The window changed: by its own mouse and keys, by somebody's command, or because rows came."""

    state: ViewReply
    rows: int = 0  # rows of the surfaces shown that have values
    total: int = 0
    recorded: float = 0.0  # seconds of the video that is being made, so far


class RecordDone(Message, frozen=True, kw_only=True, tag="record.done"):
    """A recording or a saved turntable ended, to those that watch. `error` instead of `shot` if it failed."""

    shot: ShotReply | None = None
    error: str | None = None


FromWindow = Frame | WindowChanged | RecordDone
