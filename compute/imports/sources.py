"""The files of what was handed in: one file, a folder, or an archive of one, unpacked into a temporary folder.

An archive can name any path and claim any size. Only plain files below the archive's own top are taken (a link, a
device, an absolute path or one with `..` is refused), and only while they fit the disk.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from protocol.errors import InputError

MAX_FILES = 100_000
SPARE = 64 << 20  # bytes of disk left free
CHUNK = 1 << 20


@contextmanager
def opened(source: Path, scratch: Path | None = None) -> Iterator[list[Path]]:
    """The plain files of `source`, hidden ones left out, sorted by path. An archive is unpacked below `scratch`
    (default: the system's temporary folder) and removed when the block ends."""
    if source.is_dir():
        yield _visible(source)
    elif not source.is_file():
        raise InputError(f"{source}: expected a file, a folder or an archive, found nothing there", code="not_found")
    elif _is_archive(source):
        with tempfile.TemporaryDirectory(prefix=".unpacked-", dir=scratch) as folder:
            try:
                _unpack(source, Path(folder))
            except InputError:
                raise
            except Exception as e:  # the decoders' errors have no common base; damage of any sort is one answer
                if isinstance(e, OSError) and e.errno is not None:
                    raise InputError(f"{source}: cannot unpack it ({e.strerror})", code="unavailable") from e
                raise InputError(
                    f"{source}: corrupted or truncated archive ({type(e).__name__}): copy it again", code="integrity"
                ) from e
            try:
                yield _visible(Path(folder))
            except InputError as e:  # name the file as it is called in the archive
                raise InputError(e.msg.replace(f"{folder}/", f"{source}/"), code=e.code, path=e.path) from e
    else:
        yield [source]


def one(files: list[Path], source: Path, ending: str) -> Path:
    """The one file with this ending; a single file is taken whatever its name."""
    found = files if len(files) == 1 else [f for f in files if f.suffix.lower() == ending]
    if len(found) != 1:
        names = ", ".join(f.name for f in found[:5]) or "none"
        raise InputError(f"{source}: expected one {ending} file in it, found {names}: hand in one at a time")
    return found[0]


def _visible(folder: Path) -> list[Path]:
    files = sorted(f for f in folder.rglob("*") if f.is_file())
    return [
        f for f in files if not any(p.startswith(".") or p == "__MACOSX" for p in f.relative_to(folder).parts)
    ]  # fmt: skip


def _is_archive(source: Path) -> bool:
    try:
        return zipfile.is_zipfile(source) or (source.stat().st_size > 0 and tarfile.is_tarfile(source))
    except Exception:  # it began like one: `_unpack` says what is wrong
        return True


def _unpack(source: Path, folder: Path) -> None:
    if zipfile.is_zipfile(source):
        with zipfile.ZipFile(source) as z:
            inside = [i for i in z.infolist() if not i.is_dir()]
            _check(source, folder, [(i.filename, i.file_size) for i in inside])
            for i in inside:
                with z.open(i) as stream:
                    _write(stream, folder / i.filename)
        return
    with tarfile.open(source) as t:
        members = [m for m in t.getmembers() if not m.isdir()]
        for m in members:
            if not m.isfile():
                raise InputError(f"{source}: expected plain files, found '{m.name}', which is a link or device")
        _check(source, folder, [(m.name, m.size) for m in members])
        for m in members:
            piece = t.extractfile(m)
            assert piece is not None  # it is a file
            with piece:
                _write(piece, folder / m.name)
        while t.fileobj is not None and t.fileobj.read(CHUNK):
            pass  # to the end of the stream, where compressed ones keep their checksum


def _check(source: Path, folder: Path, files: list[tuple[str, int]]) -> None:
    for name, _ in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or "\\" in name or ":" in name:
            raise InputError(f"{source}: expected paths below its top, found '{name}': pack it again")
    if len(files) > MAX_FILES:
        raise InputError(f"{source}: expected at most {MAX_FILES:,} files, found {len(files):,}", code="too_large")
    need, free = sum(size for _, size in files), shutil.disk_usage(folder).free - SPARE
    if need > free:
        raise InputError(
            f"{source}: unpacking takes {need / 2**20:,.0f} MiB, there are {max(0, free) / 2**20:,.0f} free: "
            "make some room",
            code="no_space",
        )


def _write(stream: IO[bytes], target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with open(target, "xb") as out:
        shutil.copyfileobj(stream, out, CHUNK)
