"""The tabs: one line, the chosen one marked by more than its colour; keys 1 to 6, or a click."""

from __future__ import annotations

from rich.console import RenderableType
from rich.text import Text
from textual.events import Click
from textual.message import Message

from tui.widgets.lines import style
from tui.widgets.panel import Panel

TABS = ("Train", "Plane", "Surface", "Analysis", "View", "Log")


class TabBar(Panel):
    """`Train [Plane] Surface ...`; with `listing` the list is a tab too (one pane)."""

    DEFAULT_CSS = "TabBar { height: 1; }"

    class Picked(Message):
        """A tab was clicked; "" is the list."""

        def __init__(self, tab: str) -> None:
            super().__init__()
            self.tab = tab

    def __init__(self, id: str | None = None) -> None:
        super().__init__(id=id)
        self.tab = TABS[0]
        self.listing = False  # whether the list is one of the tabs
        self.on_list = False
        self.active = False  # whether the keys are right of the list
        self._places: list[tuple[int, int, str]] = []

    def set_active(self, active: bool) -> None:
        """Show whether the tab has the keys."""
        if active != self.active:
            self.active = active
            self.refresh()

    def set(self, tab: str, *, listing: bool, on_list: bool) -> None:
        """Mark this tab."""
        if (tab, listing, on_list) != (self.tab, self.listing, self.on_list):
            self.tab, self.listing, self.on_list = tab, listing, on_list
            self.refresh()

    def render(self) -> RenderableType:
        """The line."""
        out = Text(no_wrap=True, overflow="crop")
        self._places = []
        names = (["List"] if self.listing else []) + list(TABS)
        wide = sum(len(n) + 2 for n in names) <= self.size.width
        for name in names:
            here = name == "List" if self.on_list else name == self.tab
            word = name if wide or here else name[:3]
            part = f"[{word}]" if here else f" {word} "
            self._places.append((out.cell_len, out.cell_len + len(part), "" if name == "List" else name))
            out.append(
                part, style(self.app, "bold reverse" if here and self.active else "bold underline" if here else "")
            )
        return out

    def on_click(self, event: Click) -> None:
        """Pick the tab under the mouse."""
        for start, end, name in self._places:
            if start <= event.x < end:
                self.post_message(self.Picked(name))
