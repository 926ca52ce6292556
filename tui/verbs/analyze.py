"""`thalweg analyze`: the critical points of a surface, with their persistence."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import msgspec
from cyclopts import Parameter

from protocol.errors import InputError
from protocol.files import Surface
from protocol.messages import AnalysisSpec, Execution, ImportSpec
from tui import errand, progress, reach, session, things
from tui.session import Common
from tui.submission import JobFlags, alone, submitted, was_there
from tui.tables import table, tell
from tui.workspace import SHORT, looks_like_file

SHOWN = 40  # rows of the table; --json has all


def analyze(
    surface: Annotated[
        str, Parameter(help="Surface: its id, the last characters of it, its name, `last`, or a file (.npz).")
    ],
    /,
    *,
    threshold: Annotated[
        str,
        Parameter(
            help="Pairs of less persistence than this are hidden: `rounding` (what the arithmetic can blur), a number "
            "in units of the loss, or `auto`."
        ),
    ] = "auto",
    job: JobFlags | None = None,
    common: Common | None = None,
) -> None:
    """Find the minima, saddles and maxima of a surface."""
    common = session.common(common)
    options = {"threshold": checked(threshold)}
    file = Path(surface).expanduser() if looks_like_file(surface) else None
    if file is not None:
        Surface.load(file)  # refused here, before it is sent
    if alone(job, common):
        raise InputError("--no-daemon: an analysis is a job of the daemon: leave it out")
    with reach.daemon(common) as there:
        first = None
        if file is not None:
            upload = there.client.upload(file)
            spec = ImportSpec(upload=upload, options={"name": file.stem})
            first = submitted(there.client, spec, None, Execution(), file.stem)
        target = f"job:{first.job}" if first else things.thing(there.client, "surface", surface)["id"]
        second = submitted(there.client, AnalysisSpec(target=target, options=options), job, Execution())
        infos = errand.submit(there, [j for j in (first, second) if j], job, common.json)
        if infos is None:
            return
        with errand.errand(there, infos, common.json) as doing:
            for info in infos:
                ended = doing.until_end(info, file=str(file or ""))
        id = (ended.result.surface if ended.result else None) or ""
        found = things.surface(there.client, id)
        said = (ended.result.summary if ended.result else None) or {}
        if common.json:
            points = [dict(zip(found.critical.dtype.names or (), row.tolist())) for row in found.critical]
            result = {"t": "result", "job": ended.job, "surface": id, "summary": said, "points": points}
            progress.print_json({**result, "existing": was_there(ended)})
            return
        print()
        critical_table(found)
        tell(["", *summary_lines(said)])
        print(f"next: {there.hint(f'render {id[-SHORT:]} --preset contours-2d')}")


def checked(text: str) -> str | float:
    """The threshold as the analysis takes it. Raises InputError with the flag's name."""
    if text in ("auto", "rounding", "sampling"):
        return text
    try:
        return msgspec.convert(float(text), Annotated[float, msgspec.Meta(ge=0, lt=1e308)])
    except (ValueError, msgspec.ValidationError) as e:
        raise InputError(f"--threshold: expected auto, rounding, or a number of at least 0, got '{text}'") from e


def critical_table(surface: Surface) -> None:
    """The shown critical points, most persistent first."""
    rows = surface.critical
    table(
        ("kind", "alpha", "beta", "loss", "persistence", "where"),
        [
            (
                str(row["kind"]),
                f"{row['alpha']:.4g}",
                f"{row['beta']:.4g}",
                progress.number_text(float(row["loss"])),
                progress.number_text(float(row["persistence"])),
                "border" if row["border"] else "beside a hole" if row["beside_hole"] else "inside",
            )
            for row in rows[:SHOWN]
        ],
        empty="no critical point over the threshold",
    )
    if len(rows) > SHOWN:
        print(f"and {len(rows) - SHOWN} more of less persistence (--json prints all)")


def summary_lines(said: dict[str, Any]) -> list[str]:
    """An analysis in sentences."""
    if not said:
        return []
    lines = []
    for where, words in (("interior", "inside"), ("rim", "on the border or beside a hole")):
        n = said.get(where, {})
        lines.append(f"{words}: " + ", ".join(f"{k} {n.get(k, 0)}" for k in ("minima", "saddles", "maxima")))
    value = float(said.get("threshold_value", 0.0))
    share = f"{100 * value:.3g} % of the loss" if said.get("relative") else f"{value:.3g} in units of the loss"
    pairs = f"hidden: {said.get('hidden_pairs', 0)} pairs of less persistence than {share} ({said.get('threshold')})"
    lines.append(pairs)
    if said.get("noise_estimate") is False and said.get("note"):
        lines.append(str(said["note"]))
    return lines
