"""All keys, in groups, from the table; and where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.commands import Command
from tui.enabling import why_not
from tui.keymap import keys_of, shown
from tui.widgets.lines import Line, Lines, sentence

if TYPE_CHECKING:
    from tui.app import ThalwegApp

GROUPS: dict[str, dict[str, str]] = {
    "Make": {
        "train": "train a network", "plane": "cut a plane", "surface": "measure the loss",
        "analyze": "critical points", "render": "save a picture", "export": "export a file",
        "import": "import a file", "duplicate": "again, edited", "demo": "the demo",
    },
    "Jobs": {
        "jobs pause": "pause, go on", "jobs cancel": "stop", "jobs retry": "try again", "jobs move": "sooner",
        "jobs logs": "its log", "follow": "follow the log", "runs delete": "delete",
    },
    "Move": {
        "choose": "go into it", "pane": "next pane", "pane before": "pane before", "tab next": "next tab",
        "tab previous": "tab before", "filter": "filter the list", "palette": "find anything",
    },
    "See": {
        "window open": "open a window", "view": "how it is drawn", "compare": "compare curves", "copy": "copy",
        "theme": "colours",
    },
    "thalweg": {
        "connections": "choose a daemon", "reconnect": "connect again", "reload": "read again", "help": "this page",
        "quit": "leave",
    },
}  # fmt: skip
"""What a row of the table is called here. A row that no group names stands at the end, with its label."""
TABS = "tab "  # these rows are one line: 1 to 6
PICTURE = "In the picture: arrows turn, + - zoom, 0 whole, k reads points, h rows."
BEGIN = (
    "n trains, p cuts a plane through the run, s measures the loss on it.",
    "Jobs go on when you leave. A dim key says why it is dim when pressed.",
    "Own keys: [keys] in {config}",
)
COLUMN = 23  # of the narrowest column of keys
KEY = 7


def groups(table: tuple[Command, ...]) -> dict[str, list[tuple[Command, str]]]:
    """The rows by group, each with its few words."""
    rows = {c.id: c for c in table}
    out = {name: [(rows[id], text) for id, text in group.items() if id in rows] for name, group in GROUPS.items()}
    named = {id for group in GROUPS.values() for id in group}
    rest = [(c, c.label or c.help) for c in table if c.id not in named and not c.id.startswith(TABS)]
    out["thalweg"] += rest
    return out


class HelpScreen(ModalScreen[None]):
    """A page; it scrolls where it is longer than the screen."""

    DEFAULT_CSS = """
    HelpScreen Lines { height: auto; max-height: 100%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,question_mark,f1", "leave", "back")]

    def compose(self) -> ComposeResult:
        """The lines, once the width is known."""
        with Vertical(classes="dialog"):
            yield Lines()

    def on_mount(self) -> None:
        """Fill it."""
        self.call_after_refresh(self.fill)

    def on_resize(self) -> None:
        """Lay out anew."""
        self.call_after_refresh(self.fill)

    def fill(self) -> None:
        """The groups beside each other as far as there is room, then where to begin."""
        from tui.profiles import config_file

        page = self.query_one(Lines)
        width = max(20, self.query_one(".dialog").content_size.width - 1)
        count = max(1, min(3, width // COLUMN))
        column = width // count
        blocks = [self._block(name, rows, column) for name, rows in groups(self._app.table).items()]
        columns: list[list[Line]] = [[] for _ in range(count)]
        for block in blocks:
            shortest = min(columns, key=len)
            shortest += ([[]] if shortest else []) + block
        lines: list[Line] = []
        for k in range(max(map(len, columns))):
            line: list[tuple[str, str]] = []
            for cells in columns:
                cell = list(cells[k]) if k < len(cells) else []
                line += [*cell, (" " * (column - sum(len(text) for text, _ in cell)), "")]
            lines.append(line)
        lines.append([])
        for text in (PICTURE, *BEGIN):
            lines += sentence(text.format(config=config_file()), width, "")
        page.set_lines(lines)
        page.styles.height = len(lines)

    @property
    def _app(self) -> ThalwegApp:
        return cast("ThalwegApp", self.app)

    def _block(self, name: str, rows: list[tuple[Command, str]], width: int) -> list[Line]:
        app = self._app
        lines: list[Line] = [[(name, "bold underline")]]
        for command, text in rows:
            keys = shown(keys_of(command, app.keymap))  # the first of several
            if not keys:
                continue
            off = bool(why_not(command.when, app.store, app.choice))
            text = text[: width - KEY - 1]
            lines.append([(f"{keys:>{KEY - 2}}  ", "dim" if off else "bold cyan"), (text, "dim" if off else "")])
        if name == "Move":
            tabs = [
                keys_of(c, app.keymap)
                for c in app.table
                if c.id.startswith(TABS) and c.id[4:] not in ("next", "previous")
            ]
            lines.append([(f"{tabs[0] + '-' + tabs[-1]:>{KEY - 2}}  ", "bold cyan"), ("the tabs", "")])
        return lines

    def action_leave(self) -> None:
        """Back."""
        self.dismiss()
