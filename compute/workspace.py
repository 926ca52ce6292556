"""Addresses into a workspace folder: `RUN@last` to a checkpoint's file, a run to its trajectory."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from compute.tensorfile import TensorFile, step_file, steps_of
from protocol.errors import InputError

MIN_SUFFIX = 4  # characters of an id that are accepted for the whole


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
        if Path(given).is_dir():
            return Path(given)
        known = [f.name for f in self.runs.iterdir() if f.is_dir()] if self.runs.is_dir() else []
        return self.runs / unique("run", given, known)

    def plane(self, given: str) -> Path:
        """The file of a plane by its hash or a unique end of it, or given as a path."""
        if Path(given).is_file():
            return Path(given)
        if "/" in given or given.endswith(".safetensors"):
            raise InputError(f"{given}: expected a plane's file, found no file there", code="not_found")
        known = [f.stem for f in self.planes.glob("*.safetensors")] if self.planes.is_dir() else []
        return self.planes / f"{unique('plane', given, known)}.safetensors"

    def checkpoint(self, address: str) -> Path:
        """The file of one checkpoint: `RUN@step`, `RUN@epoch:3`, `RUN@first`, `RUN@last`, or a file."""
        run, at, which = address.rpartition("@")
        if not at:
            if Path(address).is_dir():
                run, which = address, "last"
            else:
                return Path(address)
        folder = self.run(run)
        steps = steps_of(folder)
        if not steps:
            raise InputError(f"run {run}: it has no checkpoint yet", code="not_found")
        if which in ("first", "last"):
            return step_file(folder, steps[0 if which == "first" else -1])
        if which.startswith("epoch:"):
            for file in self._epochs(folder):
                if _about(file).get("epoch") == _number(which.removeprefix("epoch:")):
                    return file
            raise InputError(f"run {run}: it has no checkpoint of {which.replace(':', ' ')}", code="not_found")
        if which.isdigit() and int(which) in steps:
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
        return [f for f in files if float(_about(f).get("epoch", 0.0)).is_integer()]


def _about(file: Path) -> dict[str, float]:
    opened = TensorFile(file, check_hash=False)
    opened.close()
    return opened.about


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
