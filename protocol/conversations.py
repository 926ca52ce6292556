"""Conversations of several requests, as generators: they yield a request (with arrays) and are sent its reply.

Both clients drive the same ones; the sockets are theirs, the files are here.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Generator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import replacing
from protocol.requests import PIECE, FileGet, PieceReply, Request, Snapshot, SnapshotReply, Upload, UploadReply
from protocol.snapshots import Restored, assemble

Arrays = Mapping[str, NDArray[Any]]
Ask = tuple[Request, Arrays | None]
Conversation = Generator[Ask, tuple[Any, Arrays], Any]


def fetching(
    file: str | os.PathLike[str],
    *,
    job: str | None = None,
    surface: str | None = None,
    plane: str | None = None,
    name: str | None = None,
) -> Generator[Ask, tuple[Any, Arrays], Path]:
    """Fetch a file of a job, surface or plane into `file`, whole or not at all; its hash is checked."""
    offset, digest, expected = 0, hashlib.sha256(), None
    with replacing(file) as out:
        while True:
            ask = FileGet(id=new_id(), job=job, surface=surface, plane=plane, name=name, offset=offset)
            reply, arrays = yield ask, None
            assert isinstance(reply, PieceReply)
            if "piece" not in arrays:
                raise InputError(f"{file}: the daemon sent no piece at {offset}", code="integrity")
            piece = arrays["piece"].tobytes()
            expected = reply.sha256 or expected
            digest.update(piece)
            out.write(piece)
            offset += len(piece)
            if offset >= reply.total:
                break
            if not piece:
                raise InputError(
                    f"{file}: expected {reply.total} bytes, got {offset}: fetch it again", code="integrity"
                )
        if offset != reply.total or (expected is not None and digest.hexdigest() != expected):
            raise InputError(f"{file}: what came does not match its sha256: fetch it again", code="integrity")
    return Path(file)


def uploading(file: str | os.PathLike[str]) -> Generator[Ask, tuple[Any, Arrays], str]:
    """Send a file for an import job, in pieces; the upload's id."""
    upload = new_id()
    try:
        with open(file, "rb") as source:
            digest = hashlib.file_digest(source, "sha256").hexdigest()
            total = source.tell()
            offset = 0
            while True:
                source.seek(offset)
                piece = source.read(min(PIECE, total - offset))
                ask = Upload(id=new_id(), upload=upload, sha256=digest, total=total, offset=offset)
                reply, _ = yield ask, {"piece": np.frombuffer(piece, "|u1")}
                assert isinstance(reply, UploadReply)
                if reply.complete:
                    return upload
                if not offset < reply.received <= total:
                    raise InputError(
                        f"{file}: sent {offset + len(piece)} bytes, the daemon has {reply.received}: send it again",
                        code="integrity",
                    )
                offset = reply.received
    except OSError as e:
        raise InputError(f"{file}: cannot read it ({e.strerror}): choose another file", code="not_found") from e


def restoring(topic: str) -> Generator[Ask, tuple[Any, Arrays], Restored]:
    """Take a snapshot of a topic, whole."""
    pieces: list[tuple[SnapshotReply, Arrays]] = []
    cursor: str | None = None
    while True:
        reply, arrays = yield Snapshot(id=new_id(), topic=topic, cursor=cursor), None
        assert isinstance(reply, SnapshotReply)
        pieces.append((reply, arrays))
        cursor = reply.next
        if cursor is None:
            return assemble(pieces)
