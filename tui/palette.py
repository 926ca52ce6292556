"""The command palette: rows of the table by a word of theirs, and everything in the list by its name."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from tui.enabling import why_not
from tui.keymap import keys_of, shown

if TYPE_CHECKING:
    from tui.app import ThalwegApp

MOST = 40  # things of the list that a search shows


class Everything(Provider):
    """Commands first, then runs, planes, surfaces, windows and jobs."""

    @property
    def thalweg(self) -> ThalwegApp:
        """The app, with its type."""
        return cast("ThalwegApp", self.app)

    def _rows(self) -> list[tuple[str, str, str]]:
        app = self.thalweg
        out = []
        for c in app.table:
            if c.id in ("palette", "choose"):
                continue
            key = shown(keys_of(c, app.keymap))
            why = why_not(c.when, app.store, app.choice)
            out.append((c.id, f"{c.help}" + (f"  ({key})" if key else ""), f"not now: {why}" if why else c.words))
        return out

    async def discover(self) -> Hits:
        """All rows of the table."""
        for id, text, help in self._rows():
            yield DiscoveryHit(text, partial(self.thalweg.do, id), help=help)

    async def search(self, query: str) -> Hits:
        """Rows and things that fit."""
        matcher = self.matcher(query)
        for id, text, help in self._rows():
            score = max(matcher.match(text), 0.9 * matcher.match(f"{id} {help}"))
            if score > 0:
                yield Hit(score, matcher.highlight(text), partial(self.thalweg.do, id), help=help)
        sidebar, found = self.thalweg.main.sidebar, 0
        for kind, table in (("surface", self.thalweg.store.surfaces), ("run", self.thalweg.store.runs),
                            ("plane", self.thalweg.store.planes), ("job", self.thalweg.store.jobs)):  # fmt: skip
            for id in table:
                if found >= MOST:
                    return
                text = f"{kind} {sidebar.label(kind, id)} {id[-6:]}"  # type: ignore[arg-type]
                score = matcher.match(text)
                if score > 0:
                    found += 1
                    yield Hit(0.5 * score, matcher.highlight(text), partial(sidebar.choose, kind, id))  # type: ignore[arg-type]
