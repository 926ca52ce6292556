"""A chart of several curves with a title: textual-plot's, told what to draw once in a while."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.segment import Segment
from textual.app import ComposeResult
from textual.containers import Grid, Vertical
from textual.reactive import reactive
from textual.strip import Strip
from textual_hires_canvas import Canvas, HiResMode
from textual_plot import PlotWidget
from textual_plot.plot_widget import Legend

from tui import series
from tui.widgets.lines import Line, Lines

HUES = ("green", "cyan", "yellow", "magenta", "blue", "red")


@dataclass(frozen=True)
class Curve:
    """One line; `colour` is the terminal's. A dim one is drawn first (the edges of a band)."""

    x: Any
    y: Any
    colour: str
    dim: bool = False


class Sheet(Canvas):
    """A canvas that gives every segment a style: with NO_COLOR Textual's filter fails on one without."""

    def render_line(self, y: int) -> Strip:
        """One line of the screen."""
        drawn = super().render_line(y)
        if all(s.style is not None for s in drawn):
            return drawn
        base = self.rich_style
        return Strip([Segment(s.text, s.style or base) for s in drawn], drawn.cell_length)


class Plot(PlotWidget):
    """With margins as narrow as the numbers allow."""

    margin_top = reactive(0)
    margin_left = reactive(7)
    margin_bottom = reactive(2)

    def compose(self) -> ComposeResult:
        """As the library has it, with our canvas."""
        with Grid():
            for part in ("margin-top", "margin-left", "plot", "margin-bottom"):
                yield Sheet(1, 1, id=part)
        yield Legend(id="legend")


class Curves(Vertical):
    """A title line, then the chart."""

    DEFAULT_CSS = """
    Curves { height: 1fr; width: 1fr; min-height: 6; }
    Curves Lines { height: 1; scrollbar-size: 0 0; }
    Curves PlotWidget { height: 1fr; }
    Curves PlotWidget > .plot--axis { color: $foreground 40%; }
    Curves PlotWidget > .plot--tick { color: $foreground 70%; }
    """

    def compose(self) -> ComposeResult:
        """Title and chart."""
        title = Lines()
        title.can_focus = False
        yield title
        plot = Plot(allow_pan_and_zoom=False)
        plot.can_focus = False
        yield plot

    @property
    def columns(self) -> int:
        """Dots that fit beside each other."""
        return max(16, 2 * (self.size.width - 8))

    def show(self, title: Line, curves: Sequence[Curve], *, x_max: float | None = None) -> None:
        """Draw these."""
        self.query_one(Lines).set_lines([title])
        plot = self.query_one(PlotWidget)
        datasets = [(c, np.asarray(c.x, dtype=np.float64), np.asarray(c.y, dtype=np.float64)) for c in curves]
        with self.app.batch_update():
            plot.clear()
            y = series.limits([d[2] for d in datasets])
            if y is None:
                return
            xs = np.concatenate([d[1] for d in datasets])
            plot.set_ylimits(*y)
            plot.set_xlimits(min(0.0, float(xs.min())), max(x_max or 0.0, float(xs.max()), 1e-9))
            for curve, x, values in sorted(datasets, key=lambda d: not d[0].dim):
                style = f"{'dim ' if curve.dim else ''}{curve.colour}"
                clipped = np.clip(values, *y)
                plot.plot(
                    x, np.where(np.isfinite(values), clipped, np.nan), line_style=style, hires_mode=HiResMode.BRAILLE
                )
