"""The Picture: to be filled."""

from __future__ import annotations

from tui.widgets.lines import Lines
from tui.widgets.panel import Panel


class PreviewPane(Panel, Lines):
    """What shows the chosen surface."""

    def areas(self) -> tuple[str, ...]:
        """The chosen surface."""
        return (f"surface/{self.choice.surface}",)

    def draw(self) -> None:
        """Say what is missing."""
        self.set_lines([[("Picture", "bold")], [("nothing here yet", "dim")]])
