"""What the workspace has to choose from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from protocol.messages import Passes
from tui.fields import Choice


@dataclass(frozen=True)
class Known:
    """What the workspace has, newest first, to choose from; `kinds`: the kind of each plane, by its id; `names`: of
    surfaces that have one; `passes`: of a surface where nobody says another number."""

    runs: tuple[Choice, ...] = ()
    planes: tuple[Choice, ...] = ()
    surfaces: tuple[Choice, ...] = ()
    kinds: Mapping[str, str] = field(default_factory=dict)
    names: Mapping[str, str] = field(default_factory=dict)
    passes: Passes = 1


def known(
    runs: Iterable[Mapping[str, Any]] = (),
    planes: Iterable[Mapping[str, Any]] = (),
    surfaces: Iterable[Mapping[str, Any]] = (),
    passes: Passes = 1,
) -> Known:
    """From the daemon's records of runs, planes and surfaces."""
    kinds: dict[str, str] = {}
    names: dict[str, str] = {}

    def plane(r: Mapping[str, Any]) -> Choice:
        id = str(r.get("hash") or r.get("id") or "")
        meta = r.get("meta") or {}
        kinds[id] = str(meta.get("kind", ""))
        return Choice(id, _title(r, id, f"{kinds[id]} plane".strip()), str(meta.get("origin", ""))[:40])

    def run(r: Mapping[str, Any]) -> Choice:
        recipe = r.get("recipe") or {}
        words = f"{recipe.get('model', 'run')} on {recipe.get('dataset', '?')}"
        return Choice(
            str(r["id"]),
            _title(r, str(r["id"]), words),
            str(r.get("note") or f"{r.get('checkpoints') or 0} checkpoints"),
        )

    def surface(r: Mapping[str, Any]) -> Choice:
        meta = r.get("meta") or {}
        names[str(r["id"])] = str(r.get("name") or "")
        words = " ".join(w for w in (str(meta.get("model", "")), f"{(meta.get('plane') or {}).get('kind', '')}") if w)
        return Choice(str(r["id"]), _title(r, str(r["id"]), words), str(meta.get("data", "")))

    return Known(tuple(map(run, runs)), tuple(map(plane, planes)), tuple(map(surface, surfaces)), kinds, names, passes)


def _title(record: Mapping[str, Any], id: str, words: str) -> str:
    return " ".join(w for w in (str(record.get("name") or ""), words, id[-6:]) if w)
