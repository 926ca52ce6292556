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

    def _rows(self) -> list[tuple[str, str, str, str]]:
        """For each row of the table its id, its line, why it cannot be done now, and what else it is found by."""
        from tui.screens.help import groups

        app = self.thalweg
        brief = {c.id: text for rows in groups(app.table).values() for c, text in rows}
        out = []
        for c in app.table:
            if c.id in ("palette", "choose"):
                continue
            key = shown(keys_of(c, app.keymap))
            why = why_not(c.when, app.store, app.choice)
            line = f"{key:>5}  {brief.get(c.id, c.label)}"
            out.append((c.id, line, f"not now: {why}" if why else "", f"{c.id} {c.help} {c.words}"))
        return out

    async def discover(self) -> Hits:
        """All rows of the table."""
        for id, text, why, _ in self._rows():
            yield DiscoveryHit(text, partial(self.thalweg.do, id), help=why or None)

    async def search(self, query: str) -> Hits:
        """Rows and things that fit."""
        matcher = self.matcher(query)
        for id, text, why, more in self._rows():
            score = max(matcher.match(text), 0.9 * matcher.match(more))
            if score > 0:
                yield Hit(score, matcher.highlight(text), partial(self.thalweg.do, id), help=why or None)
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
