"""The Analysis tab: critical points with their persistence, and a slider that hides the less persistent ones."""

from __future__ import annotations

from tui.widgets.lines import Lines
from tui.widgets.panel import Panel


class AnalysisPanel(Panel, Lines):
    """The table."""

    def areas(self) -> tuple[str, ...]:
        """The surface."""
        return ("jobs", f"surface/{self.choice.surface}")

    def draw(self) -> None:
        """Nothing yet."""
        self.set_lines([[("a finds minima, saddles and maxima of the surface.", "dim")]])
