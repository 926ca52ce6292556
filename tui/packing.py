"""Files on their way to an import job: a folder or a list of checkpoints becomes one archive for the upload."""

from __future__ import annotations

import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

from protocol.errors import InputError
from tui.workspace import about

MAX_BYTES = 64 * 2**30  # of an upload


@contextmanager
def packed(source: Path) -> Iterator[Path]:
    """The file itself, or a temporary archive of a folder's plain files. Raises InputError where there is neither."""
    if source.is_file():
        yield source
        return
    if not source.is_dir():
        raise InputError(f"{source}: expected a file or a folder, found nothing there", code="not_found")
    files = sorted(f for f in source.rglob("*") if f.is_file() and not f.is_symlink() and not f.name.startswith("."))
    if not files:
        raise InputError(f"{source}: expected files in this folder, found none", code="not_found")
    with archive([(f, f.relative_to(source).as_posix()) for f in files]) as made:
        yield made


@contextmanager
def checkpoints(files: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """An archive of checkpoint files in the order given, and the import's `order` that keeps it: by the steps that the
    files tell where these grow, else by name."""
    steps = [s if isinstance(s := about(f).get("step"), int) else -1 for f in files]
    growing = steps[0] >= 0 and all(a < b for a, b in pairwise(steps))
    with archive([(f, f"{k:05d}-{f.name}") for k, f in enumerate(files)]) as made:
        yield made, "steps" if growing else "names"


@contextmanager
def archive(files: Sequence[tuple[Path, str]]) -> Iterator[Path]:
    """A temporary tar of these files under these names."""
    if sum(f.stat().st_size for f, _ in files) > MAX_BYTES:
        raise InputError("import: expected at most 64 GiB in one upload: hand in fewer files", code="too_large")
    with tempfile.TemporaryDirectory(prefix="thalweg-") as folder:
        made = Path(folder) / "files.tar"
        try:
            with tarfile.open(made, "w") as tar:
                for file, name in files:
                    tar.add(file, arcname=name, recursive=False)
        except OSError as e:
            raise InputError(f"{e.filename or made}: cannot pack it ({e.strerror})", code="unavailable") from e
        yield made
