"""Addresses into a workspace folder: `RUN@last` to a checkpoint's file, a run to its trajectory."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from compute.tensorfile import TensorFile, step_file, steps_of
from protocol.errors import InputError

MIN_SUFFIX = 4  # characters of an id that are accepted for the whole
MAX_NUMBER = 18  # digits of a step or an epoch


def unique(what: str, given: str, known: Iterable[str]) -> str:
    """The one known id that is `given` or ends (a hash: or begins) with it. Raises InputError: `not_found`, or
    `ambiguous` with the candidates."""
    ids = sorted(known)
    if given in ids:
        return given
    near = [i for i in ids if len(given) >= MIN_SUFFIX and (i.lower().endswith(given.lower()) or i.startswith(given))]
    if len(near) == 1:
        return near[0]
    if near:
        raise InputError(f"{what} '{given}' is ambiguous: it could be {', '.join(near)}", code="ambiguous")
    have = f"the last are {', '.join(i[-6:] for i in ids[-5:])}" if ids else f"there is no {what} yet"
    raise InputError(
        f"{what} '{given}': expected a {what} of this workspace or a file, found none; {have}", code="not_found"
    )


@dataclass(frozen=True)
class Workspace:
    """The folder that holds runs and planes."""

    root: Path

    @property
    def runs(self) -> Path:
        return self.root / "runs"

    @property
    def planes(self) -> Path:
        return self.root / "planes"

    @property
    def surfaces(self) -> Path:
        return self.root / "surfaces"

    @property
    def exports(self) -> Path:
        return self.root / "exports"

    @property
    def uploads(self) -> Path:
        return self.root / "uploads"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    def run(self, given: str) -> Path:
        """The folder of a run by its id or a unique suffix of it, or given as a path."""
        if not given:
            raise InputError("run: expected the id of a run before the '@', or its folder, got nothing")
        if _is(Path.is_dir, given):
            return Path(given)
        known = [f.name for f in self.runs.iterdir() if f.is_dir()] if self.runs.is_dir() else []
        return self.runs / unique("run", given, known)

    def plane(self, given: str) -> Path:
        """The file of a plane by its hash or a unique end of it, or given as a path."""
        if _is(Path.is_file, given):
            return Path(given)
        if "/" in given or given.endswith(".safetensors"):
            raise InputError(f"{given}: expected a plane's file, found no file there", code="not_found")
        known = [f.stem for f in self.planes.glob("*.safetensors")] if self.planes.is_dir() else []
        return self.planes / f"{unique('plane', given, known)}.safetensors"

    def checkpoint(self, address: str) -> Path:
        """The file of one checkpoint: `RUN@step`, `RUN@epoch:3`, `RUN@first`, `RUN@last`, or a file."""
        run, at, which = address.rpartition("@")
        if not at:
            if _is(Path.is_dir, address):
                run, which = address, "last"
            else:
                return Path(address)
        folder = self.run(run)
        steps = steps_of(folder)
        if not steps:
            raise InputError(f"run {run}: it has no checkpoint yet", code="not_found")
        if which in ("first", "last"):
            return step_file(folder, steps[0 if which == "first" else -1])
        wanted = _number(which.removeprefix("epoch:")) if which.startswith("epoch:") else None
        if wanted is not None:
            for file in self._epochs(folder):
                if _epoch(file) == wanted:
                    return file
            raise InputError(f"run {run}: it has no checkpoint of epoch {wanted:g}", code="not_found")
        if which.isascii() and which.isdecimal() and len(which) <= MAX_NUMBER and int(which) in steps:
            return step_file(folder, int(which))
        raise InputError(
            f"checkpoint '{address}': expected RUN@first, RUN@last, RUN@epoch:N or RUN@STEP with a step of "
            f"{steps[0]} to {steps[-1]}",
            code="not_found",
        )

    def trajectory(self, given: str | tuple[str, ...]) -> list[Path]:
        """Checkpoint files, first to last: of one run (theta_0 and each epoch's end), or of a list of addresses."""
        if isinstance(given, str):
            folder = self.run(given)
            files = self._epochs(folder)
            if not files:
                raise InputError(f"run {given}: it has no checkpoint yet", code="not_found")
            return files
        return [self.checkpoint(a) for a in given]

    def _epochs(self, folder: Path) -> list[Path]:
        files = [step_file(folder, s) for s in steps_of(folder)]
        return [f for f in files if (epoch := _epoch(f)) is None or epoch.is_integer()]


def _is(kind: Callable[[Path], bool], given: str) -> bool:
    try:
        return kind(Path(given))
    except (OSError, ValueError):  # too long for a name, or none that a name can be
        return False


def _epoch(file: Path) -> float | None:
    """The epochs of a checkpoint, None where it does not say. Raises InputError for what is no number."""
    opened = TensorFile(file, check_hash=False)
    opened.close()
    if "epoch" not in opened.about:
        return None
    epoch = opened.about["epoch"]
    if isinstance(epoch, bool) or not isinstance(epoch, int | float) or abs(epoch) >= 10**MAX_NUMBER:
        raise InputError(
            f"{file}: expected its epoch to be a number, the file says {json.dumps(epoch)[:40]}: train it again or "
            "import it again",
            code="integrity",
        )
    return float(epoch)


def _number(text: str) -> float | None:
    try:
        number = float(text) if text.isascii() and len(text) <= MAX_NUMBER else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None
