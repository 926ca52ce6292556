"""The Analysis tab: critical points with their persistence, and a slider that hides the less persistent ones.

A surface that is complete and was never analysed is analysed when somebody looks here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Click
from textual.geometry import Region
from textual.strip import Strip

from tui import words
from tui.state import Job
from tui.widgets.lines import Line, Lines, sentence, strip
from tui.widgets.panel import Panel

if TYPE_CHECKING:
    from tui.state import SurfaceDetail

KINDS = ("minimum", "saddle", "maximum")
SIGNS = {"minimum": "▼", "saddle": "◇", "maximum": "▲"}
STEPS = 24  # of the slider


class Points(Lines):
    """The table of points. The cursor's point is the one under the picture's cursor."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "step(-1)", show=False),
        Binding("down", "step(1)", show=False),
        Binding("home", "step(-100000)", show=False),
        Binding("end", "step(100000)", show=False),
        Binding("left", "slide(-1)", show=False),
        Binding("right", "slide(1)", show=False),
        Binding("0", "slide(-100)", show=False),
    ]
    at = 0
    moves = True  # the cursor

    def render_line(self, y: int) -> Strip:
        """A line; the one at the cursor reversed."""
        k = self.scroll_offset.y + y
        if k != self.at + 1 or not self.has_focus or k >= len(self.lines):
            return super().render_line(y)
        return strip(self.app, [(t, "reverse") for t, _ in self.lines[k]], self.size.width, self.rich_style)

    def go(self, k: int) -> None:
        """Put the cursor on a point."""
        self.at = max(0, min(len(self.lines) - 2, k))
        self.scroll_to_region(Region(0, self.at + 1, 1, 1), animate=False, force=True, immediate=True)
        self.refresh()
        self._panel().pointed(self.at)

    def action_step(self, by: int) -> None:
        """Up or down."""
        self.go(self.at + by)

    def action_slide(self, by: int) -> None:
        """Hide more or fewer."""
        self._panel().slide(by)

    def on_click(self, event: Click) -> None:
        """The point under the mouse."""
        self.go(self.scroll_offset.y + event.y - 1)

    def _panel(self) -> AnalysisPanel:
        panel = self.parent
        assert isinstance(panel, AnalysisPanel)
        return panel


class AnalysisPanel(Panel, Vertical):
    """Summary, slider, table."""

    DEFAULT_CSS = """
    AnalysisPanel #said { height: auto; max-height: 10; scrollbar-size: 0 0; }
    AnalysisPanel Points { height: 1fr; }
    """

    def __init__(self, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self.level = 0  # of the slider
        self.rows: list[int] = []  # points that are shown
        self._asked: set[str] = set()

    def compose(self) -> ComposeResult:
        """What was found, then the points."""
        said = Lines(id="said")
        said.can_focus = False
        yield said
        yield Points(id="points")

    def areas(self) -> tuple[str, ...]:
        """The surface and what analyses it."""
        return ("surfaces", "link", f"surface/{self.choice.surface}", "jobs")

    def draw(self) -> None:
        """Everything that is known."""
        said, points = self.query_one("#said", Lines), self.query_one(Points)
        detail = self.store.surface_details.get(self.choice.surface)
        critical = detail.critical if detail is not None else {}
        lines = self._why_nothing() if not critical else self._summary(detail, critical)
        said.set_lines(lines)
        said.styles.height = max(1, len(lines))
        points.display = bool(critical)
        if critical:
            points.set_lines(self._table(critical))
            points.at = min(points.at, max(0, len(self.rows) - 1))

    # ------------------------------------------------------------ where there is nothing

    def _job(self) -> Job | None:
        mine = [
            j for j in self.store.jobs.values() if j.kind == "analysis" and j.spec.get("target") == self.choice.surface
        ]
        return max(mine, key=lambda j: j.id, default=None)

    def _why_nothing(self) -> list[Line]:
        surface = self.store.surfaces.get(self.choice.surface)
        job = self._job()
        width = self.size.width - 3
        if surface is None:
            return [[("No surface is chosen.", "")], *sentence("Its minima, saddles, maxima are listed here.", width)]
        if not surface.sealed:
            return sentence("The surface is not complete yet: its critical points are found when it is.", width, "")
        if job is not None and job.active:
            return [
                [(f"{words.GLYPHS[job.state]} {job.state} ", words.COLOURS[job.state]), ("critical points", "bold")]
            ]
        if job is not None and job.error:
            return [*sentence(f"✗ {job.state}: {words.plain(job.error)}", width, "red"), [("a tries again", "dim")]]
        summary = self._critical_summary()
        if summary is not None:
            return [[("No critical point over the threshold.", "")], *self._hidden(summary)]
        if self.store.link.state == "live" and surface.id not in self._asked:
            self._asked.add(surface.id)
            self.thalweg.work(self.thalweg.deeds.analyse(surface.id))
        return [[("Analysing this surface …", "")]]

    def _critical_summary(self) -> dict[str, Any] | None:
        detail = self.store.surface_details.get(self.choice.surface)
        return detail.item.get("critical") if detail is not None else None

    # ------------------------------------------------------------ what was found

    def _summary(self, detail: SurfaceDetail | None, critical: dict[str, Any]) -> list[Line]:
        threshold = self.threshold(critical)
        least, most = _range(critical)
        width = max(6, min(STEPS, self.size.width - 34))
        knob = round(self.level / STEPS * (width - 1))
        slider = "─" * knob + "●" + "─" * (width - 1 - knob)
        summary = self._critical_summary() or {}
        inside = summary.get("interior", {})
        lines: list[Line] = [
            [
                ("inside: ", "bold"),
                (
                    f"▼ {words.counted(int(inside.get('minima', 0)), 'minimum').replace('minimums', 'minima')}  ",
                    "green",
                ),
                (f"◇ {words.counted(int(inside.get('saddles', 0)), 'saddle')}  ", "yellow"),
                (f"▲ {words.counted(int(inside.get('maxima', 0)), 'maximum').replace('maximums', 'maxima')}", "red"),
            ],
            [
                ("persistence ≥ ", "dim"),
                (words.number(threshold), "bold"),
                (f"  {slider}  ", "cyan"),
                ("← → or the mouse", "dim"),
            ],
        ]
        if most <= least:
            lines.pop()
        return lines + self._hidden(summary)

    def _hidden(self, summary: dict[str, Any]) -> list[Line]:
        value = float(summary.get("threshold_value", 0.0))
        share = f"{100 * value:.3g} % of the loss" if summary.get("relative") else f"{value:.3g}"
        hidden = summary.get("hidden_pairs", 0)
        width = self.size.width - 3
        lines = sentence(f"left out: {hidden} pairs under {share} ({summary.get('threshold', '')})", width)
        if summary.get("note"):
            lines += sentence(words.plain(str(summary["note"])), width)
        return lines

    def threshold(self, critical: dict[str, Any]) -> float:
        """The least persistence that is shown: even steps of its logarithm."""
        least, most = _range(critical)
        if not self.level or most <= least:
            return 0.0
        return math.exp(math.log(least) + (math.log(most) - math.log(least)) * self.level / STEPS)

    def _table(self, critical: dict[str, Any]) -> list[Line]:
        import numpy as np

        persistence = critical["persistence"]
        shown = ~(persistence < self.threshold(critical) * (1 - 1e-9))
        order = np.argsort(np.where(np.isfinite(persistence), -persistence, -np.inf), kind="stable")
        self.rows = [int(k) for k in order if shown[k]]
        wide = self.size.width >= 66
        head = f"  {'kind':<8}{'alpha':>7}{'beta':>7}{'loss':>10}{'persists':>10}"
        lines: list[Line] = [[(head + ("  where" if wide else ""), "dim")]]
        for k in self.rows:
            kind = KINDS[int(critical["kind"][k])]
            where = "border" if critical["border"][k] else "beside a hole" if critical["beside_hole"][k] else "inside"
            colour = {"minimum": "green", "saddle": "yellow", "maximum": "red"}[kind]
            place = f"{words.coordinate(critical['alpha'][k]):>7}{words.coordinate(critical['beta'][k]):>7}"
            row = f"{place}{words.number(critical['loss'][k]):>10}{words.number(persistence[k]):>10}"
            dim = "" if where == "inside" else "dim"
            lines.append([(f"{SIGNS[kind]} {kind:<8}", colour), (row, dim), (f"  {where}" if wide else "", "dim")])
        return lines

    # ------------------------------------------------------------ moving

    def slide(self, by: int) -> None:
        """Move the slider."""
        self.level = max(0, min(STEPS, self.level + by))
        self.draw()

    def pointed(self, at: int) -> None:
        """The cursor of the table is on this line: the picture shows where that is."""
        detail = self.store.surface_details.get(self.choice.surface)
        if detail is not None and 0 <= at < len(self.rows):
            k = self.rows[at]
            self.thalweg.put_cursor((int(detail.critical["i"][k]), int(detail.critical["j"][k])))

    def on_click(self, event: Click) -> None:
        """A click on the slider."""
        said = self.query_one("#said", Lines)
        if event.widget is said and event.y == 1:
            start = 14 + len(words.number(self.threshold(self.store.surface_details[self.choice.surface].critical))) + 2
            width = max(6, min(STEPS, self.size.width - 34))
            self.level = max(0, min(STEPS, round((event.x - start) / (width - 1) * STEPS)))
            self.draw()


def _range(critical: dict[str, Any]) -> tuple[float, float]:
    """The least and the greatest finite persistence above zero; (1, 1) where there is none."""
    import numpy as np

    p = critical["persistence"]
    p = p[np.isfinite(p) & (p > 0)]
    return (float(p.min()), float(p.max())) if len(p) else (1.0, 1.0)
