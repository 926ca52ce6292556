"""One of several: a list with a title. Up, down, Enter; Escape leaves it as it was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option


class PickScreen(ModalScreen[str]):
    """Dismissed with the value picked, "" for none. `options`: (value, label)."""

    DEFAULT_CSS = "PickScreen OptionList { width: 1fr; height: auto; max-height: 16; }"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q", "cancel", "cancel")]

    def __init__(self, title: str, options: Sequence[tuple[str, str]], *, more: str = "", chosen: str = "") -> None:
        super().__init__()
        self.heading, self.options, self.more, self.chosen = title, options, more, chosen

    def compose(self) -> ComposeResult:
        """The title, the options."""
        with Vertical(classes="dialog"):
            yield Static(Text(self.heading, "bold"), markup=False)
            yield OptionList(
                *(Option(Text(label), id=f"o{k}") for k, (_, label) in enumerate(self.options)), markup=False
            )
            if self.more:
                yield Static(Text(self.more, "dim"), classes="question", markup=False)

    def on_mount(self) -> None:
        """Begin at what is chosen now."""
        at = next((k for k, (value, _) in enumerate(self.options) if value == self.chosen), 0)
        self.query_one(OptionList).highlighted = at

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        """That one."""
        self.dismiss(self.options[event.option_index][0])

    def action_cancel(self) -> None:
        """None."""
        self.dismiss("")
