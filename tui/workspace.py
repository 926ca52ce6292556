"""The workspace folder as a person sees it: where it is, what is in it, and which thing a typed name means.

runs/<ULID>/step-NNNNNNNN.safetensors   planes/<sha256>.safetensors   surfaces/<ULID>.npz   logs/
"""

from __future__ import annotations

import json
import os
import re
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from protocol.errors import InputError

MAX_HEADER = 100 * 1024 * 1024  # safetensors' own bound
SHORT = 6  # characters of an id in a list


def locate(given: Path | None) -> Path:
    """The workspace: what was typed, else $THALWEG_WORKSPACE, else the platform's folder for user data."""
    if given is not None:
        return given.expanduser().absolute()
    from_environment = os.environ.get("THALWEG_WORKSPACE")
    if from_environment:
        return Path(from_environment).expanduser().absolute()
    import platformdirs  # 30 ms that `--help` does not need

    return platformdirs.user_data_path("thalweg")


@contextmanager
def folders(*wanted: Path, mode: int = 0o777) -> Iterator[None]:
    """Make folders for the block. Those it had to make and that are still empty go again when the block fails.

    Raises InputError where one cannot be made or written to, before the block runs.
    """
    made: list[Path] = []
    try:
        for folder in wanted:
            for part in [*reversed(folder.parents), folder]:
                if not part.exists():
                    _make(part, mode)
                    made.append(part)
            check_writable(folder)
        yield
    except BaseException:
        for part in reversed(made):
            if part.is_dir() and not any(part.iterdir()):
                part.rmdir()
        raise


def _make(folder: Path, mode: int) -> None:
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        pass
    except OSError as e:
        raise InputError(f"{folder}: cannot make this folder ({e.strerror}): choose another", code="unavailable") from e


def check_writable(folder: Path) -> None:
    """Raise InputError where no file can be written into an existing folder."""
    probe = folder / f".thalweg-{os.getpid()}.tmp"
    try:
        os.close(os.open(probe, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        probe.unlink()
    except OSError as e:
        why = "it is a file" if isinstance(e, NotADirectoryError) else e.strerror
        raise InputError(f"{folder}: cannot write into this folder ({why}): choose another", code="unavailable") from e


def about(file: Path) -> dict[str, Any]:
    """What a weight or plane file of this project says of itself, read from its header alone; {} for a foreign one.

    Raises InputError, naming the file, where it is absent or no safetensors file.
    """
    try:
        with open(file, "rb") as f:
            (length,) = struct.unpack("<Q", f.read(8))
            if length > min(MAX_HEADER, file.stat().st_size):
                raise ValueError("header too long")
            header = json.loads(f.read(length))
        said = json.loads(header.get("__metadata__", {}).get("thalweg", "{}"))
        return said if isinstance(said, dict) else {}
    except FileNotFoundError as e:
        raise InputError(f"{file}: expected a file there, found none", code="not_found") from e
    except (OSError, ValueError, struct.error, AttributeError) as e:
        raise InputError(
            f"{file}: corrupted, truncated or no safetensors file: make it again or restore it", code="integrity"
        ) from e


@dataclass(frozen=True)
class Workspace:
    """One workspace folder; it need not exist yet."""

    root: Path

    @property
    def logs(self) -> Path:
        """Where workers' logs go."""
        return self.root / "logs"

    @property
    def surfaces(self) -> Path:
        """Where sealed surfaces go."""
        return self.root / "surfaces"

    def run_ids(self) -> list[str]:
        """Ids of the runs, oldest first."""
        return sorted(f.name for f in _entries(self.root / "runs") if f.is_dir())

    def plane_ids(self) -> list[str]:
        """Hashes of the planes, oldest first."""
        files = [f for f in _entries(self.root / "planes") if f.suffix == ".safetensors" and f.stem[:1] != "."]
        return [f.stem for f in sorted(files, key=lambda f: (f.stat().st_mtime_ns, f.stem))]

    def surface_ids(self) -> list[str]:
        """Ids of the surfaces, oldest first; `ID.partial` for what a stopped one left."""
        names = {f.stem for f in _entries(self.surfaces) if f.suffix == ".npz" and f.stem[:1] != "."}
        return sorted({name if name.endswith(".partial") else name.partition(".")[0] for name in names})

    def checkpoints(self, run: str) -> list[Path]:
        """The checkpoint files of a run, first to last."""
        return sorted((self.root / "runs" / run).glob("step-*.safetensors"))

    def plane_file(self, plane: str) -> Path:
        """Where a plane's vectors are."""
        return self.root / "planes" / f"{plane}.safetensors"

    def surface_file(self, surface: str) -> Path:
        """Where a surface is: `ID.npz`, or `ID.xxxxxx.npz` once it was analysed."""
        plain = self.surfaces / f"{surface}.npz"
        analysed = () if plain.exists() else sorted(self.surfaces.glob(f"{surface}.??????.npz"))
        return analysed[-1] if analysed else plain

    def run(self, text: str) -> str:
        """The id of the run that `text` means: an id, its unique ending, or `last`."""
        return choose("run", text, self.run_ids(), f"train one with `thalweg train`, or look into {self.root}")

    def plane(self, text: str) -> str:
        """The hash of the plane that `text` means: a hash, its unique ending or beginning, or `last`."""
        return choose("plane", text, self.plane_ids(), f"cut one with `thalweg plane`, or look into {self.root}")

    def surface(self, text: str) -> str:
        """The id of the surface that `text` means: an id, its unique ending, or `last`."""
        return choose(
            "surface", text, self.surface_ids(), f"measure one with `thalweg surface`, or look into {self.root}"
        )

    def address(self, text: str) -> str:
        """The full address of a checkpoint: `RUN@step`, `RUN@last`, ... with the run's whole id, or a file's path."""
        if looks_like_file(text):
            file = Path(text).expanduser().absolute()
            about(file)  # refused here, before a worker is started for it
            return str(file)
        run, at, place = text.partition("@")
        return self.run(run) + (at + place if at else "@last")


def looks_like_file(text: str) -> bool:
    """Whether a typed reference means a file rather than an id."""
    return "/" in text or text.endswith((".safetensors", ".npz")) or Path(text).is_file()


def choose(what: str, text: str, known: Sequence[str], hint: str) -> str:
    """The one of `known` (oldest first) that ends or begins with `text`, upper or lower case; `last` is the newest.

    Raises InputError: `not_found`, or `ambiguous` with the candidates.
    """
    if not known:
        raise InputError(f"{what}: expected one, this workspace has none: {hint}", code="not_found")
    if text == "last":
        return known[-1]
    if not re.fullmatch(r"[0-9A-Za-z.]+", text):
        raise InputError(f"{what}: expected an id or its last characters, got '{text}'", code="not_found")
    wanted = text.lower()
    for found in (
        [k for k in known if k.lower().endswith(wanted)],
        [k for k in known if k.lower().startswith(wanted)],
    ):
        if len(found) == 1:
            return found[0]
        if found:
            raise InputError(
                f"{what}: '{text}' means {len(found)} of them, type more of one: {', '.join(found[:5])}"
                + (", ..." if len(found) > 5 else ""),
                code="ambiguous",
            )
    newest = ", ".join(k[-SHORT:] for k in reversed(known[-5:]))
    raise InputError(f"{what}: no id here ends with '{text}'; the newest are {newest}", code="not_found")


def _entries(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
