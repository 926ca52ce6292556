"""The Plane tab: how the plane was made, what it explains, and the path of the training on it."""

from __future__ import annotations

from tui import words
from tui.widgets.lines import Line, Lines, facts, sentence
from tui.widgets.panel import Panel

OFF_PLANE = 0.9  # the median over which a picture draws the path pale and unjoined


class PlanePanel(Panel, Lines):
    """Facts and the path table."""

    def areas(self) -> tuple[str, ...]:
        """The plane, and the surface whose path is shown."""
        return ("planes", f"plane/{self.choice.plane}", f"surface/{self.choice.surface}")

    def draw(self) -> None:
        """Everything that is known of the plane."""
        plane = self.store.planes.get(self.choice.plane)
        if plane is None:
            self.set_lines(
                [
                    [("No plane through this run yet.", "")],
                    *sentence(
                        "p cuts one: two directions through the trained weights, on which the loss is measured.",
                        self.size.width - 1,
                    ),
                ]
            )
            return
        item = self.store.plane_details.get(plane.id)
        if item is None:
            self.thalweg.hub.fetch("plane", plane.id)
            item = {}
        lines = [*self.facts(item.get("meta", {}), plane.id), [], *self.path()]
        self.set_lines(lines)

    def facts(self, meta: dict[str, object], id: str) -> list[Line]:
        """Kind, norms, cosine, explained variance beside that of a random walk."""
        plane = self.store.planes[id]
        lines: list[Line] = [
            [(f"{plane.kind} plane {plane.name}".strip(), "bold"), (f"  {words.short(plane.hash)}", "dim")],
        ]
        if plane.missing:
            lines.append([("! missing: its file is gone", "red")])
        lines.append([("centre        ", "dim"), (_address(str(meta.get("origin", "-"))), "")])
        norms = meta.get("norms")
        if isinstance(norms, list | tuple):
            lines.append(
                [("norms         ", "dim"), (f"delta {words.number(norms[0])}  eta {words.number(norms[1])}", "")]
            )
        cosine = meta.get("cosine")
        if isinstance(cosine, int | float):
            near = abs(cosine) > 0.1
            note = "  the axes are far from a right angle" if near else ""
            lines.append([("cosine        ", "dim"), (f"{round(cosine, 4) + 0.0:.4f}", ""), (note, "yellow")])
        lines += self.explained(meta)
        options = meta.get("options")
        if isinstance(options, dict) and options:
            said = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in options.items() if v not in (None, {}, ""))
            lines += facts("options", words.plain(said), self.size.width - 1)
        if meta.get("seed") is not None:
            lines.append([("seed          ", "dim"), (str(meta["seed"]), "")])
        return lines

    def explained(self, meta: dict[str, object]) -> list[Line]:
        """The share of each axis, with bars, and what a random walk of as many steps reaches."""
        ratio, walk = meta.get("explained_variance_ratio"), meta.get("random_walk_ratio")
        if not isinstance(ratio, list | tuple):
            return []
        width = max(6, min(30, self.size.width - 44))
        lines: list[Line] = []
        for k, axis in enumerate(("delta", "eta")):
            beside = f"  walk {words.percent(walk[k])}" if isinstance(walk, list | tuple) else ""
            lines.append(
                [
                    (f"{'explains' if k == 0 else '':<8} {axis:<5}", "dim"),
                    (words.bar(float(ratio[k]), width), "green"),
                    (f" {words.percent(ratio[k]):>7}", ""),
                    (beside, "dim"),
                ]
            )
        both = sum(float(r) for r in ratio)
        if isinstance(walk, list | tuple):
            reached = words.percent(sum(float(w) for w in walk))
            said = (
                f"{words.percent(both)} of the trajectory's variance; a random walk of as many steps reaches {reached}"
            )
            lines += facts("both", said, self.size.width - 1)
        return lines

    def path(self) -> list[Line]:
        """The checkpoints on the plane, with how far they are off it and the three losses."""
        detail = self.store.surface_details.get(self.choice.surface)
        columns = detail.path if detail else {}
        if not columns:
            why = "measure a surface on it: s" if not self.choice.surface else "this surface has no path yet"
            return [[("path          ", "dim"), (why, "dim")]]
        import numpy as np

        off = columns["off_plane"]
        finite = off[np.isfinite(off)]
        median = float(np.median(finite)) if len(finite) else float("nan")
        lines: list[Line] = [[("path of the training", "bold"), (f"  {words.percent(median)} off, median", "dim")]]
        if median > OFF_PLANE:
            lines += sentence("! off this plane: its points say little about the way", self.size.width - 1, "yellow")
        wide = self.size.width >= 72
        head = f"{'epoch':>6}{'alpha':>9}{'beta':>9}{'off':>9}{'on plane':>10}"
        lines.append([(head + (f"{'weights':>10}{'true':>10}" if wide else ""), "dim")])
        for k in range(len(off)):
            row = (
                f"{columns['epoch'][k]:>6.4g}"
                f"{words.coordinate(columns['alpha'][k]):>9}{words.coordinate(columns['beta'][k]):>9}"
                f"{words.percent(off[k]):>9}{_loss(columns['loss_plane'][k]):>10}"
            )
            if wide:
                row += f"{_loss(columns['loss_weights'][k]):>10}{_loss(columns['loss_true'][k]):>10}"
            lines.append([(row, "")])
        lines.append([])
        lines += sentence("weights − on plane: what the projection hides", self.size.width - 1)
        lines += sentence("true − weights: what stale batch statistics do", self.size.width - 1)
        return lines


def _loss(value: float) -> str:
    return "-" if value != value else words.number(value)


def _address(text: str) -> str:
    run, at, place = text.partition("@")
    return f"{words.short(run)}{at}{place}" if at else text.rsplit("/", 1)[-1]
