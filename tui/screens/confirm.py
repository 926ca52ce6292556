"""A question before what cannot be undone: Cancel has the focus, and Enter does nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

CANCEL = ""


class ConfirmScreen(ModalScreen[str]):
    """Dismissed with the value of the answer, "" for Cancel. `answers`: (value, label), the destructive ones."""

    AUTO_FOCUS = "#cancel"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "cancel", "cancel"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, question: str, answers: Sequence[tuple[str, str]], *, more: str = "") -> None:
        super().__init__()
        self.question, self.answers, self.more = question, answers, more

    def compose(self) -> ComposeResult:
        """The question, then the answers, Cancel first."""
        with Vertical(classes="dialog"):
            yield Static(Text(self.question, "bold"), classes="question", markup=False)
            if self.more:
                yield Static(Text(self.more), classes="question", markup=False)
            with Horizontal(classes="row"):
                yield Button("Cancel", id="cancel", compact=True)
                for k, (_, label) in enumerate(self.answers):
                    yield Button(Text(label), id=f"answer-{k}", variant="error", compact=True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """The answer."""
        id = event.button.id or ""
        self.dismiss(CANCEL if id == "cancel" else self.answers[int(id.rpartition("-")[2])][0])

    def action_cancel(self) -> None:
        """Nothing is done."""
        self.dismiss(CANCEL)
