"""All keys, from the table; and where to begin."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen

from tui.enabling import why_not
from tui.keymap import keys_of, shown
from tui.widgets.lines import Line, Lines

if TYPE_CHECKING:
    from tui.app import ThalwegApp

BEGIN = (
    "A run trains a network. A plane cuts through its weights. A surface is the loss on the plane.",
    "n trains, p cuts a plane through the run, s measures the surface on it. D does all of it as a demo.",
    "Arrows move in the list, Enter goes into what is marked, Esc comes back, tab goes from pane to pane.",
    "Jobs belong to a daemon: leaving (q) stops nothing. Own keys: [keys] in {config}",
)


class HelpScreen(ModalScreen[None]):
    """A page that scrolls."""

    DEFAULT_CSS = """
    HelpScreen .dialog { width: 90%; max-width: 100; height: 90%; }
    HelpScreen Lines { height: 1fr; }
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
        """Wrap anew."""
        self.call_after_refresh(self.fill)

    def fill(self) -> None:
        """Where to begin, then every row of the table that has a key."""
        import textwrap

        from tui.profiles import config_file

        app = cast("ThalwegApp", self.app)
        page = self.query_one(Lines)
        width = max(20, page.size.width - 2)
        lines: list[Line] = [[("Keys", "bold")], []]
        for c in app.table:
            keys = ", ".join(shown(k) for k in keys_of(c, app.keymap).split(",") if k)
            if not keys:
                continue
            why = why_not(c.when, app.store, app.choice)
            parts = textwrap.wrap(c.help + (f" ({why})" if why else ""), max(10, width - 18)) or [""]
            lines.append([(f"{keys:>14}  ", "bold cyan" if not why else "dim"), (parts[0], "dim" if why else "")])
            lines += [[(" " * 16, ""), (part, "dim" if why else "")] for part in parts[1:]]
        lines += [[], [("To begin", "bold")], []]
        for text in BEGIN:
            lines += [[(part, "")] for part in textwrap.wrap(text.format(config=config_file()), width)]
        page.set_lines(lines)

    def action_leave(self) -> None:
        """Back."""
        self.dismiss()
