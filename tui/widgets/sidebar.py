"""The list of everything: runs, planes, surfaces, windows and jobs as a tree with live states.

Only the lines on the screen are made, so that 10,000 runs cost what 30 do. The order is rebuilt only when something
was added, removed, folded or filtered.
"""

from __future__ import annotations

from typing import ClassVar

from rich.style import Style
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui import words
from tui.state import AREAS, KINDS, Kind
from tui.widgets.lines import Span, strip
from tui.widgets.panel import Panel

TITLES: dict[Kind, str] = {
    "run": "Runs", "plane": "Planes", "surface": "Surfaces", "window": "Windows", "job": "Jobs",
}  # fmt: skip
EMPTY: dict[Kind, str] = {
    "run": "none yet: n trains one", "plane": "none yet: p cuts one", "surface": "none yet: s measures one",
    "window": "none is open: w opens one", "job": "none yet",
}  # fmt: skip
FOLDED_OVER = 6  # a group with more than this shows only as many at first
Node = tuple[Kind, str]  # an id of "" is the group's own line, "…" the line that shows the rest


class Sidebar(Panel, ScrollView, can_focus=True):
    """The tree. Moving the cursor chooses; Enter goes into what is chosen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "jump(0)", show=False),
        Binding("end", "jump(-1)", show=False),
        Binding("left", "left", show=False),
        Binding("right", "right", show=False),
        Binding("enter", "enter", show=False),
    ]

    class Chosen(Message):
        """The cursor came to a thing; `entered`: Enter or a click asked for it."""

        def __init__(self, kind: Kind, id: str, entered: bool) -> None:
            super().__init__()
            self.kind, self.id, self.entered = kind, id, entered

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.nodes: list[Node] = []
        self.at: Node | None = None
        self.moved = False  # whether a person has put the cursor anywhere
        self.folded: set[Kind] = set()
        self.all: set[Kind] = set()  # groups that show every member
        self.words: tuple[str, ...] = ()
        self._built: tuple[object, ...] = ()
        self._found: dict[Kind, tuple[int, dict[str, str]]] = {}  # texts to search, by version of the list
        self._styles: dict[str, Style] = {}

    # ------------------------------------------------------------ what is shown

    def areas(self) -> tuple[str, ...]:
        """Every list."""
        return (*AREAS.values(), *(f"list/{k}" for k in KINDS))

    def draw(self) -> None:
        """Take up what was added or removed, then draw the lines that can be seen."""
        self.build()
        self.refresh()

    def build(self) -> None:
        """The nodes in order, where that may have changed."""
        lists = self.store.version(f"list/{k}" for k in KINDS)
        jobs = tuple(j.state + j.id for j in self.store.jobs.values() if j.active)
        key = (lists, jobs, frozenset(self.folded), frozenset(self.all), self.words, len(self.store.loaded))
        if key == self._built:
            return
        self._built = key
        self.nodes = []
        for kind in KINDS:
            ids = sorted(self.store.table(kind), reverse=True)  # ULIDs: newest first
            if kind == "job":
                ids.sort(key=self._rank)
            if self.words:
                texts = self._texts(kind)
                ids = [i for i in ids if all(w in texts[i] for w in self.words)]
                if not ids:
                    continue
            self.nodes.append((kind, ""))
            if kind in self.folded:
                continue
            cut = not self.words and kind not in self.all and len(ids) > FOLDED_OVER + 1
            self.nodes += [(kind, i) for i in (ids[:FOLDED_OVER] if cut else ids)]
            if cut:
                self.nodes.append((kind, "…"))
        untouched = not self.moved and (self.at is None or not self.at[1] or len(self.store.loaded) < len(KINDS))
        if self.at not in self._index() or (untouched and any(n[1] for n in self.nodes)):
            self.at = next((n for n in self.nodes if n[1] and n[1] != "…"), self.nodes[0] if self.nodes else None)
            self._tell(entered=False)
        self.virtual_size = Size(0, len(self.nodes))

    def _rank(self, job: str) -> tuple[int, int, int]:
        """Those in work first, then the queue as it will be done, then what ended, newest first."""
        known = self.store.jobs[job]
        order = {"running": 0, "pausing": 0, "cancelling": 0, "paused": 1, "queued": 2, "waiting": 3}.get(
            known.state, 4
        )
        place = int(job, 36)
        return order, -known.priority if order < 4 else 0, place if order < 4 else -place

    def _index(self) -> dict[Node, int]:
        return {node: k for k, node in enumerate(self.nodes)}

    def _texts(self, kind: Kind) -> dict[str, str]:
        version = self.store.versions.get(f"list/{kind}", 0)
        known = self._found.get(kind)
        if known is None or known[0] != version:
            texts = {i: f"{i} {self.label(kind, i)} {self.state(kind, i)}".lower() for i in self.store.table(kind)}
            self._found[kind] = known = (version, texts)
        return known[1]

    def filter(self, text: str) -> None:
        """Show only what contains every word of the text: id, name, model, data, state."""
        self.words = tuple(text.lower().split())
        self._found.clear()  # states may have changed meanwhile
        self.build()
        self.scroll_to(y=0, animate=False)
        self.refresh()

    # ------------------------------------------------------------ words

    def state(self, kind: Kind, id: str) -> str:
        """The word for its state."""
        s = self.store
        match kind:
            case "run":
                return s.run_state(s.runs[id])
            case "plane":
                return "missing" if s.planes[id].missing else "done"
            case "surface":
                return s.surface_state(s.surfaces[id])
            case "job":
                return s.jobs[id].state
            case "window":
                return "open"

    def label(self, kind: Kind, id: str) -> str:
        """What it is called."""
        s = self.store
        match kind:
            case "run":
                run = s.runs[id]
                return run.name or f"{run.model} {run.dataset}".strip() or words.short(id)
            case "plane":
                plane = s.planes[id]
                through = s.runs[plane.run].name or s.runs[plane.run].model if plane.run in s.runs else ""
                return plane.name or f"{plane.kind} {through}".strip()
            case "surface":
                surface = s.surfaces[id]
                plane_id = s.plane_id(surface.plane)
                of = s.planes[plane_id].kind if plane_id else ""
                return surface.name or f"{of} {surface.model}".strip() or words.short(id)
            case "job":
                job = s.jobs[id]
                return f"{job.name} {job.title}".strip()
            case "window":
                return s.windows[id].title or words.short(id)

    def tail(self, kind: Kind, id: str) -> str:
        """A number or two at the end of its line."""
        s = self.store
        match kind:
            case "run":
                run = s.runs[id]
                loss = "" if run.loss is None else " " + words.number(run.loss)
                return f"e{run.epochs_done}/{run.epochs}{loss}"
            case "plane":
                plane = s.planes[id]
                return "" if plane.explained is None else f"{100 * plane.explained:.0f} %"
            case "surface":
                surface = s.surfaces[id]
                job = s.surface_job(id) if not surface.sealed else None
                if job is not None and job.active and job.share is not None:
                    return f"{100 * job.share:.0f} %"
                return f"{surface.width}x{surface.height}" if surface.width else ""
            case "job":
                job = s.jobs[id]
                if job.state == "running" and job.share is not None:
                    return f"{100 * job.share:.0f} %"
                return words.short(id)
            case "window":
                return words.short(id)

    def _coming(self, kind: Kind) -> str:
        """What stands in place of a group that has nothing yet, where a job is to give it something."""
        making = {"run": "train", "plane": "plane", "surface": "surface"}.get(kind)
        jobs = [j for j in self.store.jobs.values() if j.kind == making and j.active]
        if not jobs:
            return ""
        return "one begins" if any(j.state == "running" for j in jobs) else f"{len(jobs)} to come"

    def spans(self, node: Node, width: int) -> list[Span]:
        """A line."""
        kind, id = node
        if not id:
            count = len(self.store.table(kind))
            more = "" if kind in self.store.loaded or not count else "+"
            sign = "▸" if kind in self.folded else "▾"
            line = [(f"{sign} {TITLES[kind]} ", "bold"), (f"{count}{more}", "dim")]
            if not count and not self.words:
                coming = self._coming(kind)
                line = [(f"  {TITLES[kind]}: ", "bold dim"), (coming or EMPTY[kind], "dim")]
            return line
        if id == "…":
            return [(f"    … all {len(self.store.table(kind))}: enter", "dim")]
        state = self.state(kind, id)
        colour = words.COLOURS.get(state, "white")
        mark = "◆ " if kind == "run" and id in self.thalweg.compared else ""
        head = f"{'›' if node == self.at else ' '}{words.GLYPHS.get(state, '·')} "
        label, tail = mark + self.label(kind, id), self.tail(kind, id)
        room = width - len(head) - len(state) - 1 - len(tail) - 1
        label = label if len(label) <= room else label[: max(1, room - 1)] + "…"
        gap = " " * max(1, width - len(head) - len(state) - 1 - len(label) - len(tail))
        return [(head, colour), (state + " ", colour), (label, ""), (gap + tail, "dim")]

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        k = self.scroll_offset.y + y
        base = self.rich_style
        width = self.size.width
        if k >= len(self.nodes):
            return Strip.blank(width, base)
        node = self.nodes[k]
        try:
            line = self.spans(node, width)
        except KeyError:  # it was deleted since the list was built
            return Strip.blank(width, base)
        if node == self.at:
            base = base + Style(reverse=True) if self.has_focus else base + Style(bold=True, underline=True)
            line = [(text, "" if self.has_focus else name) for text, name in line]
        return strip(self.app, line, width, base)

    # ------------------------------------------------------------ moving

    def _go(self, k: int, *, entered: bool = False) -> None:
        if not self.nodes:
            return
        k = max(0, min(len(self.nodes) - 1, k))
        self.at, self.moved = self.nodes[k], True
        self.scroll_to_region(Region(0, k, 1, 1), animate=False, force=True, immediate=True)
        self.refresh()
        self._tell(entered=entered)

    def _tell(self, *, entered: bool) -> None:
        if self.at is not None and self.at[1] and self.at[1] != "…":
            self.post_message(self.Chosen(self.at[0], self.at[1], entered))

    def _where(self) -> int:
        return self._index().get(self.at, 0) if self.at is not None else 0

    def action_move(self, by: int) -> None:
        """A line up or down."""
        self.thalweg.taken()
        self._go(self._where() + by)

    def action_page(self, by: int) -> None:
        """A page up or down."""
        self.thalweg.taken()
        self._go(self._where() + by * max(1, self.size.height - 1))

    def action_jump(self, to: int) -> None:
        """To the first or the last line."""
        self.thalweg.taken()
        self._go(0 if to == 0 else len(self.nodes) - 1)

    def action_left(self) -> None:
        """From a thing to its group's line; there, fold the group."""
        if self.at is not None and self.at[1]:
            self.thalweg.taken()
            self._go(self._index().get((self.at[0], ""), 0))
        else:
            self.action_fold(True)

    def action_right(self) -> None:
        """Unfold the group, or go into the thing."""
        if self.at is not None and self.at[1]:
            self.action_enter()
        else:
            self.action_fold(False)

    def action_fold(self, fold: bool) -> None:
        """Fold or unfold the group."""
        if self.at is None:
            return
        kind = self.at[0]
        if fold:
            self.folded.add(kind)
            self.at = (kind, "")
        else:
            self.folded.discard(kind)
        self.build()
        self._go(self._where())

    def action_enter(self) -> None:
        """Go into what is chosen, or fold a group."""
        self.thalweg.taken()
        if self.at is None:
            return
        kind, id = self.at
        if not id:
            self.action_fold(kind not in self.folded)
        elif id == "…":
            k = self._where()
            self.all.add(kind)
            self.build()
            self._go(k)
        else:
            self._tell(entered=True)

    def on_click(self, event: Click) -> None:
        """A click chooses, on a group it folds."""
        k = self.scroll_offset.y + event.y
        self.thalweg.taken()
        if k < len(self.nodes):
            self._go(k)
            if not self.nodes[k][1] or self.nodes[k][1] == "…":
                self.action_enter()

    def choose(self, kind: Kind, id: str) -> None:
        """Put the cursor onto a thing, unfolding what hides it."""
        self.folded.discard(kind)
        self.build()
        if (kind, id) not in self._index() and id in self.store.table(kind):
            self.all.add(kind)
            self.build()
        if (kind, id) in self._index():
            self.at = (kind, id)
            self._go(self._where())
