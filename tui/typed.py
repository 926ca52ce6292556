"""Specs as they are typed: the words of `thalweg train ...` for a spec, so that the command gives the same spec again.

Raises InputError where the command line has no words for it (a plane through a list of checkpoints).
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from protocol.errors import InputError
from protocol.grid import AxisSpec
from protocol.messages import (
    PRESETS,
    AnalysisSpec,
    Execution,
    ExportSpec,
    ImportSpec,
    PlaneSpec,
    Recipe,
    SurfaceSpec,
    TrainSpec,
)
from tui.fields import number, plain

ONE_BY_ONE = {"model_options": "model-option", "metrics": "metric"}
SPEC = re.compile(r"^\$\.(?:jobs\[(?P<job>\d+)\]\.)?(?:spec\.)?")


def inner(path: str | None) -> str | None:
    """A path of the wire within the spec: `$.jobs[0].spec.grid.alpha.count` -> `grid.alpha.count`. None for none."""
    if not path:
        return None
    return re.sub(r"\[\d+\]", "", SPEC.sub("", path)).strip("$.")


def job_of(path: str | None) -> int:
    """Which job of a submission a path concerns."""
    found = SPEC.match(path or "")
    return int(found["job"] or 0) if found else 0


def line(words: Sequence[str]) -> str:
    """The command line, quoted for a shell."""
    return " ".join(shlex.quote(w) for w in ("thalweg", *words))


def changes(value: Struct, base: Struct, leave_out: Sequence[str] = ()) -> list[str]:
    """The flags for what is different in `value`. Raises InputError for what no flag says."""
    words: list[str] = []
    for name in value.__struct_fields__:
        now, before = getattr(value, name), getattr(base, name)
        if now == before or name in leave_out:
            continue
        flag = "--" + ONE_BY_ONE.get(name, name).replace("_", "-")
        if isinstance(now, bool):
            words.append(flag if now else "--no-" + flag[2:])
        elif isinstance(now, Mapping):
            words += pairs(flag, now)
        elif isinstance(now, tuple) and now:
            for one in now:
                words += [flag, str(one)]
        elif now is None or now == ():
            raise InputError(f"{flag}: the command line has no word for nothing, where it was {before}")
        else:
            words += flagged(flag, number(now) if isinstance(now, float) else str(now))
    return words


def flagged(flag: str, value: str) -> list[str]:
    """`--flag value`, or `--flag=value` where the value would be read as a flag itself."""
    return [f"{flag}={value}"] if value.startswith("-") else [flag, value]


def pairs(flag: str, options: Mapping[str, Any]) -> list[str]:
    """A `--flag NAME=VALUE` for each option."""
    words: list[str] = []
    for name, value in options.items():
        words += [flag, f"{name}={plain(value)}"]
    return words


def execution(on: Execution) -> list[str]:
    """The flags of how a job runs."""
    return changes(on, Execution())


def train(spec: TrainSpec, preset: str = "") -> list[str]:
    """`train --preset demo --epochs 20`: from the preset where that can be said, else from the defaults."""
    recipe = spec.recipe
    if preset in PRESETS:
        try:
            return ["train", "--preset", preset, *changes(recipe, PRESETS[preset])]
        except InputError:
            pass  # a preset's value taken away: said in full
    start = Recipe()
    return [
        "train", "--model", recipe.model, "--dataset", recipe.dataset,
        *changes(recipe, start, ("model", "dataset")),
    ]  # fmt: skip


def plane(spec: PlaneSpec) -> list[str]:
    """`plane --run RUN --direction pca --no-centre`."""
    if not isinstance(spec.trajectory, str) or spec.recipe is not None:
        raise InputError("copy: the command line cuts planes through runs; this one goes through a list of checkpoints")
    run, at, which = (spec.origin or spec.trajectory).partition("@")
    if run != spec.trajectory:
        raise InputError("copy: the command line cuts planes through checkpoints of the same run")
    address = run if which == "last" and spec.direction != "pca" else run + at + which
    words = ["plane", "--run", address, "--direction", spec.direction]
    for name, value in spec.options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words.append(flag if value else "--no-" + flag[2:])
        else:
            words += flagged(flag, str(value))
    return words


def surface(spec: SurfaceSpec) -> list[str]:
    """`surface PLANE --grid 51 --alpha=-1:1 --passes grow`."""
    if not isinstance(spec.path, str | None):
        raise InputError("copy: the command line projects the path of a run; this one is a list of checkpoints")
    words = ["surface", spec.plane]
    a, b = spec.grid.alpha, spec.grid.beta
    if (a.count, b.count) != (AxisSpec().count, AxisSpec().count):
        words += ["--grid", f"{a.count}" if a.count == b.count else f"{a.count}x{b.count}"]
    for name, axis in (("alpha", a), ("beta", b)):
        if axis.lo is not None and axis.hi is not None:
            words.append(f"--{name}={number(axis.lo)}:{number(axis.hi)}")
    if spec.path is not None:
        words += ["--path", spec.path]
    if spec.data is not None:
        words += ["--dataset", spec.data]
    base = SurfaceSpec(plane=spec.plane)
    words += changes(spec, base, ("plane", "path", "grid", "data", "passes", "until"))
    words += ["--passes", str(spec.passes)]  # always: where it is not typed a daemon may have a default of its own
    if spec.until is not None:
        words += ["--until", f"sem={number(spec.until)}"]
    return words


def analysis(spec: AnalysisSpec) -> list[str]:
    """`analyze SURFACE --threshold 0.05`."""
    if spec.analysis != "critical" or spec.options.keys() - {"threshold"}:
        raise InputError(f"copy: the command line has no words for the analysis {spec.analysis} with these options")
    threshold = spec.options.get("threshold", "auto")
    shown = [] if threshold == "auto" else flagged("--threshold", number(threshold))
    return ["analyze", spec.target, *shown]


def export(spec: ExportSpec, out: str = ".") -> list[str]:
    """`export SURFACE --format ply --option path=false`."""
    words = ["export", spec.target, "--format", spec.format, *pairs("--option", spec.options)]
    return words if out in ("", ".") else [*words, *flagged("--out", out)]


def importing(spec: ImportSpec, file: str) -> list[str]:
    """`import FILE --format csv`; the file is that of this machine."""
    options = dict(spec.options)
    recipe = msgspec.convert(options.pop("recipe", None) or {}, Recipe)
    foreign = changes(recipe, Recipe()) if "recipe" in spec.options else []
    if "recipe" in spec.options and "--model" not in foreign and "--dataset" not in foreign:
        foreign += ["--model", recipe.model]
    return ["import", file, "--format", spec.format, *pairs("--option", options), *foreign]


def command(spec: Any, file: str = "") -> str:
    """The command line of any spec."""
    match spec:
        case TrainSpec():
            near = min(PRESETS, key=lambda name: len(_tried(spec, name)))
            full, short = train(spec), _tried(spec, near)
            return line(short if len(short) < len(full) else full)
        case PlaneSpec():
            return line(plane(spec))
        case SurfaceSpec():
            return line(surface(spec))
        case AnalysisSpec():
            return line(analysis(spec))
        case ExportSpec():
            return line(export(spec))
        case _:
            return line(importing(spec, file))


def _tried(spec: TrainSpec, preset: str) -> list[str]:
    return train(spec, preset)
