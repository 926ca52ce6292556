"""The Log tab: the log of the chosen job, followed at its end until `f` lets go."""

from __future__ import annotations

from tui import words
from tui.widgets.lines import Line, Lines, sentence
from tui.widgets.panel import Panel

COLOURS = {"warning": "yellow", "error": "red"}


class LogPanel(Panel, Lines):
    """Lines as they come."""

    following = True

    def areas(self) -> tuple[str, ...]:
        """The log of the chosen job."""
        return (f"log/{self.choice.job}",)

    def draw(self) -> None:
        """All lines that are kept; only those on the screen are painted."""
        job = self.store.jobs.get(self.choice.job)
        log = self.store.logs.get(self.choice.job)
        if job is None:
            text = "Choose a job, or a run or surface that a job made: its log is here."
            self.set_lines(sentence(text, self.size.width - 1))
            return
        sign = "following, f lets go" if self.following else "not following, f follows"
        lines: list[Line] = [[(f"{job.title} {words.short(job.id)} {job.state}", "bold"), (f"   {sign}", "dim")]]
        if log is None or not log.lines:
            lines.append([("it has said nothing yet", "dim")])
        else:
            lines += [[(line, COLOURS.get(level, ""))] for level, line in log.lines]
        if job.error:
            lines.append([(f"✗ failed: {words.plain(job.error)}", "red")])
        self.set_lines(lines, follow=self.following)

    def toggle(self) -> bool:
        """Follow, or stop following; whether it follows now."""
        self.following = not self.following
        self.flush(force=True)
        return self.following
