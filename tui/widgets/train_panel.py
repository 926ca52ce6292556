"""The Train tab: curves of the run, and of those marked beside it; then its epochs as a table.

The chart's library is imported when the first run is shown, not before the first paint.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical

from tui import words
from tui.state import Run, RunDetail
from tui.widgets.lines import Line, Lines, sentence
from tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui.widgets.curves import Curve, Curves

HUES = ("green", "cyan", "yellow", "magenta", "blue", "red")
LEAST = 6  # rows of a chart that shows more than its axes
WIDE = 76  # columns from which both charts stand beside each other


class TrainPanel(Panel, Vertical):
    """Facts, charts, table."""

    DEFAULT_CSS = """
    TrainPanel #train-facts { height: auto; max-height: 9; scrollbar-size: 0 0; }
    TrainPanel #charts { height: 1fr; display: none; }
    TrainPanel #epochs { height: auto; max-height: 40%; min-height: 3; display: none; }
    """

    def compose(self) -> ComposeResult:
        """Facts on top, charts, epochs below."""
        facts = Lines(id="train-facts")
        facts.can_focus = False
        yield facts
        yield Horizontal(id="charts")
        yield Lines(id="epochs")

    def areas(self) -> tuple[str, ...]:
        """The run, and those it is compared with."""
        return ("runs", f"job/{self._job()}", *(f"run/{r}" for r in self._shown()))

    def _job(self) -> str:
        job = self.store.run_job(self.choice.run)
        return job.id if job is not None else self.choice.job

    def _shown(self) -> list[str]:
        return [r for r in dict.fromkeys((self.choice.run, *self.thalweg.compared)) if r in self.store.runs]

    def draw(self) -> None:
        """Everything that is known of it."""
        run = self.store.runs.get(self.choice.run)
        facts, epochs = self.query_one("#train-facts", Lines), self.query_one("#epochs", Lines)
        if run is None:
            facts.set_lines(self._none())
            facts.styles.height = 9
        else:
            lines = self._facts(run)
            facts.set_lines(lines)
            facts.styles.height = len(lines)
        room = self.size.height - len(lines) - 3 if run is not None else 0  # beside the facts and an epoch or two
        self.query_one("#charts").display = room >= LEAST
        epochs.display = run is not None
        if run is None:
            return
        table = self._table(run.id)
        epochs.styles.height = min(len(table), max(3, self.size.height * 2 // 5))
        epochs.set_lines(table)
        self._charts()

    def _none(self) -> list[Line]:
        job = self.store.jobs.get(self.choice.job)
        if job is not None and job.kind == "train" and job.active:
            colour = words.COLOURS.get(job.state, "")
            return [[(f"{words.GLYPHS[job.state]} {job.state} ", colour), (job.title, "bold")], [(job.note, "dim")]]
        if job is not None and job.kind == "train" and job.error:
            return [[(f"✗ {job.state}: {words.plain(job.error)}", "red")], [("d asks again, edited", "dim")]]
        lines: list[Line] = [
            [("No run is chosen.", "")],
            *sentence("n trains a network: its curves appear here, epoch by epoch.", self.size.width - 3),
        ]
        if not self.store.runs:
            lines.append([("D starts the demo.", "dim")])
        return lines

    def _facts(self, run: Run) -> list[Line]:
        state = self.store.run_state(run)
        job = self.store.run_job(run.id)
        detail = self.store.run_details.get(run.id)
        recipe: dict[str, Any] = detail.item.get("recipe", {}) if detail else {}
        what = f"{run.model} on {run.dataset}"
        head: Line = [
            (f"{words.GLYPHS.get(state, '·')} {state} ", words.COLOURS.get(state, "")),
            (run.name or what, "bold"),
            (f"  {what}" if run.name else "", ""),
            (f"  {words.short(run.id)}", "dim"),
        ]
        last = detail.epochs[max(detail.epochs)]["metrics"] if detail and detail.epochs else {}
        lr = last.get("lr", recipe.get("lr"))
        parts = [
            f"epoch {run.epochs_done} of {run.epochs}",
            f"lr {words.number(lr)} {recipe.get('schedule', '')}".strip(),
        ]
        if job is not None and job.state == "running":
            if job.eta_s is not None:
                parts.append(f"ready in {words.duration(job.eta_s)}")
            if job.rate:
                parts.append(f"{job.rate:.3g} steps/s")
        elif last.get("seconds"):
            parts.append(f"{words.duration(float(last['seconds']))} an epoch")
        lines = [head, *sentence(", ".join(parts), self.size.width - 3)]
        if job is not None and job.error:
            lines.append([(f"✗ {words.plain(job.error)}", "red")])
        return lines

    def _table(self, run: str) -> list[Line]:
        detail = self.store.run_details.get(run) or RunDetail()
        known = [
            ("epoch", 5, lambda e: str(e["epoch"])),
            ("train loss", 11, lambda e: words.number(e["metrics"].get("train_loss", e["metrics"].get("loss")))),
            ("test loss", 10, lambda e: words.number(e["metrics"].get("test_loss"))),
            ("test acc", 9, lambda e: words.percent(e["metrics"].get("test_accuracy"))),
            ("train acc", 10, lambda e: words.percent(e["metrics"].get("train_accuracy"))),
            ("lr", 9, lambda e: words.number(e["metrics"].get("lr"))),
            ("step", 7, lambda e: str(e["step"])),
            ("took", 8, lambda e: words.duration(e["metrics"].get("seconds"))),
        ]
        room, columns = self.size.width - 3, list(known[:0])
        for column in known:
            if sum(c[1] for c in columns) + column[1] > room:
                break
            columns.append(column)
        lines: list[Line] = [[("".join(f"{name:>{width}}" for name, width, _ in columns), "dim")]]
        for number in sorted(detail.epochs, reverse=True):
            epoch = detail.epochs[number]
            loss = epoch["metrics"].get("train_loss", epoch["metrics"].get("loss", 0.0))
            bad = loss is not None and not (float("-inf") < float(loss) < float("inf"))
            row = "".join(f"{text(epoch):>{width}}" for _, width, text in columns)
            lines.append([(row, "red" if bad else ""), ("  ✗ diverged" if bad else "", "red")])
        if not detail.epochs:
            lines.append([("the first epoch is not over yet", "dim")])
        return lines

    # ------------------------------------------------------------ charts

    def _charts(self) -> None:
        host = self.query_one("#charts")
        host.styles.layout = "horizontal" if self.size.width >= WIDE else "vertical"
        if not host.children:
            from tui.widgets.curves import Curves

            host.mount(Curves(id="loss-chart"), Curves(id="accuracy-chart"))
            self.call_after_refresh(self._curves)
            return
        self._curves()

    def _curves(self) -> None:
        if not self.query("#loss-chart"):
            return
        from tui.widgets.curves import Curves

        loss, accuracy = self.query_one("#loss-chart", Curves), self.query_one("#accuracy-chart", Curves)
        if not loss.is_mounted or not loss.children:
            return
        tall = self.size.height >= 22 or self.size.width >= WIDE
        accuracy.display = tall and accuracy.display
        shown = self._shown()
        epochs = max((self.store.runs[r].epochs for r in shown), default=1)
        several = len(shown) > 1
        self._chart(loss, "loss", ("train_loss", "test_loss", "loss"), shown, epochs, several)
        if tall:
            self._chart(accuracy, "accuracy", ("train_accuracy", "test_accuracy"), shown, epochs, several)

    def _chart(
        self, chart: Curves, name: str, keys: tuple[str, ...], shown: list[str], epochs: int, several: bool
    ) -> None:
        from tui.widgets.curves import Curve

        curves: list[Curve] = []
        title: list[tuple[str, str]] = [(name, "bold")]
        for k, run in enumerate(shown):
            detail = self.store.run_details.get(run)
            if detail is None:
                continue
            hue = HUES[k % len(HUES)]
            if name == "loss":
                curves += self._steps(detail, hue, chart.columns)
            numbers = sorted(detail.epochs)
            for key in keys:
                points = [(n, detail.epochs[n]["metrics"].get(key)) for n in numbers]
                points = [(n, float(v)) for n, v in points if v is not None]
                if not points or (several and key.startswith("train")):
                    continue
                colour = hue if several or not key.startswith("test") else "cyan"
                curves.append(Curve([p[0] for p in points], [p[1] for p in points], colour))
                if not several:
                    title.append((f"  {key.partition('_')[0]} {words.number(points[-1][1])}", colour))
            if several:
                known = self.store.runs[run]
                title.append((f"  {known.name or known.model} {words.short(run)}", hue))
        chart.display = any(len(c.x) > 1 for c in curves)  # one point is no curve: its axes alone say nothing
        chart.show(title, curves, x_max=float(epochs))

    def _steps(self, detail: RunDetail, hue: str, columns: int) -> list[Curve]:
        """The losses of single steps, where somebody was there to hear them: a smoothed line in a band."""
        from tui import series
        from tui.widgets.curves import Curve

        per_epoch = next((e["step"] / n for n, e in detail.epochs.items() if n), 0.0)
        if len(detail.steps) < 2 or not per_epoch:
            return []
        x, y = zip(*detail.steps)
        found = series.band([s / per_epoch for s in x], y, max(8, columns // 3))
        edges = [Curve(found.x, found.low, hue, dim=True), Curve(found.x, found.high, hue, dim=True)]
        return [*edges, Curve(found.x, found.mean, hue, dim=True)]
