"""Bringing the workspace's files and the store's records together, before anything is served.

    files to be deleted     their record is gone: deleted
    *.tmp                   a write that was cut short: deleted
    a file without a record adopted where its own contents and its hash vouch for it, else moved to quarantine/
    a record without a file marked `missing` (unmarked when the file is back with its hash)
    a file of another size  cut short after it was stored: moved to quarantine/, its record marked `missing`

Files that have a record are not hashed here, that would read everything at every start: their hash is checked when they
are loaded, and by `thalweg store verify`.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct
from ulid import ULID

from compute.tensorfile import CHUNK, TensorFile
from protocol.errors import InputError
from protocol.files import PlaneMeta, Surface
from protocol.messages import Recipe

from . import trash
from .records import PlaneRecord, RunRecord, SurfaceRecord
from .tables import Tables

QUARANTINE = "quarantine"
FOLDERS = ("runs", "planes", "surfaces", "exports", "uploads", "backups")
_ULID = re.compile(r"^[0-9A-HJKMNP-TV-Z]{26}$")
_STEP = re.compile(r"^step-(\d{8})\.safetensors$")


class Swept(Struct, frozen=True, kw_only=True):
    """What the sweep did, as paths relative to the workspace; `quarantined` with the reason."""

    deleted: tuple[str, ...] = ()
    adopted: tuple[str, ...] = ()
    quarantined: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


def sweep(tables: Tables, workspace: Path, *, restored: bool = False) -> Swept:
    """Sweep a workspace (through `Store.call`, before serving). `restored`: the database is an older backup, so that a
    sealed file is newer than an unsealed record of the same surface."""
    return _Sweep(tables, workspace, restored).all()


def hash_of(file: Path) -> str:
    """sha256 of a file."""
    digest = hashlib.sha256()
    with open(file, "rb", buffering=0) as opened:
        while piece := opened.read(CHUNK):
            digest.update(piece)
    return digest.hexdigest()


def quarantine(workspace: Path, file: Path) -> Path:
    """Move a file out of the way, under a name that tells where it was; its new place."""
    folder = workspace / QUARANTINE
    folder.mkdir(mode=0o700, exist_ok=True)
    name = "__".join(file.relative_to(workspace).parts)
    target, k = folder / name, 1
    while target.exists():
        target, k = folder / f"{name}.{k}", k + 1
    os.replace(file, target)
    return target


class _Sweep:
    def __init__(self, tables: Tables, workspace: Path, restored: bool) -> None:
        self.tables, self.workspace, self.restored = tables, workspace, restored
        self.deleted: list[str] = []
        self.adopted: list[str] = []
        self.quarantined: list[str] = []
        self.missing: list[str] = []

    def all(self) -> Swept:
        self.deleted += trash.empty(self.tables, self.workspace)
        self._unfinished()
        self._runs()
        self._planes()
        self._surfaces()
        return Swept(
            deleted=tuple(self.deleted),
            adopted=tuple(self.adopted),
            quarantined=tuple(self.quarantined),
            missing=tuple(self.missing),
        )

    def _name(self, file: Path) -> str:
        return file.relative_to(self.workspace).as_posix()

    def _unfinished(self) -> None:
        folders = [self.workspace, *(self.workspace / name for name in FOLDERS)]
        folders += [f for name in ("runs", "exports", "uploads") for f in _entries(self.workspace / name) if f.is_dir()]
        for folder in folders:
            for file in _entries(folder):
                if file.name.endswith(".tmp") and file.is_file():
                    with suppress(OSError):
                        file.unlink()
                        self.deleted.append(self._name(file))

    def _out(self, file: Path, why: str) -> None:
        try:
            quarantine(self.workspace, file)
        except OSError as e:
            why += f"; it could not be moved ({e.strerror})"
        self.quarantined.append(f"{self._name(file)}: {why}")

    def _known(self, file: str, sha256: str, size: int | None, missing: bool) -> bool:
        """Whether the file of a record is there now, with the right size."""
        path = self.workspace / file
        try:
            found = path.stat().st_size
        except OSError:
            if not missing:
                self.missing.append(file)
            return False
        if size is not None and found != size:
            self._out(path, f"it has {found} bytes, {size} were stored")
            self.missing.append(file)
            return False
        if missing and hash_of(path) != sha256:
            self._out(path, "its bytes do not match the sha256 that was stored")
            return False
        return True

    # ------------------------------------------------------------ runs

    def _runs(self) -> None:
        recorded = {run for run, _ in self.tables.names("runs")}
        known: set[str] = set()
        for run, step, file, sha256, size, missing in self.tables.db.execute(
            "SELECT run, step, file, sha256, bytes, missing FROM checkpoints ORDER BY run, step"
        ).fetchall():
            known.add(file)
            there = self._known(file, sha256, size, bool(missing))
            if there == bool(missing):
                self.tables.db.execute(
                    "UPDATE checkpoints SET missing = ? WHERE run = ? AND step = ?", (not there, run, step)
                )
        for folder in _entries(self.workspace / "runs"):
            if not folder.is_dir() or not _ULID.match(folder.name):
                continue
            for file in _entries(folder):
                step = _STEP.match(file.name)
                if step and self._name(file) not in known and file.exists():
                    self._adopt_checkpoint(file, int(step[1]), recorded)

    def _adopt_checkpoint(self, file: Path, step: int, recorded: set[str]) -> None:
        run = file.parent.name
        try:
            opened = TensorFile(file)
            opened.close()
            sha256 = opened.sha256
            if sha256 is None:
                raise InputError(f"{file.name}: no sha256 beside it vouches for it")
            if run not in recorded:
                recipe = msgspec.convert(opened.about["recipe"], Recipe)
                self.tables.put_run(RunRecord(id=run, recipe=recipe, created=_when(run), note="adopted"))
                recorded.add(run)
            epoch = float(opened.about.get("epoch", 0.0))
        except (InputError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as e:
            self._out(file, _why(e))
            return
        self.tables.add_checkpoint(run, step, epoch, self._name(file), sha256, file.stat().st_size)
        self.adopted.append(self._name(file))

    # ------------------------------------------------------------ planes

    def _planes(self) -> None:
        known: set[str] = set()
        for id, file, sha256, missing in self.tables.db.execute(
            "SELECT id, file, sha256, missing FROM planes ORDER BY id"
        ).fetchall():
            known.add(file)
            there = self._known(file, sha256, None, bool(missing))
            if there == bool(missing):
                self.tables.db.execute("UPDATE planes SET missing = ? WHERE id = ?", (not there, id))
        for file in _entries(self.workspace / "planes"):
            if file.suffix == ".safetensors" and self._name(file) not in known and file.exists():
                self._adopt_plane(file)

    def _adopt_plane(self, file: Path) -> None:
        try:
            opened = TensorFile(file)
            opened.close()
            meta = msgspec.convert(opened.about["plane"], PlaneMeta)
            if meta.hash != file.stem:
                raise InputError(f"{file.name}: it says of itself that it is plane {meta.hash[:12]}")
            recipe = opened.about.get("recipe")
            record = PlaneRecord(
                id=str(ULID()),
                hash=meta.hash,
                meta=meta,
                file=self._name(file),
                sha256=opened.sha256 or hash_of(file),  # loading checks the contents against the plane's hash too
                recipe=None if recipe is None else msgspec.convert(recipe, Recipe),
                trajectory=tuple(opened.about.get("trajectory", ())),
                created=_now(),
            )
        except (InputError, KeyError, TypeError, ValueError, msgspec.MsgspecError) as e:
            self._out(file, _why(e))
            return
        self.tables.put_plane(record)
        self.adopted.append(self._name(file))

    # ------------------------------------------------------------ surfaces

    def _surfaces(self) -> None:
        files: dict[str, str | None] = {}  # of each record: its file, "" where that is missing, None where not sealed
        known: set[str] = set()
        for id, name, sha256, missing in self.tables.db.execute(
            "SELECT id, file, sha256, missing FROM surfaces ORDER BY id"
        ).fetchall():
            files[id] = name
            if name is None:
                continue
            known.add(name)
            there = self._known(name, sha256, None, bool(missing))
            files[id] = name if there else ""
            if there == bool(missing):
                self.tables.db.execute("UPDATE surfaces SET missing = ? WHERE id = ?", (not there, id))
        for file in _entries(self.workspace / "surfaces"):
            if file.suffix != ".npz" or self._name(file) in known or not file.exists():
                continue
            id = file.name.partition(".")[0]  # ID.npz, and ID.xxxxxx.npz with the points of an analysis in it
            if id in files and files[id] is None and not self.restored:
                continue  # cut short between the file and its record: the rows are there, it is sealed again
            if files.get(id):
                self._out(file, f"surface {id} has another file, {files[id]}")
                continue
            self._adopt_surface(file, id, id in files)

    def _adopt_surface(self, file: Path, id: str, recorded: bool) -> None:
        try:
            surface = Surface.load(file)
            if not _ULID.match(id) or surface.meta.id not in ("", id):
                raise InputError(f"{file.name}: it says of itself that it is surface '{surface.meta.id}'")
        except InputError as e:
            self._out(file, _why(e))
            return
        if not recorded:
            record = SurfaceRecord(
                id=id,
                meta=surface.meta,
                width=len(surface.alpha),
                height=len(surface.beta),
                metrics=(),
                plane=surface.meta.plane.hash or None,
                name=surface.meta.name,
                created=surface.meta.created or _when(id),
            )
            self.tables.put_surface(record, surface.alpha.tobytes(), surface.beta.tobytes())
        if len(surface.path):
            self.tables.set_path(id, surface.path.tobytes())
        if len(surface.critical):
            known = self.tables.get_surface(id)
            self.tables.set_critical(id, surface.critical.tobytes(), (known and known.critical) or {})
        self.tables.seal(id, self._name(file), hash_of(file), surface.meta)
        self.adopted.append(self._name(file))


def _entries(folder: Path) -> Iterator[Path]:
    return iter(sorted(folder.iterdir())) if folder.is_dir() else iter(())


def _why(e: Exception) -> str:
    text = e.msg if isinstance(e, InputError) else f"what it says of itself cannot be read ({type(e).__name__}: {e})"
    return text.partition(": ")[2] or text


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _when(id: str) -> str:
    """The time in a ULID."""
    return ULID.from_str(id).datetime.isoformat(timespec="seconds")
