"""surface.npz and path.csv: read, check, write. Pure numpy; nothing is pickled.

`surface.npz` holds float64 `alpha (W,)`, `beta (H,)`, `loss (H, W)`, `accuracy`, `sem`, int64 `n (H, W)` (samples
seen; 0 means not measured, while a NaN loss with n > 0 is data: the point diverged), `meta` (JSON of `SurfaceMeta`),
and where known the structured arrays `path` and `critical`.
"""

from __future__ import annotations

import csv
import dataclasses
import errno
import io
import os
import secrets
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from protocol.errors import Code, InputError

PATH_DTYPE: Final = np.dtype(
    [("step", "<i8")]
    + [(c, "<f8") for c in ("epoch", "alpha", "beta", "off_plane", "loss_plane", "loss_weights", "loss_true")]
)
"""One row a checkpoint, first to last. NaN (an empty cell in the CSV) where not known or not computed."""

CRITICAL_DTYPE: Final = np.dtype(
    [
        ("kind", "<U8"),  # minimum, saddle or maximum
        ("i", "<i4"),
        ("j", "<i4"),
        ("alpha", "<f8"),
        ("beta", "<f8"),
        ("loss", "<f8"),
        ("multiplicity", "<i4"),
        ("persistence", "<f8"),
        ("pair", "<i4"),  # row of the partner, -1 without
        ("border", "|u1"),  # 1 on the border of the grid
        ("beside_hole", "|u1"),  # 1 where a neighbour diverged or was not measured
    ]
)
CRITICAL_KINDS: Final = ("minimum", "saddle", "maximum")
ADDED: Final = frozenset({"border", "beside_hole"})
"""Columns that came later, always at the end: a file without them reads as 0 there."""


class PlaneMeta(msgspec.Struct, frozen=True, kw_only=True):
    """How a plane was made and what is known of it."""

    kind: str = ""  # random, pca, ...
    hash: str = ""
    origin: str = ""  # what theta* is: an address, a file's name, "model"
    options: dict[str, Any] = {}
    seed: int | None = None
    norms: tuple[float, float] | None = None  # Euclidean norms of delta and eta
    cosine: float | None = None  # cos(delta, eta)
    explained_variance_ratio: tuple[float, float] | None = None
    random_walk_ratio: tuple[float, float] | None = None  # the same of a random walk of as many steps
    checkpoints: int | None = None


class SurfaceMeta(msgspec.Struct, frozen=True, kw_only=True):
    """Where a surface comes from. Every field has a default, so that imported surfaces need not invent any."""

    format: int = 1
    id: str = ""
    name: str = ""
    plane: PlaneMeta = PlaneMeta()
    model: str = ""
    model_options: dict[str, Any] = {}
    data: str = ""  # data set name, or what the caller gave
    split: str = ""
    samples: int = 0  # N, the samples of the chosen split after `limit`
    limit: int | None = None
    seed: int | None = None  # of the sample and the permutation
    loss: str = "cross_entropy"
    metrics: tuple[str, ...] = ()
    batch_norm: str = "frozen"
    calibration: str = ""
    calibration_samples: int | None = None
    precision: str = "fp32"
    # Largest relative deviation from fp32 over a fixed sample of points; None for fp32. JSON has no infinity.
    precision_deviation: float | Literal["inf", "unknown"] | None = None
    passes: str = "1"
    passes_done: int = 0
    execution: dict[str, Any] = {}
    versions: dict[str, str] = {}
    created: str = ""  # ISO 8601, UTC
    seconds: float | None = None
    note: str = ""


def _empty_path() -> NDArray[np.void]:
    return np.zeros(0, dtype=PATH_DTYPE)


def _empty_critical() -> NDArray[np.void]:
    return np.zeros(0, dtype=CRITICAL_DTYPE)


@dataclass(frozen=True, kw_only=True, eq=False)
class Surface:
    """A set of metrics on a grid over a plane; arrays of shape (H, W) with Z[i, j] = f(alpha[j], beta[i])."""

    alpha: NDArray[np.float64]
    beta: NDArray[np.float64]
    loss: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    sem: NDArray[np.float64]
    n: NDArray[np.int64]
    meta: SurfaceMeta = field(default_factory=SurfaceMeta)
    path: NDArray[np.void] = field(default_factory=_empty_path)
    critical: NDArray[np.void] = field(default_factory=_empty_critical)

    def __post_init__(self) -> None:
        for name in ("alpha", "beta"):
            values = getattr(self, name)
            if values.ndim != 1 or len(values) < 2 or not (np.isfinite(values).all() and np.all(np.diff(values) > 0)):
                raise InputError(f"surface: expected '{name}' to be an increasing list of at least 2 finite numbers")
        for name in ("loss", "accuracy", "sem", "n"):
            if getattr(self, name).shape != self.shape:
                raise InputError(
                    f"surface: expected '{name}' of shape {self.shape} (beta by alpha), got {getattr(self, name).shape}"
                )

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W): rows of beta by columns of alpha."""
        return len(self.beta), len(self.alpha)

    def with_path(self, path: NDArray[Any]) -> Surface:
        """This surface with a projected path (the columns of path.csv)."""
        return dataclasses.replace(self, path=np.asarray(path).astype(PATH_DTYPE))

    def save(self, file: str | os.PathLike[str]) -> Path:
        """Write surface.npz, whole or not at all (temporary file, fsync, rename)."""
        arrays: dict[str, NDArray[Any]] = {
            "alpha": np.asarray(self.alpha, "<f8"),
            "beta": np.asarray(self.beta, "<f8"),
            "loss": np.asarray(self.loss, "<f8"),
            "accuracy": np.asarray(self.accuracy, "<f8"),
            "sem": np.asarray(self.sem, "<f8"),
            "n": np.asarray(self.n, "<i8"),
            "meta": np.array(msgspec.json.encode(self.meta).decode()),
        }
        if len(self.path):
            arrays["path"] = self.path
        if len(self.critical):
            arrays["critical"] = self.critical
        with replacing(file) as out:
            np.savez_compressed(out, **arrays)  # type: ignore[arg-type]  # its stub knows one keyword
        return Path(file)

    @classmethod
    def load(cls, file: str | os.PathLike[str]) -> Surface:
        """Read surface.npz and check it. Raises InputError, naming the file, for anything that is not one."""
        arrays = _load_npz(file)
        missing = sorted({"alpha", "beta", "loss"} - arrays.keys())
        if missing:
            raise InputError(f"{file}: not a surface: expected the array '{missing[0]}' in it", code="integrity")
        shape = arrays["loss"].shape
        try:
            meta = msgspec.json.decode(str(arrays["meta"]), type=SurfaceMeta) if "meta" in arrays else SurfaceMeta()
            nan = np.full(shape, np.nan)
            return cls(
                alpha=np.asarray(arrays["alpha"], np.float64),
                beta=np.asarray(arrays["beta"], np.float64),
                loss=np.asarray(arrays["loss"], np.float64),
                accuracy=np.asarray(arrays.get("accuracy", nan), np.float64),
                sem=np.asarray(arrays.get("sem", nan), np.float64),
                n=np.asarray(arrays.get("n", np.ones(shape)), np.int64),
                meta=meta,
                path=_structured(arrays.get("path"), PATH_DTYPE),
                critical=_structured(arrays.get("critical"), CRITICAL_DTYPE),
            )
        except (ValueError, TypeError, msgspec.MsgspecError) as e:
            raise InputError(f"{file}: not a readable surface: {e}", code="integrity") from e


def _structured(array: NDArray[Any] | None, dtype: np.dtype[np.void]) -> NDArray[np.void]:
    if array is None:
        return np.zeros(0, dtype)
    names, known = array.dtype.names or (), dtype.names or ()
    if names != known[: len(names)] or not ADDED.issuperset(known[len(names) :]) or array.ndim != 1:
        raise InputError(f"expected a list with the columns {', '.join(known)}")
    out = np.zeros(len(array), dtype)
    for name in names:
        out[name] = array[name]
    return out


IMPORTED: Final = frozenset({".ply", ".csv"})  # surfaces of other programs


def _load_npz(file: str | os.PathLike[str]) -> dict[str, NDArray[Any]]:
    if not Path(file).is_file():
        raise InputError(f"{file}: expected a surface file (.npz), found no file there", code="not_found")
    ending = Path(file).suffix.lower()
    if ending in IMPORTED:
        raise InputError(
            f"{file}: expected a surface file (.npz), got a {ending} file: run `thalweg import {file}`, "
            f"then give the surface's name, {Path(file).name.partition('.')[0]}"
        )
    try:
        with np.load(file, allow_pickle=False) as z:
            if not isinstance(z, np.lib.npyio.NpzFile):
                raise ValueError("one bare array")
            return {name: z[name] for name in z.files}
    except (ValueError, EOFError, OSError, KeyError, zipfile.BadZipFile, NotImplementedError) as e:
        raise InputError(
            f"{file}: expected a surface file (.npz), but it is corrupted, truncated or of another kind: "
            "compute or copy it again",
            code="integrity",
        ) from e
    except Exception as e:  # zlib.error and struct.error have no common base; damage of any sort is one answer
        raise InputError(f"{file}: corrupted: {type(e).__name__}: compute or copy it again", code="integrity") from e


@contextmanager
def replacing(file: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """A binary file that takes `file`'s place when the block ends well, and leaves no trace when it does not.

    Temporary file in the same folder, fsync, rename, fsync of the folder.
    """
    target = Path(file)
    tmp = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        out = open(tmp, "wb")  # noqa: SIM115 - closed by the `with` below; only opening is refused in a sentence here
    except OSError as e:
        raise InputError(
            f"{target}: cannot write there ({e.strerror}): choose another folder", code="unavailable"
        ) from e
    try:
        with out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        os.replace(tmp, target)
        sync_folder(target.parent)
    except OSError as e:
        tmp.unlink(missing_ok=True)
        code: Code = "no_space" if no_room(e) else "unavailable"
        raise InputError(f"{target}: cannot write it ({e.strerror})", code=code) from e
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise


def no_room(e: BaseException) -> bool:
    """Whether an error means that the disk, or what one may use of it, is full."""
    return isinstance(e, OSError) and e.errno in (errno.ENOSPC, errno.EDQUOT)


def sync_folder(folder: Path) -> None:
    """Make a rename in `folder` durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_path_csv(file: str | os.PathLike[str], path: NDArray[np.void], plane: PlaneMeta) -> Path:
    """Write *-path.csv: `# plane: KIND HASH`, the header, one row a checkpoint; empty where not computed."""
    text = io.StringIO()
    text.write(f"# plane: {plane.kind} {plane.hash}\n")
    writer = csv.writer(text, lineterminator="\n")
    names = PATH_DTYPE.names or ()
    writer.writerow(names)
    cell: Callable[[Any], str] = lambda v: "" if v != v else repr(v)  # noqa: E731 - NaN is the only v != v
    for row in path:
        writer.writerow([cell(row[name].item()) for name in names])
    with replacing(file) as out:
        out.write(text.getvalue().encode())
    return Path(file)


def read_path_csv(file: str | os.PathLike[str]) -> NDArray[np.void]:
    """Read *-path.csv, or the seed's header-less `x,y` file (first epoch first), as a structured array."""
    if not Path(file).is_file():
        raise InputError(f"{file}: expected a path file (.csv), found no file there", code="not_found")
    try:
        lines = [
            line for line in Path(file).read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")
        ]
        rows = list(csv.reader(lines))
        names = list(PATH_DTYPE.names or ())
        if rows and rows[0] == names:
            rows = rows[1:]
        elif rows and all(len(r) == 2 for r in rows):
            rows = [[str(k), "", r[0], r[1], "", "", "", ""] for k, r in enumerate(rows)]
        out = np.zeros(len(rows), PATH_DTYPE)
        for k, row in enumerate(rows):
            if len(row) != len(names):
                raise ValueError(f"row {k + 1} has {len(row)} columns")
            out[k] = (int(row[0]), *(float(v) if v else np.nan for v in row[1:]))
        return out
    except (ValueError, OverflowError) as e:  # UnicodeDecodeError is a ValueError
        raise InputError(
            f"{file}: expected the columns {','.join(PATH_DTYPE.names or ())}, or two columns x,y ({e})",
            code="integrity",
        ) from e
