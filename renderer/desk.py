"""What a window does when it is asked: each request of protocol/windows.py, done whole or refused.

It works in the thread that draws. What takes long and needs no GL (packing a picture, reading a file) goes to `aside`.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol import codec, pictures
from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import Surface, SurfaceMeta
from protocol.requests import PIECE, Nothing, Request, Upload, UploadReply
from protocol.view import View, override
from protocol.windows import (
    CameraOrbit,
    CameraPreset,
    CameraSet,
    CameraZoom,
    Frame,
    FrameFormat,
    FramesAck,
    FramesReply,
    FramesStart,
    FramesStop,
    Pick,
    PickReply,
    PictureGet,
    RecordDone,
    RecordStart,
    RecordStop,
    Screenshot,
    ShotPiece,
    ShotReply,
    Show,
    Turntable,
    ViewGet,
    ViewReply,
    ViewSet,
    WindowChanged,
    WindowClose,
    WindowWatch,
)
from renderer import controls, door, picking
from renderer.door import Door
from renderer.headless import write_png
from renderer.keeping import kept
from renderer.link import Followed, Link
from renderer.moves import Place
from renderer.packing import encode
from renderer.reel import Reel
from renderer.stage import UPLOAD, Stage
from renderer.streams import Stream, Streams
from renderer.studio import Studio, bare

Arrays = dict[str, NDArray[Any]]
ULID = 26
PICTURES, PICTURES_BYTES = 16, 256 * 1024 * 1024  # kept for those that fetch them
UPLOADS, UPLOAD_BYTES = 8, 256 * 1024 * 1024  # kept at once; of one file
WATCH_S = 0.1


class Host(Protocol):
    """What the desk needs of its window."""

    id: str

    @property
    def live(self) -> bool: ...

    def size(self) -> tuple[tuple[int, int], float]: ...

    def post(self, do: Callable[[], None]) -> None: ...

    def close(self) -> None: ...

    def say(self, text: str) -> None: ...

    @property
    def person(self) -> bool: ...


class Desk:
    """Answers requests for a window."""

    def __init__(
        self, host: Host, stage: Stage, studio: Studio, door: Door, link: Link | None, pictures: Path | None
    ) -> None:
        """`studio` is the window's; pictures and streams are drawn by one of their own, so that they do not take the
        window's framebuffer from it."""
        self.host, self.stage, self.studio, self.door, self.link, self.folder = (
            host, stage, studio, door, link, pictures,
        )  # fmt: skip
        self._beside: Studio | None = None
        self.streams = Streams()
        self.watchers: dict[bytes, WindowChanged | None] = {}
        self._next_watch = 0.0
        self._pictures: OrderedDict[str, bytes | Path] = OrderedDict()  # a video stays where it was written
        self._uploads: OrderedDict[str, Surface] = OrderedDict()
        self._parts: OrderedDict[str, tuple[Upload, Path]] = OrderedDict()
        self._shows: dict[object, tuple[bytes, Show]] = {}
        self._aside = ThreadPoolExecutor(1, "aside")
        self._temporary: tempfile.TemporaryDirectory[str] | None = None
        self.reel = Reel(stage, host.size, studio, pictures, host.post, self._recorded)

    # ------------------------------------------------------------ in

    def do(self, peer: bytes, request: Request, arrays: Arrays) -> None:
        """Do one request and answer it, now or when it is done."""
        self.door.waiting += 1
        try:
            answer = self._do(peer, request, arrays)
        except InputError as e:
            self._refuse(peer, request, e)
        except MemoryError:
            self._refuse(peer, request, InputError("window: not enough memory for it", code="too_large"))
        except Exception as e:  # what nobody foresaw costs this request, not the window
            self._refuse(
                peer, request, InputError(f"window: internal error ({type(e).__name__}: {e})", code="internal")
            )
        else:
            if answer is not None:
                self._ok(peer, request, *answer)

    def gone(self, peer: bytes) -> None:
        """A peer is not there any more."""
        self.streams.stop(peer)
        self.watchers.pop(peer, None)

    def _ok(self, peer: bytes, request: Request, reply: msgspec.Struct, arrays: Arrays | None = None) -> None:
        self.door.waiting -= 1
        try:
            frames = door.ok(request, reply, arrays)
        except InputError as e:
            frames = door.err(request.id, e)
        self.door.send(peer, frames)

    def _refuse(self, peer: bytes, request: Request, error: InputError) -> None:
        self.door.waiting -= 1
        self.door.send(peer, door.err(request.id, error))

    def _do(self, peer: bytes, request: Request, arrays: Arrays) -> tuple[Any, ...] | None:
        """The reply, with its arrays; None where it comes later."""
        match request:
            case ViewGet():
                return (self.state(),)
            case ViewSet() | CameraSet() | CameraOrbit() | CameraZoom() | CameraPreset():
                self.look(controls.command(self.stage.view, self._place(peer, request), request))
                return (self.state(),)
            case Pick():
                return (self._pick(peer, request),)
            case Show():
                return self._show(peer, request)
            case Screenshot():
                self._screenshot(peer, request)
                return None
            case PictureGet():
                return self._piece(request)
            case RecordStart(save=save, fps=fps, seconds=seconds):
                self.reel.record(save, fps, seconds)
            case RecordStop():
                self.reel.stop(lambda shot: self._ok(peer, request, shot), lambda e: self._refuse(peer, request, e))
                return None
            case Turntable():
                self.reel.turn(request)
            case FramesStart():
                self.streams.start(peer, request, time.monotonic())
                return (FramesReply(width=request.width, height=request.height, format=request.format),)
            case FramesAck(number=number):
                self.streams.ack(peer, number, time.monotonic())
            case FramesStop():
                self.streams.stop(peer)
            case WindowWatch(on=True):
                self.watchers[peer] = None
            case WindowWatch():
                self.watchers.pop(peer, None)
            case Upload():
                return self._upload(peer, request, arrays)
            case WindowClose():
                self.host.close()
            case _:
                raise InputError(
                    f"{type(request).__struct_config__.tag}: this window cannot do it", code="unknown_command"
                )
        return (Nothing(),)

    # ------------------------------------------------------------ what is shown

    def state(self) -> ViewReply:
        """The window as it is now."""
        (width, height), scale = self.host.size()
        return ViewReply(
            window=self.host.id,
            view=self.stage.view,
            surfaces=self.stage.keys,
            title=self.stage.title,
            width=width,
            height=height,
            scale=scale,
            screen=self.host.person,
            live=self.host.live,
            recording=self.reel.busy,
        )

    @property
    def beside(self) -> Studio:
        """What draws pictures and streams: the window's own studio where nobody looks at that."""
        if not (self.host.person or self.reel.recording):
            return self.studio
        if self._beside is None:
            self._beside = Studio(self.stage, self.studio.renderer.ctx)
        return self._beside

    def look(self, view: View) -> None:
        """Take a view. Raises InputError, with nothing changed, for one out of its bounds."""
        try:
            view = msgspec.convert(msgspec.to_builtins(view), View)
        except msgspec.ValidationError as e:
            raise InputError(f"view: {e}") from e
        self.stage.look(view)

    def _show(self, peer: bytes, request: Show) -> tuple[Any, ...] | None:
        keys = tuple(dict.fromkeys(request.surfaces))
        now = set(self.stage.keys)
        for key in keys:
            if key in now:
                continue
            if key.startswith(UPLOAD):
                if key.removeprefix(UPLOAD) not in self._uploads:
                    raise InputError(f"show: no file was sent as {key}: upload it first", code="not_found")
            elif len(key) != ULID or not key.isalnum():
                raise InputError(f"show: expected a surface's whole id or upload:ID, got '{key[:80]}'")
        live = tuple(k for k in keys if not k.startswith(UPLOAD) and (k not in now or k in self.stage.following))
        if any(k not in now for k in live):
            if self.link is None:
                raise InputError("show: this window follows no daemon: send a file by upload", code="unavailable")
            token = object()
            self._shows[token] = (peer, request)
            self.link.follow(live, token)
            return None
        if self.link is not None:
            self.link.follow(live, None)
        self._put(keys)
        return (self.state(),)

    def _put(self, keys: tuple[str, ...]) -> None:
        known = {k: self._uploads[k.removeprefix(UPLOAD)] for k in keys if k.removeprefix(UPLOAD) in self._uploads}
        self.stage.put(keys, known)

    def followed(self, heard: Followed) -> None:
        """The link has found surfaces that were asked for, or not."""
        if heard.token not in self._shows:
            return
        peer, request = self._shows.pop(heard.token)
        if heard.error is not None:
            self._refuse(peer, request, heard.error)
            return
        self._put(tuple(dict.fromkeys(request.surfaces)))
        self._ok(peer, request, self.state())

    def _place(self, peer: bytes, request: controls.Command) -> Place:
        """Where the plot stands that a command moves: in the window, or in the peer's stream."""
        if not getattr(request, "stream", False):
            return self.studio.place(*self.host.size())
        stream = self.streams.of(peer)
        ask = stream.ask
        place = self.beside.place((ask.width, ask.height), ask.scale, made=stream.seen[0])
        if not ask.bare:
            return place
        return dataclasses.replace(place, layout=lambda view: place.layout(bare(view)))

    def _pick(self, peer: bytes, request: Pick) -> PickReply:
        if request.stream:
            stream = self.streams.of(peer)
            x, y = request.x * stream.ask.width, request.y * stream.ask.height
            made, keys = stream.seen
            k = picking.nearest(made, x, y)
            frame = made[k]
        else:
            (width, height), scale = self.host.size()
            x, y = request.x * width, request.y * height
            k, frame = self.studio.at((width, height), scale, x, y)
            keys = self.stage.keys
        hit = picking.pick(frame, x, y)
        if hit is None or not keys:
            return PickReply(hit=False)
        return PickReply(
            hit=True,
            surface=keys[k],
            alpha=hit.alpha,
            beta=hit.beta,
            i=hit.i,
            j=hit.j,
            loss=_known(hit.loss, hit.n),
            accuracy=_known(hit.accuracy, hit.n),
            sem=_known(hit.sem, hit.n),
            n=hit.n,
        )

    # ------------------------------------------------------------ pictures

    def _screenshot(self, peer: bytes, request: Screenshot) -> None:
        (width, height), scale = self.host.size()
        wanted = request.scale or scale
        if request.width or request.height or request.scale:
            width = round((request.width or width / scale) * wanted)
            height = round((request.height or height / scale) * wanted)
        view = override(self.stage.view, request.view)
        self.shoot(
            view,
            (max(width, 1), max(height, 1)),
            wanted,
            request.save,
            lambda shot, data: self._ok(peer, request, shot, {"piece": np.frombuffer(data[:PIECE], np.uint8)}),
            lambda e: self._refuse(peer, request, e),
        )

    def shoot(
        self,
        view: View,
        size: tuple[int, int],
        scale: float,
        save: str | None,
        done: Callable[[ShotReply, bytes], None],
        failed: Callable[[InputError], None],
    ) -> None:
        """Draw a picture in full quality; pack and save it aside. Raises InputError before anything is drawn."""
        if save is not None and self.folder is None:
            raise InputError("screenshot: this window was started without a folder for pictures")
        self.beside.draw(size, scale, still=True, view=view)
        pixels = self.beside.pixels()
        metas = [s.scene.meta for s in self.stage.shown] or [SurfaceMeta()]
        files = [s.key if "/" in s.key else None for s in self.stage.shown] or [None]

        def pack() -> None:
            try:
                out = io.BytesIO()
                shown = [pictures.shown(meta, file) for meta, file in zip(metas, files)]
                write_png(out, pixels, view, metas, scale, shown)
                data = out.getvalue()
                saved = None if save is None else kept(self.folder or Path(), save, ".png", data)
            except InputError as e:
                error = e
                self.host.post(lambda: failed(error))
                return
            except Exception as e:
                broken = InputError(f"screenshot: {type(e).__name__}: {e}", code="internal")
                self.host.post(lambda: failed(broken))
                return
            shot = ShotReply(
                picture=new_id(),
                total=len(data),
                sha256=hashlib.sha256(data).hexdigest(),
                width=size[0],
                height=size[1],
                saved=None if saved is None else str(saved),
            )
            self.host.post(lambda: self._keep(shot, data, done))

        self._aside.submit(pack)

    def _keep(self, shot: ShotReply, data: bytes, done: Callable[[ShotReply, bytes], None]) -> None:
        self._remember(shot.picture, data)
        done(shot, data)

    def _remember(self, picture: str, data: bytes | Path) -> None:
        self._pictures[picture] = data
        while len(self._pictures) > 1 and (
            len(self._pictures) > PICTURES
            or sum(len(d) for d in self._pictures.values() if isinstance(d, bytes)) > PICTURES_BYTES
        ):
            self._pictures.popitem(last=False)

    def _recorded(self, outcome: ShotReply | InputError) -> None:
        """A video ended."""
        if isinstance(outcome, ShotReply):
            assert outcome.saved is not None
            self._remember(outcome.picture, Path(outcome.saved))
            message = RecordDone(shot=outcome)
            self.host.say(f"Saved as {outcome.saved}")
        else:
            message = RecordDone(error=outcome.msg)
            self.host.say(outcome.msg)
        for peer in self.watchers:
            self.door.tell(peer, message)

    def _piece(self, request: PictureGet) -> tuple[Any, ...]:
        data = self._pictures.get(request.picture)
        if data is None:
            raise InputError("picture: this window keeps it no more, or never made it", code="not_found")
        try:
            total = len(data) if isinstance(data, bytes) else data.stat().st_size
            if request.offset > total:
                raise InputError(f"offset: expected at most {total}, got {request.offset}", path="$.offset")
            if isinstance(data, bytes):
                part = data[request.offset : request.offset + PIECE]
            else:
                with open(data, "rb") as file:
                    file.seek(request.offset)
                    part = file.read(PIECE)
        except OSError as e:
            raise InputError(f"picture: its file is gone ({e.strerror})", code="not_found") from e
        return ShotPiece(offset=request.offset, total=total), {"piece": np.frombuffer(part, np.uint8)}

    # ------------------------------------------------------------ uploads

    def _upload(self, peer: bytes, request: Upload, arrays: Arrays) -> tuple[Any, ...] | None:
        if request.total > UPLOAD_BYTES:
            raise InputError(
                f"upload: expected at most {UPLOAD_BYTES // 2**20} MiB, got {request.total} bytes", code="too_large"
            )
        if request.upload in self._uploads:
            return (UploadReply(received=request.total, complete=True),)
        if self._temporary is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="thalweg-window-")
        piece = arrays["piece"].tobytes() if "piece" in arrays else b""
        known = self._parts.get(request.upload)
        part = known[1] if known else Path(self._temporary.name) / request.upload
        have = part.stat().st_size if known else 0
        if known and (known[0].sha256, known[0].total) != (request.sha256, request.total):
            raise InputError("upload: expected the sha256 and total of its first piece", code="id_reused")
        if len(piece) > PIECE or request.offset > have or request.offset + len(piece) > request.total:
            raise InputError(
                f"offset: expected the piece at {have} of {request.total} bytes, got one at {request.offset}",
                path="$.offset",
            )
        self._parts[request.upload] = (request, part)
        while len(self._parts) > UPLOADS:
            self._parts.popitem(last=False)[1][1].unlink(missing_ok=True)
        with open(part, "r+b" if known else "wb") as out:
            out.seek(request.offset)
            out.write(piece)
            have = max(have, request.offset + len(piece))
        if have < request.total:
            return (UploadReply(received=have, complete=False),)

        def read() -> None:
            error, surface = None, None
            try:
                if hashlib.sha256(part.read_bytes()).hexdigest() != request.sha256:
                    raise InputError("upload: its bytes do not have the sha256 that was told", code="integrity")
                surface = Surface.load(part)
            except InputError as e:
                error = InputError(e.msg.replace(str(part), "upload"), code=e.code)
            except Exception as e:
                error = InputError(f"upload: not a readable surface ({type(e).__name__})", code="integrity")
            part.unlink(missing_ok=True)
            self.host.post(lambda: self._uploaded(peer, request, surface, error))

        self._aside.submit(read)
        return None

    def _uploaded(self, peer: bytes, request: Upload, surface: Surface | None, error: InputError | None) -> None:
        self._parts.pop(request.upload, None)
        if surface is None:
            self._refuse(peer, request, error or InputError("upload: it cannot be read", code="integrity"))
            return
        self._uploads[request.upload] = surface
        while len(self._uploads) > UPLOADS:
            self._uploads.popitem(last=False)
        self._ok(peer, request, UploadReply(received=request.total, complete=True))

    # ------------------------------------------------------------ what goes out of its own accord

    def send_frames(self, now: float, settled: bool) -> bool:
        """Draw for the streams that are due; whether anything was drawn."""
        drew = False
        self.streams.forget(now)
        for stream in self.streams:
            kind = stream.due(self.stage.revision, settled, now)
            if kind is None:
                continue
            ask = stream.ask
            view = bare(self.stage.view) if ask.bare else self.stage.view
            made = self.beside.draw((ask.width, ask.height), ask.scale, still=kind == "still", view=view)
            stream.seen = made, self.stage.keys
            pixels = self.beside.pixels()
            number = stream.sent(kind, self.stage.revision, now)
            self._aside.submit(self._pack, stream, number, kind == "still", stream.format(kind), pixels)
            drew = True
        return drew

    def _pack(self, stream: Stream, number: int, still: bool, format: Any, pixels: NDArray[np.uint8]) -> None:
        try:
            data = packed(pixels, format)
            if data.nbytes > codec.MAX_FRAME:  # a lossless one that does not fit
                format, data = "jpeg", packed(pixels, "jpeg")
            frame = Frame(number=number, width=stream.ask.width, height=stream.ask.height, format=format, still=still)
            self.door.tell(stream.peer, frame, {"image": data})
        except Exception:  # of one frame; the next one has its own chance
            self.host.post(lambda: self.streams.ack(stream.peer, number, time.monotonic()))

    def tell_watchers(self, now: float) -> None:
        """Tell those that watch what has changed, at most ten times a second."""
        if not self.watchers or now < self._next_watch:
            return
        rows, total = self.stage.rows
        message = WindowChanged(state=self.state(), rows=rows, total=total, recorded=self.reel.seconds)
        for peer, told in self.watchers.items():
            if told != message:
                self.watchers[peer] = message
                self.door.tell(peer, message)
                self._next_watch = now + WATCH_S

    def wait_s(self, now: float, settled: bool) -> float | None:
        """How long until something of this is due."""
        waits = [stream.wait_s(self.stage.revision, settled, now) for stream in self.streams]
        waits.append(self.reel.wait_s(now, self.studio.drawn))
        if self.watchers and now < self._next_watch:
            waits.append(self._next_watch - now)
        known = [w for w in waits if w is not None]
        return min(known) if known else None

    def close(self) -> None:
        """Finish what is being packed and recorded; remove what was kept."""
        self.reel.close()
        self._aside.shutdown(wait=True)
        if self._temporary is not None:
            self._temporary.cleanup()


def _known(value: float, n: int) -> float | None:
    """A value that was measured, NaN where it diverged; None where it was not."""
    return float(value) if n else None


def packed(pixels: NDArray[np.uint8], format: FrameFormat) -> NDArray[np.uint8]:
    """Pixels (h, w, 3) as the bytes of a frame; raw ones keep their shape."""
    if format == "raw":
        return np.ascontiguousarray(pixels)
    return np.frombuffer(encode(pixels, format), np.uint8)
