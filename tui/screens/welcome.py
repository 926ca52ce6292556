"""What a workspace without anything says: one key for the demo, and the way on from there."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, cast

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

if TYPE_CHECKING:
    from tui.app import ThalwegApp

TEXT = """\
thalweg shows the terrain that a network is trained on.

A run trains a network and keeps its weights on the way.
A plane cuts through weight space at the trained weights.
A surface is the loss on that plane, row by row.
"""
KEYS = (
    ("enter", "the demo: train, two planes, two surfaces (3 min)"),
    ("k", "the quick demo: less of everything (30 s)"),
    ("n", "train a network of your own choice"),
    ("i", "import a surface or checkpoints"),
    ("esc", "look around first; ? lists every key, q leaves"),
)


class WelcomeScreen(ModalScreen[None]):
    """Shown once, over the empty main screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,d,D", "demo(False)", "demo"),
        Binding("k", "demo(True)", "quick demo"),
        Binding("n", "leave('train')", "new"),
        Binding("i", "leave('import')", "import"),
        Binding("escape", "leave('')", "look around"),
        Binding("q", "leave('quit')", "quit"),
        Binding("question_mark,f1", "leave('help')", "help"),
    ]

    def compose(self) -> ComposeResult:
        """A few lines."""
        out = Text()
        out.append(TEXT + "\n")
        for key, what in KEYS:
            out.append(f" {key:>6}", "bold")
            out.append(f"  {what}\n")
        out.append("\nNothing is lost when you leave: a daemon keeps jobs and results.", "dim")
        with Vertical(classes="dialog"):
            yield Static(out, markup=False)

    def action_demo(self, quick: bool) -> None:
        """Start it."""
        app = cast("ThalwegApp", self.app)
        self.dismiss()
        app.work(app.deeds.start_demo(quick=quick))

    def action_leave(self, id: str) -> None:
        """To the main screen, and on from there."""
        app = cast("ThalwegApp", self.app)
        self.dismiss()
        if id:
            app.call_after_refresh(app.do, id)
