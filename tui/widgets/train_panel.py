"""The Train tab: curves of the run, and of those marked beside it; then its epochs as a table."""

from __future__ import annotations

from tui import words
from tui.widgets.lines import Line, Lines
from tui.widgets.panel import Panel


class TrainPanel(Panel, Lines):
    """Curves and epochs."""

    def areas(self) -> tuple[str, ...]:
        """The run, and those it is compared with."""
        return ("jobs", *(f"run/{r}" for r in (self.choice.run, *self.thalweg.compared)))

    def draw(self) -> None:
        """The table."""
        run = self.store.runs.get(self.choice.run)
        if run is None:
            self.set_lines([[("No run is chosen. n trains one, D starts the demo.", "dim")]])
            return
        detail = self.store.run_details.get(run.id)
        lines: list[Line] = [
            [(f"{run.name or run.model} on {run.dataset}", "bold"), (f"  {words.short(run.id)}", "dim")],
            [("epoch   step   train loss   test loss   test acc", "dim")],
        ]
        for epoch in sorted(detail.epochs if detail else (), reverse=True):
            e = detail.epochs[epoch] if detail else {}
            m = e["metrics"]
            row = f"{epoch:>5}{e['step']:>7}{words.number(m.get('train_loss', m.get('loss'))):>13}"
            row += f"{words.number(m.get('test_loss')):>12}{words.percent(m.get('test_accuracy')):>11}"
            lines.append([(row, "")])
        self.set_lines(lines)
