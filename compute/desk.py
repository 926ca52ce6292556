"""Requests, one by one: checked, done once however often they are sent, answered.

A change is stored with its reply in one transaction, so that a client that lost the answer asks again under the same id
and gets it. Everything else looks and is answered from the store.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from compute import answers, estimates, jobs, lookup, places, references
from compute.active import utc
from compute.answers import info
from compute.debts import Answered, Debts
from compute.service import Service
from compute.store import ENDS, JobRecord, Tables
from compute.store.restore import verify
from protocol import codec, requests
from protocol.errors import InputError
from protocol.messages import PROTO, SurfaceSpec, ThingDeleted, TrainSpec, WindowState, WorkerBegin
from protocol.plain import check_plain
from protocol.requests import PIECE, Err, Limits, Ok, Request

Arrays = dict[str, NDArray[Any]]
VERSION = "0.1.0"
BURST, RATE = 2000.0, 1000.0  # requests of one client at once, and a second
SNAPSHOTS, SNAPSHOTS_BYTES, SNAPSHOT_S = 8, 64 * 1024 * 1024, 30.0  # kept for clients that fetch their pieces
BUSY_S = 0.5
OWED, OWED_S = 24 * 1024 * 1024, 0.05  # bytes of pieces that a client has not taken yet; then it is to ask again
LARGE = (
    requests.FileGet,
    requests.Snapshot,
    requests.EventsSince,
    requests.LogTail,
    requests.Schema,
    requests.Catalogue,
)
MAX_MESSAGE = 2000  # characters of an error


@dataclass
class Bucket:
    """How much a client may still ask."""

    tokens: float
    at: float


class Desk:
    """Answers requests for a service. `restarts` of nothing: it holds what is not worth storing."""

    def __init__(self, service: Service, *, boot: str, store_id: str, clock: Callable[[], float]) -> None:
        self.service, self.boot, self.store_id, self.clock = service, boot, store_id, clock
        self.begun = clock()
        self.bad_frames = 0
        self.refused_clients = 0
        self.windows: dict[str, requests.WindowInfo] = {}
        self.shutdown: str | None = None
        self.debts = Debts(PIECE, OWED)
        self._buckets: dict[bytes, Bucket] = {}
        self._open: dict[str, tuple[bytes, list[Answered]]] = {}  # changes being done, by request id
        self._snapshots: dict[str, tuple[float, list[answers.Answer]]] = {}
        self._next = 0

    # ------------------------------------------------------------ in

    def frames(self, peer: bytes, frames: list[bytes], answer: Answered) -> None:
        """What a client sent. Whatever it is: an answer, or none where nobody could read one; no exception."""
        request: Request | None = None
        try:
            if not self._may(peer):
                answer(self._err(_id(frames), InputError("daemon: too many requests at once", code="busy"), BUSY_S))
                return
            request, arrays = codec.decode(frames, requests.AnyRequest)
            assert request is not None
            check_plain(request)
            if request.proto > PROTO and not isinstance(request, requests.Hello):
                raise InputError(
                    f"proto: this daemon speaks 1 to {PROTO}, got {request.proto}", code="unsupported_proto"
                )
            if request.expires_at is not None and request.expires_at < time.time():
                raise InputError("request: it expired before it came: send it again", code="expired")
            if isinstance(request, LARGE):
                if not self.debts.may(peer):
                    e = InputError("daemon: read what was sent before you ask for more", code="busy")
                    answer(self._err(request.id, e, OWED_S))
                    return
                answer = self.debts.begin(peer, answer)
            self._do(request, arrays, frames, answer)
        except InputError as e:
            if e.code == "bad_frame":
                self.bad_frames += 1
            after = BUSY_S if e.code == "busy" else None
            answer(self._err(request.id if request else _id(frames), e, after))
        except Exception as e:
            self.service.log(None, "error", f"request {type(request).__name__}: {type(e).__name__}: {e}")
            answer(
                self._err(
                    request.id if request else None, InputError("daemon: internal error, see its log", code="internal")
                )
            )

    def _may(self, peer: bytes) -> bool:
        now = self.clock()
        bucket = self._buckets.get(peer)
        if bucket is None:
            if len(self._buckets) > 10_000:
                self._buckets.clear()
            bucket = self._buckets[peer] = Bucket(BURST, now)
        bucket.tokens = min(BURST, bucket.tokens + (now - bucket.at) * RATE)
        bucket.at = now
        if bucket.tokens < 1:
            return False
        bucket.tokens -= 1
        return True

    def _err(self, id: str | None, e: InputError, after: float | None = None) -> list[bytes]:
        msg = e.msg if len(e.msg) <= MAX_MESSAGE else f"{e.msg[:MAX_MESSAGE]} ..."  # it may repeat what was sent
        path = e.path if e.path is None else e.path[:200]
        retryable = e.code in ("busy", "no_space") or (e.code == "unavailable" and after is not None)
        return codec.encode(Err(id=id, code=e.code, msg=msg, path=path, retryable=retryable, retry_after_s=after))

    def _ok(self, request: Request, reply: msgspec.Struct, arrays: Arrays | None = None) -> list[bytes]:
        return codec.encode(Ok(id=request.id, result=msgspec.to_builtins(reply)), arrays)

    # ------------------------------------------------------------ dispatch

    def _do(self, request: Request, arrays: Arrays, frames: list[bytes], answer: Answered) -> None:
        match request:
            case requests.Ping():
                answer(self._ok(request, requests.Nothing()))
            case requests.Hello():
                answer(self._ok(request, self._hello(request)))
            case requests.Status():
                self._status(request, answer)
            case requests.Schema():
                from protocol.schema import schema

                answer(self._ok(request, requests.Nothing(), {"schema": _text(msgspec.json.encode(schema()))}))
            case requests.Catalogue():
                answer(self._ok(request, requests.Nothing(), {"catalogue": _text(self._catalogue())}))
            case requests.Upload():
                self._upload(request, arrays, answer)
            case requests.WindowAnnounce() | requests.WindowLeave() | requests.WindowList():
                answer(self._ok(request, self._window(request)))
            case requests.DaemonShutdown():
                self.shutdown = request.mode
                answer(self._ok(request, requests.Nothing()))
            case requests.StoreBackup():
                self.service.store.backup(
                    lambda file, error: answer(
                        self._failed(request, error)
                        if error
                        else self._ok(request, requests.BackupReply(file=str(file)))
                    )
                )
            case requests.StoreVerify():
                self.service.aside(
                    lambda: verify(self.service.store),
                    lambda found: answer(
                        self._ok(request, requests.VerifyReply(checked=found[0], problems=tuple(found[1])))
                    ),
                    lambda error: answer(self._failed(request, error)),
                )
            case requests.Snapshot():
                self._snapshot(request, answer)
            case requests.JobEstimate():
                self._estimate(request, answer)
            case _ if isinstance(request, requests.CHANGES):
                self._change(request, frames, answer)
            case _:
                live = self._live()
                self._look(request, lambda t: self._read(t, request, live), answer)

    def _look(self, request: Request, fn: Callable[[Tables], answers.Answer], answer: Answered) -> None:
        def done(found: answers.Answer | None, error: Exception | None) -> None:
            answer(self._failed(request, error) if found is None else self._fitting(request, *found))

        self.service.store.read(fn, done)

    def _fitting(self, request: Request, reply: msgspec.Struct, arrays: Arrays) -> list[bytes]:
        """The reply, or that it is too large for one."""
        try:
            return self._ok(request, reply, arrays)
        except InputError as e:
            return self._err(request.id, e)

    def _failed(self, request: Request, error: Exception | None) -> list[bytes]:
        if isinstance(error, InputError):
            return self._err(request.id, error, BUSY_S if error.code == "no_space" else None)
        self.service.log(None, "error", f"{type(request).__name__}: {type(error).__name__}: {error}")
        return self._err(request.id, InputError("daemon: internal error, see its log", code="internal"))

    def _live(self) -> answers.Live:
        service = self.service
        return answers.Live(service.table.jobs, service.left_s(), places.best(service.crew.places))

    def _read(self, t: Tables, request: Request, live: answers.Live) -> answers.Answer:
        folder = self.service.workspace.root
        match request:
            case requests.JobGet():
                return answers.job_get(t, request, live)
            case requests.JobList():
                return answers.job_list(t, request, live)
            case requests.RunList() | requests.PlaneList() | requests.SurfaceList() | requests.CheckpointList():
                return answers.thing_list(t, request)
            case requests.RunGet() | requests.PlaneGet() | requests.SurfaceGet():
                return answers.thing_get(t, request)
            case requests.EventsSince():
                return answers.events_since(t, request)
            case requests.Heads():
                return answers.heads(t, request)
            case requests.FileGet():
                return answers.file_get(t, folder, request)
            case requests.LogTail():
                return answers.log_tail(t, folder, request, live)
        raise InputError(f"request: {type(request).__name__} is not known here", code="unknown_command")

    # ------------------------------------------------------------ changes

    def _change(self, request: Request, frames: list[bytes], answer: Answered) -> None:
        """Once: the stored reply where this id was done before, else do it and store the reply with it."""
        digest = hashlib.sha256(_body(request)).digest()
        reused = InputError("id: it was used for another request: choose a new one", code="id_reused")
        if request.id in self._open:  # the first one is being done
            known, waiting = self._open[request.id]
            if known == digest:
                waiting.append(answer)
            else:
                answer(self._err(request.id, reused))
            return
        self._open[request.id] = (digest, [answer])

        def tell(reply: list[bytes]) -> None:
            for one in self._open.pop(request.id, (b"", []))[1]:
                one(reply)

        def look(t: Tables) -> tuple[tuple[bytes, bytes] | None, dict[str, JobRecord]]:
            return t.get_request(request.id), self._ended(t, request)

        def looked(found: Any, error: Exception | None) -> None:
            if error is not None:
                tell(self._failed(request, error))
                return
            stored, ended = found
            if stored is not None:
                tell([stored[1]] if stored[0] == digest else self._err(request.id, reused))
                return
            try:
                self._decide(request, digest, ended, tell)
            except InputError as e:
                tell(self._err(request.id, e))
            except Exception as e:
                tell(self._failed(request, e))

        self.service.store.read(look, looked)

    def _ended(self, t: Tables, request: Request) -> dict[str, JobRecord]:
        """The jobs that a change speaks of, as the store has them, by the id or name that was given."""
        if isinstance(request, requests.JobSubmit):
            wanted = {j for s in request.jobs for j in (s.job, *s.after, *references.jobs_of(s.spec))}
            return {j: r for j in wanted if (r := t.get_job(j)) is not None and r.state in ENDS}
        given = getattr(request, "job", None)
        return {given: answers.job(t, given)} if given else {}

    def _decide(
        self, request: Request, digest: bytes, known: dict[str, JobRecord], tell: Callable[[list[bytes]], None]
    ) -> None:
        service, table, now = self.service, self.service.table, utc()
        also: Callable[[Tables], Any] | None = None
        gone: list[ThingDeleted] = []
        reply: Callable[[], msgspec.Struct]
        id = known[request.job].id if hasattr(request, "job") else ""

        def of_job() -> msgspec.Struct:
            return requests.JobReply(job=info(after.get(id) or last[id]))

        match request:
            case requests.JobSubmit():
                outcome = jobs.submit(table, request.jobs, known, now)
                reply = lambda: answers.submitted([after[s.job] for s in request.jobs])  # noqa: E731
            case requests.JobCancel():
                outcome, reply = jobs.cancel(table, _live(table, known[request.job]), request.when, now), of_job
            case requests.JobPause():
                outcome, reply = jobs.pause(table, _live(table, known[request.job])), of_job
            case requests.JobResume():
                outcome, reply = jobs.resume(table, _live(table, known[request.job])), of_job
            case requests.JobMove():
                outcome, reply = jobs.move(table, _live(table, known[request.job]), request.priority), of_job
            case requests.JobRetry():
                outcome, reply = jobs.retry(table, table.jobs.get(id, known[request.job])), of_job
            case requests.RunDelete() | requests.PlaneDelete() | requests.SurfaceDelete():
                outcome, reply = (table, []), requests.Nothing
                also = self._deletion(request, gone)
            case _:
                raise InputError("request: not known here", code="unknown_command")
        after = outcome[0].jobs
        last = {e.job.id: e.job for e in outcome[1] if isinstance(e, jobs.Save)}
        answer = self._ok(request, reply())

        def committed() -> None:
            for event in gone:
                service.post.publish(f"{event.what}/{event.thing}/", event)
            tell(answer)

        service.commit(
            outcome,
            first=lambda t: t.put_request(request.id, digest, answer[0]),
            also=also,
            then=committed,
            refused=lambda error: tell(self._failed(request, error)),
        )

    def _deletion(self, request: Request, gone: list[ThingDeleted]) -> Callable[[Tables], Any]:
        """Delete a thing, unless a job that has not ended works on it or needs it; `gone` says then what it was."""
        live = list(self.service.table.jobs.values())

        def delete(t: Tables) -> list[Any]:
            match request:
                case requests.RunDelete():
                    what: Literal["run", "plane", "surface"]
                    what, id = "run", lookup.run(t, request.run).id
                case requests.PlaneDelete():
                    what, id = "plane", lookup.plane(t, request.plane).hash
                case requests.SurfaceDelete():
                    what, id = "surface", lookup.surface(t, request.surface).id
                case _:
                    raise InputError("request: not a deletion")
            for job in live:
                given = [r.result for j in references.jobs_of(job.spec) if (r := t.get_job(j)) and r.result]
                used = {job.run, job.surface, *(x for g in given for x in (g.run, g.plane, g.surface))}
                if id in used or id in msgspec.json.encode(job.spec).decode():
                    raise InputError(
                        f"{what} {id[-6:]}: the job {job.id[-6:]} needs it and has not ended: cancel that first",
                        code="wrong_state",
                    )
            if what == "plane":
                record = t.get_plane(id)
                t.delete_plane(record.id if record else id)
            else:
                (t.delete_run if what == "run" else t.delete_surface)(id)
            gone[:] = [ThingDeleted(what=what, thing=id)]
            return []

        return delete

    # ------------------------------------------------------------ the rest

    def _hello(self, request: requests.Hello) -> requests.HelloReply:
        if request.proto_min > PROTO or request.proto_max < 1 or request.proto_min > request.proto_max:
            raise InputError(
                f"proto: this daemon speaks 1 to {PROTO}, the client {request.proto_min} to {request.proto_max}: "
                "update the older one",
                code="unsupported_proto",
            )
        return requests.HelloReply(
            boot=self.boot,
            store=self.store_id,
            proto=min(PROTO, request.proto_max),
            version=VERSION,
            limits=Limits(
                header=codec.MAX_HEADER,
                frame=codec.MAX_FRAME,
                buffers=codec.MAX_BUFFERS,
                piece=PIECE,
                page=requests.PAGE,
            ),
        )

    def _status(self, request: Request, answer: Answered) -> None:
        service = self.service

        def look(t: Tables) -> answers.Answer:
            usage = shutil.disk_usage(service.workspace.root)
            reply = requests.StatusReply(
                boot=self.boot,
                pid=os.getpid(),
                uptime_s=round(self.clock() - self.begun, 3),
                jobs=t.count_jobs(),
                workers=tuple(
                    {"worker": w.name, "state": w.state, "device": w.device, "pid": w.pid, "job": w.job}
                    for w in service.crew.workers.values()
                ),
                clients_refused=self.refused_clients,
                bad_frames=self.bad_frames,
                store={"free_bytes": usage.free, "full": service.store.full},
                workspace=str(service.workspace.root),
                data=service.data or service.config.plain().get("data"),
                config=service.config.plain(),
            )
            return reply, {}

        self._look(request, look, answer)

    def _catalogue(self) -> bytes:
        try:
            return (self.service.workspace.root / "catalogue.json").read_bytes()
        except OSError:
            self.service.make_catalogue()
            raise InputError("catalogue: it is being made, ask again in a moment", code="busy") from None

    def _snapshot(self, request: requests.Snapshot, answer: Answered) -> None:
        self.forget()
        if request.cursor is not None:
            token, _, k = request.cursor.partition(":")
            held = self._snapshots.get(token)
            if held is None or not k.isdecimal() or int(k) >= len(held[1]):
                raise InputError("cursor: this snapshot is not held any more: take a new one", code="expired")
            answer(self._piece(request, token, held[1], int(k)))
            return

        live = self._live()

        def look(t: Tables) -> list[answers.Answer]:
            seq = t.heads([request.topic]).get(request.topic, 0)
            for _, pieces in list(self._snapshots.values()) if request.topic.startswith("surface/") and seq else ():
                first = pieces[0][0]
                if isinstance(first, requests.SnapshotReply) and (first.topic, first.seq) == (request.topic, seq):
                    return pieces  # nothing has happened since
            return answers.snapshot(t, self.service.workspace.root, request.topic, live)

        def done(pieces: list[answers.Answer] | None, error: Exception | None) -> None:
            if pieces is None:
                answer(self._failed(request, error))
                return
            self._next += 1
            token = str(self._next)
            if len(pieces) > 1:
                self._snapshots[token] = (self.clock(), pieces)
                self.forget()
            answer(self._piece(request, token, pieces, 0))

        self.service.store.read(look, done)

    def forget(self) -> None:
        """Let go of snapshots that are old, too many or too large together; the newest stays for its own client."""
        self.debts.forget()
        now = self.clock()
        size = 0
        for k, (token, (at, pieces)) in enumerate(reversed(list(self._snapshots.items()))):
            size += sum(array.nbytes for _, arrays in pieces for array in arrays.values())
            if now - at > SNAPSHOT_S or (k and (k >= SNAPSHOTS or size > SNAPSHOTS_BYTES)):
                del self._snapshots[token]
                self.service.tidy()

    def _piece(self, request: Request, token: str, pieces: list[answers.Answer], k: int) -> list[bytes]:
        reply, arrays = pieces[k]
        assert isinstance(reply, requests.SnapshotReply)
        more = None if reply.next is None else f"{token}:{reply.next}"
        return self._ok(request, msgspec.structs.replace(reply, next=more), arrays)

    def _upload(self, request: requests.Upload, arrays: Arrays, answer: Answered) -> None:
        """Append a piece; the same piece again changes nothing. The last one is checked against the hash, beside the
        loop."""
        received = self._append(request, arrays)
        if received is not None:
            answer(self._ok(request, received))
            return
        folder = self.service.workspace.uploads
        self.service.aside(
            lambda: checked(folder / f"{request.upload}.part", folder / request.upload, request.sha256),
            lambda size: answer(self._ok(request, requests.UploadReply(received=size, complete=True))),
            lambda error: answer(self._failed(request, error)),
        )

    def _append(self, request: requests.Upload, arrays: Arrays) -> requests.UploadReply | None:
        """None where all of it is there now, and is to be checked."""
        folder = self.service.workspace.uploads
        part, whole = folder / f"{request.upload}.part", folder / request.upload
        piece = arrays["piece"].tobytes() if "piece" in arrays else b""
        if len(piece) > PIECE:
            raise InputError(f"piece: expected at most {PIECE} bytes, got {len(piece)}", code="too_large")
        if whole.exists():
            return requests.UploadReply(received=whole.stat().st_size, complete=True)
        have = part.stat().st_size if part.exists() else 0
        if request.offset > have or request.offset + len(piece) > request.total:
            raise InputError(
                f"offset: expected the piece at {have} of {request.total} bytes, got one at {request.offset}",
                path="$.offset",
            )
        if shutil.disk_usage(folder).free < request.total - have:
            raise InputError(f"upload: {request.total - have} bytes do not fit on the daemon's disk", code="no_space")
        with open(part, "r+b" if part.exists() else "wb") as out:
            out.seek(request.offset)
            out.write(piece)
            have = max(have, request.offset + len(piece))
            if have == request.total:
                out.flush()
                os.fsync(out.fileno())
        return requests.UploadReply(received=have, complete=False) if have < request.total else None

    def _window(self, request: Request) -> msgspec.Struct:
        match request:
            case requests.WindowAnnounce():
                self.windows[request.window] = requests.WindowInfo(
                    window=request.window, endpoint=request.endpoint, title=request.title
                )
                self.service.post.publish(
                    f"window/{request.window}/",
                    WindowState(window=request.window, endpoint=request.endpoint, title=request.title),
                )
            case requests.WindowLeave():
                if self.windows.pop(request.window, None):
                    self.service.post.publish(f"window/{request.window}/", WindowState(window=request.window))
            case requests.WindowList():
                return requests.WindowsReply(windows=tuple(self.windows.values()))
        return requests.Nothing()

    def _estimate(self, request: requests.JobEstimate, answer: Answered) -> None:
        """From what such jobs took before; else an idle worker times the beginning of this one."""
        spec, best = request.spec, places.best(self.service.crew.places)

        def look(t: Tables) -> tuple[Any, requests.EstimateReply]:
            whole = lookup.canonical(t, spec)
            return whole, estimates.known(t, whole, request.device or best)

        def looked(found: tuple[Any, requests.EstimateReply] | None, error: Exception | None) -> None:
            if found is None:
                answer(self._failed(request, error))
                return
            whole, reply = found
            timeable = isinstance(whole, TrainSpec | SurfaceSpec)
            if reply.seconds is not None or not timeable:
                answer(self._ok(request, reply))
            elif not self.service.estimate(whole, request.device, timed):
                busy = InputError("estimate: every worker is busy or starting, ask again in a moment", code="busy")
                answer(self._err(request.id, busy, 1.0))

        def timed(begin: WorkerBegin | None, why: str) -> None:
            if begin is None:
                answer(self._err(request.id, InputError(f"estimate: {why}")))
                return
            reply = estimates.of_begin(spec, begin)
            self.service.store.write(lambda t: estimates.remember(t, begin, reply), lambda *_: None)
            answer(self._ok(request, reply))

        self.service.store.read(look, looked)


def checked(part: Path, whole: Path, sha256: str) -> int:
    """Make an upload whole: its size. Raises InputError where its bytes are others; they are deleted then."""
    if whole.exists():  # the last piece came twice
        return whole.stat().st_size
    with open(part, "rb") as done:
        digest = hashlib.file_digest(done, "sha256").hexdigest()
    if digest != sha256:
        part.unlink()
        raise InputError("upload: its bytes do not have the sha256 that was told: send it again", code="integrity")
    os.replace(part, whole)
    return whole.stat().st_size


def _live(table: jobs.Table, record: JobRecord) -> str:
    """The id of a job that has not ended. Raises InputError for one that has."""
    if record.id not in table.jobs:
        raise InputError(f"job {record.id[-6:]}: it has ended: it is {record.state}", code="wrong_state")
    return record.id


def _body(request: Request) -> bytes:
    """A request without what may differ between two tries."""
    return msgspec.json.encode(msgspec.structs.replace(request, expires_at=None), order="deterministic")


def _id(frames: list[bytes]) -> str | None:
    """The id in a header that could not be read as a request, where there is one, so that the client knows which."""
    import msgpack

    try:
        header = msgpack.unpackb(frames[0], raw=False, strict_map_key=True)
        found = header.get("id")
    except Exception:  # whatever it was, it has no id
        return None
    return found if isinstance(found, str) and len(found) <= 64 else None


def _text(data: bytes) -> Any:
    return np.frombuffer(data, dtype=np.uint8)
