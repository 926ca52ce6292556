"""`thalweg runs|planes|surfaces list|show`: what the workspace holds, read from the files' own headers."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter
from ulid import ULID

from protocol.errors import InputError
from protocol.files import PlaneMeta, Surface
from protocol.messages import Recipe
from tui import progress, session
from tui.outcome import cosine_text
from tui.session import Common
from tui.tables import table, tell
from tui.verbs.surface import summary, surface_lines
from tui.workspace import SHORT, Workspace, about, looks_like_file

DAMAGED = "damaged"


def when(identifier: str) -> str:
    """The minute at which a ULID was made, local time."""
    try:
        return ULID.from_str(identifier[:26]).datetime.astimezone().strftime("%Y-%m-%d %H:%M")
    except ValueError:
        return "-"


# ---------------------------------------------------------------- runs


def runs_list(*, common: Common | None = None) -> None:
    """List the runs, newest last."""
    common = session.common(common)
    place = common.place()
    rows = [run_row(place, run) for run in place.run_ids()]
    if common.json:
        for row in rows:
            progress.print_json(row)
        return
    table(
        ("run", "made", "model", "data", "epochs", "test loss", "test accuracy", "checkpoints"),
        [
            (
                row["run"][-SHORT:],
                when(row["run"]),
                row["model"],
                row["dataset"],
                f"{row['epoch']:g}/{row['epochs']}" if row["epochs"] else "-",
                number(row["metrics"].get("test_loss")),
                percent(row["metrics"].get("test_accuracy")),
                str(row["checkpoints"]),
            )
            for row in rows
        ],
        empty=f"no run in {place.root}: train one with `thalweg train --preset demo`",
    )


def run_row(place: Workspace, run: str) -> dict[str, Any]:
    """What the newest checkpoint of a run says."""
    files = place.checkpoints(run)
    row: dict[str, Any] = {"run": run, "model": "-", "dataset": "-", "epoch": 0.0, "epochs": 0, "step": 0}
    row |= {"metrics": {}, "checkpoints": len(files)}
    if files:
        try:
            said = about(files[-1])
        except InputError:
            return {**row, "model": DAMAGED}
        recipe = said.get("recipe", {})
        row |= {"model": recipe.get("model", "-"), "dataset": recipe.get("dataset", "-")}
        row |= {"epochs": recipe.get("epochs", 0), "epoch": said.get("epoch", 0.0), "step": said.get("step", 0)}
        row["metrics"] = said.get("metrics", {})
    return row


def runs_show(
    run: Annotated[str, Parameter(help="Run: its id, the last characters of it, or `last`.")],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Show one run."""
    common = session.common(common)
    place = common.place()
    run = place.run(run)
    said = [about(file) for file in place.checkpoints(run)]
    recipe = said[-1].get("recipe", {}) if said else {}
    folder = place.root / "runs" / run
    if common.json:
        progress.print_json({"run": run, "folder": str(folder), "recipe": recipe, "checkpoints": said})
        return
    print(f"run {run}, made {when(run)}\n  {folder}\n")
    defaults = msgspec.to_builtins(Recipe())
    for name, value in recipe.items():
        if value not in (None, {}):
            print(
                f"  {name.replace('_', ' '):<17}{value}{'' if value == defaults.get(name) else '  (not the default)'}"
            )
    print()
    table(
        ("step", "epoch", "train loss", "train accuracy", "test loss", "test accuracy"),
        [
            (
                str(s.get("step", "-")),
                f"{s.get('epoch', 0):g}",
                number(s.get("metrics", {}).get("train_loss")),
                percent(s.get("metrics", {}).get("train_accuracy")),
                number(s.get("metrics", {}).get("test_loss")),
                percent(s.get("metrics", {}).get("test_accuracy")),
            )
            for s in said
        ],
        empty="no checkpoint",
    )


# ---------------------------------------------------------------- planes


def planes_list(*, common: Common | None = None) -> None:
    """List the planes, newest last."""
    common = session.common(common)
    place = common.place()
    rows = [(plane, plane_meta(place, plane)) for plane in place.plane_ids()]
    if common.json:
        for plane, meta in rows:
            progress.print_json({"plane": plane, "meta": meta})
        return
    table(
        ("plane", "made", "kind", "explains", "cosine", "through"),
        [
            (
                plane[-SHORT:],
                file_time(place.plane_file(plane)),
                DAMAGED if meta is None else meta.kind or "-",
                percent(
                    None if meta is None or not meta.explained_variance_ratio else sum(meta.explained_variance_ratio)
                ),
                "-" if meta is None or meta.cosine is None else cosine_text(meta.cosine),
                "-" if meta is None else short_origin(meta.origin),
            )
            for plane, meta in rows
        ],
        empty=f"no plane in {place.root}: cut one with `thalweg plane --run last --direction pca`",
    )


def plane_meta(place: Workspace, plane: str) -> PlaneMeta | None:
    """How a plane was made, as its file says; None where the file is damaged."""
    try:
        said = about(place.plane_file(plane))
        return msgspec.convert(said.get("plane"), PlaneMeta)
    except (InputError, msgspec.ValidationError):
        return None


def planes_show(
    plane: Annotated[str, Parameter(help="Plane: its id, the last characters of it, or `last`.")],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Show one plane."""
    common = session.common(common)
    place = common.place()
    plane = place.plane(plane)
    about(place.plane_file(plane))
    meta = plane_meta(place, plane)
    if meta is None:
        raise InputError(f"{place.plane_file(plane)}: does not say how it was made: cut it again", code="integrity")
    if common.json:
        progress.print_json({"plane": plane, "file": str(place.plane_file(plane)), "meta": meta})
        return
    tell([f"plane {plane}", f"  {place.plane_file(plane)}", *(f"  {line}" for line in plane_lines(meta))])


def plane_lines(meta: PlaneMeta) -> list[str]:
    """What a plane is, as sentences for a person."""
    lines = [f"{meta.kind} plane through {meta.origin or 'the trained weights'}"]
    if meta.options:
        lines.append("options: " + ", ".join(f"{k} {v}" for k, v in meta.options.items()))
    if meta.norms:
        cosine = "" if meta.cosine is None else f", cosine between them {cosine_text(meta.cosine)}"
        lines.append(f"norms of the directions {meta.norms[0]:.4g} and {meta.norms[1]:.4g}{cosine}")
    if meta.explained_variance_ratio:
        lines.append(explained_text(meta))
    return lines


def explained_text(meta: PlaneMeta) -> str:
    """The explained variance beside what a random walk gives, because a high ratio alone means little."""
    a, b = meta.explained_variance_ratio or (0.0, 0.0)
    text = f"explains {100 * a:.1f} % + {100 * b:.1f} % = {100 * (a + b):.1f} % of the path's variance"
    if meta.random_walk_ratio:
        text += f"; a random walk of as many steps gives {100 * sum(meta.random_walk_ratio):.1f} %"
    return text


# ---------------------------------------------------------------- surfaces


def surfaces_list(*, common: Common | None = None) -> None:
    """List the surfaces of the workspace, newest last."""
    common = session.common(common)
    place = common.place()
    rows: list[tuple[str, Surface | None, dict[str, Any]]] = []
    for name in place.surface_ids():
        try:
            loaded = Surface.load(place.surface_file(name))
            rows.append((name, loaded, summary(loaded)))
        except InputError:
            rows.append((name, None, {}))
    if common.json:
        for name, surface, said in rows:
            meta = None if surface is None else surface.meta
            progress.print_json({"surface": name, "meta": meta, **said})
        return
    table(
        ("surface", "made", "plane", "model", "data", "points", "lowest loss"),
        [
            (
                name[-SHORT:] if "." not in name else name[20:],
                when(name),
                DAMAGED if surface is None else f"{surface.meta.plane.kind} {surface.meta.plane.hash[-SHORT:]}",
                "-" if surface is None else surface.meta.model or "-",
                "-" if surface is None else f"{surface.meta.data} {surface.meta.split}",
                "-" if surface is None else f"{surface.shape[1]}x{surface.shape[0]}",
                number((said.get("minimum") or {}).get("loss")),
            )
            for name, surface, said in rows
        ],
        empty=f"no surface in {place.root}: measure one with `thalweg surface last`",
    )


def surfaces_show(
    surface: Annotated[str, Parameter(help="Surface: a file (.npz), an id, the last characters of it, or `last`.")],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Show one surface."""
    common = session.common(common)
    place = common.place()
    file = Path(surface).expanduser() if looks_like_file(surface) else place.surface_file(place.surface(surface))
    loaded = Surface.load(file)
    if common.json:
        progress.print_json({"file": str(file), "meta": loaded.meta, **summary(loaded)})
        return
    meta = loaded.meta
    said = [*surface_lines(loaded), *plane_lines(meta.plane)]
    tell([f"surface {meta.id or file.name}", f"  {file}", *(f"  {line}" for line in said)])
    took = "" if meta.seconds is None else f", measured in {progress.seconds_text(meta.seconds)}"
    print(f"  {meta.model or 'unknown model'}, batch norm {meta.batch_norm}, {meta.precision}{took}")


# ---------------------------------------------------------------- words


def number(value: Any) -> str:
    """Four figures, or a dash; a NaN that was stored as text stays `nan`."""
    return "-" if value is None else progress.number_text(float(value))


def percent(value: Any) -> str:
    """`81.2 %`, or a dash."""
    return "-" if value is None else f"{100 * float(value):.1f} %"


def file_time(file: Path) -> str:
    """The minute at which a file was written, local time."""
    return datetime.fromtimestamp(file.stat().st_mtime).strftime("%Y-%m-%d %H:%M")


def short_origin(origin: str) -> str:
    """`01K...4F2K9A@last` as `4F2K9A@last`; a file's name without its folder."""
    run, at, place = origin.partition("@")
    return f"{run[-SHORT:]}{at}{place}" if at else Path(origin).name or "-"
