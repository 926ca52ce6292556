"""`thalweg runs|planes|surfaces list|show|delete`: what the daemon's store holds."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from protocol.errors import InputError
from protocol.exchange import new_id
from protocol.files import PlaneMeta, Surface
from protocol.messages import Recipe
from protocol.requests import PlaneDelete, Request, RunDelete, SurfaceDelete
from tui import progress, reach, session, things
from tui.outcome import cosine_text
from tui.session import Common
from tui.tables import table, tell
from tui.verbs.surface import summary, surface_lines
from tui.workspace import SHORT, looks_like_file

Limit = Annotated[int, Parameter(help="How many of the newest.")]
Run = Annotated[str, Parameter(help="Run: its id, the last characters of it, its name, or `last`.")]
Plane = Annotated[str, Parameter(help="Plane: its id, the last characters of it, its name, or `last`.")]
Things = Annotated[
    list[str], Parameter(negative=(), help="Ids, the last characters of them, names, or `last`; one or more.")
]
Yes = Annotated[bool, Parameter(negative=(), show_default=False, help="Do not ask.")]


def records(common: Common, what: str, limit: int) -> list[dict[str, Any]]:
    """Records of runs, planes or surfaces, newest last; none where the workspace is not there yet."""
    if limit < 1:
        raise InputError(f"--limit: expected at least 1, got {limit}")
    with reach.maybe(common) as there:
        found = [] if there is None else list(things.newest(there.client, what, limit))
    return found[::-1]


def delete(common: Common | None, what: str, typed: list[str], yes: bool, kind: type[Request]) -> None:
    """Delete things: all are found, and a person on a terminal is asked, before the first one goes."""
    common = session.common(common)
    with reach.daemon(common) as there:
        found = {r["id"]: r for r in (things.thing(there.client, what, t) for t in typed)}
        shown = ", ".join(short(r) for r in found.values())
        session.ask(f"delete {what}{'s' if len(found) > 1 else ''} {shown} and the files?", yes)
        for id, record in found.items():
            there.client.request(kind(id=new_id(), **{what: id}))
            if common.json:
                progress.print_json({"t": "result", "deleted": what, "id": id})
            else:
                print(f"{what} {short(record)} is deleted")


def short(record: dict[str, Any]) -> str:
    """The end of an id (a plane's hash), and the name."""
    name = f" '{record['name']}'" if record.get("name") else ""
    return f"{record.get('hash', record['id'])[-SHORT:]}{name}"


# ---------------------------------------------------------------- runs


def runs_list(*, limit: Limit = 50, common: Common | None = None) -> None:
    """List the runs, newest last."""
    common = session.common(common)
    rows = records(common, "run", limit)
    if common.json:
        for row in rows:
            progress.print_json(row)
        return
    named = any(row["name"] for row in rows)
    table(
        ("run", "made", "model", "data", "epochs", "test loss", "test acc", *(["name"] * named)),
        [
            (
                row["id"][-SHORT:],
                when(row["created"]),
                row["recipe"]["model"],
                row["recipe"]["dataset"],
                f"{row['epochs_done']}/{row['recipe']['epochs']}",
                number(row["metrics"].get("test_loss")),
                percent(row["metrics"].get("test_accuracy")),
                *([row["name"] or "-"] * named),
            )
            for row in rows
        ],
        empty="no run yet: train one with `thalweg train --preset demo`",
    )


def runs_show(run: Run, /, *, common: Common | None = None) -> None:
    """Show one run."""
    common = session.common(common)
    with reach.daemon(common) as there:
        item = things.thing(there.client, "run", run)
        saved = things.checkpoints(there.client, item["id"])
        if common.json:
            progress.print_json({**item, "checkpoint_files": saved})
            return
        folder = "" if there.root is None else f"\n  {there.root / 'runs' / item['id']}"
        print(f"run {item['id']}{named(item)}, made {when(item['created'])}{folder}\n")
        defaults = msgspec.to_builtins(Recipe())
        for name, value in item["recipe"].items():
            if value not in (None, {}):
                other = "" if value == defaults.get(name) else "  (not the default)"
                print(f"  {name.replace('_', ' '):<17}{value}{other}")
        print()
        metrics = {e["step"]: e["metrics"] for e in item.get("epochs", ())}
        table(
            ("step", "epoch", "train loss", "train accuracy", "test loss", "test accuracy"),
            [
                (
                    str(s["step"]),
                    f"{s['epoch']:g}" + (" (file missing)" if s.get("missing") else ""),
                    *(
                        form(metrics.get(s["step"], {}).get(name))
                        for name, form in (
                            ("train_loss", number),
                            ("train_accuracy", percent),
                            ("test_loss", number),
                            ("test_accuracy", percent),
                        )
                    ),
                )
                for s in saved
            ],
            empty="no checkpoint",
        )


def runs_delete(runs: Things, /, *, yes: Yes = False, common: Common | None = None) -> None:
    """Delete runs and their checkpoints."""
    delete(common, "run", runs, yes, RunDelete)


# ---------------------------------------------------------------- planes


def planes_list(*, limit: Limit = 50, common: Common | None = None) -> None:
    """List the planes, newest last."""
    common = session.common(common)
    rows = records(common, "plane", limit)
    if common.json:
        for row in rows:
            progress.print_json(row)
        return
    named = any(row["name"] for row in rows)
    metas = [msgspec.convert(row["meta"], PlaneMeta) for row in rows]
    table(
        ("plane", "made", "kind", "explains", "cosine", "through", *(["name"] * named)),
        [
            (
                row["hash"][-SHORT:],
                when(row["created"]),
                meta.kind or "-",
                percent(sum(meta.explained_variance_ratio) if meta.explained_variance_ratio else None),
                "-" if meta.cosine is None else cosine_text(meta.cosine),
                "file missing" if row.get("missing") else short_origin(meta.origin),
                *([row["name"] or "-"] * named),
            )
            for row, meta in zip(rows, metas)
        ],
        empty="no plane yet: cut one with `thalweg plane --run last --direction pca`",
    )


def planes_show(plane: Plane, /, *, common: Common | None = None) -> None:
    """Show one plane."""
    common = session.common(common)
    with reach.daemon(common) as there:
        item = things.thing(there.client, "plane", plane)
        meta = msgspec.convert(item["meta"], PlaneMeta)
        if common.json:
            progress.print_json({**item, "plane": item["hash"]})
            return
        file = [] if there.root is None else [f"  {there.root / item['file']}"]
        made = f"plane {item['hash']}{named(item)}, made {when(item['created'])}"
        tell([made, *file, *(f"  {line}" for line in plane_lines(meta))])


def planes_delete(planes: Things, /, *, yes: Yes = False, common: Common | None = None) -> None:
    """Delete planes."""
    delete(common, "plane", planes, yes, PlaneDelete)


def plane_lines(meta: PlaneMeta) -> list[str]:
    """What a plane is, as sentences for a person."""
    if not meta.kind:
        return ["a plane of which nothing is known"]
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


def surfaces_list(*, limit: Limit = 50, common: Common | None = None) -> None:
    """List the surfaces of the workspace, newest last."""
    common = session.common(common)
    rows = records(common, "surface", limit)
    if common.json:
        for row in rows:
            progress.print_json(row)
        return
    named = any(row["name"] for row in rows)
    root = None if common.elsewhere else common.place().root
    table(
        ("surface", "made", "plane", "points", "lowest loss", *(["name"] * named), "model", "data"),
        [
            (
                row["id"][-SHORT:],
                when(row["created"]),
                f"{row['meta']['plane']['kind']} {row['meta']['plane']['hash'][-SHORT:]}".strip() or "-",
                f"{row['width']}x{row['height']}",
                lowest(row, root),
                *([row["name"] or "-"] * named),
                row["meta"]["model"] or "-",
                f"{row['meta']['data']} {row['meta']['split']}".strip() or "-",
            )
            for row in rows
        ],
        empty="no surface yet: measure one with `thalweg surface last`",
    )


def lowest(row: dict[str, Any], root: Path | None) -> str:
    """The lowest loss of a surface whose file is on this machine; else what there is to say instead."""
    if row.get("missing"):
        return "file missing"
    if not row.get("file"):
        return "unfinished"
    if root is None:
        return "-"
    try:
        return number((summary(Surface.load(root / row["file"])).get("minimum") or {}).get("loss"))
    except InputError:
        return "damaged"


def surfaces_show(
    surface: Annotated[
        str, Parameter(help="Surface: a file (.npz), an id, the last characters of it, its name, or `last`.")
    ],
    /,
    *,
    common: Common | None = None,
) -> None:
    """Show one surface."""
    common = session.common(common)
    if looks_like_file(surface):
        file: Path | None = Path(surface).expanduser()
        loaded, record = Surface.load(Path(surface).expanduser()), {}
    else:
        with reach.daemon(common) as there:
            record = things.thing(there.client, "surface", surface)
            if not record.get("file"):
                job = (record.get("job") or "")[-SHORT:]
                raise InputError(
                    f"surface {record['id'][-SHORT:]}: it is not finished; see: {there.hint(f'jobs show {job}')}",
                    code="wrong_state",
                )
            loaded = things.surface(there.client, record["id"])
            file = None if there.root is None else there.root / record["file"]
    if common.json:
        where = None if file is None else str(file)
        progress.print_json({"file": where, "meta": loaded.meta, "critical": record.get("critical"), **summary(loaded)})
        return
    meta = loaded.meta
    said = [*surface_lines(loaded), *plane_lines(meta.plane)]
    shown = [] if file is None else [f"  {file}"]
    name = meta.id or (file.name if file else "")
    tell([f"surface {name}{named(record)}", *shown, *(f"  {line}" for line in said)])
    took = "" if meta.seconds is None else f", measured in {progress.seconds_text(meta.seconds)}"
    print(f"  {meta.model or 'unknown model'}, batch norm {meta.batch_norm}, {meta.precision}{took}")


def surfaces_delete(surfaces: Things, /, *, yes: Yes = False, common: Common | None = None) -> None:
    """Delete surfaces."""
    delete(common, "surface", surfaces, yes, SurfaceDelete)


# ---------------------------------------------------------------- words


def named(record: dict[str, Any]) -> str:
    """The name of a thing that has one, in quotes."""
    return f" '{record['name']}'" if record.get("name") else ""


def when(stamp: str) -> str:
    """A time of the store as local time: `11-24 12:03`, or the day where that was in another year."""
    try:
        at = datetime.fromisoformat(stamp).astimezone()
        return at.strftime("%m-%d %H:%M" if at.year == datetime.now().year else "%Y-%m-%d")
    except ValueError:
        return "-"


def number(value: Any) -> str:
    """Four figures, or a dash; a NaN that was stored as text stays `nan`."""
    return "-" if value is None else progress.number_text(float(value))


def percent(value: Any) -> str:
    """`81.2 %`, or a dash."""
    return "-" if value is None else f"{100 * float(value):.1f} %"


def short_origin(origin: str) -> str:
    """`01K...4F2K9A@last` as `4F2K9A@last`; a file's name without its folder."""
    run, at, place = origin.partition("@")
    return f"{run[-SHORT:]}{at}{place}" if at else Path(origin).name or "-"
