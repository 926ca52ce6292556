"""The View: to be filled."""

from __future__ import annotations

from tui.widgets.lines import Lines
from tui.widgets.panel import Panel


class ViewPanel(Panel, Lines):
    """What shows the chosen surface."""

    def areas(self) -> tuple[str, ...]:
        """The chosen surface."""
        return (f"surface/{self.choice.surface}",)

    def draw(self) -> None:
        """Say what is missing."""
        self.set_lines([[("View", "bold")], [("nothing here yet", "dim")]])
