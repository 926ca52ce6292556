"""The Surface tab: how far it is, how good it is already, what it was measured on. The picture is beside it."""

from __future__ import annotations

import math

from tui import words
from tui.state import Job, SurfaceDetail
from tui.widgets.lines import Line, Lines, facts, sentence
from tui.widgets.panel import Panel


class SurfacePanel(Panel, Lines):
    """Progress and facts."""

    def areas(self) -> tuple[str, ...]:
        """The surface and its job."""
        return ("surfaces", f"surface/{self.choice.surface}", f"job/{self.choice.job}")

    def draw(self) -> None:
        """Everything that is known of it."""
        row = self.store.surfaces.get(self.choice.surface)
        detail = self.store.surface_details.get(self.choice.surface) or SurfaceDetail()
        job = self.store.surface_job(self.choice.surface) if self.choice.surface else None
        if row is None and job is None:
            self.set_lines(
                [
                    [("No surface yet.", "")],
                    *sentence(
                        "s measures the loss on a grid over the plane; the picture fills in row by row.",
                        self.size.width - 1,
                    ),
                ]
            )
            return
        lines: list[Line] = []
        state = self.store.surface_state(row) if row else (job.state if job else "partial")
        name = (row.name if row else "") or "landscape"
        lines.append(
            [
                (f"{words.GLYPHS.get(state, '·')} {state} ", words.COLOURS.get(state, "")),
                (name, "bold"),
                (f"  {words.short(self.choice.surface)}", "dim"),
            ]
        )
        if job is not None and job.active:
            lines += self.progress(job, detail)
        lines += self.quality(detail)
        lines += self.cursor(detail)
        lines += self.facts(detail)
        self.set_lines(lines)

    def progress(self, job: Job, detail: SurfaceDetail) -> list[Line]:
        """The bar, the time left, points a second."""
        share = job.share or 0.0
        width = max(8, min(40, self.size.width - 12))
        lines: list[Line] = [[(words.bar(share, width), "green"), (f" {100 * share:5.1f} %", "")]]
        w = detail.shape[1]
        rate = "" if not job.rate or not w else f"   {job.rate * w:.3g} points/s"
        eta = "" if job.eta_s is None else f"   ready in {words.duration(job.eta_s)}"
        lines.append([(f"{job.done} of {job.total} rows", ""), (rate, ""), (eta, "")])
        if job.note:
            lines.append([(words.plain(job.note), "dim")])
        return lines

    def quality(self, detail: SurfaceDetail) -> list[Line]:
        """The lowest point, the standard error, how many points diverged."""
        import numpy as np

        loss, n, sem = (detail.values.get(k) for k in ("loss", "n", "sem"))
        if loss is None or n is None or not (n > 0).any():
            return []
        seen = n > 0
        finite = np.isfinite(loss) & seen
        lines: list[Line] = []
        if finite.any():
            i, j = np.unravel_index(np.where(finite, loss, np.inf).argmin(), loss.shape)
            assert detail.alpha is not None
            assert detail.beta is not None
            lines.append(
                [
                    ("lowest        ", "dim"),
                    (f"{words.number(loss[i, j])}", "bold"),
                    (f" at α {words.coordinate(detail.alpha[j])}  β {words.coordinate(detail.beta[i])}", ""),
                ]
            )
            highest = float(loss[finite].max())
            lines.append([("highest       ", "dim"), (words.number(highest), "")])
        if sem is not None and finite.any() and np.isfinite(sem[finite]).any():
            worst, middle = float(np.nanmax(sem[finite])), float(np.nanmedian(sem[finite]))
            lines += facts(
                "std. error", f"{words.number(middle)} median, {words.number(worst)} at most", self.size.width - 1
            )
        diverged = int((seen & ~np.isfinite(loss)).sum())
        if diverged:
            lines.append([("diverged      ", "dim"), (words.counted(diverged, "point"), "red")])
        lines.append([("samples       ", "dim"), (f"{int(n[seen].min())} to {int(n.max())} a point", "")])
        return lines

    def cursor(self, detail: SurfaceDetail) -> list[Line]:
        """The point under the cursor of the picture."""
        at = self.thalweg.cursor
        h, w = detail.shape
        if at is None or not h or at[0] >= h or at[1] >= w or "loss" not in detail.values:
            return []
        i, j = at
        assert detail.alpha is not None
        assert detail.beta is not None
        loss = float(detail.values["loss"][i, j])
        sem = float(detail.values["sem"][i, j]) if "sem" in detail.values else math.nan
        accuracy = float(detail.values["accuracy"][i, j]) if "accuracy" in detail.values else math.nan
        n = int(detail.values["n"][i, j])
        said = "not measured yet" if not n else f"loss {words.number(loss)} ± {words.number(sem)}"
        if n and math.isfinite(accuracy):
            said += f"  acc {words.percent(accuracy)}"
        place = f"α {words.coordinate(detail.alpha[j])} β {words.coordinate(detail.beta[i])}  "
        return [[("cursor        ", "dim"), (place, ""), (said, "bold")]]

    def facts(self, detail: SurfaceDetail) -> list[Line]:
        """What it was measured on: everything that its numbers depend on."""
        meta = detail.item.get("meta", {})
        if not meta:
            return []
        h, w = detail.shape
        lines: list[Line] = []

        def fact(name: str, text: str) -> None:
            if text:
                lines.extend(facts(name, words.plain(text), self.size.width - 1))

        if h:
            assert detail.alpha is not None
            assert detail.beta is not None
            a, b = detail.alpha, detail.beta
            fact(
                "grid",
                f"{w} x {h}, α {words.coordinate(a[0])} to {words.coordinate(a[-1])}, "
                f"β {words.coordinate(b[0])} to {words.coordinate(b[-1])}",
            )
        limit = f", sample of {meta['limit']}" if meta.get("limit") else ""
        fact("data", f"{meta.get('data', '')} {meta.get('split', '')}, {meta.get('samples', 0)} images{limit}")
        fact("model", str(meta.get("model", "")))
        calibration = f" on {meta['calibration_samples']}" if meta.get("calibration_samples") else ""
        fact("batch norm", f"{meta.get('batch_norm', '')}{calibration}")
        deviation = meta.get("precision_deviation")
        fact(
            "precision",
            f"{meta.get('precision', '')}" + (f", off fp32 by {words.number(deviation)}" if deviation else ""),
        )
        fact("passes", f"{meta.get('passes_done', 0)} of {meta.get('passes', '1')} done")
        execution = meta.get("execution") or {}
        fact("run on", ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in execution.items() if v is not None))
        if meta.get("seconds"):
            fact("took", words.duration(float(meta["seconds"])))
        fact("note", str(meta.get("note", "")))
        return lines
