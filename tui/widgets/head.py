"""The head line: which daemon, how the connection is, what is in work. And the banner, where something is wrong."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text

from tui import words
from tui.keymap import keys_of, shown
from tui.widgets.lines import Line, style
from tui.widgets.panel import Panel

GLYPH = {"live": "●", "connecting": "◌", "stale": "◍", "lost": "✗"}


def text(panel: Panel, line: Line) -> Text:
    """A line of spans as a Text, never parsed."""
    out = Text(no_wrap=True, overflow="ellipsis")
    for part, name in line:
        out.append(part, style(panel.app, name) if name else None)
    return out


class Head(Panel):
    """One line on top."""

    DEFAULT_CSS = "Head { height: 1; padding: 0 1; }"

    def areas(self) -> tuple[str, ...]:
        """The connection, the jobs, the workers."""
        return ("link", "jobs", "workers")

    def left(self) -> list[tuple[str, str]]:
        """The daemon and the connection."""
        link = self.store.link
        if link.state == "live":
            age = "" if link.ping_s is None else f" {max(1, round(1000 * link.ping_s))} ms"
        else:
            age = "" if link.age_s is None else f" {link.age_s:.0f} s old"
        colour = words.COLOURS[link.state]
        return [
            ("thalweg ", "bold"),
            (f"{self.thalweg.profile.name} ", ""),
            (f"{GLYPH[link.state]} {link.state}{age}", colour),
        ]

    def middle(self) -> list[tuple[str, str]]:
        """What is in work."""
        counts = self.store.counts()
        parts = [(f"   {n} {state}", words.COLOURS.get(state, "")) for state, n in counts.items()]
        devices = sorted({str(w.get("device")) for w in self.store.workers.values() if w.get("device")})
        busy = sum(w.get("state") == "busy" for w in self.store.workers.values())
        if devices:
            parts.append((f"   {' '.join(devices)} {'busy' if busy else 'idle'}", "dim"))
        return parts or [("   nothing in work", "dim")]

    def render(self) -> RenderableType:
        """The line, with the two keys that lead to all others at its end."""
        commands = {c.id: c for c in self.thalweg.table}
        keymap = self.thalweg.keymap
        keys = f"{shown(keys_of(commands['help'], keymap))} help  {shown(keys_of(commands['palette'], keymap))} palette"
        left = text(self, [*self.left(), *self.middle()])
        room = self.size.width - len(keys)
        if left.cell_len + 2 <= room:
            left.pad_right(room - left.cell_len)
            left.append(keys, style(self.app, "dim"))
        return left


class Banner(Panel):
    """Shown while the connection is not live: since when, why, what to do."""

    DEFAULT_CSS = "Banner { height: auto; max-height: 2; padding: 0 1; display: none; }"

    def areas(self) -> tuple[str, ...]:
        """The connection."""
        return ("link",)

    def flush(self, *, force: bool = False) -> None:
        """It decides itself whether it is on the screen."""
        link = self.store.link
        shown_now = link.state != "live" and (link.state != "connecting" or bool(link.problem))
        if self.display != shown_now:
            self.display = shown_now
        if shown_now:
            super().flush(force=force)

    def render(self) -> RenderableType:
        """One or two lines."""
        link = self.store.link
        commands = {c.id: c for c in self.thalweg.table}
        again = shown(keys_of(commands["reconnect"], self.thalweg.keymap))
        other = shown(keys_of(commands["connections"], self.thalweg.keymap))
        age = "" if link.age_s is None else f"; what you see is {link.age_s:.0f} s old"
        what = {
            "stale": f"no word from the daemon for 3 s{age}",
            "lost": f"the daemon is gone{age}; it goes on by itself when that is back",
            "connecting": "no connection yet",
        }.get(link.state, link.state)
        why = (
            f": {words.plain(link.problem)}"
            if link.problem and link.problem != "no daemon runs on this workspace"
            else ""
        )
        line = f"{GLYPH[link.state]} {what}{why}. {again} starts it or tries again, {other} chooses another"
        return Text(line, style(self.app, words.COLOURS[link.state]), overflow="ellipsis")


class Latest(Panel):
    """The bottom line: what was last told."""

    DEFAULT_CSS = "Latest { height: 1; padding: 0 1; }"

    def areas(self) -> tuple[str, ...]:
        """The last event."""
        return ("latest",)

    def render(self) -> RenderableType:
        """`12:03:11 epoch 7 loss .613`."""
        when, what = self.store.latest
        stamp = words.time_of_day(when)
        return text(self, [(f"{stamp} ", "dim"), (what, "")] if what else [])


class Tiny(Panel):
    """All there is on a screen too small for anything else."""

    DEFAULT_CSS = "Tiny { height: 1; display: none; }"

    def areas(self) -> tuple[str, ...]:
        """The connection and the jobs."""
        return ("link", "jobs")

    def render(self) -> RenderableType:
        """One line."""
        link = self.store.link
        counts = self.store.counts()
        running = counts.get("running", 0)
        line: list[tuple[str, str]] = [(f"{GLYPH[link.state]}{link.state} ", words.COLOURS[link.state])]
        line.append((f"{running} run {sum(counts.values()) - running} wait", ""))
        return text(self, line)


class KeyBar(Panel):
    """The footer: keys of the table that can be used now, as many as fit."""

    DEFAULT_CSS = "KeyBar { height: 1; padding: 0 1; }"

    def areas(self) -> tuple[str, ...]:
        """What decides whether a row of the table can be used."""
        return ("link", "jobs", "surfaces", "runs", "planes")

    def render(self) -> RenderableType:
        """`n new  p plane ...`; what cannot be used now is dim."""
        from tui.enabling import why_not

        out = Text(no_wrap=True, overflow="ellipsis")
        rows = sorted((c for c in self.thalweg.table if c.foot), key=lambda c: c.foot)
        width = self.size.width
        last = [c for c in rows if c.foot >= 10]  # help and quit are always there
        kept = sum(len(shown(keys_of(c, self.thalweg.keymap))) + len(c.label) + 3 for c in last)
        for command in rows:
            key = shown(keys_of(command, self.thalweg.keymap))
            label = self.thalweg.label_of(command)
            size = len(key) + len(label) + 3
            if not label or (command not in last and out.cell_len + size > width - kept):
                continue
            off = bool(why_not(command.when, self.store, self.choice))
            out.append(key, style(self.app, "dim" if off else "bold cyan"))
            out.append(f" {label}  ", style(self.app, "dim") if off else None)
        return out
